"""The Segment Anything Model in parts: image encoder, prompt encoder, two-way transformer and mask decoder.

Kirillov et al., arXiv 2304.02643. Parameters carry the names of the published checkpoints (`weights.py`).
"""

"""Data sets, metrics and the measuring of segmenters."""

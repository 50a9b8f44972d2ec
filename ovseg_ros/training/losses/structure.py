"""Semantic structure consistency: image embeddings are to lie among each other as the embeddings of their words do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_ros.training.losses.precision import in_float32
from ovseg_ros.training.matching import Matching


@in_float32
def structure_consistency(
    embeddings: Tensor, pairs: Matching, labels: Sequence[Tensor], text: Tensor, *, skip_empty: bool = False
) -> Tensor:
    """EBSeg's SSC (arXiv 2406.09829): squared difference of two Gram matrices, meaned by image, then over images.

    As in the released code, embeddings enter as they are (EBSeg's A has a learned length), "no object" is no class
    here, and an image without matched segments, whose mean is not defined, takes the whole batch's loss to 0. That is
    rare on COCO-Stuff's full pictures and common on small crops.

    Args:
        embeddings: (N, Q, D) float, of the last state.
        pairs: its matching.
        labels: (M,) int64 in 0..K-1 for each image.
        text: (K, D) float unit vectors.
        skip_empty: leave images without matched segments out instead; not the released code's.

    Returns:
        A float32 scalar, never NaN: 0 without gradient where the mean is none.
    """
    text = text.to(embeddings.device).float()
    images = []
    for own, targets, (queries, segments) in zip(embeddings.float(), labels, pairs, strict=True):
        if skip_empty and not len(queries):
            continue
        matched = own[queries.to(own.device)]  # (m, D)
        words = text[targets[segments.to(targets.device)].to(own.device)]  # (m, D)
        images.append(F.mse_loss(matched @ matched.T, words @ words.T))
    loss = torch.stack(images).mean() if images else embeddings.new_tensor(torch.nan, dtype=torch.float32)
    return embeddings.new_zeros((), dtype=torch.float32) if bool(loss.isnan()) else loss

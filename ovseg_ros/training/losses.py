"""The loss of the embedded checkpoints: weighted cross entropy over words, and a pull towards the right word."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_ros.training.words import IGNORE


def word_loss(
    cosines: Tensor, other: Tensor, scale: Tensor, targets: Tensor, weights: Tensor, alignment: float
) -> Tensor:
    """Cross entropy of scaled cosines over K words and "none of these", plus alignment * (1 - cosine of the truth).

    The second term asks that pixels land on their word, not only nearer to it than to the others, so that a synonym
    close to the word is met as well.

    Args:
        cosines: (B, K, h, w).
        other: scalar, the cosine at which "none of these words" wins.
        scale: scalar, the factor from cosines to logits.
        targets: (B, h, w) int64 in 0..K (K: none of these words), -100 ignored.
        weights: (K + 1,) weight of each target.
        alignment: weight of the second term.

    Returns:
        A scalar; 0 where every pixel is ignored.
    """
    n, k, h, w = cosines.shape
    logits = torch.cat([cosines, other.expand(n, 1, h, w)], dim=1) * scale
    valid = targets != IGNORE
    count = weights[targets.clamp(min=0)] * valid
    total = count.sum().clamp(min=1e-6)
    loss = F.cross_entropy(logits, targets, weight=weights, ignore_index=IGNORE, reduction="sum") / total
    named = valid & (targets < k)
    if alignment:
        right = cosines.gather(1, targets.clamp(0, k - 1)[:, None])[:, 0]
        pull = ((1 - right) * count * named).sum() / (count * named).sum().clamp(min=1e-6)
        loss = loss + alignment * pull
    return loss

"""The loss of the embedded checkpoints: cross entropy and dice over words, and a pull towards the right one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_ros.training.words import IGNORE


def word_loss(
    cosines: Tensor,
    other: Tensor,
    scale: Tensor,
    targets: Tensor,
    weights: Tensor,
    alignment: float,
    dice: float = 0.0,
) -> Tensor:
    """Cross entropy of scaled cosines over K words and "none of these", plus two terms with weights of their own.

    `alignment` weighs 1 - cosine of the truth: pixels are to land on their word, not only nearer to it than to the
    others, so that a synonym close to the word is met as well. `dice` weighs `dice_loss`, in which a small thing counts
    as much as a large one.

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
    if dice:
        loss = loss + dice * dice_loss(logits.softmax(dim=1), targets)
    return loss


def dice_loss(probabilities: Tensor, targets: Tensor) -> Tensor:
    """1 - the mean dice coefficient of the classes that the batch shows, each over all of the batch's pixels.

    Args:
        probabilities: (B, C, h, w), a distribution over the C classes at every pixel.
        targets: (B, h, w) int64 in 0..C-1, -100 ignored.

    Returns:
        A scalar; 0 where every pixel is ignored.
    """
    classes = probabilities.shape[1]
    valid = targets != IGNORE
    p = probabilities.movedim(1, -1)[valid]  # (P, C)
    t = targets[valid]  # (P,)
    both = p.new_zeros(classes).index_add(0, t, p.gather(1, t[:, None])[:, 0])  # (C,) sum of p where the class is
    truth = torch.bincount(t, minlength=classes)  # (C,)
    dice = 2 * both / (p.sum(dim=0) + truth).clamp(min=1e-6)
    shown = truth > 0
    return ((1 - dice) * shown).sum() / shown.sum().clamp(min=1)

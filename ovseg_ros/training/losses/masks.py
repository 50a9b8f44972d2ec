"""Losses of binary masks, one number a mask, and the same between every prediction and every truth.

A mask is a row of P values: its pixels, or the points where it is read. Cross entropy and dice as Mask2Former has them
(arXiv 2112.01527, section 3.3), focal as MaskFormer (arXiv 2107.06278, section 3.3; Lin et al., arXiv 1708.02002,
equation 5).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


def sigmoid_focal(
    logits: Tensor, targets: Tensor, alpha: float | None = FOCAL_ALPHA, gamma: float = FOCAL_GAMMA
) -> Tensor:
    """Focal loss of every value: -alpha_t (1 - p_t)^gamma log p_t.

    Args:
        logits: float, any shape.
        targets: 0..1, the same shape.
        alpha: weight of the positives, 1 - alpha that of the negatives; None weighs both the same.
        gamma: how strongly values that are already right are discounted; 0 gives cross entropy.

    Returns:
        The same shape.
    """
    targets = targets.to(logits.dtype)
    p = logits.sigmoid()
    wrong = p + targets - 2 * p * targets  # 1 - p_t
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * wrong**gamma
    return loss if alpha is None else loss * (alpha * targets + (1 - alpha) * (1 - targets))


def mask_focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean focal loss of each mask: (M, P), (M, P) in 0..1 -> (M,)."""
    return sigmoid_focal(logits, targets).mean(dim=1)


def mask_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross entropy of each mask: (M, P), (M, P) in 0..1 -> (M,)."""
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none").mean(dim=1)


def mask_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """1 - the dice coefficient of each mask, with one added above and below: (M, P), (M, P) in 0..1 -> (M,).

    An empty prediction of an empty mask costs nothing.
    """
    p, targets = logits.sigmoid(), targets.to(logits.dtype)
    return 1 - (2 * (p * targets).sum(dim=1) + 1) / (p.sum(dim=1) + targets.sum(dim=1) + 1)


def pairwise_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """`mask_cross_entropy` of every prediction against every truth: (Q, P), (M, P) -> (Q, M)."""
    hit, miss = F.softplus(-logits), F.softplus(logits)  # (Q, P), cost where the truth is 1, and 0
    return (hit @ targets.T + miss @ (1 - targets).T) / logits.shape[1]


def pairwise_focal(logits: Tensor, targets: Tensor) -> Tensor:
    """`mask_focal` of every prediction against every truth: (Q, P), (M, P) of zeros and ones -> (Q, M)."""
    p = logits.sigmoid()
    hit = FOCAL_ALPHA * (1 - p) ** FOCAL_GAMMA * F.softplus(-logits)
    miss = (1 - FOCAL_ALPHA) * p**FOCAL_GAMMA * F.softplus(logits)
    return (hit @ targets.T + miss @ (1 - targets).T) / logits.shape[1]


def pairwise_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """`mask_dice` of every prediction against every truth: (Q, P), (M, P) -> (Q, M)."""
    p = logits.sigmoid()
    return 1 - (2 * p @ targets.T + 1) / (p.sum(dim=1)[:, None] + targets.sum(dim=1)[None] + 1)

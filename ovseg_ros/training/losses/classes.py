"""Losses of the classes of queries: cross entropy with "no object", with regions dropped, with synonyms as classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_ros.training.matching import Matching, at, labels_of
from ovseg_ros.training.words import IGNORE

Pool = Literal["max", "mean"]


def no_object_cross_entropy(
    logits: Tensor,
    pairs: Matching,
    labels: Sequence[Tensor],
    no_object: float = 0.1,
    dropped: Tensor | None = None,
) -> Tensor:
    """Cross entropy of every query's class, those without a segment being "no object".

    The mean is weighted, as MaskFormer's (arXiv 2107.06278, eq. 2) is in its released code: the sum over queries of all
    images, each by the weight of its truth, over the sum of those weights.

    Args:
        logits: (N, Q, K + 1) float, "no object" last.
        pairs: which query belongs to which segment.
        labels: (M,) int64 in 0..K-1 for each image.
        no_object: weight of the queries without a segment, those with one weighing 1; 0 leaves them out.
        dropped: bool, True for each matched query, images in turn, to be left out; None drops none.

    Returns:
        A float32 scalar; 0 where no query is left.
    """
    logits = logits.float()
    n, queries, classes = logits.shape
    truth = torch.full((n, queries), classes - 1, dtype=torch.int64, device=logits.device)
    matched = labels_of(pairs, labels, logits.device)  # (m,)
    if dropped is not None:
        matched = matched.masked_fill(dropped.to(logits.device), IGNORE)
    truth[at(pairs, logits.device)] = matched
    weights = torch.ones(classes, device=logits.device)
    weights[-1] = no_object
    loss = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), weights, ignore_index=IGNORE, reduction="sum")
    total = (weights[truth.clamp(min=0)] * (truth != IGNORE)).sum()
    return loss / total.clamp(min=torch.finfo(total.dtype).tiny)


def pool_synonyms(logits: Tensor, owner: Tensor, classes: int, pool: Pool) -> Tensor:
    """The logit of each class out of those of its names, by the best or by the mean (GKC's "clusterMax", "clusterAvg").

    Args:
        logits: (N, Q, L + 1) float, L names and "no object" last.
        owner: (L,) int64, the class 0..K-1 of each name.
        classes: K.
        pool: which.

    Returns:
        (N, Q, K + 1), "no object" as it was.

    Raises:
        ValueError: a class has no name.
    """
    names = torch.bincount(owner, minlength=classes)  # (K,)
    if len(names) != classes or not bool((names > 0).all()):
        raise ValueError(
            f"classes have {names.tolist()} names each; expected at least one for each of the {classes} classes"
        )
    own, no_object = logits[..., :-1], logits[..., -1:]
    index = owner.to(logits.device).expand(own.shape)
    empty = own.new_full((*own.shape[:2], classes), -torch.inf if pool == "max" else 0.0)
    pooled = empty.scatter_reduce(2, index, own, "amax" if pool == "max" else "sum")
    if pool == "mean":
        pooled = pooled / names.to(pooled)
    return torch.cat([pooled, no_object], dim=2)

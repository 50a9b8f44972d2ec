"""Patches whose features stand apart from those of their nearest neighbours, and what to put in their place."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

FAR = 1e30  # squared distance of a token to itself, so that it is no neighbour of its own


def local_outliers(tokens: Tensor, neighbours: int = 30, contamination: float = 0.05) -> Tensor:
    """The tokens of the highest local outlier factor (Breunig et al., SIGMOD 2000, definitions 5 to 7).

    Only tensor operations of fixed shapes, so that it can be exported. How many are marked depends on the number of
    tokens alone: those above the quantile 1 - contamination, as scikit-learn counts them.

    Args:
        tokens: (N, P, C) float, each image by itself.
        neighbours: at most P - 1 are taken.
        contamination: the share of the tokens to mark.

    Returns:
        (N, P) float, 1 for an outlier and 0 for the others.
    """
    p = tokens.shape[1]
    if p < 3:
        return torch.zeros_like(tokens[:, :, 0])
    scores = outlier_factor(tokens, min(neighbours, p - 1))
    marked = scores.topk(math.ceil((p - 1) * contamination), dim=1).indices
    return torch.zeros_like(scores).scatter(1, marked, 1.0).to(tokens.dtype)


def outlier_factor(tokens: Tensor, neighbours: int) -> Tensor:
    """The local outlier factor by Euclidean distance, about 1 for what lies among its like: (N, P, C) -> (N, P).

    In float32 whatever the tokens are: squared distances leave float16's range.
    """
    p = tokens.shape[1]
    tokens = tokens.to(torch.float32)
    tokens = tokens - tokens.mean(dim=1, keepdim=True)  # smaller squares to subtract
    squares = tokens.square().sum(dim=2)
    distances = squares[:, :, None] + squares[:, None, :] - 2 * tokens @ tokens.transpose(1, 2)
    # not torch.eye: its export counts in uint16, which TensorRT cannot read
    place = torch.arange(p, dtype=tokens.dtype, device=tokens.device)
    distances = distances.clamp(min=0) + FAR * (place[:, None] == place).to(tokens.dtype)
    near, who = distances.topk(neighbours, dim=2, largest=False)  # (N, P, k), ascending
    near = near.sqrt()
    radius = near[:, :, -1]  # distance to the k-th neighbour
    reach = torch.maximum(near, _of(radius, who))
    density = 1 / reach.mean(dim=2).clamp(min=1e-10)
    return _of(density, who).mean(dim=2) / density


def mend(tokens: Tensor, outlying: Tensor, grid: tuple[int, int]) -> Tensor:
    """Outliers replaced by the mean of those of their eight neighbours that are none, where there is one.

    Args:
        tokens: (N, h * w, C) float.
        outlying: (N, h * w) float, 1 or 0.
        grid: (h, w).

    Returns:
        (N, h * w, C).
    """
    h, w = grid
    n, _, c = tokens.shape
    bad = outlying.reshape(n, 1, h, w)
    x = tokens.transpose(1, 2).reshape(n, c, h, w)
    good = 1 - bad
    # means over 3 x 3 of what is good; an outlier, itself not good, counts only its neighbours
    share = F.avg_pool2d(good, 3, stride=1, padding=1)
    mean = F.avg_pool2d(x * good, 3, stride=1, padding=1) / share.clamp(min=1e-6)
    replaced = bad * (share > 0).to(x.dtype)
    return (x + replaced * (mean - x)).flatten(2).transpose(1, 2)


def _of(values: Tensor, who: Tensor) -> Tensor:
    """The value of each neighbour: (N, P), (N, P, k) integer -> (N, P, k)."""
    n, p = values.shape
    return values[:, None, :].expand(n, p, p).gather(2, who)

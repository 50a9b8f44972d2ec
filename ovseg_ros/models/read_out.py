"""From class scores on a coarse grid to label ids and confidence for every pixel, in operations that compilers like."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

CANDIDATES = 32  # classes upsampled per image; exact while an image shows at most so many of them

Score = Callable[[Tensor, Tensor], Tensor]  # (N, C, h, w), (K, S, D) or (N, K, S, D) -> logits (N, K, h, w)


def read_out(
    score: Score, features: Tensor, text: Tensor, factor: int, other: Tensor | None = None, coarse: int = 1
) -> tuple[Tensor, Tensor]:
    """Arg-max and confidence at `factor` times the resolution, upsampling only classes that the image may show.

    Which classes those are is decided first, on every `coarse`-th row and column: those that win most of the image,
    then those that come closest to winning somewhere. With up to 32 classes that is all of them; with a thousand, the
    others cost a `coarse`^2-th of a full comparison. What they weigh in the softmax is upsampled as one sum.

    Args:
        score: gives the logits of classes, the best synonym of each.
        features: (N, C, h, w).
        text: (K, S, D).
        factor: upsampling factor, bilinear.
        other: scalar, the logit of "none of these words"; None where the model has no such answer.
        coarse: cells of the grid per cell that candidates are chosen on, a divisor of h and w.

    Returns:
        labels (N, factor h, factor w) int32 and confidence of the same shape, float32, the softmax probability 0..1.
    """
    logits = score(features[:, :, ::coarse, ::coarse], text)  # (N, K, h', w')
    n, k, h, w = logits.shape
    best = logits.amax(dim=1, keepdim=True)  # (N, 1, h', w')
    m = torch.sym_min(k, CANDIDATES)  # type: ignore[no-untyped-call]
    odds = (logits - best).exp().flatten(2)  # (N, K, h'w'), 1 where a class wins
    lead, won = odds.amax(dim=2), (odds >= 1).to(torch.float32).mean(dim=2)  # (N, K) both
    candidates = (lead + won).topk(m, dim=1).indices  # (N, M)
    others = torch.ones_like(lead).scatter(1, candidates, 0.0)[:, None]  # (N, 1, K), 1 for what is no candidate
    rest = torch.log((others @ odds).reshape(best.shape) + 1e-6) + best
    flat = candidates.reshape(-1)  # (N M)
    if coarse == 1:
        rows = flat + (k * torch.arange(n, device=flat.device)[:, None]).expand(n, m).reshape(-1)
        few = logits.reshape(n * k, h, w).index_select(0, rows).reshape(n, m, h, w)
    else:
        few = score(features, text.index_select(0, flat).reshape(n, m, text.shape[1], text.shape[2]))
    few, rest = _upsample(few, factor), _upsample(rest, factor * coarse)
    top = few.amax(dim=1, keepdim=True)  # (N, 1, H, W)
    # arg-max as two maxima: compilers turn arg-max over channels into a sort, five times as slow
    order = torch.arange(m, device=flat.device, dtype=torch.float32)[:, None, None]
    winner = torch.where(few >= top, order, 0.0).amax(dim=1).to(torch.int64)  # (N, H, W)
    offsets = m * torch.arange(n, device=flat.device)[:, None, None]
    labels = flat.index_select(0, (winner + offsets).reshape(-1)).reshape(winner.shape)
    # the softmax's denominator in units of the winner
    total = (few - top).exp().sum(dim=1, keepdim=True) + (rest - top).exp()
    if other is not None:
        total = total + (other - top).exp()
    return labels.to(torch.int32), (1 / total)[:, 0]


def to_image_size(x: Tensor, height: int, width: int) -> Tensor:
    """(N, h, w) -> (N, height, width), the nearest value; index arithmetic, which every compiler gets right."""
    rows = torch.arange(height, device=x.device) * x.shape[1] // height
    columns = torch.arange(width, device=x.device) * x.shape[2] // width
    return x.index_select(1, rows).index_select(2, columns)


def words(text: Tensor) -> Tensor:
    """One row a word, the synonyms of a class side by side: (..., K, S, D) -> (..., K S, D)."""
    return text.flatten(-3, -2)


def best_synonym(scores: Tensor, text: Tensor) -> Tensor:
    """The highest of each class's synonyms: (N, K S, h, w) as `words` orders them, (..., K, S, D) -> (N, K, h, w)."""
    n, _, h, w = scores.shape
    return scores.reshape(n, text.shape[-3], text.shape[-2], h, w).amax(dim=2)


def _upsample(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)

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
    n = logits.shape[0]
    best = logits.amax(dim=1, keepdim=True)  # (N, 1, h', w')
    odds = (logits - best).exp().flatten(2)  # (N, K, h'w'), 1 where a class wins
    chosen = candidates(odds)  # (N, M)
    others = torch.ones_like(odds[:, :, 0]).scatter(1, chosen, 0.0)[:, None]  # (N, 1, K), 1 for what is no candidate
    rest = torch.log((others @ odds).reshape(best.shape) + 1e-6) + best
    if coarse == 1:
        few = pick(logits, chosen)
    else:
        few_words = text.index_select(0, chosen.reshape(-1))
        few = score(features, few_words.reshape(n, chosen.shape[1], text.shape[1], text.shape[2]))
    few, rest = upsample(few, factor), upsample(rest, factor * coarse)
    top = few.amax(dim=1, keepdim=True)  # (N, 1, H, W)
    labels = winners(few, top, chosen)
    # the softmax's denominator in units of the winner
    total = (few - top).exp().sum(dim=1, keepdim=True) + (rest - top).exp()
    if other is not None:
        total = total + (other - top).exp()
    return labels, (1 / total)[:, 0]


def candidates(odds: Tensor) -> Tensor:
    """The classes worth upsampling: those that win most cells, then those that come closest to winning one.

    Args:
        odds: (N, K, L), of each class at each of L cells against the best one there: 1 where it wins.

    Returns:
        (N, M) int64 class ids, M = min(K, 32).
    """
    m = torch.sym_min(odds.shape[1], CANDIDATES)  # type: ignore[no-untyped-call]
    lead, won = odds.amax(dim=2), (odds >= 1).to(torch.float32).mean(dim=2)  # (N, K) both
    return (lead + won).topk(m, dim=1).indices


def pick(rows: Tensor, chosen: Tensor) -> Tensor:
    """The rows of some classes of each image: (N, K, ...), (N, M) ids -> (N, M, ...)."""
    n, k = rows.shape[:2]
    m = chosen.shape[1]
    flat = chosen.reshape(-1)
    flat = flat + (k * torch.arange(n, device=flat.device)[:, None]).expand(n, m).reshape(-1)
    return rows.reshape(n * k, *rows.shape[2:]).index_select(0, flat).reshape(n, m, *rows.shape[2:])


def winners(few: Tensor, top: Tensor, chosen: Tensor) -> Tensor:
    """The class ids that win: (N, M, H, W) of the classes (N, M), their maximum (N, 1, H, W) -> (N, H, W) int32."""
    n, m = chosen.shape
    # arg-max as two maxima: compilers turn arg-max over channels into a sort, five times as slow
    order = torch.arange(m, device=chosen.device, dtype=torch.float32)[:, None, None]
    winner = torch.where(few >= top, order, 0.0).amax(dim=1).to(torch.int64)  # (N, H, W)
    offsets = m * torch.arange(n, device=chosen.device)[:, None, None]
    labels = chosen.reshape(-1).index_select(0, (winner + offsets).reshape(-1))
    return labels.reshape(winner.shape).to(torch.int32)


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


def upsample(x: Tensor, factor: int) -> Tensor:
    """Bilinear, corners not aligned: (N, C, h, w) -> (N, C, factor h, factor w)."""
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)

"""From class scores on a coarse grid to label ids and confidence for every pixel, in operations that compilers like."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CANDIDATES = 32  # classes upsampled per image; exact while an image shows at most so many of them


def read_out(logits: Tensor, factor: int, other: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Arg-max and confidence at `factor` times the resolution, upsampling only classes that the image may show.

    Which classes those are is decided before upsampling: those that win most of the image, then those that come
    closest to winning somewhere. What the others weigh in the softmax is upsampled as one sum.

    Args:
        logits: (N, K, h, w).
        factor: upsampling factor, bilinear.
        other: scalar, the logit of "none of these words"; None where the model has no such answer.

    Returns:
        labels (N, factor h, factor w) int32 and confidence of the same shape, float32, the softmax probability 0..1.
    """
    n, k, h, w = logits.shape
    best = logits.amax(dim=1, keepdim=True)  # (N, 1, h, w)
    m = torch.sym_min(k, CANDIDATES)  # type: ignore[no-untyped-call]
    lead = (logits - best).amax(dim=(2, 3))  # (N, K), 0 for every class that wins somewhere
    won = (logits >= best).to(torch.float32).mean(dim=(2, 3))  # (N, K), share of the image
    candidates = (lead + won).topk(m, dim=1).indices  # (N, M)
    rest = torch.ones_like(lead).scatter(1, candidates, 0.0)[:, :, None, None]  # 1 for what is no candidate
    rest = torch.log(((logits - best).exp() * rest).sum(dim=1, keepdim=True) + 1e-6) + best
    rows = (candidates + k * torch.arange(n, device=logits.device)[:, None]).reshape(-1)
    few = logits.reshape(n * k, h, w).index_select(0, rows).reshape(n, m, h, w)
    few, rest = _upsample(few, factor), _upsample(rest, factor)
    top = few.amax(dim=1, keepdim=True)  # (N, 1, H, W)
    # arg-max as two maxima: compilers turn arg-max over channels into a sort, five times as slow
    order = torch.arange(m, device=logits.device, dtype=torch.float32)[:, None, None]
    winner = torch.where(few >= top, order, 0.0).amax(dim=1).to(torch.int64)  # (N, H, W)
    offsets = m * torch.arange(n, device=logits.device)[:, None, None]
    labels = candidates.reshape(-1).index_select(0, (winner + offsets).reshape(-1)).reshape(winner.shape)
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


def best_synonym(scores: Tensor, classes: int, synonyms: int) -> Tensor:
    """The highest of each class's synonyms: (N, K S, h, w), synonyms of a class side by side -> (N, K, h, w)."""
    n, _, h, w = scores.shape
    return scores.reshape(n, classes, synonyms, h, w).amax(dim=2)


def _upsample(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)

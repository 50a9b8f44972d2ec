"""CAT-Seg's class aggregation: at every cell the classes attend to each other, guided by the words.

Cho et al., arXiv 2303.11797, section 3.2, with linear attention (Katharopoulos et al., arXiv 2006.16236) and without
any order of the classes. Parameters carry the published names.

Published, the list of classes is filled up to 256 with copies of a learned token. As all copies are equal and nothing
they compute is kept, one token counts as often as it would have been copied: the same sums.

Shapes: N images, T classes, h x w cells, C channels, G of the guidance, d channels a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.catseg_swin import GuidedLinear

TINY = 1e-6  # added to the sum of weights, as published


class ClassAttention(nn.Module):
    """Linear attention and an MLP over the classes, on averages of cells.

    Args:
        width: C.
        guidance: G.
        heads: a divisor of C.
        padded: length that the list of classes is filled up to; 0 for none.
    """

    def __init__(self, width: int, guidance: int, heads: int, padded: int) -> None:
        super().__init__()
        self.heads, self.padded = heads, padded
        self.attention = Projections(width, guidance)
        self.MLP = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        if padded:
            self.padding_tokens = nn.Parameter(torch.zeros(1, 1, width))
            self.padding_guidance = nn.Parameter(torch.zeros(1, 1, guidance))

    def forward(self, x: Tensor, guidance: Tensor, pooling: int = 1) -> Tensor:
        """(N, T, h, w, C) and (N, T, G) -> (N, T, h, w, C); `pooling` cells a side are averaged first."""
        t, size = x.shape[1], (x.shape[2], x.shape[3])
        y = x if pooling == 1 else as_cells(F.avg_pool2d(as_maps(x), min(pooling, *size)), t)
        y = y + self._attend(self.norm1(y), guidance[:, :, None, None])
        y = y + self.MLP(self.norm2(y))
        if pooling == 1:
            out: Tensor = x + y
            return out
        return x + as_cells(F.interpolate(as_maps(y), size=size, mode="bilinear", align_corners=True), t)

    def _attend(self, x: Tensor, guidance: Tensor) -> Tensor:
        """(N, T, h, w, C) and (N, T, 1, 1, G) -> (N, T, h, w, C)."""
        length = x.shape[1]
        q, k, v = self.attention(x, guidance)
        q, k, v = (self._split(y) for y in (F.elu(q) + 1, F.elu(k) + 1, v))  # (N, h, w, heads, T, d)
        v = v / length  # keeps the sums small in half precision
        sums = k.transpose(-1, -2) @ v  # (N, h, w, heads, d, d)
        weights = k.sum(dim=-2)  # (N, h, w, heads, d)
        if self.padded:
            own_k, own_v = self._padding()
            copies = torch.sym_max(self.padded - length, 0)  # type: ignore[no-untyped-call]
            sums = sums + own_k[:, :, None] * own_v[:, None, :] / length * copies
            weights = weights + own_k * copies
        norm = (q @ weights[..., None]) + TINY  # (N, h, w, heads, T, 1)
        mixed = (q @ sums) / norm * length
        return mixed.permute(0, 4, 1, 2, 3, 5).reshape(x.shape)

    def _padding(self) -> tuple[Tensor, Tensor]:
        """Key and value of the token that fills the list, (heads, d) each."""
        _, k, v = self.attention(self.norm1(self.padding_tokens[0, 0]), self.padding_guidance[0, 0])
        return (F.elu(k) + 1).reshape(self.heads, -1), v.reshape(self.heads, -1)

    def _split(self, x: Tensor) -> Tensor:
        """(N, T, h, w, C) -> (N, h, w, heads, T, d)."""
        n, t, h, w, c = x.shape
        return x.reshape(n, t, h, w, self.heads, c // self.heads).permute(0, 2, 3, 4, 1, 5)


class Projections(nn.Module):
    """Queries and keys that see the guidance, and values that do not."""

    def __init__(self, width: int, guidance: int) -> None:
        super().__init__()
        self.q = GuidedLinear(width, guidance, width)
        self.k = GuidedLinear(width, guidance, width)
        self.v = nn.Linear(width, width)

    def forward(self, x: Tensor, guidance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., C) and (..., G), which broadcast -> q, k and v, (..., C) each."""
        return self.q(x, guidance), self.k(x, guidance), self.v(x)


def as_maps(x: Tensor) -> Tensor:
    """(N, T, h, w, C) -> (N T, C, h, w), as convolutions want them."""
    return x.flatten(0, 1).permute(0, 3, 1, 2)


def as_cells(maps: Tensor, classes: int) -> Tensor:
    """The inverse: (N T, C, h, w) -> (N, T, h, w, C)."""
    cells = maps.permute(0, 2, 3, 1)
    return cells.reshape(-1, classes, *cells.shape[1:])

"""Multi-scale deformable attention (Zhu et al., arXiv 2010.04159, section 4.1) as gathers.

The published code samples with a CUDA kernel, or with grid_sample where there is none. Compilers have turned that
grid_sample into wrong numbers without a word, so here each sample is one row gathered from a table: a cell, its
neighbours to the right, below and across, side by side. A frame of zeros around the map stands for what lies outside.
In training there is no compiler, and grid_sample's own gradient is twice as fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Grid = tuple[int, int]


class MSDeformAttn(nn.Module):
    """Every query reads a few places of every level, near its own, weighted by what it itself says of them.

    Args:
        width: C.
        levels: maps that are read.
        heads: a divisor of C; each has places of its own.
        points: places per level and head.
    """

    def __init__(self, width: int = 256, levels: int = 3, heads: int = 8, points: int = 4) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} cannot be split into {heads} heads: choose a multiple of them")
        self.levels, self.heads, self.points = levels, heads, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self.start()

    def start(self) -> None:
        """Initial weights: heads look in directions around the circle, their points 1, 2, ... cells away."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        ray = torch.stack([angle.cos(), angle.sin()], dim=1)
        ray = ray / ray.abs().amax(dim=1, keepdim=True)  # onto the square
        steps = torch.arange(1, self.points + 1)[:, None]
        offsets = (ray[:, None, None] * steps).expand(self.heads, self.levels, self.points, 2)
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.reshape(-1))

    def forward(self, query: Tensor, reference: Tensor, source: Tensor, grids: Sequence[Grid]) -> Tensor:
        """Sample and mix.

        Args:
            query: (N, Q, C).
            reference: (N or 1, Q, levels, 2) float, x and y of each query's own place in 0..1 of each level.
            source: (N, L, C), the maps row by row, level after level.
            grids: (h, w) of each level; the sum of h * w is L.

        Returns:
            (N, Q, C).
        """
        n, q, c = query.shape
        shape = (n, q, self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(query).reshape(*shape, 2)  # in cells of the level
        weights = self.attention_weights(query).reshape(n, q, self.heads, -1).softmax(dim=-1).reshape(shape)
        values = self.value_proj(source).reshape(n, source.shape[1], self.heads, c // self.heads)
        levels = values.split([h * w for h, w in grids], dim=1)
        read = sample_by_grid if self.training else sample
        mixed = torch.zeros_like(query).reshape(n, q, self.heads, -1).transpose(1, 2)  # (N, H, Q, d)
        for i, (grid, value) in enumerate(zip(grids, levels, strict=True)):
            own = reference[:, :, None, i, None]  # (N or 1, Q, 1, 1, 2)
            mixed = mixed + read(value, grid, own, offsets[:, :, :, i], weights[:, :, :, i])
        y: Tensor = self.output_proj(mixed.transpose(1, 2).reshape(n, q, c))
        return y


def sample(value: Tensor, grid: Grid, reference: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of bilinear samples of one level, zero outside, as grid_sample has it without aligned corners.

    Args:
        value: (N, h * w, H, d).
        grid: (h, w).
        reference: broadcastable to (N, Q, H, P, 2), x and y in 0..1.
        offsets: (N, Q, H, P, 2), x and y in cells.
        weights: (N, Q, H, P).

    Returns:
        (N, H, Q, d).
    """
    n, q, heads, points = weights.shape
    h, w = grid
    x, right = _cell(reference[..., 0], offsets[..., 0], w)
    y, down = _cell(reference[..., 1], offsets[..., 1], h)
    inside = (x >= -1) & (x < w) & (y >= -1) & (y < h)  # some corner lies on the map
    weights = torch.where(inside, weights, 0.0)
    below, across = weights * down, weights * down * right
    beside = weights * right - across
    corners = torch.stack([weights - below - beside, beside, below - across, across], dim=-1)  # (N, Q, H, P, 4)
    cells = (y.clamp(-1, h - 1) + 1) * (w + 1) + x.clamp(-1, w - 1) + 1
    cells = cells.transpose(1, 2)  # (N, H, Q, P)
    table = _quads(value, grid)  # (N, H, cells, 4 d)
    count = table.shape[2]
    first = count * torch.arange(n * heads, device=cells.device, dtype=cells.dtype).reshape(n, heads, 1, 1)
    rows = table.flatten(0, 2).index_select(0, (cells + first).reshape(-1))
    rows = rows.reshape(n, heads, q, 4 * points, -1)
    mixed = corners.transpose(1, 2).reshape(n, heads, q, 1, 4 * points) @ rows
    return mixed[:, :, :, 0]


def sample_by_grid(value: Tensor, grid: Grid, reference: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """What `sample` gives, by grid_sample. Places are counted in float32 under autocast."""
    n, q, heads, points = weights.shape
    h, w = grid
    size = torch.tensor([w, h], dtype=torch.float32, device=value.device)
    places = (reference + offsets / size).transpose(1, 2).reshape(n * heads, q, points, 2)
    maps = value.permute(0, 2, 3, 1).reshape(n * heads, -1, h, w).to(places.dtype)
    picked = F.grid_sample(maps, 2 * places - 1, align_corners=False)  # (N H, d, Q, P)
    mixed = (picked * weights.transpose(1, 2).reshape(n * heads, 1, q, points)).sum(dim=-1)
    return mixed.reshape(n, heads, -1, q).transpose(2, 3)


def _cell(reference: Tensor, offset: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The cell left of (above) a place, int32, and how far the place lies beyond that cell's centre, 0..1.

    Whole cells of the reference are counted in integers, apart from the offset: half precision, which a compiler may
    choose for all else, would lose the place on maps of a hundred cells.
    """
    place = reference * size - 0.5
    whole = place.floor()
    moved = place - whole + offset
    step = moved.floor()
    return whole.to(torch.int32) + step.to(torch.int32), moved - step


def _quads(value: Tensor, grid: Grid) -> Tensor:
    """Each cell beside its right, lower and diagonal neighbour, from one cell outside the map: (N, H, cells, 4 d)."""
    n, _, heads, d = value.shape
    h, w = grid
    framed = F.pad(value.reshape(n, h, w, heads, d).permute(0, 3, 1, 2, 4), (0, 0, 1, 1, 1, 1))
    quads = [framed[:, :, a : a + h + 1, b : b + w + 1] for a in (0, 1) for b in (0, 1)]
    return torch.cat(quads, dim=-1).reshape(n, heads, (h + 1) * (w + 1), 4 * d)

"""Learned position tables, resized to any grid of patches."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Resize = Literal["size", "offset", "bilinear"]


class PositionTable(nn.Module):
    """A table of positions, one for CLS and one a patch of a square grid; other grids by interpolation.

    Bicubic with a = -0.75, without antialias, corners not aligned; the CLS row is kept. Which points are sampled is
    the `resize` rule:

    - "size" (ours, DeOP, EBSeg, CAT-Seg): the ratio of the two sizes, exact at the native grid;
    - "offset": steps of side / (h + 0.1), as DINO's code has it and SCLIP, ClearCLIP, NACLIP, ResCLIP and SC-CLIP
      took over. It differs in the third decimal and is there for parity with their published outputs. As there, a
      grid with the native number of patches takes the table as it is, whatever its shape;
    - "bilinear": as "size" but bilinear, which is GKC's for the attention pool of a ResNet.

    Args:
        side: of the native grid.
        width: C.
        std: of the random initial table; 0 for zeros.
        resize: the rule.
    """

    baked: Tensor | None

    def __init__(self, side: int, width: int, std: float, resize: Resize = "size") -> None:
        super().__init__()
        self.side = side
        self.resize = resize
        self.table = nn.Parameter(std * torch.randn(1 + side * side, width))
        self.grid: tuple[int, int] | None = None  # the one that `baked` is for
        self.register_buffer("baked", None, persistent=False)
        self.register_load_state_dict_post_hook(rebake)  # type: ignore[no-untyped-call]

    def forward(self, grid: tuple[int, int]) -> Tensor:
        """Rows for CLS and the patches of a grid (h, w): (1 + h * w, C)."""
        if self.baked is None:
            return self.resized(grid)
        if grid != self.grid:
            raise ValueError(f"positions were baked for a grid of {self.grid} patches; got {grid}: bake them for it")
        return self.baked

    def resized(self, grid: tuple[int, int]) -> Tensor:
        """The table interpolated to a grid (h, w): (1 + h * w, C)."""
        h, w = grid
        if self.resize == "offset" and h * w == self.side**2:
            return self.table
        native = self.table[1:].t().reshape(1, -1, self.side, self.side)
        if self.resize == "offset":
            factors = ((h + 0.1) / self.side, (w + 0.1) / self.side)
            other = F.interpolate(native, scale_factor=factors, mode="bicubic", align_corners=False)
        else:
            mode = "bilinear" if self.resize == "bilinear" else "bicubic"
            other = F.interpolate(native, size=(h, w), mode=mode, align_corners=False)
        return torch.cat([self.table[:1], other[0].flatten(1).t()])

    def bake(self, grid: tuple[int, int]) -> None:
        """Interpolate once and for all, so that an exported graph holds the rows and no resizing."""
        self.grid = grid
        self.baked = self.resized(grid).detach().clone()


def rebake(table: PositionTable, _keys: object) -> None:
    """After new weights, rows for the same grid."""
    if table.grid:
        table.bake(table.grid)

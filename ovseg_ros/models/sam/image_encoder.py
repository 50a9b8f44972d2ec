"""SAM's image encoder: a ViT whose blocks attend in windows, but for a few that see the whole image.

Two users: SAM itself takes the last block through a neck of convolutions; EBSeg takes the blocks that see the whole
image and no neck (`taps`). Grids other than the native one by interpolated positions, as EBSeg does it.
SAM: Kirillov et al., arXiv 2304.02643, appendix A; the architecture is ViTDet's, arXiv 2203.16527.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.sam.config import PIXEL_MEAN, PIXEL_STD, SamEncoderConfig
from ovseg_ros.models.sam.layers import MapNorm
from ovseg_ros.models.sam.relative import relative_bias, table

EPS = 1e-6  # of every layer norm in here


class ImageEncoder(nn.Module):
    """A ViT with windowed attention and decomposed relative positions.

    Args:
        config: sizes.
    """

    baked: Tensor | None

    def __init__(self, config: SamEncoderConfig) -> None:
        super().__init__()
        self.config = config
        c = config.width
        self.stride, self.pixel_mean, self.pixel_std = config.patch, PIXEL_MEAN, PIXEL_STD
        self.patch_embed = PatchEmbed(config.patch, c)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, config.grid, config.grid, c))
        self.blocks = nn.ModuleList(
            Block(config, 0 if i in config.global_blocks else config.window) for i in range(config.depth)
        )
        self.neck = _neck(c, config.neck) if config.neck else nn.Identity()
        self.register_buffer("baked", None, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """The image embedding.

        Args:
            image: (N, 3, H, W) float, normalised by `pixel_mean` and `pixel_std`; H and W multiples of the patch.

        Returns:
            (N, neck, H / patch, W / patch) float, or (N, C, ...) without a neck.

        Raises:
            ValueError: H or W is no multiple of the patch.
        """
        last = self.taps(image, (self.config.depth,))[0]
        y: Tensor = self.neck(last)
        return y

    def taps(self, image: Tensor, after: Iterable[int]) -> list[Tensor]:
        """Maps (N, C, H / patch, W / patch) after so many blocks each (0: before them); image as for `forward`."""
        after = tuple(after)
        if not set(after) <= set(range(self.config.depth + 1)):
            raise ValueError(f"taps are {after}; expected counts of blocks from 0 to {self.config.depth}")
        x = self.embed(image)
        tapped = {0: x}
        for i, block in enumerate(self.blocks[: max(after)]):
            x = block(x)
            if i + 1 in after:
                tapped[i + 1] = x
        return [tapped[i].permute(0, 3, 1, 2) for i in after]

    def embed(self, image: Tensor) -> Tensor:
        """The tokens that enter the first block, positions added: (N, 3, H, W) -> (N, h, w, C)."""
        height, width, patch = image.shape[2], image.shape[3], self.config.patch
        if height % patch or width % patch:
            raise ValueError(
                f"the image is {height} x {width} pixels (height x width); both must be multiples of the patch, "
                f"{patch}: resize or pad it"
            )
        x: Tensor = self.patch_embed(image)
        return x + self.positions((height // patch, width // patch))

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Absolute positions of a grid (h, w), bicubic where it is not the native one: (1, h, w, C)."""
        if self.baked is not None:
            if tuple(self.baked.shape[1:3]) != grid:
                raise ValueError(f"positions were baked for {tuple(self.baked.shape[1:3])} patches; got {grid}")
            return self.baked
        table: Tensor = self.pos_embed
        if tuple(table.shape[1:3]) == grid:
            return table
        resized = F.interpolate(table.permute(0, 3, 1, 2), size=grid, mode="bicubic", align_corners=False)
        return resized.permute(0, 2, 3, 1)

    def bake(self, grid: tuple[int, int]) -> None:
        """Resize all tables once for a grid (h, w): what is exported afterwards serves that grid alone."""
        self.baked = None
        self.baked = self.positions(grid).detach().clone()
        for block in self.blocks:
            window: int = block.window  # type: ignore[assignment]
            block.attn.bake((window, window) if window else grid)  # type: ignore[operator, union-attr]


class PatchEmbed(nn.Module):
    """Patches as tokens, (N, 3, H, W) -> (N, H / patch, W / patch, C)."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, image: Tensor) -> Tensor:
        """One convolution with the patch as its stride."""
        y: Tensor = self.proj(image)
        return y.permute(0, 2, 3, 1)


class Block(nn.Module):
    """Attention, in windows or global, then an MLP.

    Args:
        config: sizes.
        window: patches a side of a window; 0 for the whole image.
    """

    def __init__(self, config: SamEncoderConfig, window: int) -> None:
        super().__init__()
        c = config.width
        self.window = window
        self.norm1 = nn.LayerNorm(c, eps=EPS)
        self.attn = Attention(c, config.heads, window or config.grid)
        self.norm2 = nn.LayerNorm(c, eps=EPS)
        self.mlp = BlockMlp(c, config.mlp)

    def forward(self, x: Tensor) -> Tensor:
        """(N, h, w, C) -> (N, h, w, C)."""
        h, w = x.shape[1:3]
        y = self.norm1(x)
        if self.window:
            y = from_windows(self.attn(to_windows(y, self.window)), self.window, (h, w))
        else:
            y = self.attn(y)
        y = x + y
        out: Tensor = y + self.mlp(self.norm2(y))
        return out


class Attention(nn.Module):
    """Multi-head attention on a map, with a bias by relative row and relative column.

    Args:
        width: C.
        heads: a divisor of C.
        side: patches a side of the maps that its position tables are learned for.
    """

    down: Tensor | None
    across: Tensor | None

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.register_buffer("down", None, persistent=False)
        self.register_buffer("across", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h, w, C), B images or windows."""
        b, h, w, c = x.shape
        q, k, v = self.qkv(x).reshape(b, h * w, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=relative_bias(q, *self.tables((h, w))))
        out: Tensor = self.proj(y.transpose(1, 2).reshape(b, h, w, c))
        return out

    def tables(self, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Rows for pairs of rows (h, h, d) and pairs of columns (w, w, d) of a grid (h, w)."""
        if self.down is not None and self.across is not None:
            return self.down, self.across
        return table(self.rel_pos_h, grid[0]), table(self.rel_pos_w, grid[1])

    def bake(self, grid: tuple[int, int]) -> None:
        """Look the rows up once for a grid."""
        self.down = self.across = None
        self.down, self.across = (rows.detach().clone() for rows in self.tables(grid))


class BlockMlp(nn.Module):
    """Two linear layers around GELU, (..., C) -> (..., C)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """GELU by the error function."""
        y: Tensor = self.lin2(F.gelu(self.lin1(x)))
        return y


def to_windows(x: Tensor, window: int) -> Tensor:
    """Windows without overlap, zeros past the right and lower edge: (N, h, w, C) -> (N windows, window, window, C).

    The zeros are tokens like any other: they attend and are attended to, with key and value equal to the bias.
    """
    n, h, w, c = x.shape
    down, right = -h % window, -w % window
    if down or right:
        x = F.pad(x, (0, 0, 0, right, 0, down))
    rows, columns = (h + down) // window, (w + right) // window
    x = x.reshape(n, rows, window, columns, window, c).transpose(2, 3)
    return x.reshape(n * rows * columns, window, window, c)


def from_windows(x: Tensor, window: int, grid: tuple[int, int]) -> Tensor:
    """What `to_windows` took apart, the padding dropped: (N windows, window, window, C) -> (N, h, w, C)."""
    h, w = grid
    rows, columns = -(-h // window), -(-w // window)
    c = x.shape[-1]
    x = x.reshape(-1, rows, columns, window, window, c).transpose(2, 3)
    return x.reshape(-1, rows * window, columns * window, c)[:, :h, :w]


def _neck(width: int, outputs: int) -> nn.Sequential:
    """1x1 and 3x3 convolution, each with a norm."""
    return nn.Sequential(
        nn.Conv2d(width, outputs, 1, bias=False),
        MapNorm(outputs, EPS),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        MapNorm(outputs, EPS),
    )

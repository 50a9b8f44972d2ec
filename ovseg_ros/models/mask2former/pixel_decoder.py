"""Mask2Former's pixel decoder: a deformable-attention encoder over strides 32, 16 and 8, and one step to stride 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.mask2former.deformable import Grid, MSDeformAttn
from ovseg_ros.models.mask2former.layers import ConvNorm, sine_positions

GROUPS = 32  # of every group norm


@dataclass(frozen=True)
class PixelDecoderConfig:
    """Sizes; the defaults are the published ones of Mask2Former, GKC and EBSeg.

    Attributes:
        channels: of the backbone's maps at strides 4, 8, 16, 32.
        width: of the encoder, a multiple of 32 and of `heads`.
        mask_width: channels of the mask features.
        layers: of the encoder.
        heads, points: of its attention.
        hidden: of its feed-forward layers.
    """

    channels: tuple[int, int, int, int] = (256, 512, 1024, 2048)
    width: int = 256
    mask_width: int = 256
    layers: int = 6
    heads: int = 8
    points: int = 4
    hidden: int = 1024

    def __post_init__(self) -> None:
        if self.width % GROUPS or self.width % self.heads:
            raise ValueError(
                f"the pixel decoder's width is {self.width}; expected a multiple of {GROUPS} "
                f"and of its {self.heads} heads"
            )


class PixelDecoder(nn.Module):
    """`MSDeformAttnPixelDecoder` of the published code, names included.

    Args:
        config: sizes.
    """

    def __init__(self, config: PixelDecoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PixelDecoderConfig()
        c = config.width
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, c, 1), nn.GroupNorm(GROUPS, c)) for inputs in reversed(config.channels[1:])
        )
        for projection in self.input_proj:
            nn.init.xavier_uniform_(projection[0].weight)  # type: ignore[index]
            nn.init.zeros_(projection[0].bias)  # type: ignore[index]
        self.transformer = _Transformer(config)
        self.adapter_1 = ConvNorm(config.channels[0], c, 1, norm=nn.GroupNorm(GROUPS, c))
        self.layer_1 = ConvNorm(c, c, 3, norm=nn.GroupNorm(GROUPS, c), relu=True)
        self.mask_features = ConvNorm(c, config.mask_width, 1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """From a backbone's maps to mask features and the maps that queries look at.

        Args:
            maps: the backbone's at strides 4, 8, 16, 32, each (N, C_i, h_i, w_i); of any size each.

        Returns:
            mask features (N, mask_width, h, w) at stride 4, and three maps (N, width, h_i, w_i) at strides 32, 16, 8.
        """
        coarse = [proj(x) for proj, x in zip(self.input_proj, reversed(maps[1:]), strict=True)]  # strides 32, 16, 8
        levels = self.transformer(coarse)
        fine = self.adapter_1(maps[0])
        fine = fine + F.interpolate(levels[-1], size=fine.shape[2:], mode="bilinear", align_corners=False)
        return self.mask_features(self.layer_1(fine)), levels


class _Transformer(nn.Module):
    """`transformer.{level_embed, encoder.layers}`."""

    def __init__(self, config: PixelDecoderConfig) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.randn(3, config.width))
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Three maps (N, C, h_i, w_i) -> the same shapes."""
        grids: list[Grid] = [(x.shape[2], x.shape[3]) for x in maps]
        tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1)  # (N, L, C)
        positions = torch.cat(
            [sine_positions(grid, tokens.shape[2], tokens) + self.level_embed[i] for i, grid in enumerate(grids)]
        )
        centres = torch.cat([_centres(grid, tokens) for grid in grids])  # (L, 2)
        reference = centres[None, :, None].expand(1, -1, len(grids), 2)
        for layer in self.encoder.layers:  # type: ignore[union-attr]
            tokens = layer(tokens, positions, reference, grids)
        parts = tokens.split([h * w for h, w in grids], dim=1)  # type: ignore[no-untyped-call]
        return [x.transpose(1, 2).reshape(x.shape[0], -1, *grid) for x, grid in zip(parts, grids, strict=True)]


class EncoderLayer(nn.Module):
    """Deformable self-attention over all levels, then MLP; norms after each."""

    def __init__(self, config: PixelDecoderConfig) -> None:
        super().__init__()
        c = config.width
        self.self_attn = MSDeformAttn(c, 3, config.heads, config.points)
        self.norm1 = nn.LayerNorm(c)
        self.linear1 = nn.Linear(c, config.hidden)
        self.linear2 = nn.Linear(config.hidden, c)
        self.norm2 = nn.LayerNorm(c)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor, positions: Tensor, reference: Tensor, grids: Sequence[Grid]) -> Tensor:
        """(N, L, C) -> (N, L, C)."""
        x = self.norm1(x + self.self_attn(x + positions, reference, x, grids))
        y: Tensor = self.norm2(x + self.linear2(F.relu(self.linear1(x))))
        return y


def _centres(grid: Grid, like: Tensor) -> Tensor:
    """x and y of the cells' centres in 0..1: (h * w, 2), row by row."""
    h, w = grid
    y = (torch.arange(h, dtype=like.dtype, device=like.device) + 0.5) / h
    x = (torch.arange(w, dtype=like.dtype, device=like.device) + 0.5) / w
    return torch.stack([x[None].expand(h, w), y[:, None].expand(h, w)], dim=-1).reshape(h * w, 2)

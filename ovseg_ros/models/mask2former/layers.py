"""Small layers that MaskFormer and Mask2Former share, named as their checkpoints name them."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Conv2d):
    """A convolution that keeps the size up to its stride, with an optional norm inside: `weight`, `norm.*`.

    Args:
        inputs, outputs: channels.
        kernel: odd.
        norm: applied after the convolution, which then has no bias.
        relu: whether ReLU follows.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        norm: nn.Module | None = None,
        relu: bool = False,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(inputs, outputs, kernel, stride, padding, dilation, bias=norm is None)
        self.norm = norm
        self.relu = relu
        nn.init.kaiming_uniform_(self.weight, a=1)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h / stride, w / stride)."""
        x = super().forward(x)
        x = x if self.norm is None else self.norm(x)
        return F.relu(x) if self.relu else x


class Mlp(nn.Module):
    """Linear layers with ReLU between them: `layers.0` and so on.

    Args:
        widths: of the input, of each hidden layer and of the output.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C')."""
        for i, layer in enumerate(self.layers):
            x = layer(x if i == 0 else F.relu(x))
        return x


class MultiheadAttention(nn.Module):
    """torch's multi-head attention, batch first and under its names, in operations that compilers fuse.

    Args:
        width: C.
        heads: a divisor of C.
        dropout: of attention weights, in training.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))  # rows of q, k, v
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """(N, Q, C), (N, L, C) twice, bias (N, 1 or heads, Q, L) added to the logits -> (N, Q, C)."""
        width = query.shape[2]
        q, k, v = (
            split_heads(F.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows]), self.heads)
            for x, rows in ((x, slice(i * width, (i + 1) * width)) for i, x in enumerate((query, key, value)))
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)
        y: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return y


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(N, L, C) -> (N, heads, L, C / heads)."""
    return x.reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads).transpose(1, 2)


def sine_positions(grid: tuple[int, int], channels: int, like: Tensor) -> Tensor:
    """DETR's fixed positions of a grid's cells (arXiv 2005.12872), normalised to 0..2 pi along each axis.

    Args:
        grid: (h, w).
        channels: of the result, a multiple of 4: the first half tells the row, the second the column, each with sine
            and cosine in turns at wavelengths from 2 pi to 10000 * 2 pi.
        like: whose dtype and device the result takes.

    Returns:
        (h * w, channels), row by row.
    """
    rows, columns = (_axis(size, channels // 2, like) for size in grid)
    h, w = grid
    both = torch.cat([rows[:, None].expand(h, w, -1), columns[None].expand(h, w, -1)], dim=2)
    return both.reshape(h * w, channels)


def _axis(size: int, channels: int, like: Tensor) -> Tensor:
    """(size, channels) of one axis."""
    place = torch.arange(1, size + 1, dtype=like.dtype, device=like.device)
    place = place / (size + 1e-6) * (2 * math.pi)
    step = torch.arange(channels // 2, dtype=like.dtype, device=like.device)
    angle = place[:, None] / 10000 ** (2 * step / channels)
    return torch.stack([angle.sin(), angle.cos()], dim=2).reshape(size, channels)

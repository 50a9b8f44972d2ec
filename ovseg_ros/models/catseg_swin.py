"""CAT-Seg's spatial aggregation: attention in windows of the correlation of one class, guided by the image.

Cho et al., arXiv 2303.11797, section 3.2; a pair of Swin blocks (Liu et al., arXiv 2103.14030), the second shifted by
half a window, without relative positions. Parameters carry the published names.

Shapes: N images, T classes, h x w cells, C channels, G of the guidance, W windows of L cells.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ovseg_ros.models.attention import narrow_attention

BLOCKED = -100.0  # added to a logit to forbid it, as published


class GuidedLinear(nn.Module):
    """A linear layer on features with guidance beside them: what many features share is projected once.

    Args:
        width: C of the features.
        guidance: G.
        outputs: channels of the result.
    """

    def __init__(self, width: int, guidance: int, outputs: int) -> None:
        super().__init__()
        whole = nn.Linear(width + guidance, outputs)
        self.width = width
        self.weight, self.bias = whole.weight, whole.bias

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """(..., C) and (..., G), which broadcast -> (..., outputs), the layer on both side by side."""
        shared = F.linear(guidance, self.weight[:, self.width :], self.bias)
        return F.linear(x, self.weight[:, : self.width]) + shared


class SwinPair(nn.Module):
    """Windows, then shifted windows.

    Args:
        width: C.
        guidance: G.
        heads: a divisor of C.
        window: cells a side.
    """

    def __init__(self, width: int, guidance: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.block_1 = SwinBlock(width, guidance, heads)
        self.block_2 = SwinBlock(width, guidance, heads)
        self.guidance_norm = nn.LayerNorm(guidance)

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """(N, T, h, w, C) and (N, h, w, G) -> (N, T, h, w, C).

        A grid no larger than a window is one window, unshifted. One that windows do not divide is padded at the right
        and below with cells that nobody looks at.
        """
        least = min(x.shape[2], x.shape[3])
        window, shift = (self.window, self.window // 2) if least > self.window else (least, 0)
        shared = self.guidance_norm(guidance)[:, None]  # (N, 1, h, w, G)
        x = self.block_1(x, shared, window, 0)
        y: Tensor = self.block_2(x, shared, window, shift)
        return y


class SwinBlock(nn.Module):
    """Attention in windows and an MLP, both residual."""

    def __init__(self, width: int, guidance: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, guidance, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = SwinMlp(width, 4 * width)

    def forward(self, x: Tensor, guidance: Tensor, window: int, shift: int) -> Tensor:
        """(N, T, h, w, C) and (N, 1, h, w, G) -> (N, T, h, w, C)."""
        h, w = x.shape[2], x.shape[3]
        cells, shared = (cut(y, window, shift) for y in (self.norm1(x), guidance))
        blocked = blocked_pairs(h, w, window, shift)
        mixed = self.attn(cells, shared, None if blocked is None else blocked.to(x))
        x = x + join(mixed, (h, w), window, shift)
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class WindowAttention(nn.Module):
    """Multi-head attention inside windows; queries and keys see the guidance, values do not."""

    def __init__(self, width: int, guidance: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = GuidedLinear(width, guidance, width)
        self.k = GuidedLinear(width, guidance, width)
        self.v = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, guidance: Tensor, bias: Tensor | None) -> Tensor:
        """(N, T, W, L, C), (N, 1, W, L, G) and (W, 1, L, L) for the logits -> (N, T, W, L, C)."""
        q, k, v = (self._split(y) for y in (self.q(x, guidance), self.k(x, guidance), self.v(x)))
        if bias is not None:
            bias = bias.expand(-1, self.heads, -1, -1).flatten(0, 1)
        mixed = narrow_attention(q, k, v, bias)  # (N T, W heads, L, d)
        mixed = mixed.reshape(mixed.shape[0], -1, self.heads, *mixed.shape[2:]).transpose(2, 3)
        y: Tensor = self.proj(mixed.reshape(x.shape))
        return y

    def _split(self, x: Tensor) -> Tensor:
        """(N, T, W, L, C) -> (N T, W heads, L, C / heads): compilers know attention with four axes."""
        windows, cells, width = x.shape[2:]
        return x.reshape(-1, windows, cells, self.heads, width // self.heads).transpose(2, 3).flatten(1, 2)


class SwinMlp(nn.Module):
    """Two linear layers around GELU, (..., C) -> (..., C)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """As it says."""
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


def cut(x: Tensor, window: int, shift: int) -> Tensor:
    """Windows of a map whose rows and columns are rolled by `shift`: (N, T, h, w, C) -> (N, T, W, L, C)."""
    n, t, h, w, c = x.shape
    down, right = -h % window, -w % window
    if down or right:
        x = F.pad(x, (0, 0, 0, right, 0, down))
    if shift:
        x = torch.roll(x, (-shift, -shift), dims=(2, 3))
    rows, columns = (h + down) // window, (w + right) // window
    x = x.reshape(n, t, rows, window, columns, window, c).transpose(4, 3)  # (N, T, rows, columns, window, window, C)
    return x.reshape(n, t, rows * columns, window * window, c)


def join(x: Tensor, grid: tuple[int, int], window: int, shift: int) -> Tensor:
    """The inverse of `cut`: (N, T, W, L, C) -> (N, T, h, w, C)."""
    n, t, _, _, c = x.shape
    h, w = grid
    rows, columns = -(-h // window), -(-w // window)
    x = x.reshape(n, t, rows, columns, window, window, c).transpose(4, 3)
    x = x.reshape(n, t, rows * window, columns * window, c)
    if shift:
        x = torch.roll(x, (shift, shift), dims=(2, 3))
    return x[:, :, :h, :w]


def blocked_pairs(h: int, w: int, window: int, shift: int) -> Tensor | None:
    """What forbids cells to look at padding, and at cells that only rolling made their neighbours.

    Returns:
        (W, 1, L, L) float32, 0 or -100, on the CPU; None where nothing is forbidden.
    """
    if not shift and h % window == 0 and w % window == 0:
        return None
    # in NumPy, so that an exported graph holds the result and not how it is made
    rows, columns = _pieces(h, window, shift), _pieces(w, window, shift)
    piece = np.where((rows[:, None] < 0) | (columns < 0), -1, 3 * rows[:, None] + columns)
    shape = (len(rows) // window, window, len(columns) // window, window)
    cells = piece.reshape(shape).swapaxes(1, 2).reshape(-1, window * window)  # (W, L)
    allowed = (cells[:, :, None] == cells[:, None]) & (cells[:, None] >= 0)
    return torch.from_numpy(np.where(allowed, 0.0, BLOCKED).astype(np.float32))[:, None]


def _pieces(side: int, window: int, shift: int) -> NDArray[np.int64]:
    """Which piece each place along a padded and rolled axis belongs to; -1 for padding."""
    whole = -(-side // window) * window
    place = np.arange(whole)
    piece = (place >= whole - window).astype(np.int64) + (place >= whole - shift) if shift else np.zeros_like(place)
    return np.where((place + shift) % whole < side, piece, -1)

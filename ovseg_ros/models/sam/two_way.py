"""SAM's two-way transformer: prompt tokens and image cells attend to each other.

Kirillov et al., arXiv 2304.02643, appendix A; ESC-Net (arXiv 2411.14723) uses single blocks of it.
Shapes: B prompts, T tokens, P image cells, C channels.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.attention import narrow_attention
from ovseg_ros.models.sam.config import SamDecoderConfig

DOWNSAMPLE = 2  # cross-attention works at C divided by this


class TwoWayTransformer(nn.Module):
    """Two-way blocks and a last attention of the tokens to the image.

    Args:
        config: sizes.
    """

    def __init__(self, config: SamDecoderConfig) -> None:
        super().__init__()
        c, heads = config.width, config.heads
        self.layers = nn.ModuleList(TwoWayBlock(c, heads, config.mlp, first=i == 0) for i in range(config.depth))
        self.final_attn_token_to_image = CrossAttention(c, heads, c // DOWNSAMPLE)
        self.norm_final_attn = nn.LayerNorm(c)

    def forward(self, image: Tensor, image_positions: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Attend both ways.

        Args:
            image: (B, C, h, w), or B = 1 for all prompts.
            image_positions: of the same shape.
            tokens: (B, T, C); at first they are their own positions.

        Returns:
            tokens (B, T, C) and image cells (B, h * w, C).
        """
        cells, places = (x.flatten(2).transpose(1, 2) for x in (image, image_positions))  # (B, P, C)
        x = tokens
        for layer in self.layers:
            x, cells = layer(x, cells, tokens, places)
        x = x + self.final_attn_token_to_image(x + tokens, cells + places, cells)
        return self.norm_final_attn(x), cells


class TwoWayBlock(nn.Module):
    """Self-attention of the tokens, tokens to image, an MLP, and image to tokens, norms after each.

    Args:
        width: C.
        heads: of every attention.
        mlp: hidden width.
        first: the first block: its self-attention takes no positions and replaces the tokens.
    """

    def __init__(self, width: int, heads: int, mlp: int, first: bool = False) -> None:
        super().__init__()
        self.first = first
        self.self_attn = CrossAttention(width, heads, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = CrossAttention(width, heads, width // DOWNSAMPLE)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = TokenMlp(width, mlp)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = CrossAttention(width, heads, width // DOWNSAMPLE)

    def forward(self, tokens: Tensor, cells: Tensor, token_positions: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, C) and image cells (B, P, C) with the positions of both -> tokens and cells."""
        if self.first:
            x = self.self_attn(tokens, tokens, tokens)
        else:
            y = tokens + token_positions
            x = tokens + self.self_attn(y, y, tokens)
        x = self.norm1(x)
        x = self.norm2(x + self.cross_attn_token_to_image(x + token_positions, cells + places, cells))
        x = self.norm3(x + self.mlp(x))
        cells = self.norm4(cells + self.cross_attn_image_to_token(cells + places, x + token_positions, x))
        return x, cells


class CrossAttention(nn.Module):
    """Multi-head attention with separate inputs, at a width of its own.

    Args:
        width: C of inputs and output.
        heads: a divisor of `inner`.
        inner: channels of q, k and v together.
    """

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        if inner % heads:
            raise ValueError(f"an attention of {inner} channels cannot have {heads} heads: choose a divisor")
        self.heads = heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(B, Lq, C), (B, Lk, C), (B, Lk, C) -> (B, Lq, C)."""
        q, k, v = self._split(self.q_proj(queries)), self._split(self.k_proj(keys)), self._split(self.v_proj(values))
        y = narrow_attention(q, k, v)
        out: Tensor = self.out_proj(y.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        """(B, L, inner) -> (B, heads, L, inner / heads)."""
        return x.reshape(x.shape[0], x.shape[1], self.heads, x.shape[2] // self.heads).transpose(1, 2)


class TokenMlp(nn.Module):
    """Two linear layers around ReLU, (..., C) -> (..., C)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """As it says."""
        y: Tensor = self.lin2(F.relu(self.lin1(x)))
        return y

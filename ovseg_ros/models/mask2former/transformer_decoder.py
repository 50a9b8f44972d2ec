"""Mask2Former's decoder: queries that look at a map only where their own mask is, level after level.

Masked attention: arXiv 2112.01527, section 3.2.1. A model that classifies its proposals in its own way (GKC, EBSeg)
derives from `MaskedDecoder` and adds its heads on the states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.mask2former.layers import Mlp, MultiheadAttention, sine_positions

HIDDEN = -1e4  # added to a logit: exp of it is 0 in every type, and it is finite in float16, unlike -inf after a sum

Look = Callable[[Tensor, tuple[int, int]], Tensor]  # queries (N, Q, C), a grid (h, w) -> their masks (N, Q, h, w)


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes; the defaults are Mask2Former's, GKC's and EBSeg's.

    Attributes:
        channels: of the maps that are looked at.
        width: of the queries.
        queries: Q.
        layers: each one cross-attention, one self-attention, one MLP.
        heads: of attention.
        hidden: of the MLP.
        mask_width: channels of the mask features.
    """

    channels: int = 256
    width: int = 256
    queries: int = 100
    layers: int = 9
    heads: int = 8
    hidden: int = 2048
    mask_width: int = 256


class State(NamedTuple):
    """The queries at one depth.

    Attributes:
        query: (N, Q, C), normed.
        mask_embedding: (N, Q, mask_width).
        masks: (N, Q, h, w) mask logits, the products of embeddings and mask features.
    """

    query: Tensor
    mask_embedding: Tensor
    masks: Tensor


class MaskedDecoder(nn.Module):
    """`MultiScaleMaskedTransformerDecoder` of the published code without a classifier, names included.

    Args:
        config: sizes.
    """

    def __init__(self, config: DecoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DecoderConfig()
        c = config.width
        self.transformer_self_attention_layers = nn.ModuleList(_SelfAttention(config) for _ in range(config.layers))
        self.transformer_cross_attention_layers = nn.ModuleList(_CrossAttention(config) for _ in range(config.layers))
        self.transformer_ffn_layers = nn.ModuleList(_FeedForward(config) for _ in range(config.layers))
        self.decoder_norm = nn.LayerNorm(c)
        self.query_feat = nn.Embedding(config.queries, c)
        self.query_embed = nn.Embedding(config.queries, c)
        self.level_embed = nn.Embedding(3, c)
        self.input_proj = nn.ModuleList(
            nn.Sequential() if config.channels == c else nn.Conv2d(config.channels, c, 1) for _ in range(3)
        )
        for projection in self.input_proj:
            if isinstance(projection, nn.Conv2d):
                nn.init.kaiming_uniform_(projection.weight, a=1)
                nn.init.zeros_(projection.bias)  # type: ignore[arg-type]
        self.mask_embed = Mlp(c, c, c, config.mask_width)

    def states(self, maps: Sequence[Tensor], mask_features: Tensor) -> list[State]:
        """All states, from the learned queries before any layer to the last, for losses on each.

        Args:
            maps: three, (N, channels, h_i, w_i), in the order in which layers look at them.
            mask_features: (N, mask_width, h, w).

        Returns:
            layers + 1 states.
        """
        found: list[State] = []

        def look(query: Tensor, grid: tuple[int, int]) -> Tensor:
            found.append(self.state(query, mask_features))
            return F.interpolate(found[-1].masks, size=grid, mode="bilinear", align_corners=False)

        query = self._decode(maps, look)
        return [*found, self.state(query, mask_features)]

    def last_state(self, maps: Sequence[Tensor], mask_features: Tensor) -> State:
        """The last of `states` alone, as in deployment.

        The masks in between steer attention at the size of a map. They are products with mask features, so features
        resized once for each map give the same numbers as masks resized after every layer, for a small part of the
        multiplications. Only a mask logit within rounding of 0 may fall on the other side.
        """
        grids = [(x.shape[2], x.shape[3]) for x in maps]
        small = {
            grid: F.interpolate(mask_features, size=grid, mode="bilinear", align_corners=False) for grid in set(grids)
        }
        query = self._decode(maps, lambda query, grid: self.state(query, small[grid]).masks)
        return self.state(query, mask_features)

    def state(self, query: Tensor, mask_features: Tensor) -> State:
        """What queries (N, Q, C) say at this depth; see `State`."""
        normed = self.decoder_norm(query)
        embedding = self.mask_embed(normed)
        n, c, h, w = mask_features.shape
        masks = (embedding @ mask_features.reshape(n, c, h * w)).reshape(n, -1, h, w)
        return State(normed, embedding, masks)

    def _decode(self, maps: Sequence[Tensor], look: Look) -> Tensor:
        """The queries after the last layer; `look` gives their masks (N, Q, h, w) on a grid."""
        keys, values = [], []
        for i, x in enumerate(maps):
            tokens = self.input_proj[i](x).flatten(2).transpose(1, 2) + self.level_embed.weight[i]
            grid = (x.shape[2], x.shape[3])
            values.append(tokens)
            keys.append(tokens + sine_positions(grid, tokens.shape[2], tokens))
        n = maps[0].shape[0]
        query = self.query_feat.weight.expand(n, -1, -1)
        positions = self.query_embed.weight
        for i, cross in enumerate(self.transformer_cross_attention_layers):
            level = i % 3
            masks = look(query, (maps[level].shape[2], maps[level].shape[3]))
            query = cross(query, positions, keys[level], values[level], attention_bias(masks))
            query = self.transformer_self_attention_layers[i](query, positions)
            query = self.transformer_ffn_layers[i](query)
        return query


def attention_bias(masks: Tensor) -> Tensor:
    """What masks allow queries to see: (N, Q, h, w) logits -> (N, 1, Q, h * w) to add to the logits of attention.

    A query sees the cells inside its mask (probability at least one half), and all cells where the mask is empty.
    No gradient flows through the choice.
    """
    hidden = masks.detach().flatten(2)[:, None] < 0
    empty = hidden.all(dim=-1, keepdim=True)
    return torch.where(hidden & ~empty, HIDDEN, 0.0).to(masks.dtype)


class _SelfAttention(nn.Module):
    """Queries look at each other; norm after."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(config.width, config.heads)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, query: Tensor, positions: Tensor) -> Tensor:
        """(N, Q, C) -> (N, Q, C)."""
        placed = query + positions
        y: Tensor = self.norm(query + self.self_attn(placed, placed, query))
        return y


class _CrossAttention(nn.Module):
    """Queries look at a map; norm after."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.multihead_attn = MultiheadAttention(config.width, config.heads)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, query: Tensor, positions: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """(N, Q, C) -> (N, Q, C)."""
        y: Tensor = self.norm(query + self.multihead_attn(query + positions, keys, values, bias))
        return y


class _FeedForward(nn.Module):
    """Each query by itself; norm after."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.linear1 = nn.Linear(config.width, config.hidden)
        self.linear2 = nn.Linear(config.hidden, config.width)
        self.norm = nn.LayerNorm(config.width)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, query: Tensor) -> Tensor:
        """(N, Q, C) -> (N, Q, C)."""
        y: Tensor = self.norm(query + self.linear2(F.relu(self.linear1(query))))
        return y

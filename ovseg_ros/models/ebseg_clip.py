"""CLIP in EBSeg: a trunk with two streams, and queries that run through its last blocks.

The first stream is CLIP's own. The second, from an early block on, adds what value-value attention gives and skips
the MLPs (CLIP Surgery, arXiv 2304.05653); the embedding D is pooled from its last map. Queries are copies of CLS that
see the patches through biases predicted for them (SAN, arXiv 2302.12242); B is what becomes of them.

The published code runs [queries, CLS, patches] through both streams once for every state of the decoder. But no patch
ever sees a query, so neither stream depends on them: here both streams run once, and the queries attend to the first
one's keys and values. The results are equal; the last block's own output is needed by nobody and left out.

Shapes: N images, L = 1 + h * w tokens, C channels, H heads, d channels a head, Q queries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_ros.models.attention import QK, VV, Attention, Context, Heads
from ovseg_ros.models.clip import Block, VisionTransformer, to_map


@dataclass(frozen=True)
class Streams:
    """CLIP's tokens half-way.

    Attributes:
        tokens: (N, L, C), the first stream.
        second: (N, L, C), the second; None where it was not asked for.
        grid: (h, w).
        maps: (N, C, h, w) of the first stream, after the blocks that were asked for.
    """

    tokens: Tensor
    second: Tensor | None
    grid: tuple[int, int]
    maps: tuple[Tensor, ...] = ()


def extract(
    clip: VisionTransformer,
    image: Tensor,
    until: int,
    taps: tuple[int, ...],
    second_from: int | None,
) -> Streams:
    """The first blocks.

    Args:
        clip: the trunk.
        image: (N, 3, H, W) normalised by its mean and std, H and W multiples of the patch.
        until: so many blocks.
        taps: maps after so many blocks each.
        second_from: the block that the second stream starts at; None for the first stream alone, as in training.

    Returns:
        Both streams after `until` blocks.
    """
    x, grid = clip.embed(image)
    streams = Streams(x, None, grid)
    tapped: dict[int, Tensor] = {}
    for i in range(until):
        if second_from is not None and i >= second_from:
            streams = replace(streams, second=streams.tokens if streams.second is None else streams.second)
        streams = step(clip, i, streams, project(clip, i, streams))
        if i + 1 in taps:
            tapped[i + 1] = to_map(streams.tokens, grid)
    if second_from == until:  # a trunk whose second stream begins in the recognition head
        streams = replace(streams, second=streams.tokens)
    return replace(streams, maps=tuple(tapped[i] for i in taps))


def recognise(clip: VisionTransformer, streams: Streams, first: int, bias: Tensor) -> tuple[Tensor, Tensor | None]:
    """The last blocks: B, and the map that D is pooled from.

    Args:
        clip: the trunk.
        streams: after `first` blocks.
        first: the block to go on with.
        bias: (N, H, Q, h * w), added to the logits of queries for patches in every block. The queries of several
            states of a decoder stand side by side: no query sees another.

    Returns:
        B, unit vectors (N, Q, D), and the second stream's unit vectors (N, D, h, w), None where it is None.
    """
    blocks = range(first, clip.config.layers)
    queries = streams.tokens[:, :1].expand(-1, bias.shape[2], -1)  # (N, Q, C)
    for i in blocks:
        heads = project(clip, i, streams)
        queries = step_queries(clip, i, queries, heads, bias)
        streams = step(clip, i, streams, heads, last=i == blocks[-1])
    b = F.normalize(clip.project(queries), dim=-1)
    if streams.second is None:
        return b, None
    dense: Tensor = F.normalize(clip.project(streams.second), dim=-1)
    return b, to_map(dense, streams.grid)


def project(clip: VisionTransformer, index: int, streams: Streams) -> Heads:
    """What both streams and the queries share of a block: q, k, v of the first stream, each (N, H, L, d)."""
    uses = "qkv" if index + 1 < clip.config.layers else "kv"  # nobody reads the last block's own output
    return clip.attention(index).project(clip.normed(index, streams.tokens), uses)


def step(clip: VisionTransformer, index: int, streams: Streams, heads: Heads, last: bool = False) -> Streams:
    """One block on both streams; only on the second where it is the last."""
    attn, context = clip.attention(index), Context(streams.grid)
    second = streams.second
    if second is not None:
        second = second + attn.merge(VV.mix(heads, context))
    if last:
        return replace(streams, second=second)
    tokens = add(_block(clip, index), streams.tokens, attn.merge(QK.mix(heads, context)))
    return replace(streams, tokens=tokens, second=second)


def step_queries(clip: VisionTransformer, index: int, queries: Tensor, heads: Heads, bias: Tensor) -> Tensor:
    """One block on the queries (N, Q, C): each sees itself, and the patches with its bias (N, H, Q, h * w)."""
    attn: Attention = clip.attention(index)
    own = attn.project(clip.normed(index, queries))
    patches = bias.shape[-1]
    keys, values = (heads[name][:, :, -patches:] for name in "kv")  # without CLS
    q = own["q"] * own["q"].shape[-1] ** -0.5
    to_itself = (q * own["k"]).sum(dim=-1, keepdim=True)  # (N, H, Q, 1)
    shares = torch.cat([to_itself, q @ keys.transpose(-1, -2) + bias], dim=-1).softmax(dim=-1)
    mixed = shares[..., :1] * own["v"] + shares[..., 1:] @ values
    return add(_block(clip, index), queries, attn.merge(mixed))


def add(block: Block, x: Tensor, mixed: Tensor) -> Tensor:
    """What a block of CLIP does with the output of its attention: both residuals and the MLP, (N, L, C) twice."""
    y: Tensor = x + block.ls_1(mixed)
    out: Tensor = y + block.ls_2(block.mlp(block.ln_2(y)))
    return out


def _block(clip: VisionTransformer, index: int) -> Block:
    block = clip.blocks[index]
    assert isinstance(block, Block)
    return block

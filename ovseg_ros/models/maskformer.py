"""MaskFormer, the mask net of DeOP and of the two-stream baseline: class-agnostic proposals from one image.

Cheng et al., arXiv 2107.06278: a feature pyramid for per-pixel embeddings, a DETR decoder (arXiv 2005.12872) whose
queries look at the coarsest map, and masks as products of the two. Its classifier ends in the text space
(`class_embed`), which DeOP trains with and never asks again. Names are those of DeOP's checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.mask2former.layers import ConvNorm, Mlp, MultiheadAttention, sine_positions
from ovseg_ros.models.mask2former.pixel_decoder import GROUPS
from ovseg_ros.models.mask_read_out import Proposals
from ovseg_ros.models.resnet import ResNet, ResNetConfig


@dataclass(frozen=True)
class MaskFormerConfig:
    """Sizes; the defaults are those of DeOP's mask net.

    Attributes:
        backbone: of the ResNet.
        width: of pyramid and queries, a multiple of 32 and of `heads`.
        mask_width: channels of the mask features.
        queries: Q.
        layers: of the decoder.
        heads, hidden, dropout: of its attention, its MLPs, and in training.
        class_hidden: of the classifier.
        text_width: D.
    """

    backbone: ResNetConfig = field(default_factory=ResNetConfig)
    width: int = 256
    mask_width: int = 256
    queries: int = 100
    layers: int = 6
    heads: int = 8
    hidden: int = 2048
    dropout: float = 0.1
    class_hidden: int = 1024
    text_width: int = 512

    def __post_init__(self) -> None:
        if self.width % GROUPS or self.width % self.heads:
            raise ValueError(
                f"MaskFormer's width is {self.width}; expected a multiple of {GROUPS} and of its {self.heads} heads"
            )


class MaskFormer(nn.Module):
    """`backbone` and `sem_seg_head.{pixel_decoder, predictor}`.

    Args:
        config: sizes.
    """

    def __init__(self, config: MaskFormerConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MaskFormerConfig()
        self.backbone = ResNet(config.backbone)
        self.sem_seg_head = nn.Module()
        self.sem_seg_head.pixel_decoder = FeaturePyramid(config)
        self.sem_seg_head.predictor = Predictor(config)

    def forward(self, pixels: Tensor) -> list[Proposals]:
        """The proposals after every layer of the decoder, for losses on each; the last ones are the result.

        Args:
            pixels: (N, 3, H, W) normalised, of any size.

        Returns:
            masks (N, Q, H / 4, W / 4) logits and class embeddings (N, Q, D), not normalised, of each layer.
        """
        features, coarsest = self.maps(pixels)
        predictor = self.predictor
        return [
            Proposals(predictor.masks(query, features), predictor.class_embed(query))
            for query in predictor.queries(coarsest)
        ]

    def propose(self, pixels: Tensor) -> Tensor:
        """The masks alone, after the last layer: (N, 3, H, W) -> (N, Q, H / 4, W / 4) logits."""
        features, coarsest = self.maps(pixels)
        return self.predictor.masks(self.predictor.queries(coarsest, last=True)[0], features)

    def maps(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mask features at stride 4, and the backbone's coarsest map."""
        maps = self.backbone(pixels)
        features: Tensor = self.sem_seg_head.pixel_decoder(maps)  # type: ignore[operator]
        return features, maps[-1]

    @property
    def predictor(self) -> Predictor:
        """The decoder of queries."""
        predictor: Predictor = self.sem_seg_head.predictor  # type: ignore[assignment]
        return predictor


class FeaturePyramid(nn.Module):
    """`BasePixelDecoder` of the published code: top down, nearest neighbours, to mask features at stride 4."""

    def __init__(self, config: MaskFormerConfig) -> None:
        super().__init__()
        c, inputs = config.width, config.backbone.widths
        for i in (1, 2, 3):
            self.add_module(f"adapter_{i}", ConvNorm(inputs[i - 1], c, 1, norm=nn.GroupNorm(GROUPS, c)))
            self.add_module(f"layer_{i}", ConvNorm(c, c, 3, norm=nn.GroupNorm(GROUPS, c), relu=True))
        self.layer_4 = ConvNorm(inputs[3], c, 3, norm=nn.GroupNorm(GROUPS, c), relu=True)
        self.mask_features = ConvNorm(c, config.mask_width, 3)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps at strides 4, 8, 16, 32, (N, C_i, h_i, w_i) -> (N, mask_width, h_1, w_1)."""
        x = self.layer_4(maps[3])
        for i in (3, 2, 1):
            finer = getattr(self, f"adapter_{i}")(maps[i - 1])
            x = finer + F.interpolate(x, size=finer.shape[2:], mode="nearest")
            x = getattr(self, f"layer_{i}")(x)
        features: Tensor = self.mask_features(x)
        return features


class Predictor(nn.Module):
    """`ZeroShotTransformerPredictor`: DETR's decoder without an encoder, and what is read off its queries."""

    def __init__(self, config: MaskFormerConfig) -> None:
        super().__init__()
        c = config.width
        self.transformer = nn.Module()
        self.transformer.decoder = _Decoder(config)
        self.query_embed = nn.Embedding(config.queries, c)
        self.input_proj = ConvNorm(config.backbone.widths[3], c, 1)
        self.mask_embed = Mlp(c, c, c, config.mask_width)
        self.class_embed = Mlp(c, config.class_hidden, config.text_width)

    def queries(self, coarsest: Tensor, last: bool = False) -> list[Tensor]:
        """Normed queries after every layer, or after the last alone: (N, C, h, w) -> (N, Q, width) each."""
        x = self.input_proj(coarsest)
        memory = x.flatten(2).transpose(1, 2)  # (N, h w, width)
        keys = memory + sine_positions((x.shape[2], x.shape[3]), memory.shape[2], memory)
        positions = self.query_embed.weight.expand(x.shape[0], -1, -1)
        found: list[Tensor] = self.transformer.decoder(positions, keys, memory, last)  # type: ignore[operator]
        return found

    def masks(self, query: Tensor, features: Tensor) -> Tensor:
        """Mask logits: (N, Q, width), (N, mask_width, h, w) -> (N, Q, h, w)."""
        n, c, h, w = features.shape
        masks: Tensor = self.mask_embed(query) @ features.reshape(n, c, h * w)
        return masks.reshape(n, -1, h, w)


class _Decoder(nn.Module):
    """`transformer.decoder.{layers, norm}`."""

    def __init__(self, config: MaskFormerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DetrLayer(config.width, config.heads, config.hidden, config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)

    def forward(self, positions: Tensor, keys: Tensor, memory: Tensor, last: bool) -> list[Tensor]:
        """Queries start as zeros."""
        query = torch.zeros_like(positions)
        found = []
        for layer in self.layers:
            query = layer(query, positions, keys, memory)
            found.append(query)
        return [self.norm(x) for x in (found[-1:] if last else found)]


class DetrLayer(nn.Module):
    """Queries look at each other, then at the memory, then an MLP; norms after each (DETR, appendix A.3).

    Args:
        width, heads, hidden: sizes.
        dropout: in training.
        cross: name of the second attention in checkpoints.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, cross: str = "multihead_attn") -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(width, heads, dropout)
        self.cross = cross
        self.add_module(cross, MultiheadAttention(width, heads, dropout))
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, query: Tensor, positions: Tensor, keys: Tensor, memory: Tensor) -> Tensor:
        """(N, Q, C), positions of the queries, keys (N, L, C) with positions, memory (N, L, C) -> (N, Q, C)."""
        drop = self.dropout
        placed = query + positions
        query = self.norm1(query + drop(self.self_attn(placed, placed, query)))
        attend = getattr(self, self.cross)
        query = self.norm2(query + drop(attend(query + positions, keys, memory)))
        y: Tensor = self.norm3(query + drop(self.linear2(drop(F.relu(self.linear1(query))))))
        return y

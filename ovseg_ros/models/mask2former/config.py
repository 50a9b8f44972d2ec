"""Sizes of Mask2Former's decoders as the systems on it choose them: one width, from pixels to masks."""

from __future__ import annotations

from dataclasses import dataclass

from ovseg_ros.models.mask2former.pixel_decoder import PixelDecoderConfig
from ovseg_ros.models.mask2former.transformer_decoder import DecoderConfig


@dataclass(frozen=True, kw_only=True)
class Mask2FormerConfig:
    """What EBSeg's and GKC's configs begin with; the defaults are Mask2Former's, and those of both.

    Attributes:
        width: channels of the pixel decoder, the mask features and the queries.
        heads: of every attention of the decoders.
        queries: proposals, Q.
        pixel_layers, pixel_mlp: layers of the pixel decoder, and the hidden width of their MLPs.
        layers, mlp: of the transformer decoder; it has a state more than layers.
    """

    width: int = 256
    heads: int = 8
    queries: int = 100
    pixel_layers: int = 6
    pixel_mlp: int = 1024
    layers: int = 9
    mlp: int = 2048

    def __post_init__(self) -> None:
        if self.queries < 1 or self.layers < 1:
            raise ValueError(f"queries are {self.queries} and layers {self.layers}; expected at least 1 of each")

    def pixel_decoder(self, channels: tuple[int, int, int, int]) -> PixelDecoderConfig:
        """Of the pixel decoder on maps of so many channels at strides 4, 8, 16, 32."""
        return PixelDecoderConfig(
            channels=channels,
            width=self.width,
            mask_width=self.width,
            layers=self.pixel_layers,
            heads=self.heads,
            hidden=self.pixel_mlp,
        )

    def decoder(self) -> DecoderConfig:
        """Of the transformer decoder."""
        return DecoderConfig(
            channels=self.width,
            width=self.width,
            queries=self.queries,
            layers=self.layers,
            heads=self.heads,
            hidden=self.mlp,
            mask_width=self.width,
        )


MINI = Mask2FormerConfig(width=96, heads=4, queries=32, pixel_layers=2, pixel_mlp=192, layers=3, mlp=256)

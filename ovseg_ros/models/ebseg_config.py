"""Sizes of EBSeg as data: the paper's two models and one that trains on two cores.

EBSeg: Shan et al., "Open-Vocabulary Semantic Segmentation with Image Embedding Balancing", arXiv 2406.09829.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ovseg_ros.models.clip_config import ClipVisionConfig
from ovseg_ros.models.sam.config import SamEncoderConfig

MINI_CLIP = ClipVisionConfig(image_size=128, patch=16, width=192, layers=6, heads=3, mlp=768, embed_dim=256)
MINI_SAM = SamEncoderConfig(256, 16, 96, 4, 3, 384, window=4, global_blocks=(1, 3), neck=0)


@dataclass(frozen=True)
class EbsegConfig:
    """Both encoders, the decoder and the balance; the defaults are the paper's EBSeg-B.

    Attributes:
        clip: the trunk whose embeddings are the words' own.
        clip_scale: side of CLIP's input against the image's.
        second_from: first block with a second stream of value-value attention, whose map D is pooled from.
        recognise_from: first block that the queries run through; those before are the feature extractor.
        fused: CLIP's maps after so many blocks are added to res3, res4 and res5.
        sam: the encoder that masks are made from, without a neck.
        sam_taps: its maps after so many blocks become res2 to res5, strides 4 to 32.
        width: channels of pixel decoder, mask features and queries.
        heads: of every attention of the decoders.
        queries: proposals, Q.
        pixel_layers, pixel_mlp: blocks of the pixel decoder, and the hidden width of their MLPs.
        layers, mlp: of the transformer decoder; it has a state more than layers.
        alpha, beta, gamma: of the balance (section 3.3): D counts alpha for seen classes and beta for new ones, B
            counts gamma for both, A the rest.
    """

    clip: ClipVisionConfig = field(default_factory=lambda: ClipVisionConfig(quick_gelu=True))
    clip_scale: float = 0.5
    second_from: int = 2
    recognise_from: int = 9
    fused: tuple[int, int, int] = (3, 6, 9)
    sam: SamEncoderConfig = field(default_factory=lambda: SamEncoderConfig(neck=0))
    sam_taps: tuple[int, int, int, int] = (3, 6, 9, 12)
    width: int = 256
    heads: int = 8
    queries: int = 100
    pixel_layers: int = 6
    pixel_mlp: int = 1024
    layers: int = 9
    mlp: int = 2048
    alpha: float = 0.09
    beta: float = 0.3
    gamma: float = 0.7

    def __post_init__(self) -> None:
        blocks = self.clip.layers
        if not 0 <= self.second_from <= self.recognise_from < blocks:
            raise ValueError(
                f"second_from {self.second_from} and recognise_from {self.recognise_from}; expected both in this order "
                f"and under CLIP's {blocks} blocks"
            )
        if max(self.fused) > self.recognise_from:
            raise ValueError(
                f"fused {self.fused} reaches past recognise_from, {self.recognise_from}: take earlier ones"
            )
        if max(self.sam_taps) > self.sam.depth or self.sam.neck:
            raise ValueError(
                f"sam_taps are {self.sam_taps} of {self.sam.depth} blocks with a neck of {self.sam.neck} channels; "
                "expected counts of blocks, and no neck"
            )

    @classmethod
    def base(cls) -> EbsegConfig:
        """EBSeg-B: CLIP ViT-B/16 and SAM ViT-B."""
        return cls()

    @classmethod
    def large(cls) -> EbsegConfig:
        """EBSeg-L: CLIP ViT-L/14 at 336 pixels and SAM ViT-B."""
        return cls(
            clip=ClipVisionConfig(336, 14, 1024, 24, 16, 4096, 768, quick_gelu=True),
            clip_scale=0.7,
            second_from=4,
            recognise_from=18,
            fused=(6, 12, 18),
            alpha=0.12,
            beta=0.4,
            gamma=0.6,
        )

    @classmethod
    def mini(cls, clip: ClipVisionConfig = MINI_CLIP) -> EbsegConfig:
        """A small one around any CLIP of six blocks, for instance the project's own."""
        return cls(
            clip=clip,
            second_from=1,
            recognise_from=4,
            fused=(1, 2, 4),
            sam=MINI_SAM,
            sam_taps=(1, 2, 3, 4),
            width=96,
            heads=4,
            queries=32,
            pixel_layers=2,
            pixel_mlp=192,
            layers=3,
            mlp=256,
        )

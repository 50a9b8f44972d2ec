"""Sizes of EBSeg as data: the paper's two models and one that trains on two cores.

EBSeg: Shan et al., "Open-Vocabulary Semantic Segmentation with Image Embedding Balancing", arXiv 2406.09829.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from ovseg_ros.models.clip_config import BASE_CLIP, LARGE_CLIP, MINI_CLIP, ClipVisionConfig
from ovseg_ros.models.mask2former.config import MINI, Mask2FormerConfig
from ovseg_ros.models.sam.config import SamEncoderConfig

MINI_SAM = SamEncoderConfig(256, 16, 96, 4, 3, 384, window=4, global_blocks=(1, 3), neck=0)


@dataclass(frozen=True)
class EbsegConfig(Mask2FormerConfig):
    """Both encoders, the decoders (see `Mask2FormerConfig`) and the balance; the defaults are the paper's EBSeg-B.

    Attributes:
        clip: the trunk whose embeddings are the words' own.
        clip_scale: side of CLIP's input against the image's.
        second_from: first block with a second stream of value-value attention, whose map D is pooled from.
        recognise_from: first block that the queries run through; those before are the feature extractor.
        fused: CLIP's maps after so many blocks are added to res3, res4 and res5.
        sam: the encoder that masks are made from, without a neck.
        sam_taps: its maps after so many blocks become res2 to res5, strides 4 to 32.
        alpha, beta, gamma: of the balance (section 3.3): D counts alpha for seen classes and beta for new ones, B
            counts gamma for both, A the rest.
    """

    clip: ClipVisionConfig = BASE_CLIP
    clip_scale: float = 0.5
    second_from: int = 2
    recognise_from: int = 9
    fused: tuple[int, int, int] = (3, 6, 9)
    sam: SamEncoderConfig = field(default_factory=lambda: SamEncoderConfig(neck=0))
    sam_taps: tuple[int, int, int, int] = (3, 6, 9, 12)
    alpha: float = 0.09
    beta: float = 0.3
    gamma: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
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
            clip=LARGE_CLIP,
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
            **asdict(MINI),
        )

"""Sizes and choices of ESC-Net as data: the paper's two models and one that trains on two cores.

Lee et al., "Effective SAM Combination for Open-Vocabulary Semantic Segmentation", CVPR 2025, arXiv 2411.14723. No code
and no weights were published. What is known: four blocks; in each, pseudo prompts from the correlation (softmax over
pixels, a threshold, k-means into five regions), a pretrained block of SAM's decoder for each class, a 1x1 convolution
that merges the classes, and a fusion of image and language; then an upsampling decoder. Everything else is a choice of
ours, and stands here as a field with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ovseg_ros.models.catseg_config import AggregatorConfig, check_budget, check_taps, mini_aggregator
from ovseg_ros.models.clip_config import BASE_CLIP, LARGE_CLIP, MINI_CLIP, ClipVisionConfig
from ovseg_ros.models.sam.config import SamDecoderConfig

Prompts = Literal["both", "points", "masks", "none"]
MINI_SAM = SamDecoderConfig(width=64, mask_channels=16, heads=4, mlp=128)


@dataclass(frozen=True)
class EscConfig:
    """ESC-Net; the defaults are the paper's on CLIP ViT-B/16, with our choices where it is silent.

    Attributes:
        clip: the trunk whose embeddings are the words' own. Its last block mixes no patches, as CAT-Seg's.
        fusion: sizes of the fusion and of the decoder. Chosen: CAT-Seg's (arXiv 2303.11797), whose parameters together
            with four of SAM's two-way transformers come to what the paper counts beyond CLIP, about 23 million.
            `layers` is the number of ESC blocks.
        sam: sizes of prompt encoder and SAM block. Published: those of SAM ViT-B, of which `depth` two-way blocks make
            one SAM block; 0 leaves it out, which is the paper's ablation "no SAM block".
        prompts: what the SAM block is shown: points and masks, one of them, or none. Published: both.
        alpha: threshold that makes regions. Not published; chosen: half of the way from a class's lowest to its highest
            probability, as probabilities over all pixels are tiny in themselves.
        regions: k-means' clusters a class. Published: 5.
        iterations: of Lloyd's algorithm, fixed, so that a graph can be exported. Chosen; on 24 x 24 cells most
            clusterings stand still before the tenth.
        temperature: of the softmax over pixels, in cosines. Chosen: 1, as none is mentioned.
        mask_range: a mask prompt runs from minus to plus this. Chosen, as SAM's prompts are logits: at alpha = 0.5 the
            border of a region is at 0.
        merge_scale: the classes' results are merged by a softmax of their highest cosine times this. Published is a
            1x1 convolution over the class axis, which a vocabulary of any size and order cannot have.
        budget: classes of an image that are looked at, those with the highest cosine anywhere. Chosen; the paper looks
            at all, and its time grows with them.
        sigmoid: whether each class is trained by itself (CAT-Seg's loss) or against the others. The paper says cross
            entropy, so the latter.
        other: whether "none of these words" is an answer beside the others, its logit 0. Not the paper's, whose
            training data name every pixel; chosen where they do not.
    """

    clip: ClipVisionConfig = BASE_CLIP
    fusion: AggregatorConfig = field(default_factory=lambda: AggregatorConfig(layers=4))
    sam: SamDecoderConfig = field(default_factory=SamDecoderConfig)
    prompts: Prompts = "both"
    alpha: float = 0.5
    regions: int = 5
    iterations: int = 10
    temperature: float = 1.0
    mask_range: float = 8.0
    merge_scale: float = 20.0
    budget: int = 64
    sigmoid: bool = False
    other: bool = False

    def __post_init__(self) -> None:
        check_taps(self.fusion, self.clip)
        check_budget(self.budget)
        if self.prompts not in ("both", "points", "masks", "none"):
            raise ValueError(f"prompts are {self.prompts!r}; expected both, points, masks or none")
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha}; expected more than 0 and at most 1")
        if self.regions < 1 or self.iterations < 1:
            raise ValueError(f"regions are {self.regions}, iterations {self.iterations}; expected at least 1 of each")
        if self.temperature <= 0:
            raise ValueError(f"the temperature is {self.temperature}; expected more than 0")

    @property
    def uses_points(self) -> bool:
        """Whether the SAM block is shown points."""
        return self.prompts in ("both", "points")

    @property
    def uses_masks(self) -> bool:
        """Whether the SAM block is shown masks."""
        return self.prompts in ("both", "masks")

    @classmethod
    def base(cls) -> EscConfig:
        """On CLIP ViT-B/16, for images of 384 pixels a side."""
        return cls()

    @classmethod
    def large(cls) -> EscConfig:
        """On CLIP ViT-L/14, for images of 336 pixels a side."""
        return cls(LARGE_CLIP, AggregatorConfig(layers=4, taps=(8, 16)))

    @classmethod
    def mini(cls, clip: ClipVisionConfig = MINI_CLIP) -> EscConfig:
        """A small one around any CLIP of six blocks, for instance the project's own."""
        return cls(clip, mini_aggregator(clip, layers=2), MINI_SAM, budget=32)

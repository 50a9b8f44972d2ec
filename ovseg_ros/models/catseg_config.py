"""Sizes of CAT-Seg as data: its two published models and one that trains on two cores.

CAT-Seg: Cho et al., "CAT-Seg: Cost Aggregation for Open-Vocabulary Semantic Segmentation", arXiv 2303.11797.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ovseg_ros.models.clip_config import BASE_CLIP, LARGE_CLIP, MINI_CLIP, ClipVisionConfig


@dataclass(frozen=True)
class AggregatorConfig:
    """What turns correlations of image and words into masks; the defaults are CAT-Seg's.

    Attributes:
        width: channels that each correlation is embedded in, C.
        guidance: channels that image features and words are projected to, G.
        heads: of every attention, a divisor of `width`.
        layers: of spatial and class aggregation.
        window: cells a side of the windows that the spatial aggregation attends in.
        pooling, train_pooling: cells a side that are averaged before classes attend to each other.
        padded: the length that the list of classes is filled up to with learned tokens; 0 for none.
        taps: CLIP's tokens after so many blocks guide the first and the second step of the upsampling.
        tap_widths: channels that they are upsampled to.
        tap_guidance: channels that they are projected to.
        decoder_widths: channels after each step of the upsampling.
    """

    width: int = 128
    guidance: int = 128
    heads: int = 4
    layers: int = 2
    window: int = 12
    pooling: int = 1
    train_pooling: int = 2
    padded: int = 256
    taps: tuple[int, int] = (4, 8)
    tap_widths: tuple[int, int] = (256, 128)
    tap_guidance: tuple[int, int] = (32, 16)
    decoder_widths: tuple[int, int] = (64, 32)

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of the {self.heads} heads: change either")
        least = {"layers": 1, "window": 1, "pooling": 1, "train_pooling": 1, "padded": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {bound}")
        for width, part in zip((self.width, self.decoder_widths[0]), self.tap_guidance, strict=True):
            if part >= width:
                raise ValueError(f"tap_guidance {self.tap_guidance} leaves nothing of {width} channels: make it less")


@dataclass(frozen=True)
class CatSegConfig:
    """The trunk and the aggregation; the defaults are the published CAT-Seg-B's, for images of 384 pixels a side.

    Attributes:
        clip: the trunk whose embeddings are the words' own.
        aggregator: see there.
        budget: classes of an image that are aggregated at most, those with the highest correlation anywhere.
    """

    clip: ClipVisionConfig = BASE_CLIP
    aggregator: AggregatorConfig = field(default_factory=AggregatorConfig)
    budget: int = 256

    def __post_init__(self) -> None:
        check_taps(self.aggregator, self.clip)
        check_budget(self.budget)

    @classmethod
    def base(cls) -> CatSegConfig:
        """The published model on CLIP ViT-B/16."""
        return cls()

    @classmethod
    def large(cls) -> CatSegConfig:
        """The published model on CLIP ViT-L/14, for images of 336 pixels a side."""
        return cls(LARGE_CLIP, AggregatorConfig(taps=(8, 16)))

    @classmethod
    def mini(cls, clip: ClipVisionConfig = MINI_CLIP) -> CatSegConfig:
        """A small one around any CLIP of six blocks, for instance the project's own."""
        return cls(clip, mini_aggregator(clip, layers=2), budget=32)


def mini_aggregator(clip: ClipVisionConfig, layers: int) -> AggregatorConfig:
    """An aggregation that trains on two cores: narrow, windows of 4 cells, no more padding than its budget."""
    return AggregatorConfig(
        width=48,
        guidance=32,
        heads=4,
        layers=layers,
        window=4,
        train_pooling=1,
        padded=32,
        taps=(max(1, clip.layers // 3), max(1, 2 * clip.layers // 3)),
        tap_widths=(48, 32),
        tap_guidance=(16, 16),
        decoder_widths=(32, 16),
    )


def check_taps(aggregator: AggregatorConfig, clip: ClipVisionConfig) -> None:
    """Refuse taps that the trunk does not have."""
    if not all(1 <= tap <= clip.layers for tap in aggregator.taps):
        raise ValueError(f"taps are {aggregator.taps}; expected counts of blocks from 1 to {clip.layers}")


def check_budget(budget: int) -> None:
    """Refuse a budget of no class."""
    if budget < 1:
        raise ValueError(f"the budget is {budget} classes; expected at least 1")

"""Sizes of GKC as data: the paper's model and one that trains on two cores.

GKC: Han et al., "Global Knowledge Calibration for Fast Open-Vocabulary Segmentation", arXiv 2303.09181.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ovseg_ros.models.clip_config import ClipResNetConfig, ClipVisionConfig

MINI_TRUNK = ClipResNetConfig(image_size=128, layers=(2, 2, 2, 2), width=16, heads=8, embed_dim=256)


@dataclass(frozen=True)
class GkcConfig:
    """The trunk, the decoders and the heads; the defaults are the paper's, on CLIP's ResNet-50.

    Attributes:
        clip: the trunk that is fine-tuned, whose `embed_dim` is the width of the text space. Its pixel statistics are
            not used: images come with ImageNet's, as published.
        taps: a ViT's maps after so many blocks become res2 to res5; a ResNet has its own.
        teacher: width of the embeddings that are distilled; None leaves the student heads out.
        width: channels of the pixel decoder, the mask features and the queries.
        heads: of every attention of the decoders.
        queries: proposals, Q.
        pixel_layers, pixel_mlp: layers of the pixel decoder, and the hidden width of their MLPs.
        layers, mlp: of the transformer decoder; it has a state more than layers.
        scale: from cosines to logits, at the start.
        learn_scale: whether it is learned; the released code's other choice is a constant 10.
    """

    clip: ClipResNetConfig | ClipVisionConfig = field(default_factory=ClipResNetConfig)
    taps: tuple[int, int, int, int] = (4, 6, 8, 12)
    teacher: int | None = 1024
    width: int = 256
    heads: int = 8
    queries: int = 100
    pixel_layers: int = 6
    pixel_mlp: int = 1024
    layers: int = 9
    mlp: int = 2048
    scale: float = 1 / 0.07
    learn_scale: bool = True

    def __post_init__(self) -> None:
        if self.queries < 1 or self.layers < 1:
            raise ValueError(f"queries are {self.queries} and layers {self.layers}; expected at least 1 of each")
        if self.scale <= 0:
            raise ValueError(f"the scale of logits is {self.scale}; expected more than 0")
        if isinstance(self.clip, ClipVisionConfig) and (
            max(self.taps) > self.clip.layers or min(self.taps) < 1 or list(self.taps) != sorted(self.taps)
        ):
            raise ValueError(
                f"taps are {self.taps} of {self.clip.layers} blocks; expected four counts of blocks, ascending"
            )

    @classmethod
    def base(cls) -> GkcConfig:
        """The paper's smaller model, on CLIP RN50."""
        return cls()

    @classmethod
    def mini(cls, clip: ClipResNetConfig | ClipVisionConfig = MINI_TRUNK, teacher: int | None = None) -> GkcConfig:
        """A small one, on a narrow ResNet that starts from nothing or on any small CLIP, for instance the project's.

        Args:
            clip: the trunk.
            teacher: width of the teacher's embeddings; None takes the text space's, in which a CLIP's own lie.
        """
        blocks = clip.layers if isinstance(clip, ClipVisionConfig) else 4
        return cls(
            clip=clip,
            taps=(max(1, blocks // 3), max(1, blocks // 2), max(1, 2 * blocks // 3), blocks),
            teacher=clip.embed_dim if teacher is None else teacher,
            width=96,
            heads=4,
            queries=32,
            pixel_layers=2,
            pixel_mlp=192,
            layers=3,
            mlp=256,
        )

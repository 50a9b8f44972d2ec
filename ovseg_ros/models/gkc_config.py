"""Sizes of GKC as data: the paper's model and one that trains on two cores.

GKC: Han et al., "Global Knowledge Calibration for Fast Open-Vocabulary Segmentation", arXiv 2303.09181.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from ovseg_ros.models.clip_config import ClipResNetConfig, ClipVisionConfig
from ovseg_ros.models.mask2former.config import MINI, Mask2FormerConfig

MINI_TRUNK = ClipResNetConfig(image_size=128, layers=(2, 2, 2, 2), width=16, heads=8, embed_dim=256)


@dataclass(frozen=True)
class GkcConfig(Mask2FormerConfig):
    """The trunk, the decoders (see `Mask2FormerConfig`) and the heads; the defaults are the paper's, on CLIP's RN50.

    Attributes:
        clip: the trunk that is fine-tuned, whose `embed_dim` is the width of the text space. Its pixel statistics are
            not used: images come with ImageNet's, as published.
        taps: a ViT's maps after so many blocks become res2 to res5; a ResNet has its own.
        teacher: width of the embeddings that are distilled; None leaves the student heads out.
        scale: from cosines to logits, at the start.
        learn_scale: whether it is learned; the released code's other choice is a constant 10.
    """

    clip: ClipResNetConfig | ClipVisionConfig = field(default_factory=ClipResNetConfig)
    taps: tuple[int, int, int, int] = (4, 6, 8, 12)
    teacher: int | None = 1024
    scale: float = 1 / 0.07
    learn_scale: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
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
            **asdict(MINI),
        )

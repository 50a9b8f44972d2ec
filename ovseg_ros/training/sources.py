"""Where training images come from: CamVid's folders, or renders of the simulator kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.evaluation.datasets import camvid
from ovseg_ros.evaluation.synonyms import CAMVID_WORDS
from ovseg_ros.training.words import Region


@dataclass(frozen=True)
class Picture:
    """One training image.

    Attributes:
        rgb: (H, W, 3) uint8.
        ids: (H, W) uint8, index into `regions`, 255 without truth.
        regions: what the ids stand for.
    """

    rgb: NDArray[np.uint8]
    ids: NDArray[np.uint8]
    regions: tuple[Region, ...]


class Source(Protocol):
    """Training images with the words for what they show."""

    @property
    def kinds(self) -> dict[str, tuple[str, ...]]:
        """Every kind of thing with its training words, the name first."""

    @property
    def colours(self) -> Sequence[str]:
        """Colour names that a region may carry."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> Picture:
        """The picture at an index in 0..len-1."""

    def pixel_counts(self) -> dict[str, int]:
        """How many pixels each kind covers, for balancing the loss."""


class CamVidSource:
    """CamVid's training split; images are read on demand."""

    def __init__(self, root: Path, split: str = "train") -> None:
        self._data = camvid(root, split)
        self.kinds = CAMVID_WORDS
        self.colours: Sequence[str] = ()
        self._regions = tuple(Region(kind, words) for kind, words in CAMVID_WORDS.items())

    def __len__(self) -> int:
        return len(self._data)

    def load(self, index: int) -> Picture:
        """Read one image; its ids are CamVid's classes."""
        sample = self._data[index]
        return Picture(sample.rgb, sample.labels, self._regions)

    def pixel_counts(self) -> dict[str, int]:
        """Over every eighth image, which is plenty for weights."""
        counts = sum(
            (np.bincount(self._data[i].labels.ravel(), minlength=256) for i in range(0, len(self), 8)),
            start=np.zeros(256, np.int64),
        )
        return {kind: int(counts[i]) for i, kind in enumerate(self.kinds)}

"""The result of one frame: label ids, confidence, and the vocabulary that made them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.vocabulary import Vocabulary


@dataclass(frozen=True)
class DetectedClass:
    """A class that an image shows: its label id, name, share of the pixels and mean confidence (both 0..1)."""

    id: int
    name: str
    area: float
    confidence: float


@dataclass(frozen=True)
class Region:
    """One connected region of a class: its share of the pixels, mean confidence, and box in pixels."""

    id: int
    name: str
    area: float
    confidence: float
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Segmentation:
    """Labels of one image.

    Attributes:
        labels: (H, W) uint8 ids, 255 unlabelled; uint16 with 65535 for vocabularies past 254 classes.
        confidence: (H, W) uint8, 255 times the probability of the label.
        vocabulary: the words the ids refer to.
        engine_ms: time spent in the engine, milliseconds.
    """

    labels: NDArray[np.uint8] | NDArray[np.uint16]
    confidence: NDArray[np.uint8]
    vocabulary: Vocabulary
    engine_ms: float = 0.0

    @property
    def unlabelled(self) -> int:
        """The id of pixels without a label: the top id of the type."""
        return int(np.iinfo(self.labels.dtype).max)

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        """(K,) pixels of each class."""
        return np.bincount(self.labels.ravel(), minlength=len(self.vocabulary))[: len(self.vocabulary)]

    def _mask(self, label: int) -> NDArray[np.uint8]:
        """(H, W) uint8, 1 where the pixel has the label."""
        return np.equal(self.labels, label).view(np.uint8)

    def detected(self) -> list[DetectedClass]:
        """The classes that occur, largest first."""
        found = np.flatnonzero(self._counts)
        names = self.vocabulary.names
        classes = []
        for i in found:
            mask = self._mask(int(i))
            mean = cv2.mean(self.confidence, mask)[0] / 255
            classes.append(DetectedClass(int(i), names[i], float(self._counts[i] / self.labels.size), mean))
        return sorted(classes, key=lambda c: -c.area)

    def regions(self, min_area: float = 0.001) -> list[Region]:
        """Connected regions (8-neighbourhood), largest first.

        Args:
            min_area: smallest share of the image's pixels that counts.
        """
        total = self.labels.size
        regions = []
        for i in np.flatnonzero(self._counts >= max(1.0, min_area * total)):
            mask = self._mask(int(i))
            count, components, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
            sums = np.bincount(
                np.asarray(components, np.int32).ravel(), weights=self.confidence.ravel(), minlength=count
            )
            for j in range(1, count):
                x, y, width, height, pixels = (int(v) for v in stats[j])
                if pixels >= min_area * total:
                    name = self.vocabulary.names[i]
                    mean = float(sums[j] / pixels / 255)
                    regions.append(Region(int(i), name, pixels / total, mean, x, y, width, height))
        return sorted(regions, key=lambda r: -r.area)

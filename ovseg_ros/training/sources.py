"""Where training images come from: any data set that can be evaluated on, or renders of the simulator kept on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets import Dataset, camvid, class_list, class_lists, class_variants, stretch
from ovseg_ros.evaluation.synonyms import CAMVID_WORDS
from ovseg_ros.training.words import Region
from ovseg_ros.vocabulary import Vocabulary

COUNTED = 48  # images whose pixels are counted, plenty for weights


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


class DatasetSource:
    """A data set of labelled images; they are read on demand.

    Args:
        data: images with label ids; ids past its classes have no truth.
        kinds: a name and words for each class, in their order; as the data set has them ("name, synonym") where None.
            A class without words is one that no word asks for.
        part: the stretch of the images, in their order, that is used; shares in 0..1.

    Raises:
        DatasetError: when the stretch holds no image.
        VocabularyError: for class names that are no words, or that occur twice.
    """

    def __init__(
        self,
        data: Dataset,
        kinds: Mapping[str, tuple[str, ...]] | None = None,
        part: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self._data = data
        self.kinds = dict(kinds or {words[0]: words for words in Vocabulary.parse(data.classes).classes})
        self.colours: Sequence[str] = ()
        self._regions = tuple(Region(kind, words) for kind, words in self.kinds.items())
        self._indices = stretch(len(data), part)

    def __len__(self) -> int:
        return len(self._indices)

    def load(self, index: int) -> Picture:
        """Read one image; its regions are the classes that it shows, in the order of their ids."""
        sample = self._data[self._indices[index]]
        shown = [i for i in np.unique(sample.labels) if i < len(self._regions)]
        if len(shown) > 255:
            raise DatasetError(f"the image {sample.name} shows {len(shown)} classes; at most 255 are trained at once")
        table = np.full(int(np.iinfo(sample.labels.dtype).max) + 1, 255, np.uint8)
        table[shown] = np.arange(len(shown))
        return Picture(sample.rgb, table[sample.labels], tuple(self._regions[i] for i in shown))

    def pixel_counts(self) -> dict[str, int]:
        """Over some dozen images, evenly spread."""
        counts = dict.fromkeys(self.kinds, 0)
        for index in range(0, len(self), max(1, len(self) // COUNTED)):
            picture = self.load(index)
            for region, n in zip(picture.regions, np.bincount(picture.ids.ravel(), minlength=256), strict=False):
                counts[region.kind] += int(n)
        return counts


class CamVidSource(DatasetSource):
    """CamVid, with the training words that the project has for its classes."""

    def __init__(self, root: Path, split: str = "train", part: tuple[float, float] = (0.0, 1.0)) -> None:
        super().__init__(camvid(root, split), CAMVID_WORDS, part)


def published_words(name: str) -> dict[str, tuple[str, ...]] | None:
    """The words of a data set's classes by their names, from its published class list with synonyms where there is one.

    A word that several classes have is the first one's. None for a data set without a list.
    """
    if name not in class_lists():
        return None
    listed = class_list(name, "multi" if "multi" in class_variants(name) else "canonical").distinct()
    words: dict[str, tuple[str, ...]] = dict.fromkeys(listed.names, ())
    for synonyms, place in zip(listed.synonyms, listed.merge, strict=True):
        words[listed.names[place]] += synonyms
    return words

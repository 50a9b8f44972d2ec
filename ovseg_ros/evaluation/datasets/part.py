"""A stretch of a data set's images, such as those that a training kept apart."""

from __future__ import annotations

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets.sample import Dataset, Sample

Share = tuple[float, float]  # from and to, in 0..1


class Part:
    """Images of a data set in their order, from one share of them to another.

    Args:
        data: all of them.
        part: from and to; see `stretch`.

    Attributes:
        classes: the data set's.
        indices: which of its images these are.
    """

    def __init__(self, data: Dataset, part: Share) -> None:
        self._data, self.classes, self.indices = data, data.classes, stretch(len(data), part)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self._data[self.indices[index]]

    @property
    def title(self) -> str:
        """Which images, counted from 1."""
        return f"images {self.indices[0] + 1} to {self.indices[-1] + 1}"


def stretch(count: int, part: Share) -> range:
    """The indices of a stretch of `count` images, its ends rounded; neighbouring stretches share none.

    Raises:
        DatasetError: when it holds none.
    """
    found = range(round(count * part[0]), round(count * part[1]))
    if not found:
        raise DatasetError(f"the part {part[0]:g} to {part[1]:g} of {count} images holds none; take a larger one")
    return found

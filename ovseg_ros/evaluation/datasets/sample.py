"""What every data set gives: images with labels, and what the label that says nothing is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ovseg_ros.errors import DatasetError

IGNORE = 255  # of uint8 labels; see `ignore_label`
WIDE = 254  # classes: labels of more are uint16


@dataclass(frozen=True)
class Sample:
    """One image with its truth.

    Attributes:
        name: unique within the data set.
        rgb: (H, W, 3) uint8.
        labels: (H, W) index into the data set's classes: uint8, and uint16 where there are over 254 classes. The top
            value of the dtype (`ignore`) stands where the truth says nothing.
    """

    name: str
    rgb: NDArray[np.uint8]
    labels: NDArray[np.unsignedinteger]

    @property
    def ignore(self) -> int:
        """The label that stands where the truth says nothing: 255, or 65535."""
        return ignore_label(self.labels.dtype)


class Dataset(Protocol):
    """A sequence of samples with a class list.

    `len` reads no image. A data set can be pickled, so that worker processes open their own files.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by id."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


def label_dtype(classes: int) -> np.dtype[np.unsignedinteger]:
    """The dtype of labels of that many classes: uint8 up to 254, else uint16.

    Raises:
        DatasetError: for more classes than uint16 holds beside the ignored label.
    """
    if classes > np.iinfo(np.uint16).max:
        raise DatasetError(f"{classes} classes are too many for uint16 labels; at most {np.iinfo(np.uint16).max}")
    return np.dtype(np.uint8 if classes <= WIDE else np.uint16)


def ignore_label(dtype: DTypeLike) -> int:
    """The top value of a dtype of labels."""
    return int(np.iinfo(np.dtype(dtype)).max)

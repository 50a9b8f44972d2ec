"""How published data sets lie in folders, and finding them there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets.ids import RawIds
from ovseg_ros.evaluation.datasets.pairs import MaskReader, PairDataset
from ovseg_ros.evaluation.datasets.panoptic import PanopticMasks


@dataclass(frozen=True)
class Layout:
    """One way to lay the files of a data set out. Paths are relative to `home`; "{split}" stands for a split's word.

    Attributes:
        home: the data set's folder. A user may name it, or any folder above it.
        images, masks: folders, searched with what is under them.
        ids: what the masks' ids stand for.
        splits: the split's word in paths, by our name of the split.
        image_suffix, mask_suffix: what image and mask of a sample add to its name.
        listed: text file with a name a line; without one the files say what there is.
        shared: the images' folder holds other images as well, so that the masks count, not the images.
        segments: JSON file with the segments' categories, for COCO's panoptic format.
    """

    home: str
    images: str
    masks: str
    ids: RawIds
    splits: Mapping[str, str] = field(hash=False)
    image_suffix: str = ".jpg"
    mask_suffix: str = ".png"
    listed: str = ""
    shared: bool = False
    segments: str = ""

    def homes(self, root: Path) -> Iterator[Path]:
        """Where the data set's folder may be, when the user names `root`."""
        parts = PurePosixPath(self.home).parts
        for count in range(len(parts) + 1):
            yield root.joinpath(*parts[len(parts) - count :])

    def missing(self, home: Path, split: str) -> tuple[int, str]:
        """What says that this layout is not the one in `home`.

        Returns:
            How many of the things looked for are there, and the first that is not; "" when all are.
        """
        masks, images = self._path(home, self.masks, split), self._path(home, self.images, split)
        files = [self._path(home, text, split) for text in (self.listed, self.segments) if text]
        steps = (
            (f"folder {masks}", masks.is_dir),
            (
                f"mask {masks}/*{self.mask_suffix}",
                lambda: any(file.endswith(self.mask_suffix) for file in _files(masks)),
            ),
            *((f"file {path}", path.is_file) for path in files),
            (f"folder {images}", images.is_dir),
        )
        for number, (what, there) in enumerate(steps):
            if not there():
                return number, what
        return len(steps), ""

    def open(self, home: Path, split: str, classes: Sequence[str], remedy: str) -> PairDataset:
        """The samples of a split.

        Raises:
            DatasetError: naming the first file that was looked for and is not there.
        """
        images, masks = (self._path(home, text, split) for text in (self.images, self.masks))
        names = self._names(home, images, masks, split, remedy)
        files = [(name + self.image_suffix, name + self.mask_suffix) for name in names]
        for what, folder, place in (("image", images, 0), ("mask", masks, 1)):
            present = set(_files(folder))
            lost = next((pair[place] for pair in files if pair[place] not in present), None)
            if lost is not None:
                raise DatasetError(f"the {what} {folder / lost} is missing; {remedy}")
        reader: MaskReader = self.ids
        if self.segments:
            reader = PanopticMasks(self.ids, self._path(home, self.segments, split))
        return PairDataset(classes, files, images, masks, names, reader, remedy)

    def _path(self, home: Path, text: str, split: str) -> Path:
        return home / text.format(split=self.splits[split])

    def _names(self, home: Path, images: Path, masks: Path, split: str, remedy: str) -> list[str]:
        """The samples' names in order: as listed, or by the files that count."""
        if self.listed:
            path = self._path(home, self.listed, split)
            names = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            where = path
        else:
            folder, suffix = (masks, self.mask_suffix) if self.shared else (images, self.image_suffix)
            names = sorted(file.removesuffix(suffix) for file in _files(folder) if file.endswith(suffix))
            where = folder / f"*{suffix}"
        if not names:
            raise DatasetError(f"there is no image in {where}; {remedy}")
        return names


def find(layouts: Sequence[Layout], root: Path, split: str, title: str, remedy: str) -> tuple[Layout, Path]:
    """The first layout that is there, and its folder.

    Raises:
        DatasetError: naming what is missing in the layouts that are nearest to being there.
    """
    looked: dict[int, list[str]] = {}  # by how much of the layout is there
    for layout in layouts:
        if split not in layout.splits:
            continue
        best = (-1, "")
        for home in layout.homes(root):
            count, missing = layout.missing(home, split)
            if not missing:
                return layout, home
            best = max(best, (count, missing), key=lambda pair: pair[0])  # the first of equals: the folder named
        looked.setdefault(best[0], []).append(best[1])
    missed = ", no ".join(dict.fromkeys(looked[max(looked)]))
    raise DatasetError(f"{title} is not in {root}: there is no {missed}; {remedy}")


def _files(folder: Path) -> Iterator[str]:
    """Files under a folder, as paths relative to it with slashes; hidden ones are none of a data set's."""
    stack = [""]
    while stack:
        under = stack.pop()
        with os.scandir(folder / under) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    stack.append(f"{under}{entry.name}/")
                else:
                    yield under + entry.name

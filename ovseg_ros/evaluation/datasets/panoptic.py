"""COCO's panoptic format: masks whose colours number segments, and a JSON file that says of which category each is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets.ids import RawIds
from ovseg_ros.evaluation.datasets.read import read_colour_ids
from ovseg_ros.evaluation.datasets.sample import ignore_label, label_dtype


class PanopticMasks:
    """Masks whose segments are looked up in a JSON file, which every process reads once, when it first must.

    Pixels of no segment say nothing. Crowds count as their category. A `pairs.MaskReader`.

    Args:
        ids: the category id of each label.
        segments: the JSON file, such as `panoptic_val2017.json`.
    """

    def __init__(self, ids: RawIds, segments: Path) -> None:
        self.dtype = label_dtype(len(ids.ids))
        self._ids, self._segments = ids, segments
        self._categories: dict[str, dict[int, int]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_categories": None}  # hundreds of megabytes for COCO's training images

    def read(self, mask: Path) -> NDArray[np.unsignedinteger]:
        """(H, W) labels of a mask file."""
        if self._categories is None:
            self._categories = _read(self._segments)
        if mask.name not in self._categories:
            raise DatasetError(f"{self._segments} says nothing of {mask.name}; both must be of one split")
        category = self._categories[mask.name]
        colours = read_colour_ids(mask)
        segments, place = np.unique(colours, return_inverse=True)
        values = [self._label(category.get(int(segment)), mask) for segment in segments]
        return np.array(values, self.dtype)[place].reshape(colours.shape)

    def _label(self, category: int | None, mask: Path) -> int:
        if category is None:
            return ignore_label(self.dtype)
        try:
            return self._ids.ids.index(category)
        except ValueError:
            raise DatasetError(
                f"{self._segments} has the category {category} in {mask.name}, which is none of COCO's "
                f"{len(self._ids.ids)} panoptic ones"
            ) from None


def _read(path: Path) -> dict[str, dict[int, int]]:
    """Category of every segment by mask's file name and the segment's number."""
    try:
        content = json.loads(path.read_bytes())
        return {
            annotation["file_name"]: {s["id"]: s["category_id"] for s in annotation["segments_info"]}
            for annotation in content["annotations"]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is no panoptic annotation of COCO: {error!r}") from error

"""From the ids that a data set's masks hold to labels counted from 0."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.evaluation.datasets.read import read_ids
from ovseg_ros.evaluation.datasets.sample import ignore_label, label_dtype

NONE = -1  # in place of a raw id: no id of its own


@dataclass(frozen=True)
class RawIds:
    """Which id of a mask stands for which class.

    Attributes:
        ids: the raw id of each label; `NONE` for a class that only `rest` leads to.
        rest: the label of every other id, such as a background's; None where they say nothing.
    """

    ids: tuple[int, ...]
    rest: int | None = None

    @classmethod
    def of(cls, ids: Iterable[int], rest: int | None = None) -> RawIds:
        """From any iterable, such as `range(1, 151)` for ADE20K, whose 0 is no class."""
        return cls(tuple(ids), rest)

    def labels(self, raw: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
        """(H, W) raw ids, uint8 or uint16, as (H, W) labels in the dtype of as many classes."""
        labels: NDArray[np.unsignedinteger] = _table(self, raw.dtype)[raw]
        return labels

    def read(self, mask: Path) -> NDArray[np.unsignedinteger]:
        """(H, W) labels of a mask file; see `pairs.MaskReader`."""
        return self.labels(read_ids(mask))


@lru_cache(maxsize=64)
def _table(ids: RawIds, dtype: np.dtype[np.integer]) -> NDArray[np.unsignedinteger]:
    """The label of every value of a mask's dtype."""
    wanted = label_dtype(len(ids.ids))
    table = np.full(np.iinfo(dtype).max + 1, ignore_label(wanted) if ids.rest is None else ids.rest, wanted)
    for label, raw in enumerate(ids.ids):
        if 0 <= raw < len(table):
            table[raw] = label
    table.flags.writeable = False
    return table

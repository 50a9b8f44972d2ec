"""What the simulated camera gives: an image with the truth for every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNLABELLED = 255


@dataclass(frozen=True)
class SimObject:
    """One object of a scene; its box in the world is axis-aligned, in metres, z up."""

    kind: str
    colour: str | None = None
    low: tuple[float, float, float] = (0.0, 0.0, 0.0)
    high: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of the camera, its truth and its geometry."""

    rgb: NDArray[np.uint8]  # (H, W, 3)
    instances: NDArray[np.uint16]  # (H, W): 0 nothing, else i for objects[i - 1]
    objects: tuple[SimObject, ...]
    intrinsics: NDArray[np.float64]  # (3, 3) in pixels; pixel centres are at whole numbers
    pose: NDArray[np.float64]  # (4, 4) camera to world; the camera looks along +z, x right, y down
    time: float  # seconds along the camera's path
    depth: NDArray[np.float32] | None = None  # (H, W) metres along the optical axis, NaN where nothing was hit

    def labels(self, kinds: Sequence[str]) -> NDArray[np.uint8]:
        """The mask (H, W) of class ids: the place of each object's kind in `kinds` (at most 254), 255 elsewhere."""
        if len(kinds) > 254:
            raise ValueError(f"{len(kinds)} kinds do not fit a mask of bytes; pass at most 254.")
        ids = {kind: index for index, kind in reversed(list(enumerate(kinds)))}
        table = np.full(len(self.objects) + 1, UNLABELLED, np.uint8)
        for index, item in enumerate(self.objects, start=1):
            table[index] = ids.get(item.kind, UNLABELLED)
        return np.asarray(table[self.instances], dtype=np.uint8)

"""A flat place that things stand on (the floor, a table top, a shelf) and which parts of it are taken."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Footprint = tuple[float, float, float, float]  # x0, y0, x1, y1 in an object's own frame


class Surface:
    """A rectangle w x d whose centre is at (x, y, z) in the world, turned by `yaw` degrees about z."""

    def __init__(self, x: float, y: float, z: float, w: float, d: float, *, yaw: float = 0, cell: float = 0.02) -> None:
        self.x, self.y, self.z, self.w, self.d, self.yaw, self.cell = x, y, z, w, d, yaw, cell
        shape = (math.ceil(d / cell), math.ceil(w / cell))
        self.taken: NDArray[np.uint8] = np.zeros(shape, np.uint8)  # (rows along d, columns along w)
        self.reserved: NDArray[np.uint8] = np.zeros(shape, np.uint8)  # kept clear of things, free to drive on
        self.shadow: NDArray[np.float32] = np.zeros(shape, np.float32)  # how much light things take from it, 0..1

    def world(self, u: float, v: float) -> tuple[float, float]:
        """World (x, y) of a point (u, v), measured from the centre along the surface's own axes."""
        cos, sin = math.cos(math.radians(self.yaw)), math.sin(math.radians(self.yaw))
        return self.x + cos * u - sin * v, self.y + sin * u + cos * v

    def polygon(self, foot: Footprint, u: float, v: float, yaw: float, margin: float) -> NDArray[np.float64]:
        """The corners (4, 2) from the centre: a footprint widened by a margin, turned by `yaw`, put at (u, v)."""
        x0, y0, x1, y1 = foot[0] - margin, foot[1] - margin, foot[2] + margin, foot[3] + margin
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
        return np.asarray(corners @ np.array([[cos, sin], [-sin, cos]]) + np.array([u, v]))

    def fits(self, foot: Footprint, u: float, v: float, yaw: float, margin: float = 0.0) -> bool:
        """Whether a footprint lies inside the surface and on nothing that is taken or reserved."""
        if (np.abs(self.polygon(foot, u, v, yaw, 0.0)) > np.array([self.w, self.d]) / 2).any():
            return False
        mask = self._fill(self.polygon(foot, u, v, yaw, margin))
        return not bool(((self.taken | self.reserved) & mask).any())

    def take(self, foot: Footprint, u: float, v: float, yaw: float, *, shadow: float = 0.6) -> None:
        """Mark a footprint as taken and let it darken the surface."""
        mask = self._fill(self.polygon(foot, u, v, yaw, 0.0))
        self.taken |= mask
        np.maximum(self.shadow, mask * np.float32(shadow), out=self.shadow)

    def reserve(self, foot: Footprint, u: float, v: float, yaw: float) -> None:
        """Keep a footprint clear of things."""
        self.reserved |= self._fill(self.polygon(foot, u, v, yaw, 0.0))

    def light(self, soft: float, hard: float) -> NDArray[np.float32]:
        """The share of light that reaches each cell, 0..1: contact shadows blurred over two ranges in metres."""
        near = cv2.GaussianBlur(self.shadow, (0, 0), max(hard / self.cell, 0.5))
        far = cv2.GaussianBlur(self.shadow, (0, 0), max(soft / self.cell, 0.5))
        return np.asarray((1 - 0.55 * near) * (1 - 0.45 * far), dtype=np.float32)

    def _fill(self, polygon: NDArray[np.float64]) -> NDArray[np.uint8]:
        """The cells under a polygon, as 0 or 1."""
        cells = (polygon + np.array([self.w, self.d]) / 2) / self.cell - 0.5
        mask = np.zeros(self.taken.shape, np.uint8)
        cv2.fillConvexPoly(mask, np.round(cells).astype(np.int32), 1)
        return mask

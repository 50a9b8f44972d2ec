"""Triangle meshes and the few operations that the models are built with: move, turn, scale, join, shade."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Triple = tuple[float, float, float]

CREASE = math.cos(math.radians(40))  # edges sharper than this stay sharp


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles with outward faces counter-clockwise; lengths in metres, z up."""

    vertices: Points  # (V, 3)
    faces: NDArray[np.int32]  # (F, 3)
    uv: Points  # (V, 2): metres along the surface, or 0..1 where a picture is fitted

    def moved(self, x: float = 0, y: float = 0, z: float = 0) -> Mesh:
        """The mesh shifted by (x, y, z)."""
        return Mesh(self.vertices + np.array([x, y, z]), self.faces, self.uv)

    def turned(self, x: float = 0, y: float = 0, z: float = 0) -> Mesh:
        """The mesh turned about the axes x, then y, then z, by angles in degrees."""
        return Mesh(self.vertices @ rotation(x, y, z).T, self.faces, self.uv)

    def scaled(self, x: float, y: float, z: float) -> Mesh:
        """The mesh stretched by positive factors."""
        return Mesh(self.vertices * np.array([x, y, z]), self.faces, self.uv)

    def corner_normals(self) -> Points:
        """Unit normals (F * 3, 3), one for each corner of each face, smooth over edges duller than the crease."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        area = _cross(b - a, c - a)  # (F, 3), twice the area along the normal
        unit = area / np.maximum(np.linalg.norm(area, axis=1, keepdims=True), 1e-12)
        corners = self.faces.ravel()
        order = np.argsort(corners, kind="stable")
        count = np.bincount(corners, minlength=len(self.vertices))
        start = np.cumsum(count) - count
        each = count[corners]  # faces that meet at each corner
        first = np.repeat(np.arange(len(corners)), each)
        offset = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
        second = order[np.repeat(start[corners], each) + offset]
        smooth = (unit[first // 3] * unit[second // 3]).sum(1) > CREASE
        weight = np.where(smooth, 1.0, 0.0)[:, None] * area[second // 3]
        total = np.add.reduceat(weight, np.cumsum(each) - each, axis=0)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        flat = np.repeat(unit, 3, axis=0)
        return np.where(length > 1e-12, total / np.maximum(length, 1e-12), flat)


def rotation(x: float = 0, y: float = 0, z: float = 0) -> Points:
    """The (3, 3) rotation about x, then y, then z, in degrees."""
    matrix = np.eye(3)
    for axis, degrees in ((0, x), (1, y), (2, z)):
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        step = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step[i, i], step[i, j], step[j, i], step[j, j] = cos, -sin, sin, cos
        matrix = step @ matrix
    return matrix


def join(meshes: Iterable[Mesh]) -> Mesh:
    """One mesh of several."""
    parts = list(meshes)
    sizes = np.cumsum([0] + [len(part.vertices) for part in parts])
    return Mesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + size for part, size in zip(parts, sizes[:-1], strict=True)]).astype(np.int32),
        np.concatenate([part.uv for part in parts]),
    )


def skin(rings: Points, *, caps: bool = True) -> Mesh:
    """A skin over K rings of N points, (K, N, 3), counter-clockwise seen from the last ring; flat caps at both ends."""
    vertices = rings.reshape(-1, 3)
    if caps:
        low, high = rings[0], rings[-1]
        vertices = np.concatenate([vertices, low, low.mean(0)[None], high, high.mean(0)[None]])
    return _tidy(vertices, _skin_faces(rings.shape[0], rings.shape[1], caps))


@lru_cache(maxsize=256)
def _skin_faces(k: int, n: int, caps: bool) -> NDArray[np.int64]:
    """The triangles (F, 3) of a skin; with caps, each end has a ring and a centre of its own after the rings."""
    i, j = np.meshgrid(np.arange(k - 1), np.arange(n), indexing="ij")
    a, b = i * n + j, i * n + (j + 1) % n
    faces: NDArray[np.int64] = np.concatenate([np.stack([a, b, b + n], -1), np.stack([a, b + n, a + n], -1)])
    faces = faces.reshape(-1, 3)
    if not caps:
        return faces
    base, top = k * n, k * n + n + 1
    around = np.arange(n)
    following = (around + 1) % n
    low = np.stack([np.full(n, base + n), base + following, base + around], -1)
    high = np.stack([np.full(n, top + n), top + around, top + following], -1)
    return np.concatenate([faces, low, high])


def _tidy(vertices: Points, faces: NDArray[np.int64]) -> Mesh:
    """Drop faces without area and vertices that no face uses."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = _cross(b - a, c - a)
    faces = faces[(area * area).sum(1) > 1e-22]
    used = np.zeros(len(vertices), dtype=bool)
    used[faces] = True
    packed = (np.cumsum(used) - 1)[faces]
    return Mesh(vertices[used], packed.astype(np.int32), np.zeros((int(used.sum()), 2)))


def _cross(a: Points, b: Points) -> Points:
    """Cross products (N, 3); several times faster than np.cross on small arrays."""
    x, y, z = a.T
    u, v, w = b.T
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], -1)


def quad(a: Triple, b: Triple, c: Triple, d: Triple, *, cell: float = 0, fit: bool = False) -> Mesh:
    """The parallelogram a, b, c, d (counter-clockwise), cut into cells of at most `cell` metres, u along a-b."""
    origin, along, up = np.array(a), np.array(b) - np.array(a), np.array(d) - np.array(a)
    width, height = float(np.linalg.norm(along)), float(np.linalg.norm(up))
    nu, nv = (max(1, math.ceil(size / cell)) if cell else 1 for size in (width, height))
    u, v = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 1, nu + 1), np.linspace(0, 1, nv + 1)))
    vertices = origin + u[:, None] * along + v[:, None] * up
    i, j = (grid.ravel() for grid in np.meshgrid(np.arange(nu), np.arange(nv)))
    low = j * (nu + 1) + i
    high = low + nu + 1
    faces = np.concatenate([np.stack([low, low + 1, high + 1], -1), np.stack([low, high + 1, high], -1)])
    scale = np.ones(2) if fit else np.array([width, height])
    return Mesh(vertices, faces.astype(np.int32), np.stack([u, v], -1) * scale)


_SIDES = np.array(  # (6 sides, 4 corners, 3): the unit box, each side counter-clockwise seen from outside
    [
        [(-1, -1, -1), (1, -1, -1), (1, -1, 1), (-1, -1, 1)],
        [(1, -1, -1), (1, 1, -1), (1, 1, 1), (1, -1, 1)],
        [(1, 1, -1), (-1, 1, -1), (-1, 1, 1), (1, 1, 1)],
        [(-1, 1, -1), (-1, -1, -1), (-1, -1, 1), (-1, 1, 1)],
        [(-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)],
        [(-1, 1, -1), (1, 1, -1), (1, -1, -1), (-1, -1, -1)],
    ],
    dtype=np.float64,
)
_CORNERS = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], dtype=np.float64)
_ALONG = np.array([(0, 2), (1, 2), (0, 2), (1, 2), (0, 1), (0, 1)])  # the axes that u and v of a side follow
_BOX_FACES = (np.arange(6)[:, None, None] * 4 + np.array([(0, 1, 2), (0, 2, 3)])).reshape(-1, 3).astype(np.int32)


def box(w: float, d: float, h: float, at: Triple = (0, 0, 0), *, fit: bool = False) -> Mesh:
    """A box w along x, d along y, h along z, standing with the centre of its base `at` a point."""
    size = np.array([w, d, h])
    vertices = (_SIDES * (size / 2)).reshape(-1, 3) + np.array([at[0], at[1], at[2] + h / 2])
    scale = np.ones((6, 1, 2)) if fit else size[_ALONG][:, None]
    return Mesh(vertices, _BOX_FACES, (_CORNERS * scale).reshape(-1, 2))

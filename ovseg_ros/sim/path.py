"""The camera's way through a scene: a smooth drive over free floor that looks from thing to thing, in a loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.sim.mesh import Points
from ovseg_ros.sim.surface import Surface

FRESH = 0.8  # weight that a target loses each time it was looked at


@dataclass(frozen=True, eq=False)
class CameraPath:
    """Positions go along `way` and back in one period; the gaze passes through the keys."""

    way: Points  # (N, 2) world x, y
    height: float
    bob: float  # metres that the height swings
    period: float  # seconds
    yaws: Points  # (K,) radians, unwrapped, K keys evenly over the period
    pitches: Points  # (K,) radians, up positive

    def position(self, t: float) -> Points:
        """World position (3,) at a time; goes to and fro smoothly."""
        steps = np.linalg.norm(np.diff(self.way, axis=0), axis=1)
        along = np.concatenate([[0.0], np.cumsum(steps)])
        at = along[-1] * (1 - math.cos(2 * math.pi * t / self.period)) / 2
        x, y = (float(np.interp(at, along, self.way[:, i])) for i in range(2))
        return np.array([x, y, self.height + self.bob * math.sin(4 * math.pi * t / self.period)])

    def gaze(self, t: float) -> tuple[float, float]:
        """Yaw and pitch in radians at a time; each key is held for a moment, then left smoothly."""
        keys = len(self.yaws)
        phase = (t / self.period % 1.0) * keys
        index = min(int(phase), keys - 1)
        blend = np.clip((phase - index - 0.15) / 0.85, 0, 1)
        blend = blend * blend * (3 - 2 * blend)
        after = (index + 1) % keys
        turn = (self.yaws[after] - self.yaws[index] + math.pi) % (2 * math.pi) - math.pi
        yaw = self.yaws[index] + blend * turn
        pitch = self.pitches[index] + blend * (self.pitches[after] - self.pitches[index])
        return float(yaw), float(pitch)

    def pose(self, t: float) -> NDArray[np.float64]:
        """Camera to world (4, 4): x right, y down, z along the view."""
        yaw, pitch = self.gaze(t)
        forward = np.array([math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch)])
        right = np.array([math.sin(yaw), -math.cos(yaw), 0.0])
        pose = np.eye(4)
        pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, np.cross(forward, right), forward, self.position(t)
        return pose


def plan(
    rng: np.random.Generator,
    floor: Surface,
    targets: Sequence[tuple[Points, float]],
    *,
    height: float,
    clearance: float,
    near: tuple[Surface, float, float] | None = None,
    pitch: tuple[float, float] = (-40.0, 14.0),
) -> CameraPath | None:
    """Plan a path at least `clearance` metres from everything on the floor, or None where there is no room.

    `targets` are (point (3,), weight) to look at; `near` keeps the way between two distances from a table.
    """
    way = _way(rng, floor, clearance, near) if targets else None
    if way is None:
        return None
    length = float(np.linalg.norm(np.diff(way, axis=0), axis=1).sum())
    period = max(12.0, 2 * length / rng.uniform(0.3, 0.5))
    keys = max(4, round(period / 3.0))
    bob = float(rng.uniform(0, 0.05))
    path = CameraPath(way, height, bob, period, np.zeros(keys), np.zeros(keys))
    yaws, pitches = np.zeros(keys), np.zeros(keys)
    points = np.array([point for point, _ in targets])
    weights = np.array([weight for _, weight in targets])
    for key in range(keys):
        offset = points - path.position(period * key / keys)
        distance = np.linalg.norm(offset, axis=1)
        yaw = np.arctan2(offset[:, 1], offset[:, 0])
        turn = np.abs((yaw - yaws[key - 1] + math.pi) % (2 * math.pi) - math.pi) if key else np.zeros(len(yaw))
        fit = weights * np.exp(-np.abs(distance - 1.7) / 1.6) * np.where(turn < 1.6, 1.0, 0.05) + 1e-9
        pick = int(rng.choice(len(points), p=fit / fit.sum()))
        weights[pick] *= 1 - FRESH
        yaws[key] = yaw[pick] + rng.normal(0, 0.12)
        low, high = (math.radians(limit) for limit in pitch)
        pitches[key] = np.clip(
            math.atan2(offset[pick, 2], math.hypot(*offset[pick, :2])) + rng.normal(0, 0.07), low, high
        )
    return CameraPath(way, height, bob, period, np.asarray(np.unwrap(yaws), np.float64), pitches)


def _way(
    rng: np.random.Generator, floor: Surface, clearance: float, near: tuple[Surface, float, float] | None
) -> Points | None:
    """A smooth polyline (N, 2) through free floor."""
    room = np.pad((floor.taken == 0).astype(np.uint8), 1)
    distance = cv2.distanceTransform(room, cv2.DIST_L2, 5)[1:-1, 1:-1] * floor.cell
    free = (distance > clearance).astype(np.uint8)
    if near is not None:
        table, low, high = near
        x = floor.x - table.x + (np.arange(free.shape[1]) + 0.5) * floor.cell - floor.w / 2
        y = floor.y - table.y + (np.arange(free.shape[0])[:, None] + 0.5) * floor.cell - floor.d / 2
        cos, sin = math.cos(math.radians(table.yaw)), math.sin(math.radians(table.yaw))
        u, v = np.abs(cos * x + sin * y) - table.w / 2, np.abs(cos * y - sin * x) - table.d / 2
        gap = np.hypot(np.maximum(u, 0), np.maximum(v, 0))
        free &= ((gap > low) & (gap < high)).astype(np.uint8)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(free, connectivity=4)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    free = (pieces == largest).astype(np.uint8)
    cells = np.argwhere(free)  # (M, 2) row, column
    if len(cells) < 30:
        return None
    way = [cells[int(rng.integers(len(cells)))]]
    for _ in range(5):
        options = cells[rng.integers(len(cells), size=60)]
        lines = options[_lines_free(free, way[-1], options)]
        if len(lines):
            reach = np.linalg.norm(lines - way[-1], axis=1) + 0.7 * np.linalg.norm(lines - way[0], axis=1)
            way.append(lines[int(np.argmax(reach * rng.uniform(0.5, 1.0, len(lines))))])
    if len(way) < 2:
        return None
    line = np.array(way, dtype=np.float64)
    for _ in range(3):
        rounder = _cut_corners(line)
        at = np.round(rounder).astype(int)
        if not free[at[:, 0], at[:, 1]].all():
            break
        line = rounder
    u, v = (line[:, 1] + 0.5) * floor.cell - floor.w / 2, (line[:, 0] + 0.5) * floor.cell - floor.d / 2
    return np.stack([floor.x + u, floor.y + v], -1)


def _lines_free(free: NDArray[np.uint8], start: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each straight line from a cell (2,) to the cells (N, 2) stays free, (N,)."""
    steps = int(np.abs(ends - start).max()) + 1
    at = np.round(start + np.linspace(0, 1, steps)[:, None, None] * (ends - start)).astype(int)  # (steps, N, 2)
    return np.asarray(free[at[..., 0], at[..., 1]].all(0))


def _cut_corners(line: Points) -> Points:
    """One round of Chaikin's corner cutting; the ends stay."""
    a, b = line[:-1], line[1:]
    cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], 1).reshape(-1, 2)
    return np.concatenate([line[:1], cut[1:-1], line[-1:]]) if len(line) > 2 else line

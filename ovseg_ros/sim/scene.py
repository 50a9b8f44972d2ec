"""One procedural scene from a seed: its objects, light and camera path; needs no OpenGL."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ovseg_ros.sim.families import FAMILIES
from ovseg_ros.sim.frame import SimObject
from ovseg_ros.sim.kinds import EVALUATION_SEEDS
from ovseg_ros.sim.lights import Lighting, lighting
from ovseg_ros.sim.path import CameraPath
from ovseg_ros.sim.shell import close
from ovseg_ros.sim.stage import Placed

FIELD_OF_VIEW = (50.0, 75.0)  # degrees across the image's width


@dataclass(frozen=True, eq=False)
class Scene:
    """What a seed gives; the same whatever the size of the images."""

    seed: int
    family: str
    objects: tuple[SimObject, ...]
    placed: tuple[Placed, ...]  # their parts, in the order of `objects`
    lighting: Lighting
    path: CameraPath
    field_of_view: float  # radians across the image's width

    @classmethod
    def build(cls, seed: int, family: str | None = None) -> Scene:
        """Build the scene of a seed; a family is drawn by the seed unless given."""
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"The seed {seed!r} is no whole number from 0; pass one such as 7.")
        if family is not None and family not in FAMILIES:
            raise ValueError(f"There is no family {family!r} of scenes; choose one of {', '.join(FAMILIES)}.")
        rng = np.random.default_rng([int(seed), 20_24])
        drawn = list(FAMILIES)[int(rng.integers(len(FAMILIES)))]
        name = family or drawn
        stage, path, industrial = FAMILIES[name](rng, evaluation=seed >= EVALUATION_SEEDS)
        light = lighting(rng, stage.length, stage.width, stage.height)
        fov = math.radians(float(rng.uniform(*FIELD_OF_VIEW)))
        shell = close(stage, industrial=industrial)
        placed = (*shell, *stage.placed)
        return cls(int(seed), name, tuple(_describe(item) for item in placed), placed, light, path, fov)


def _describe(item: Placed) -> SimObject:
    """The public description of a placed object."""
    low, high = (tuple(float(v) for v in corner) for corner in (item.low, item.high))
    return SimObject(item.kind, item.colour, (low[0], low[1], low[2]), (high[0], high[1], high[2]))

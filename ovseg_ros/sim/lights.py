"""The light of a scene: lamps under the ceiling, daylight from a side, and what the walls throw back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovseg_ros.sim.parts import Rgb


@dataclass(frozen=True)
class Light:
    """A point light at a position, or a directional one along a direction."""

    position: tuple[float, float, float]
    direction: tuple[float, float, float]
    diffuse: Rgb
    directional: bool


@dataclass(frozen=True)
class Lighting:
    """All lights; `ambient` reaches every surface alike, `camera` shines from the robot."""

    ambient: Rgb
    camera: float
    lights: tuple[Light, ...]


def _tint(rng: np.random.Generator, level: float, amount: float) -> Rgb:
    """A warm (positive) or cool white of a level."""
    warm = rng.uniform(-amount, amount)
    return level * (1 + warm), level * (1 + 0.2 * warm), level * (1 - warm)


def lighting(rng: np.random.Generator, length: float, width: float, height: float) -> Lighting:
    """Draw the light of a room so that the sum over a facing surface stays near full exposure."""
    exposure = rng.uniform(1.4, 1.95)
    ambient = rng.uniform(0.3, 0.5)
    count = int(rng.integers(1, 4))
    share = rng.dirichlet(np.full(count, 3.0)) * (1.05 - ambient) * exposure
    lights = []
    for i in range(count):
        x = length * (i + rng.uniform(0.2, 0.8)) / count
        y = width * rng.uniform(0.2, 0.8)
        level = float(share[i]) * 1.15
        lights.append(Light((x, y, height - 0.15), (0, 0, -1), _tint(rng, level, 0.08), False))
    angle = rng.uniform(0, 2 * np.pi)
    slope = (float(np.cos(angle)), float(np.sin(angle)), float(-rng.uniform(0.4, 1.2)))
    lights.append(
        Light((length / 2, width / 2, height), slope, _tint(rng, rng.uniform(0.1, 0.35) * exposure, 0.1), True)
    )
    return Lighting(_tint(rng, ambient * exposure, 0.05), float(rng.uniform(0.02, 0.14)), tuple(lights))

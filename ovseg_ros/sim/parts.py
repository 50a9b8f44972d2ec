"""What a thing is made of: materials on meshes, and the style (colour, chance) that a model is built in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.sim.mesh import Mesh

Rgb = tuple[float, float, float]  # 0..1


@dataclass(frozen=True, eq=False)
class Texture:
    """An image (h, w, 3) uint8 that repeats; one object is one texture in the compiled scene."""

    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Material:
    """How a surface takes light; `tile` is the metres that one repeat of the texture covers."""

    rgb: Rgb = (0.8, 0.8, 0.8)
    texture: Texture | None = None
    tile: float = 1.0
    specular: float = 0.1
    shininess: float = 0.3
    emission: float = 0.0


@dataclass(frozen=True)
class Part:
    """A mesh in one material."""

    mesh: Mesh
    material: Material


Model = list[Part]


@dataclass
class Style:
    """The choices of one object: its own chance and its paint (the named colour, jittered, if it is colourable)."""

    rng: np.random.Generator
    paint: Rgb
    extra: dict[str, float] = field(default_factory=dict)  # sizes that the caller wants
    pool: dict[str, list[Texture]] = field(default_factory=dict)  # textures that a scene's objects share

    def between(self, low: float, high: float) -> float:
        """A number drawn evenly from low..high."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return bool(self.rng.random() < probability)

    def shared(self, name: str, make: Callable[[], NDArray[np.uint8]], count: int = 3) -> Texture:
        """One of at most `count` textures of a name in this scene, made when first wanted."""
        made = self.pool.setdefault(name, [])
        index = int(self.rng.integers(count))
        if index >= len(made):
            made.append(Texture(make()))
            index = len(made) - 1
        return made[index]

    def main(self, *, specular: float = 0.15, shininess: float = 0.3) -> Material:
        """The material in the object's own colour."""
        return Material(self.paint, specular=specular, shininess=shininess)

    def shade(self, factor: float) -> Material:
        """The object's own colour, darker or lighter."""
        r, g, b = (min(1.0, c * factor) for c in self.paint)
        return Material((r, g, b))


METAL = Material((0.62, 0.64, 0.67), specular=0.6, shininess=0.6)
STEEL = Material((0.45, 0.46, 0.48), specular=0.5, shininess=0.5)
RUBBER = Material((0.06, 0.06, 0.065), specular=0.05)
PLASTIC = Material((0.13, 0.13, 0.14), specular=0.2)
PAPER = Material((0.93, 0.92, 0.88), specular=0.0)
PINE = Material((0.74, 0.56, 0.36), specular=0.05)
OAK = Material((0.55, 0.38, 0.22), specular=0.08)
WALNUT = Material((0.33, 0.21, 0.13), specular=0.08)
WOODS = (PINE, OAK, WALNUT)

"""The stage of one scene: an empty closed room, and the ways to make things and put them into it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.sim.colours import paint
from ovseg_ros.sim.kinds import KINDS, colours_of
from ovseg_ros.sim.mesh import Points
from ovseg_ros.sim.models import MODELS
from ovseg_ros.sim.parts import Model, Part, Style, Texture
from ovseg_ros.sim.surface import Footprint, Surface

HELD_OUT_SHARE = 0.35  # of the coloured things of an evaluation scene
SIDES = {"north": 0.0, "east": -90.0, "south": 180.0, "west": 90.0}  # yaw of a thing with its back to that wall


@dataclass(frozen=True)
class Thing:
    """A built object in its own frame, not yet placed."""

    kind: str
    colour: str | None
    parts: Model
    low: Points  # (3,) corner of its box
    high: Points  # (3,)

    @property
    def foot(self) -> Footprint:
        """Its footprint on the ground."""
        return (float(self.low[0]), float(self.low[1]), float(self.high[0]), float(self.high[1]))


@dataclass(frozen=True)
class Placed(Thing):
    """An object in world coordinates."""


class Stage:
    """A room 0..length along x, 0..width along y, 0..height; things stand on surfaces and hang on walls."""

    def __init__(self, rng: np.random.Generator, size: tuple[float, float, float], *, evaluation: bool) -> None:
        self.rng = rng
        self.evaluation = evaluation
        self.length, self.width, self.height = size
        self.floor = Surface(self.length / 2, self.width / 2, 0.0, self.length, self.width)
        self.placed: list[Placed] = []
        self.tops: list[tuple[int, Surface]] = []  # index in `placed` of what carries a surface, and the surface
        self.pool: dict[str, list[Texture]] = {}
        self._hung: dict[str, list[tuple[float, float, float, float]]] = {side: [] for side in SIDES}

    def make(self, kind: str, **extra: float) -> Thing:
        """Build a thing of a kind in a colour that this scene's split allows."""
        rng = np.random.default_rng(self.rng.integers(2**63))
        colour = self.colour_for(kind, rng) if KINDS[kind].colourable else None
        style = Style(rng, paint(colour, rng) if colour else (0.5, 0.5, 0.5), dict(extra), self.pool)
        return thing(kind, colour, MODELS[kind](style))

    def colour_for(self, kind: str, rng: np.random.Generator) -> str:
        """A colour name; held-out pairs only in evaluation scenes, and often there."""
        seen, held = colours_of(kind, evaluation=self.evaluation)
        use = held if held and rng.random() < HELD_OUT_SHARE else seen
        return use[int(rng.integers(len(use)))]

    def put(self, item: Thing, x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> Placed:
        """Put a thing at a world position without any check."""
        parts = [Part(part.mesh.turned(z=yaw).moved(x, y, z), part.material) for part in item.parts]
        placed = thing(item.kind, item.colour, parts)
        self.placed.append(Placed(**vars(placed)))
        return self.placed[-1]

    def stand(
        self, item: Thing, on: Surface, u: float, v: float, yaw: float, *, margin: float = 0.0, shadow: float = 0.6
    ) -> Placed | None:
        """Stand a thing on a surface if there is room; a margin of -1 skips the check."""
        if margin >= 0 and not on.fits(item.foot, u, v, yaw, margin):
            return None
        on.take(item.foot, u, v, yaw, shadow=shadow)
        x, y = on.world(u, v)
        return self.put(item, x, y, on.z, yaw + on.yaw)

    def scatter(
        self,
        item: Thing,
        on: Surface,
        *,
        margin: float = 0.02,
        yaw: float | None = None,
        within: tuple[float, float, float, float] | None = None,
        tries: int = 12,
    ) -> Placed | None:
        """Stand a thing somewhere on a surface (or `within` u0, v0, u1, v1 of it), turned at random unless told."""
        u0, v0, u1, v1 = within or (-on.w / 2, -on.d / 2, on.w / 2, on.d / 2)
        for _ in range(tries):
            turn = float(self.rng.uniform(0, 360)) if yaw is None else yaw
            done = self.stand(item, on, self.rng.uniform(u0, u1), self.rng.uniform(v0, v1), turn, margin=margin)
            if done:
                return done
        return None

    def along(self, side: str) -> float:
        """The length of a wall."""
        return self.length if side in ("north", "south") else self.width

    def at_wall(self, side: str, along: float, off: float) -> tuple[float, float]:
        """World (x, y) of a point `along` a wall (from its west or south end) and `off` it into the room."""
        return {
            "north": (along, self.width - off),
            "south": (along, off),
            "east": (self.length - off, along),
            "west": (off, along),
        }[side]

    def back_to(
        self, side: str, item: Thing, *, gap: float = 0.04, margin: float = 0.06, tries: int = 14
    ) -> Placed | None:
        """Stand a thing on the floor with its back to a wall, where it covers nothing that hangs there."""
        x0, _, x1, y1 = item.foot
        for _ in range(tries):
            along = float(self.rng.uniform(-x0 + 0.05, self.along(side) - x1 - 0.05))
            if not self._clear(side, (along + x0, along + x1, 0.0, float(item.high[2])), 0.05):
                continue
            x, y = self.at_wall(side, along, y1 + gap)
            placed = self.stand(item, self.floor, x - self.floor.x, y - self.floor.y, SIDES[side], margin=margin)
            if placed:
                self._hung[side].append((along + x0, along + x1, 0.0, float(item.high[2])))
                return placed
        return None

    def hang(self, side: str, item: Thing, z: float, *, clear: float = 0.0, tries: int = 14) -> Placed | None:
        """Hang a thing on a wall with its base at height z; `clear` metres of floor before it stay free."""
        x0, _, x1, y1 = item.foot
        for _ in range(tries):
            along = float(self.rng.uniform(-x0 + 0.1, self.along(side) - x1 - 0.1))
            spot = (along + x0, along + x1, z, z + float(item.high[2]))
            if not self._clear(side, spot, 0.12):
                continue
            self._hung[side].append(spot)
            x, y = self.at_wall(side, along, y1 + 0.002)
            if clear:
                self.floor.reserve((x0, -clear, x1, 0.1), x - self.floor.x, y - self.floor.y, SIDES[side])
            return self.put(item, x, y, z, SIDES[side])
        return None

    def top_of(self, carrier: Placed, surface: Surface) -> Surface:
        """Register a surface that a placed thing carries, so that contact shadows are painted on it."""
        self.tops.append((self.placed.index(carrier), surface))
        return surface

    def _clear(self, side: str, spot: tuple[float, float, float, float], gap: float) -> bool:
        a0, a1, z0, z1 = spot
        return not any(
            a0 < b1 + gap and a1 > b0 - gap and z0 < y1 + gap and z1 > y0 - gap for b0, b1, y0, y1 in self._hung[side]
        )

    def add_part(self, index: int, part: Part) -> None:
        """Give a placed thing one more part, in world coordinates."""
        old = self.placed[index]
        self.placed[index] = replace(old, parts=[*old.parts, part])


def thing(kind: str, colour: str | None, parts: Model) -> Thing:
    """A thing with its bounding box."""
    corners = np.concatenate([part.mesh.vertices for part in parts])
    low: Points = np.asarray(corners.min(axis=0), np.float64)
    high: Points = np.asarray(corners.max(axis=0), np.float64)
    return Thing(kind, colour, parts, low, high)


def lit_texture(base: NDArray[np.uint8], surface: Surface, tile: float, size: int) -> NDArray[np.uint8]:
    """Repeat a texture of `tile` metres over a surface, darkened by contact shadows: (h, w, 3), at most `size`."""
    scale = size / max(surface.w, surface.d)
    w, h = max(8, round(surface.w * scale)), max(8, round(surface.d * scale))
    step = base.shape[0] / (tile * scale)  # texels for one pixel
    if step > 1:
        side = max(4, round(base.shape[0] / step))
        base = np.asarray(cv2.resize(base, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        step = 1.0
    rows = (np.arange(h) * step).astype(int) % base.shape[0]
    columns = (np.arange(w) * step).astype(int) % base.shape[1]
    light = cv2.resize(surface.light(0.3 if size > 600 else 0.05, 0.06 if size > 600 else 0.012), (w, h))
    return np.asarray(base[rows][:, columns] * light[..., None], dtype=np.uint8)

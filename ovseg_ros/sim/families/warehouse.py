"""Warehouse aisles: racks on both sides, goods on them, and what stands and moves between them."""

from __future__ import annotations

import numpy as np

from ovseg_ros.sim.families.common import decorate, drive, openings
from ovseg_ros.sim.models.warehouse import rack_of
from ovseg_ros.sim.parts import Style
from ovseg_ros.sim.path import CameraPath
from ovseg_ros.sim.stage import Placed, Stage, thing
from ovseg_ros.sim.surface import Surface

AISLE = (
    "forklift",
    "person",
    "cone",
    "ladder",
    "hand truck",
    "barrel",
    "fire extinguisher",
    "bucket",
    "crate",
    "cone",
    "pallet",
)
GOODS = ("box", "box", "box", "crate", "barrel", "bucket", "crate", "box")
DEPTH = 0.9


def build(rng: np.random.Generator, *, evaluation: bool) -> tuple[Stage, CameraPath, bool]:
    """Fill an aisle; returns the stage, the camera's path and True (a hall)."""
    while True:
        size = (float(rng.uniform(9.0, 13.0)), float(rng.uniform(5.2, 6.6)), float(rng.uniform(3.6, 4.6)))
        stage = Stage(rng, size, evaluation=evaluation)
        _fill(stage)
        path = drive(stage, height=(0.6, 1.7), clearance=(0.6, 0.48, 0.38, 0.3))
        if path is not None:
            return stage, path, True


def _fill(stage: Stage) -> None:
    rng = stage.rng
    for end in ("west", "east"):
        stage.hang(end, stage.make("door"), 0.0, clear=0.8)
    openings(stage, doors=0, windows=1)
    decorate(stage, pictures=0, clocks=1)
    levels = [0.15, float(rng.uniform(1.1, 1.3)), float(rng.uniform(2.1, 2.4))]
    seed = int(rng.integers(2**62))
    for side in (-1, 1):
        x = float(rng.uniform(0.5, 1.0))
        while x + 2.6 < stage.length:
            w = float(rng.uniform(2.2, 2.6))
            if rng.random() < 0.62:
                _rack(stage, x + w / 2, side, w, levels, seed)
                x += w + 0.15
            else:
                _bay(stage, x, x + w, side)
                x += w + 0.2
    kinds = [str(kind) for kind in rng.permutation(AISLE)][: int(rng.integers(6, 10))]
    for kind in sorted(kinds, key=("forklift", "pallet").__contains__, reverse=True):
        _in_aisle(stage, kind)


def _rack(stage: Stage, x: float, side: int, w: float, levels: list[float], seed: int) -> None:
    """A rack at x along one side and goods on each deck."""
    y = DEPTH / 2 + 0.15
    v = side * (stage.width / 2 - y)
    yaw = 0.0 if side > 0 else 180.0
    style = Style(np.random.default_rng(seed), (0.5, 0.5, 0.5))
    item = thing("rack", None, rack_of(w, DEPTH, levels, style))
    placed = stage.stand(item, stage.floor, x - stage.length / 2, v, yaw, margin=0.0)
    if placed is None:
        return
    for z, above in zip(levels, [*levels[1:], levels[-1] + 1.2], strict=True):
        deck = Surface(x, stage.floor.y + v, z, w - 0.15, DEPTH - 0.08, yaw=yaw)
        _goods(stage, deck, above - z - 0.2)


def _goods(stage: Stage, deck: Surface, room: float) -> None:
    """A row of goods along a deck, some in piles, some gaps."""
    u = -deck.w / 2 + 0.05
    while u < deck.w / 2 - 0.3:
        kind = str(stage.rng.choice(GOODS))
        item = stage.make(kind, size=float(stage.rng.uniform(1.0, 1.5)))
        x0, y0, x1, y1 = item.foot
        if stage.rng.random() < 0.14:
            u += float(stage.rng.uniform(0.2, 0.6))
        elif item.high[2] < room and u + x1 - x0 < deck.w / 2:
            v = -deck.d / 2 - y0 + 0.03 + float(stage.rng.uniform(0, 0.12))
            placed = stage.stand(item, deck, u - x0, min(v, deck.d / 2 - y1), 0.0, margin=0.0)
            if placed and kind == "box" and stage.rng.random() < 0.4:
                _pile(stage, placed, deck, u - x0, min(v, deck.d / 2 - y1), room)
            u += x1 - x0 + float(stage.rng.uniform(0.03, 0.14))
        else:
            u += 0.15


def _pile(stage: Stage, below: Placed, deck: Surface, u: float, v: float, room: float) -> None:
    """A second, not larger box on top of one, if the height allows."""
    item = stage.make("box", size=0.8)
    height = float(below.high[2] - below.low[2])
    if height + item.high[2] < room and item.high[0] <= (below.high[0] - below.low[0]) / 2:
        x, y = deck.world(u, v)
        stage.put(item, x, y, deck.z + height, deck.yaw)


def _bay(stage: Stage, x0: float, x1: float, side: int) -> None:
    """A gap in the racks: loaded pallets, barrels, crates, a ladder or a forklift."""
    rng = stage.rng
    low, high = sorted((side * (stage.width / 2 - 0.1), side * (stage.width / 2 - 1.3)))
    within = (x0 - stage.length / 2, low, x1 - stage.length / 2, high)
    for _ in range(int(rng.integers(2, 6))):
        kind = str(
            rng.choice(
                (
                    "pallet",
                    "pallet",
                    "barrel",
                    "barrel",
                    "crate",
                    "ladder",
                    "hand truck",
                    "bucket",
                    "fire extinguisher",
                    "forklift",
                )
            )
        )
        if kind == "pallet":
            _loaded(stage, within)
        else:
            stage.scatter(stage.make(kind), stage.floor, margin=0.04, within=within, yaw=_yaw(stage, kind))


def _loaded(stage: Stage, within: tuple[float, float, float, float] | None, margin: float = 0.06) -> None:
    """A pallet pile, empty or loaded with boxes or crates."""
    rng = stage.rng
    pile = int(rng.choice([1, 1, 1, 3, 5]))
    yaw = float(rng.choice([0.0, 90.0]))
    placed = stage.scatter(stage.make("pallet", pile=pile), stage.floor, margin=margin, within=within, yaw=yaw)
    if placed is None or pile > 3:
        return
    centre = (placed.low + placed.high) / 2
    w, d = (float(v) for v in (placed.high - placed.low)[:2])
    deck = Surface(float(centre[0]), float(centre[1]), float(placed.high[2]), w, d)
    for _ in range(int(rng.integers(0, 4))):
        kind = str(rng.choice(("box", "box", "crate", "bucket")))
        stage.scatter(stage.make(kind), deck, margin=0.01, yaw=float(rng.choice([0.0, 90.0])))


def _yaw(stage: Stage, kind: str) -> float | None:
    """Long things stand along or across the aisle; the others as they like."""
    if kind in ("forklift", "ladder"):
        return float(stage.rng.choice([0.0, 90.0, 180.0, 270.0])) + float(stage.rng.normal(0, 8))
    return None


def _in_aisle(stage: Stage, kind: str) -> None:
    """Something on the aisle's floor, mostly near its edges."""
    half = stage.width / 2 - 1.25
    if kind == "pallet":
        _loaded(stage, (-stage.length / 2, -half, stage.length / 2, half), margin=0.1)
        return
    for _ in range(2 if kind in ("cone", "barrel") else 1):
        side = float(stage.rng.choice([-1.0, 1.0]))
        low, high = sorted((side * half, side * half * 0.35))
        within = (-stage.length / 2 + 0.3, low, stage.length / 2 - 0.3, high)
        stage.scatter(stage.make(kind), stage.floor, margin=0.06, within=within, yaw=_yaw(stage, kind), tries=20)

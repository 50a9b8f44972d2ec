"""Rooms: a living room, bedroom or study with furniture along the walls and free floor in the middle."""

from __future__ import annotations

import numpy as np

from ovseg_ros.sim.families.common import TABLEWARE, decorate, drive, lay, openings, side_of, table_top
from ovseg_ros.sim.path import CameraPath
from ovseg_ros.sim.stage import SIDES, Stage

WALL_PIECES = ("sofa", "bed", "bookcase", "television", "lamp", "plant", "suitcase", "table", "chair")
VISITORS = ("box", "bucket", "crate", "fire extinguisher", "ladder", "cone", "hand truck")  # seldom at home


def build(rng: np.random.Generator, *, evaluation: bool) -> tuple[Stage, CameraPath, bool]:
    """Fill a room; returns the stage, the camera's path and False (not a hall)."""
    while True:
        size = (float(rng.uniform(4.6, 7.2)), float(rng.uniform(4.2, 6.2)), float(rng.uniform(2.4, 3.0)))
        stage = Stage(rng, size, evaluation=evaluation)
        _fill(stage)
        path = drive(stage, height=(0.45, 1.45))
        if path is not None:
            return stage, path, False


def _fill(stage: Stage) -> None:
    rng = stage.rng
    openings(stage, doors=int(rng.integers(1, 3)), windows=int(rng.integers(1, 3)))
    if rng.random() < 0.7:
        _rug(stage)
    pieces = [str(kind) for kind in rng.permutation(WALL_PIECES)][: int(rng.integers(6, 9))]
    pieces += [str(kind) for kind in rng.choice(("plant", "lamp", "bookcase", "suitcase", "television", "sofa"), 3)]
    for kind in sorted(pieces, key=("bed", "sofa", "bookcase", "table").__contains__, reverse=True):
        _along_wall(stage, kind)
    if rng.random() < 0.75:
        dining(stage)
    decorate(stage, pictures=int(rng.integers(2, 5)), clocks=int(rng.integers(1, 3)))
    loose = ["ball"] * int(rng.integers(1, 3)) + ["suitcase"] * int(rng.integers(0, 2)) + ["chair"]
    loose += ["person"] * int(rng.random() < 0.3) + [
        str(kind) for kind in rng.choice(VISITORS, int(rng.integers(0, 3)))
    ]
    for kind in loose:
        stage.scatter(stage.make(kind), stage.floor, margin=0.12)


def _rug(stage: Stage) -> None:
    """Lay a rug near the middle; things may stand on it, so it takes no room."""
    item, yaw = stage.make("rug"), float(stage.rng.choice([0.0, 90.0]))
    reach = float(np.abs([*item.foot]).max())
    u = float(stage.rng.uniform(-1, 1)) * max(0.0, stage.length / 2 - reach - 0.4)
    v = float(stage.rng.uniform(-1, 1)) * max(0.0, stage.width / 2 - reach - 0.4)
    x, y = stage.floor.world(u, v)
    stage.put(item, x, y, 0.0, yaw)


def _along_wall(stage: Stage, kind: str) -> None:
    """Stand a piece with its back to a wall; a television goes on a low table."""
    side = side_of(stage.rng)
    if kind == "television":
        stand = stage.back_to(
            side,
            stage.make("table", w=float(stage.rng.uniform(1.3, 1.7)), d=0.45, h=float(stage.rng.uniform(0.4, 0.55))),
            gap=0.03,
        )
        if stand:
            top = table_top(stage, stand, SIDES[side])
            stage.stand(stage.make("television"), top, 0, 0, 0, margin=0)
            lay(stage, top, [str(k) for k in stage.rng.choice(("book", "bottle", "mug"), 1)])
        return
    placed = stage.back_to(side, stage.make(kind))
    if placed and kind == "table":
        top = table_top(stage, placed, SIDES[side])
        lay(stage, top, [str(k) for k in stage.rng.permutation(TABLEWARE)][: int(stage.rng.integers(3, 7))])


def dining(stage: Stage) -> None:
    """A table away from the walls with chairs around it and some things on it."""
    yaw = float(stage.rng.choice([0.0, 90.0]))
    table = stage.make("table")
    placed = stage.scatter(table, stage.floor, margin=0.5, yaw=yaw, tries=25)
    if not placed:
        return
    top = table_top(stage, placed, yaw)
    lay(stage, top, [str(k) for k in stage.rng.permutation(TABLEWARE)][: int(stage.rng.integers(3, 8))])
    around = ((0.25, -1, 180.0), (-0.25, -1, 180.0), (0.25, 1, 0.0), (-0.25, 1, 0.0))
    for share, side, turn in around:
        if stage.rng.random() < 0.6:
            x, y = top.world(share * top.w, side * (top.d / 2 + 0.3))
            turn = turn + yaw + float(stage.rng.normal(0, 12))
            stage.stand(stage.make("chair"), stage.floor, x - stage.floor.x, y - stage.floor.y, turn, margin=0.0)

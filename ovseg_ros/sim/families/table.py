"""Tables: a robot with a raised camera looks closely at a table top laid with many small things."""

from __future__ import annotations

import numpy as np

from ovseg_ros.sim.families.common import TABLEWARE, decorate, lay, openings, side_of, table_top
from ovseg_ros.sim.path import CameraPath, plan
from ovseg_ros.sim.stage import Stage

BACKDROP = ("bookcase", "plant", "lamp", "sofa", "person", "television", "suitcase", "chair", "bed", "chair")


def build(rng: np.random.Generator, *, evaluation: bool) -> tuple[Stage, CameraPath, bool]:
    """Lay one large table in a small room; returns the stage, the camera's path and False (not a hall)."""
    while True:
        size = (float(rng.uniform(4.4, 5.6)), float(rng.uniform(4.0, 5.0)), float(rng.uniform(2.4, 2.9)))
        stage = Stage(rng, size, evaluation=evaluation)
        path = _fill(stage)
        if path is not None:
            return stage, path, False


def _fill(stage: Stage) -> CameraPath | None:
    rng = stage.rng
    openings(stage, doors=1, windows=int(rng.integers(1, 3)))
    yaw = float(rng.choice([0.0, 90.0]))
    table = stage.make("table", w=float(rng.uniform(1.1, 1.7)), d=float(rng.uniform(0.75, 1.0)))
    u, v = float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.4, 0.4))
    placed = stage.stand(table, stage.floor, u, v, yaw, margin=0.3)
    if placed is None:
        return None
    top = table_top(stage, placed, yaw, cell=0.005)
    favourites = [str(kind) for kind in rng.permutation(TABLEWARE)]
    wanted = favourites[: int(rng.integers(6, 11))] + [
        str(kind) for kind in rng.choice(TABLEWARE, int(rng.integers(3, 7)))
    ]
    items = lay(stage, top, sorted(wanted, key=("laptop", "plate", "teapot").__contains__, reverse=True), margin=0.015)
    for kind in rng.choice(BACKDROP, int(rng.integers(4, 7))):
        stage.back_to(side_of(rng), stage.make(str(kind)))
    decorate(stage, pictures=int(rng.integers(1, 4)), clocks=int(rng.integers(0, 2)))
    for kind in ("chair", "ball")[: int(rng.integers(0, 3))]:
        stage.scatter(stage.make(kind), stage.floor, margin=0.5)
    targets = [((item.low + item.high) / 2, 1.0) for item in items]
    height = top.z + float(rng.uniform(0.24, 0.62))
    for clearance in (0.22, 0.12):
        near = (top, 0.08, float(rng.uniform(0.3, 0.65)))
        path = plan(rng, stage.floor, targets, height=height, clearance=clearance, near=near, pitch=(-48.0, 0.0))
        if path is not None:
            return path
    return None

"""What the families share: doors and windows, wall decoration, things on tables, and what the camera looks at."""

from __future__ import annotations

import numpy as np

from ovseg_ros.sim.mesh import Points
from ovseg_ros.sim.path import CameraPath, plan
from ovseg_ros.sim.stage import SIDES, Placed, Stage
from ovseg_ros.sim.surface import Surface

TABLEWARE = (
    "mug", "bottle", "bowl", "plate", "banana", "apple", "pear", "book", "laptop", "teapot", "hammer", "scissors",
)  # fmt: skip
INTEREST = {  # how much the camera likes to look at a kind; 1 unless told
    "wall": 0.0, "floor": 0.0, "ceiling": 0.0, "box": 0.5, "rack": 0.3, "rug": 0.7, "book": 0.7,
    "forklift": 2.0, "ladder": 2.0, "hand truck": 2.0, "pallet": 1.5, "fire extinguisher": 2.5,
    "lamp": 1.5, "ball": 1.5,
}  # fmt: skip


def side_of(rng: np.random.Generator) -> str:
    """One of the four walls."""
    return list(SIDES)[int(rng.integers(4))]


def openings(stage: Stage, *, doors: int, windows: int) -> None:
    """Hang doors (the floor before them stays clear) and windows on random walls."""
    for _ in range(doors):
        stage.hang(side_of(stage.rng), stage.make("door"), 0.0, clear=0.7)
    for _ in range(windows):
        stage.hang(side_of(stage.rng), stage.make("window"), float(stage.rng.uniform(0.85, 1.0)))


def decorate(stage: Stage, *, pictures: int, clocks: int) -> None:
    """Hang pictures and clocks where the walls are free."""
    for _ in range(pictures):
        stage.hang(side_of(stage.rng), stage.make("picture"), float(stage.rng.uniform(1.05, 1.5)))
    for _ in range(clocks):
        stage.hang(side_of(stage.rng), stage.make("clock"), float(stage.rng.uniform(1.45, 1.8)))


def table_top(stage: Stage, placed: Placed, yaw: float, *, cell: float = 0.01) -> Surface:
    """The top of a table that was placed with a yaw, as a surface."""
    slab = placed.parts[0].mesh.vertices
    centre = (slab.min(0) + slab.max(0)) / 2
    local = (slab - centre) @ _turn(-yaw).T
    w, d = (float(np.ptp(local[:, i])) for i in range(2))
    surface = Surface(float(centre[0]), float(centre[1]), float(np.max(slab[:, 2])), w, d, yaw=yaw, cell=cell)
    return stage.top_of(placed, surface)


def _turn(degrees: float) -> Points:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])


def lay(stage: Stage, top: Surface, kinds: list[str], *, margin: float = 0.02) -> list[Placed]:
    """Put things of these kinds on a surface, as many as find room; laptops and books keep square to the edge."""
    done = []
    for kind in kinds:
        yaw = float(stage.rng.normal(0, 12)) if kind in ("laptop", "book") else None
        if kind == "laptop" and stage.rng.random() < 0.5:
            yaw = float(stage.rng.normal(180, 20))
        placed = stage.scatter(stage.make(kind), top, margin=margin, yaw=yaw, tries=16)
        if placed:
            done.append(placed)
    return done


def drive(
    stage: Stage, *, height: tuple[float, float], clearance: tuple[float, ...] = (0.5, 0.4, 0.32, 0.26)
) -> CameraPath | None:
    """Plan a drive over the free floor that looks at what stands there, with as much clearance as there is."""
    weights = [INTEREST.get(item.kind, 1.0) for item in stage.placed]
    targets = [
        ((item.low + item.high) / 2, weight) for item, weight in zip(stage.placed, weights, strict=True) if weight > 0
    ]
    z = float(stage.rng.uniform(*height))
    for gap in clearance:
        path = plan(stage.rng, stage.floor, targets, height=z, clearance=gap)
        if path is not None:
            return path
    return None

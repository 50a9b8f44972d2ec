"""The three families of scenes; each `build(rng, evaluation=...)` returns a filled stage and a camera path."""

from __future__ import annotations

from collections.abc import Callable

from ovseg_ros.sim.families import room, table, warehouse
from ovseg_ros.sim.path import CameraPath
from ovseg_ros.sim.stage import Stage

Builder = Callable[..., tuple[Stage, CameraPath, bool]]  # the last: whether the shell is an industrial hall

FAMILIES: dict[str, Builder] = {"room": room.build, "table": table.build, "warehouse": warehouse.build}

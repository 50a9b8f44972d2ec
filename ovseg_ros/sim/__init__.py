"""A simulated robot camera with ground truth: procedural rooms, tables and warehouse aisles drawn with MuJoCo.

>>> with Simulator(7, width=320, height=240) as simulator:  # doctest: +SKIP
...     frame = simulator.render(1.5)
"""

from ovseg_ros.sim.colours import COLOURS
from ovseg_ros.sim.drive import open_drive
from ovseg_ros.sim.frame import Frame, SimObject
from ovseg_ros.sim.gl import NoOpenGL
from ovseg_ros.sim.kinds import EVALUATION_SEEDS, HELD_OUT_PAIRS, KINDS, Kind
from ovseg_ros.sim.recording import Recording
from ovseg_ros.sim.scene import Scene
from ovseg_ros.sim.simulator import Simulator

__all__ = [
    "COLOURS",
    "EVALUATION_SEEDS",
    "HELD_OUT_PAIRS",
    "KINDS",
    "Frame",
    "Kind",
    "NoOpenGL",
    "Recording",
    "Scene",
    "SimObject",
    "Simulator",
    "open_drive",
]

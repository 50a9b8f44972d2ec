"""Open a drive: the simulator, or where OpenGL cannot be had the recording that ships with the package."""

from __future__ import annotations

from ovseg_ros.sim.gl import NoOpenGL
from ovseg_ros.sim.recording import Recording
from ovseg_ros.sim.simulator import Simulator


def open_drive(seed: int, width: int = 640, height: int = 480, *, family: str | None = None) -> Simulator | Recording:
    """A camera that renders frames with truth.

    Its `live` is False, and its `note` a sentence for the user, where the recording stands in; the recording is of
    one evaluation scene whatever the seed.
    """
    try:
        return Simulator(seed, width=width, height=height, family=family)
    except NoOpenGL as error:
        note = f"This is a recorded drive, since nothing can be drawn here: {error}"
        return Recording(width=width, height=height, note=note)

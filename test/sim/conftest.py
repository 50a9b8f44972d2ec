"""Skip what draws where OpenGL cannot be had."""

from __future__ import annotations

import pytest

from ovseg_ros.sim import NoOpenGL, gl


@pytest.fixture(scope="session")
def opengl() -> None:
    try:
        gl.context()
    except NoOpenGL as error:
        pytest.skip(str(error))

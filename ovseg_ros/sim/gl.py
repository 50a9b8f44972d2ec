"""Find an offscreen OpenGL for MuJoCo: EGL first, then OSMesa; or say plainly that there is none."""

from __future__ import annotations

import atexit
import ctypes
import importlib
import os
import subprocess
import sys
import threading
from typing import Any

from ovseg_ros.errors import OvsegError

REMEDY = "install it with: apt-get install libegl1 libgl1-mesa-dri (or, without EGL: apt-get install libosmesa6)"
LIBRARIES = {"egl": ("libEGL.so.1", "libEGL.so"), "osmesa": ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")}
PROBE = "import importlib,sys; c=importlib.import_module('mujoco.'+sys.argv[1]).GLContext(8,8); c.make_current()"

_kept = threading.local()  # one context a thread serves every simulator in it


class NoOpenGL(OvsegError):  # noqa: N818 - the name is part of the interface
    """Neither EGL nor OSMesa can draw here; the text says what to install."""


def load_mujoco() -> Any:
    """The mujoco module, imported with MUJOCO_GL set to a backend that is there.

    Raises:
        NoOpenGL: mujoco is not installed.
    """
    if "MUJOCO_GL" not in os.environ and sys.platform == "linux":
        found = candidates()
        os.environ["MUJOCO_GL"] = found[0] if found else "egl"
    try:
        return importlib.import_module("mujoco")
    except ImportError as error:
        raise NoOpenGL(
            f"The simulator draws with MuJoCo, which does not import ({error}); pip install mujoco."
        ) from error


def candidates() -> list[str]:
    """The backends to try: what MUJOCO_GL names, else those whose library loads."""
    asked = os.environ.get("MUJOCO_GL", "").lower()
    if asked in ("disable", "disabled", "off", "false", "0"):
        return []
    names = [asked] if asked in LIBRARIES else list(LIBRARIES)
    return [name for name in names if any(_loads(library) for library in LIBRARIES[name])]


def _loads(library: str) -> bool:
    """Whether a shared library can be loaded."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _probe(name: str) -> bool:
    """Whether a backend gives a context, tried in a process of its own: a failed one spoils PyOpenGL for the next."""
    environment = {key: value for key, value in os.environ.items() if key not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    environment["MUJOCO_GL"] = name
    command = [sys.executable, "-c", PROBE, name]
    try:
        return subprocess.run(command, env=environment, capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def context() -> Any:
    """This thread's OpenGL context, made on first use and made current.

    Raises:
        NoOpenGL: neither EGL nor OSMesa can draw here.
    """
    if getattr(_kept, "context", None) is None:
        load_mujoco()
        _kept.context = _make()
        # while PyOpenGL is whole: at the interpreter's end the context's own clean-up fails, and says so on stderr
        atexit.register(_kept.context.free)
    _kept.context.make_current()
    return _kept.context


def _make() -> Any:
    """A new context of the first backend that works."""
    names = candidates()
    if not names:
        raise NoOpenGL(
            f"No EGL and no OSMesa library loads here (MUJOCO_GL={os.environ.get('MUJOCO_GL')!r}); {REMEDY}."
        )
    name = next((name for name in names if _probe(name)), names[0]) if len(names) > 1 else names[0]
    try:
        made = importlib.import_module(f"mujoco.{name}").GLContext(8, 8)
        made.make_current()
    except Exception as error:  # PyOpenGL and the drivers raise many kinds
        raise NoOpenGL(f"{name} gives no OpenGL context here ({type(error).__name__}: {error}); {REMEDY}.") from error
    return made

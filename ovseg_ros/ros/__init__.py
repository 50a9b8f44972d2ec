"""The ROS 2 graph: every name the node needs from it, from rclpy, or from `standalone` where there is no ROS 2.

This is the only place that knows which. `OVSEG_ROS` forces one: `rclpy`, `standalone` or `auto` (the default). The
graph is loaded on the first use of a name, so that modules such as `ros.pixels` work on machines with neither.
"""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ovseg_ros.errors import OvsegError

if TYPE_CHECKING:
    from ovseg_ros.ros._standalone import *  # noqa: F403

CHOICES = ("auto", "rclpy", "standalone")


class GraphError(OvsegError, ImportError):
    """Neither rclpy nor `standalone` can be used as asked."""


def backend() -> str:
    """The graph in use, `rclpy` or `standalone`; decided once a process.

    Raises:
        GraphError: `OVSEG_ROS` has an unknown value or asks for what is not installed.
    """
    return _graph().__name__.rpartition("._")[2]


def __getattr__(name: str) -> Any:
    # Python asks for names of its own here, and for submodules before it imports them: neither needs the graph
    if name.startswith("_") or find_spec(f"{__name__}.{name}") is not None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_graph(), name)
    globals()[name] = value  # later uses cost nothing
    return value


_loaded: ModuleType | None = None


def _graph() -> ModuleType:
    global _loaded
    if _loaded is None:
        _loaded = _choose(os.environ.get("OVSEG_ROS") or "auto")
    return _loaded


def _choose(choice: str) -> ModuleType:
    if choice not in CHOICES:
        raise GraphError(f"OVSEG_ROS is {choice!r}; it may be {', '.join(CHOICES)}")
    # looked up, not imported: a broken rclpy must be reported, not passed over
    if choice == "rclpy" or (choice == "auto" and find_spec("rclpy") is not None):
        try:
            return import_module("ovseg_ros.ros._rclpy")
        except ImportError as error:
            problem = _explain(error)
            if choice == "rclpy":
                raise GraphError(f"OVSEG_ROS=rclpy, but {problem}") from error
            warnings.warn(f"using the built-in DDS graph instead of rclpy: {problem}", RuntimeWarning, stacklevel=3)
    try:
        return import_module("ovseg_ros.ros._standalone")
    except ImportError as error:
        raise GraphError(
            f"no ROS 2 here, and the built-in graph needs {error.name or error}: "
            "source a ROS 2 setup.bash, or `pip install cyclonedds rosbags`"
        ) from error


def _explain(error: ImportError) -> str:
    package = (error.name or "").partition(".")[0]
    if package == "ovseg_msgs":
        return (
            "ovseg_msgs is not built: `colcon build --base-paths src src/ovseg_ros/ovseg_msgs` "
            "and source install/setup.bash"
        )
    if package == "rclpy" and find_spec("rclpy") is None:
        return "rclpy is not there: source the setup.bash of a ROS 2 installation"
    if package.endswith("_msgs"):
        return f"{package} is missing: `sudo apt install ros-$ROS_DISTRO-{package.replace('_', '-')}`"
    return f"rclpy can't be used: {error}"

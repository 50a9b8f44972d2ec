"""Which graph `ovseg_ros.ros` takes, decided in fresh interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
no_ros = pytest.mark.skipif("AMENT_PREFIX_PATH" in os.environ, reason="there is a ROS 2 here")


def python(code: str, choice: str | None = None, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "OVSEG_ROS"}
    environment["PYTHONPATH"] = os.pathsep.join(str(p) for p in (path, ROOT, environment.get("PYTHONPATH")) if p)
    if choice is not None:
        environment["OVSEG_ROS"] = choice
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


def broken_ros(folder: Path, *packages: str) -> Path:
    """A folder with an rclpy that imports, and whose messages are not built."""
    for name in ("__init__", "callback_groups", "clock", "exceptions", "executors", "node", "parameter", "qos", "time"):
        (folder / "rclpy").mkdir(exist_ok=True)
        (folder / "rclpy" / f"{name}.py").write_text("def __getattr__(name): return object\n")
    for package in packages:
        for kind in ("msg", "srv"):
            (folder / package / kind).mkdir(parents=True)
            (folder / package / "__init__.py").touch()
            (folder / package / kind / "__init__.py").write_text("def __getattr__(name): return object\n")
    return folder


def test_unknown_choice():
    done = python("from ovseg_ros.ros.run import main; raise SystemExit(main())", "ros1")
    assert done.returncode == 2
    assert done.stderr.strip() == "ovseg: OVSEG_ROS is 'ros1'; it may be auto, rclpy, standalone"


@no_ros
def test_rclpy_asked_for_and_not_there():
    done = python("from ovseg_ros.ros.run import main; raise SystemExit(main())", "rclpy")
    assert done.returncode == 2
    assert "source the setup.bash" in done.stderr
    assert "Traceback" not in done.stderr


def test_forced_standalone():
    done = python("from ovseg_ros import ros; print(ros.backend(), ros.Image.__name__)", "standalone")
    assert done.stdout.split() == ["standalone", "Image"]


@no_ros
def test_messages_not_built_is_explained(tmp_path):
    path = broken_ros(tmp_path, "diagnostic_msgs", "rcl_interfaces", "sensor_msgs", "std_msgs", "vision_msgs")
    done = python("from ovseg_ros import ros; ros.backend()", "rclpy", path)
    assert "colcon build --base-paths src src/ovseg_ros/ovseg_msgs" in done.stderr


@no_ros
def test_missing_standard_messages_are_explained_and_auto_falls_back(tmp_path):
    path = broken_ros(tmp_path, "diagnostic_msgs", "ovseg_msgs", "rcl_interfaces", "sensor_msgs", "std_msgs")
    done = python("from ovseg_ros import ros; print(ros.backend())", "auto", path)
    assert done.stdout.strip() == "standalone"
    assert "sudo apt install ros-$ROS_DISTRO-vision-msgs" in done.stderr


def test_pixels_need_no_graph():
    code = "import sys; from ovseg_ros.ros import pixels, worker; print({'cyclonedds', 'rclpy'} & set(sys.modules))"
    assert python(code, "nonsense").stdout.strip() == "set()"

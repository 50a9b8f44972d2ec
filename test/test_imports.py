"""Who imports whom: the frame path needs neither torch nor ROS."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "barred"),
    [
        ("ovseg_ros.segmenter", ["torch", "onnx", "rclpy", "rosbags", "cyclonedds", "mujoco", "ovseg_ros.models"]),
        ("ovseg_ros.cli.segment", ["torch", "onnx", "rosbags", "mujoco", "ovseg_ros.training"]),
        ("ovseg_ros.cli.evaluate", ["torch", "onnx", "rosbags", "mujoco", "ovseg_ros.training"]),
        ("ovseg_ros.engine", ["torch", "onnx", "ovseg_ros.segmenter", "ovseg_ros.text", "ovseg_ros.vocabulary"]),
        ("ovseg_ros.palette", ["torch", "openvino", "ovseg_ros.engine"]),
    ],
)
def test_a_module_leaves_alone_what_it_does_not_need(module: str, barred: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {barred!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

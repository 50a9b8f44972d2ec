"""Ctrl-C and SIGTERM end a properly written main with exit code 0 and nothing on stderr."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("role", ["idle", "busy", "worker"])
def test_a_signal_ends_main(peer: Any, role: str, number: int) -> None:
    process = peer(role)
    time.sleep(0.2)
    start = time.monotonic()
    code, errors = process.stop(number)
    assert (code, errors) == (0, "")
    assert time.monotonic() - start < 5


CARELESS = """
import ovseg_ros.standalone as rclpy
rclpy.init()
node = rclpy.create_node("careless")
print("ready", flush=True)
rclpy.spin(node)
"""


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "ExternalShutdownException")]
)
def test_spin_raises_what_rclpy_raises(domain: int, number: int, raised: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CARELESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)  # a signal before spin() waits ends it without an exception, in rclpy too
    process.send_signal(number)
    _, errors = process.communicate(timeout=15)
    assert raised in errors.splitlines()[-1]


FORGETFUL = """
import ovseg_ros.standalone as rclpy
rclpy.init()
node = rclpy.create_node("forgetful")
node.create_timer(0.01, lambda: None)
rclpy.spin_once(node, timeout_sec=1)
"""


def test_forgetting_to_shut_down_is_harmless(domain: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORGETFUL],
        capture_output=True,
        text=True,
        timeout=20,
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")

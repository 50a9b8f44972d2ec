"""Each test gets a DDS domain of its own, and peers in processes of their own."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ovseg_ros.standalone as rclpy
from ovseg_ros.standalone.executors import SingleThreadedExecutor

HERE = Path(__file__).parent
# Begins elsewhere in each run, so that two runs on one machine seldom meet.
_domains = itertools.cycle(range(60, 233))
for _ in range(os.getpid() % 173):
    next(_domains)


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """A domain nobody else uses, in the environment too; discovery stays on this machine."""
    number = next(_domains)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    for name in ("ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS", "CYCLONEDDS_URI", "RCUTILS_CONSOLE_OUTPUT_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    return number


class Ros:
    """A context with an executor; makes nodes and spins them until something holds."""

    def __init__(self, args: list[str] | None = None) -> None:
        self.context = rclpy.Context()
        self.context.init(args or [])
        self.executor = SingleThreadedExecutor(context=self.context)

    def node(self, name: str, **options: Any) -> rclpy.Node:
        node = rclpy.Node(name, context=self.context, **options)
        self.executor.add_node(node)
        return node

    def spin_until(self, condition: Callable[[], Any], timeout: float = 10.0) -> bool:
        """Spin until `condition()`; returns whether it came true in time."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                return False
            self.executor.spin_once(timeout_sec=0.02)
        return True

    def spin_for(self, seconds: float) -> None:
        self.spin_until(lambda: False, seconds)

    def call(self, client: Any, request: Any) -> Any:
        """Call a service, waiting for the server; fails the test if no reply comes."""
        assert client.wait_for_service(timeout_sec=10)
        future = client.call_async(request)
        self.executor.spin_until_future_complete(future, timeout_sec=10)
        assert future.done(), f"no reply from {client.srv_name}"
        return future.result()

    def close(self) -> None:
        for node in self.executor.get_nodes():
            node.destroy_node()
        self.executor.shutdown()
        self.context.try_shutdown()


@pytest.fixture
def ros(domain: int) -> Iterator[Ros]:
    started = Ros()
    yield started
    started.close()


class Peer:
    """A process that runs a role of peer.py and prints JSON lines."""

    def __init__(self, role: str, *args: str, executable: str = sys.executable) -> None:
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [executable, str(HERE / "peer.py"), role, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.line() == "ready", self.process.stderr.read() if self.process.stderr else ""

    def line(self) -> Any:
        """Return the next thing it says, None at its end."""
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        return json.loads(text) if text else None

    def stop(self, number: int) -> tuple[int, str]:
        """Send a signal; returns exit code and stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=15)
        return self.process.returncode, errors

    def close(self) -> None:
        # Leaving in order spares the other side a second of waiting for acknowledgements.
        self.process.terminate()
        try:
            self.process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def peer(domain: int) -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def start(role: str, *args: str) -> Peer:
        peers.append(Peer(role, *args))
        return peers[-1]

    yield start
    for started in peers:
        started.close()

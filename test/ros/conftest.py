"""A graph of its own for each test session, child processes, and a peer that records what the node publishes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
os.environ.setdefault("OVSEG_ROS", "standalone")
# a domain that neither a developer's robot nor another test run is likely to use; 100 and up collide with no port
os.environ["ROS_DOMAIN_ID"] = str(100 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"


class Child:
    """A child process and what it wrote."""

    def __init__(self, kind: str, options: dict[str, Any], arguments: list[str], log: Path) -> None:
        self.log = log
        environment = dict(
            os.environ, PYTHONPATH=os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
        )
        environment["PYTHONUNBUFFERED"] = "1"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", str(HERE / "processes.py"), kind, json.dumps(options), *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.log.read_text("utf-8")

    def end(self, number: int, timeout: float = 60.0) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout)


def _spawner(folder: Path) -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start(kind: str, arguments: list[str] | None = None, **options: Any) -> Child:
        child = Child(kind, options, arguments or [], folder / f"{len(children)}-{kind}.log")
        children.append(child)
        return child

    yield start
    for child in children:
        if child.process.poll() is None:
            child.process.kill()
        child.process.wait()


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Start `spawn("node", arguments, **options)`, a "camera" or "subscriber"; what still runs at the end is killed."""
    yield from _spawner(tmp_path)


@pytest.fixture(scope="module")
def spawn_for_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Child]]:
    """As `spawn`, for all tests of a module."""
    yield from _spawner(tmp_path_factory.mktemp("children"))


class Peer:
    """A camera, subscriber and client in the test's process."""

    def __init__(self) -> None:
        from ovseg_ros import ros

        self.ros = ros
        self.node = ros.Node("peer")
        self.executor = ros.SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self._spin, daemon=True)
        self.thread.start()
        self.images = self.node.create_publisher(ros.Image, "image", 5)

    def _spin(self) -> None:
        with contextlib.suppress(self.ros.ExternalShutdownException):
            self.executor.spin()

    def record(self, kind: Any, topic: str, qos: Any = 10) -> list[Any]:
        """A list that fills with the messages of a topic."""
        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, qos)
        return received

    def latched(self) -> Any:
        return self.ros.QoSProfile(depth=1, durability=self.ros.DurabilityPolicy.TRANSIENT_LOCAL)

    def send(self, pixels: Any = None, name: str = "", **fields: Any) -> Any:
        """Publish an image; `name` becomes its frame_id, `fields` overwrite those of the message."""
        from ovseg_ros.ros.messages import image_message

        pixels = np.full((48, 64, 3), 100, np.uint8) if pixels is None else pixels
        header = self.ros.Header(stamp=self.node.get_clock().now().to_msg(), frame_id=name)
        message = image_message(pixels, "rgb8", header)
        for field, value in fields.items():
            setattr(message, field, value)
        self.images.publish(message)
        return message

    def call(self, kind: Any, service: str, request: Any, timeout: float = 60.0) -> Any:
        client = self.node.create_client(kind, service)
        assert client.wait_for_service(timeout), service
        future = client.call_async(request)
        until(future.done, timeout)
        self.node.destroy_client(client)
        return future.result()

    def set_words(self, *words: str, **fields: Any) -> Any:
        request = self.ros.SetVocabulary.Request(classes=list(words), **fields)
        return self.call(self.ros.SetVocabulary, "set_vocabulary", request)

    def connect(self, masks: bool = True) -> None:
        """Wait until the node hears the images (and is heard)."""
        until(lambda: self.images.get_subscription_count() > 0)
        if masks:
            until(lambda: self.node.count_publishers("/ovseg/mask") > 0)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.ros.rclpy.try_shutdown()
        self.thread.join(5)


def until(condition: Callable[[], Any], timeout: float = 60.0) -> Any:
    """Wait for a condition and return its value; fail after `timeout` seconds, which a busy machine may take."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, "timed out"
        time.sleep(0.01)
    return value


@pytest.fixture
def peer() -> Iterator[Peer]:
    from ovseg_ros import ros

    ros.rclpy.init(args=["test"])
    peer = Peer()
    yield peer
    peer.close()

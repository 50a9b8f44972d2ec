"""Talking to a running node's services."""

from __future__ import annotations

import subprocess
import time
from typing import Any

from ovseg_ros import ros
from ovseg_ros.errors import OvsegError


class NodeUnreachableError(OvsegError):
    """No node answers."""


def call(kind: Any, name: str, request: Any, namespace: str, timeout: float) -> Any:
    """Call one service of the node and return its reply.

    Raises:
        NodeUnreachableError: when no reply comes within `timeout` seconds.
    """
    service = "/".join(["", *namespace.strip("/").split("/"), name]).replace("//", "/")
    ros.rclpy.init(args=[])
    try:
        node = ros.Node("ovseg_vocabulary")
        client = node.create_client(kind, service)
        if not client.wait_for_service(timeout_sec=timeout):
            raise NodeUnreachableError(f"no node offers {service} (waited {timeout:g} s); is `ovseg node` running?")
        future = client.call_async(request)
        ros.rclpy.spin_until_future_complete(node, future, timeout_sec=timeout)
        if not future.done():
            raise NodeUnreachableError(f"{service} did not answer within {timeout:g} s")
        return future.result()
    finally:
        ros.rclpy.try_shutdown()


def wait_for_node(executor: Any, client: Any, seconds: float, process: subprocess.Popen[bytes]) -> None:
    """Wait until a node that was started as `process` has its words, which is when its model is loaded.

    Args:
        executor: spins the client's node.
        client: of `GetVocabulary`.
        seconds: how long at most.
        process: the node's.

    Raises:
        NodeUnreachableError: when it ends or does not answer in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise NodeUnreachableError(f"the node ended with exit code {process.returncode}")
        if client.wait_for_service(timeout_sec=0.5):
            future = client.call_async(ros.GetVocabulary.Request())
            executor.spin_until_future_complete(future, timeout_sec=5.0)
            if future.done() and future.result().classes:
                return
    raise NodeUnreachableError(f"the node did not answer within {seconds:g} s")

"""ROS 2 without ROS 2: the part of rclpy, cv_bridge and sensor_msgs_py that a perception node needs.

A node written against this package is a peer of rmw_cyclonedds_cpp nodes (Jazzy): real DDS by the PyPI package
`cyclonedds`, real CDR by `rosbags`, with ROS's names, QoS, type hashes, discovery, parameters, services, /rosout and
`--ros-args`. Names and modules are rclpy's, so that code reads as rclpy code; `docs` of rclpy apply.

    import ovseg_ros.standalone as rclpy
    from ovseg_ros.standalone.interfaces import message

    rclpy.init()
    node = rclpy.create_node("talker")
    publisher = node.create_publisher(message("std_msgs/msg/String"), "chatter", 10)

What it cannot do:

- Serve or call services of `rmw_fastrtps_cpp` peers (the default middleware of most distributions): their request ids
  travel where Cyclone's Python binding does not show them. Topics work with every DDS middleware.
- Talk to `rmw_zenoh_cpp`, which is not DDS.
- Run where `cyclonedds` has no wheel, such as aarch64, unless it is built from source.
- Be seen as a node by Humble and older, whose discovery messages have 24-byte ids; topics and services still work.
- Actions, lifecycle, composition, intra-process communication, security, content filters, service introspection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import signals
from .context import Context, get_default_context
from .executors import Executor, SingleThreadedExecutor
from .node import Node
from .parameter import Parameter
from .signals import SignalHandlerOptions
from .task import Future
from .utilities import get_rmw_implementation_identifier, ok, try_shutdown
from .utilities import shutdown as _shutdown

__all__ = [
    "Context",
    "Future",
    "Node",
    "Parameter",
    "SignalHandlerOptions",
    "create_node",
    "get_default_context",
    "get_global_executor",
    "get_rmw_implementation_identifier",
    "init",
    "ok",
    "shutdown",
    "spin",
    "spin_once",
    "spin_until_future_complete",
    "try_shutdown",
]

_executor: Executor | None = None


def init(
    args: Sequence[str] | None = None,
    *,
    context: Context | None = None,
    domain_id: int | None = None,
    signal_handler_options: SignalHandlerOptions | None = None,
) -> None:
    """Join the ROS domain; see `Context.init`.

    For the default context SIGINT and SIGTERM are handled unless `signal_handler_options` says otherwise.
    """
    chosen = get_default_context() if context is None else context
    if signal_handler_options is None:
        default = chosen is get_default_context()
        signal_handler_options = SignalHandlerOptions.ALL if default else SignalHandlerOptions.NO
    chosen.init(args, domain_id=domain_id)
    signals.install_signal_handlers(signal_handler_options)


def shutdown(*, context: Context | None = None, uninstall_handlers: bool | None = None) -> None:
    """Shut a context down; raises `RuntimeError` the second time.

    The signal handlers go with the default context, unless `uninstall_handlers` says otherwise.
    """
    default = context is None or context is get_default_context()
    _shutdown(context=context)
    if uninstall_handlers or (uninstall_handlers is None and default):
        signals.uninstall_signal_handlers()


def create_node(node_name: str, **options: Any) -> Node:
    """Create a node; the options are those of `Node`."""
    return Node(node_name, **options)


def get_global_executor() -> Executor:
    """Return the executor of the `spin` functions, which lives until the default context shuts down."""
    global _executor
    executor = _executor
    if executor is None:
        executor = _executor = SingleThreadedExecutor()
        # Resets at once if a signal has shut the context down already.
        get_default_context().on_shutdown(_reset_executor)
    return executor


def _reset_executor() -> None:
    global _executor
    executor, _executor = _executor, None
    if executor is not None:
        executor.shutdown(timeout_sec=0)


def spin(node: Node, executor: Executor | None = None) -> None:
    """Run the callbacks of `node` until shutdown; raises `ExternalShutdownException` if that comes while waiting."""
    executor = get_global_executor() if executor is None else executor
    try:
        executor.add_node(node)
        while executor.context.ok():
            executor.spin_once()
    finally:
        executor.remove_node(node)


def spin_once(node: Node, *, executor: Executor | None = None, timeout_sec: float | None = None) -> None:
    """Wait for one callback of `node`, at most `timeout_sec` (None: for ever), and run it."""
    executor = get_global_executor() if executor is None else executor
    try:
        executor.add_node(node)
        executor.spin_once(timeout_sec=timeout_sec)
    finally:
        executor.remove_node(node)


def spin_until_future_complete(
    node: Node, future: Future, executor: Executor | None = None, timeout_sec: float | None = None
) -> None:
    """Run the callbacks of `node` until `future` is done, at most `timeout_sec` (None: for ever)."""
    executor = get_global_executor() if executor is None else executor
    added = False
    try:
        added = executor.add_node(node)
        executor.spin_until_future_complete(future, timeout_sec)
    finally:
        if added:
            executor.remove_node(node)

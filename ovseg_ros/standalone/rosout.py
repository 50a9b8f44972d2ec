"""The log lines of a node, as rcl_interfaces/msg/Log on /rosout."""

from __future__ import annotations

from typing import Any

from .interfaces import message
from .logging import LoggingSeverity, add_sink, remove_sink
from .qos import qos_profile_rosout_default

Log: Any = message("rcl_interfaces/msg/Log")
Time: Any = message("builtin_interfaces/msg/Time")


class Rosout:
    """Publishes what the node's loggers say, until `close`."""

    def __init__(self, node: Any) -> None:
        self._publisher = node.create_publisher(Log, "/rosout", qos_profile_rosout_default)
        self._name = node.get_logger().name
        # One bound method, kept: removing needs the very object that was added.
        self._sink = self._publish
        add_sink(self._name, self._sink)

    def close(self) -> None:
        """Publish nothing more."""
        remove_sink(self._name, self._sink)

    def _publish(
        self, severity: LoggingSeverity, name: str, text: str, stamp: int, file: str, function: str, line: int
    ) -> None:
        seconds, nanoseconds = divmod(stamp, 10**9)
        self._publisher.publish(
            Log(
                stamp=Time(sec=seconds, nanosec=nanoseconds),
                level=int(severity),
                name=name,
                msg=text,
                file=file,
                function=function,
                line=line,
            )
        )

"""Publishers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .dds.endpoints import Writer
from .duration import Duration, Infinite
from .event_handler import EventHandler
from .qos import QoSProfile
from .serialization import encode


class Publisher:
    """Sends messages of one type on one topic; create with `node.create_publisher`. Safe from any thread."""

    def __init__(self, writer: Writer, msg_type: type[Any], topic_name: str, qos_profile: QoSProfile) -> None:
        self._writer = writer
        self.msg_type = msg_type
        self._topic_name = topic_name
        self.qos_profile = qos_profile
        self.event_handlers: list[EventHandler] = []

    @property
    def topic_name(self) -> str:
        """Full name of the topic, remapped."""
        return self._topic_name

    def publish(self, msg: Any) -> None:
        """Send a message, or its CDR as bytes; a 640x480 rgb8 image takes about 1 ms.

        A reliable publisher blocks while a reader that wants everything cannot keep up. Raises `TypeError` for another
        type, `InvalidHandle` after `destroy`.
        """
        if isinstance(msg, self.msg_type):
            self._writer.write(encode(msg))
        elif isinstance(msg, bytes | bytearray | memoryview):
            data = np.frombuffer(msg, np.uint8)
            short = -data.nbytes % 4
            self._writer.write(np.concatenate([data, np.zeros(short, np.uint8)]) if short else data)
        else:
            raise TypeError(
                f"{self._topic_name}: expected {self.msg_type._definition.name} or its CDR as bytes, got {type(msg)}"
            )

    def get_subscription_count(self) -> int:
        """Return how many subscriptions match now."""
        return self._writer.reader_count()

    def assert_liveliness(self) -> None:
        """Say that this publisher lives, for liveliness MANUAL_BY_TOPIC."""
        self._writer.assert_liveliness()

    def wait_for_all_acked(self, timeout: Duration = Infinite) -> bool:
        """Wait until every reliable subscription has everything; returns False on timeout."""
        nanoseconds = timeout.nanoseconds if timeout.nanoseconds >= 0 else Infinite.nanoseconds
        return self._writer.wait_for_acks(nanoseconds)

    def destroy(self) -> None:
        """Leave the topic; prefer `node.destroy_publisher`."""
        self._writer.close()

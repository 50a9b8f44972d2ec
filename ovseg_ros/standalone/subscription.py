"""Subscriptions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .callback_groups import CallbackGroup
from .dds.endpoints import Reader
from .event_handler import EventHandler
from .logging import RcutilsLogger
from .qos import QoSProfile
from .receiver import Receiver
from .serialization import SerializationError, decode


class Subscription(Receiver):
    """Receives messages of one type from one topic; create with `node.create_subscription`.

    The callback gets the message (bytes if `raw`) and, if it takes two arguments, a dictionary with
    `source_timestamp` and `received_timestamp` in ns. Arrays of a received message are read-only views of the bytes
    received; copy what you want to change.
    """

    def __init__(
        self,
        reader: Reader,
        msg_type: type[Any],
        topic_name: str,
        callback: Callable[..., Any],
        callback_group: CallbackGroup,
        qos_profile: QoSProfile,
        raw: bool,
        logger: RcutilsLogger,
    ) -> None:
        super().__init__(reader, callback_group, qos_profile, logger)
        self.msg_type = msg_type
        self._topic_name = topic_name
        self.callback = callback
        self.raw = raw
        self.event_handlers: list[EventHandler] = []

    @property
    def topic_name(self) -> str:
        """Full name of the topic, remapped."""
        return self._topic_name

    @property
    def callback(self) -> Callable[..., Any]:
        """What is called with each message."""
        return self._callback

    @callback.setter
    def callback(self, value: Callable[..., Any]) -> None:
        self._callback = value
        self._with_info = _takes_two(value)

    def get_publisher_count(self) -> int:
        """Return how many publishers match now."""
        return self._reader.writer_count()

    def _received(self, data: bytes, info: Any) -> Callable[[], Any] | None:
        try:
            msg = data if self.raw else decode(data, self.msg_type._definition.name)
        except SerializationError as error:
            self._logger.error(f"dropped a message on {self._topic_name}: {error}", throttle_duration_sec=1.0)
            return None
        if not self._with_info:
            return lambda: self._callback(msg)
        stamps = {"source_timestamp": info.source_timestamp, "received_timestamp": info.source_timestamp}
        return lambda: self._callback(msg, stamps)


def _takes_two(callback: Callable[..., Any]) -> bool:
    """Whether the callback wants the message's information too; raises `TypeError` if it takes no message at all."""
    try:
        signature = inspect.signature(callback)
    except (ValueError, TypeError):
        return False  # some built-ins tell nothing; they get the message
    try:
        signature.bind(object())
    except TypeError:
        pass
    else:
        return False
    try:
        signature.bind(object(), object())
    except TypeError:
        raise TypeError(
            f"a subscription callback takes (message) or (message, info), {callback!r} takes {signature}"
        ) from None
    return True

"""Service clients."""

from __future__ import annotations

import itertools
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from cyclonedds._clayer import ddspy_get_matched_publication_data, ddspy_get_matched_subscription_data

from .callback_groups import CallbackGroup
from .context import Context
from .dds.endpoints import Reader, Writer
from .dds.graph import to_qos
from .dds.qos_policies import user_data as user_data_of
from .dds.user_data import unpack
from .logging import RcutilsLogger
from .qos import QoSProfile
from .receiver import Receiver
from .serialization import SerializationError, decode, encode
from .service import HEADER
from .task import Future

_IDENTITY = struct.Struct("<Qq")


class Client(Receiver):
    """Calls a service; create with `node.create_client`."""

    def __init__(
        self,
        context: Context,
        reader: Reader,
        writer: Writer,
        srv_type: type[Any],
        srv_name: str,
        callback_group: CallbackGroup,
        qos_profile: QoSProfile,
        logger: RcutilsLogger,
    ) -> None:
        super().__init__(reader, callback_group, qos_profile, logger)
        self.context = context
        self._writer = writer
        self.srv_type = srv_type
        self.srv_name = srv_name
        self._lock = threading.Lock()
        self._sequence = itertools.count(1)
        self._pending: dict[int, Future] = {}

    @property
    def service_name(self) -> str:
        """Full name of the service, remapped."""
        return self.srv_name

    def call(self, request: Any, timeout_sec: float | None = None) -> Any:
        """Call and wait for the reply, which some executor must receive in another thread.

        Returns None when `timeout_sec` passes or ROS shuts down first.
        """
        done = threading.Event()
        future = self.call_async(request)
        future._wake_when_done(done.set)
        end = None if timeout_sec is None else time.monotonic() + timeout_sec
        while not done.is_set() and self.context.ok():
            left = 0.25 if end is None else end - time.monotonic()
            if left <= 0:
                break
            done.wait(min(left, 0.25))
        if not future.done():
            self.remove_pending_request(future)
            return None
        return future.result()

    def call_async(self, request: Any) -> Future:
        """Send a request; returns the future of its reply. Raises `TypeError` unless it is the service's Request."""
        if not isinstance(request, self.srv_type.Request):
            raise TypeError(
                f"{self.srv_name}: expected {self.srv_type.Request._definition.name}, got {type(request).__name__}"
            )
        future = Future()
        with self._lock:
            number = next(self._sequence)
            self._pending[number] = future
        future.add_done_callback(self.remove_pending_request)
        self._writer.write(encode(request, _IDENTITY.pack(self._writer.handle, number)))
        return future

    def remove_pending_request(self, future: Future) -> None:
        """Forget a request: its reply will be dropped."""
        with self._lock:
            self._pending = {number: waiting for number, waiting in self._pending.items() if waiting is not future}

    def service_is_ready(self) -> bool:
        """Whether a server is there whose both endpoints have been discovered."""
        readers = self._writer.entity.get_matched_subscriptions()
        writers = self._reader.entity.get_matched_publications()
        if not readers or not writers:
            return False
        served = {
            _service_id(ddspy_get_matched_subscription_data(self._writer.entity._ref, r, _row, to_qos)) for r in readers
        } - {None}
        # A server that gives no id is taken to be there when both sides have matched something.
        return not served or any(
            _service_id(ddspy_get_matched_publication_data(self._reader.entity._ref, w, _row, to_qos)) in served
            for w in writers
        )

    def wait_for_service(self, timeout_sec: float | None = None) -> bool:
        """Wait until a server is there; returns False after `timeout_sec` or at shutdown."""
        end = None if timeout_sec is None else time.monotonic() + timeout_sec
        while self.context.ok():
            with self.context.graph.changed:
                if self.service_is_ready():
                    return True
                left = 0.05 if end is None else end - time.monotonic()
                if left <= 0:
                    return False
                # Discovery and matching are told apart by a moment, hence the short wait.
                self.context.graph.changed.wait(min(left, 0.05))
        return False

    def destroy(self) -> None:
        """Stop calling; prefer `node.destroy_client`."""
        super().destroy()
        self._writer.close()

    def _received(self, data: bytes, info: Any) -> Callable[[], Any] | None:
        # Every client of the service hears every reply; most are for others.
        if len(data) < 4 + HEADER:
            return None
        writer, number = _IDENTITY.unpack_from(data, 4)
        if writer != self._writer.handle:
            return None
        try:
            response = decode(data, self.srv_type.Response._definition.name, skip=HEADER)
        except SerializationError as error:
            self._logger.error(f"dropped a reply of {self.srv_name}: {error}", throttle_duration_sec=1.0)
            return None
        with self._lock:
            future = self._pending.get(number)
        if future is None or future.done():
            return None
        return lambda: future.set_result(response)


def _row(*values: Any) -> tuple[Any, ...]:
    return values


def _service_id(endpoint: Any) -> str | None:
    if not isinstance(endpoint, tuple) or endpoint[5] is None:
        return None
    return unpack(user_data_of(endpoint[5])).get("serviceid")

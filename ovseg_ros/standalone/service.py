"""Service servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from cyclonedds._clayer import ddspy_get_matched_publication_data, ddspy_get_matched_subscription_data

from .callback_groups import CallbackGroup
from .dds.endpoints import Reader, Writer
from .dds.graph import to_qos
from .dds.qos_policies import user_data as user_data_of
from .dds.user_data import unpack
from .logging import RcutilsLogger
from .qos import QoSProfile
from .receiver import Receiver
from .serialization import SerializationError, decode, encode

#: Bytes before a request or reply: the client's id and the sequence number, which the reply repeats.
HEADER = 16
#: How long to wait for the client's reply reader before a first reply, in seconds; as rmw_cyclonedds_cpp.
_PATIENCE = 0.1


class Service(Receiver):
    """Answers requests; create with `node.create_service`. The callback gets (request, response), returns response."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        srv_type: type[Any],
        srv_name: str,
        callback: Callable[..., Any],
        callback_group: CallbackGroup,
        qos_profile: QoSProfile,
        logger: RcutilsLogger,
    ) -> None:
        super().__init__(reader, callback_group, qos_profile, logger)
        self._writer = writer
        self.srv_type = srv_type
        self.srv_name = srv_name
        self.callback = callback
        self._known_clients: set[int] = set()

    @property
    def service_name(self) -> str:
        """Full name of the service, remapped."""
        return self.srv_name

    def send_response(self, response: Any, header: tuple[bytes, int]) -> None:
        """Answer the request with this header; raises `TypeError` unless `response` is the service's Response."""
        if not isinstance(response, self.srv_type.Response):
            wanted = self.srv_type.Response._definition.name
            raise TypeError(f"the callback of {self.srv_name} must return {wanted}, got {response!r}")
        identity, client = header
        self._await_client(client)
        self._writer.write(encode(response, identity))

    def destroy(self) -> None:
        """Stop serving; prefer `node.destroy_service`."""
        super().destroy()
        self._writer.close()

    def _received(self, data: bytes, info: Any) -> Callable[[], Any] | None:
        try:
            request = decode(data, self.srv_type.Request._definition.name, skip=HEADER)
        except SerializationError as error:
            self._logger.error(f"dropped a request to {self.srv_name}: {error}", throttle_duration_sec=1.0)
            return None
        header = (data[4 : 4 + HEADER], info.publication_handle)

        async def answer() -> None:
            response = self.callback(request, self.srv_type.Response())
            if hasattr(response, "__await__"):
                response = await response
            self.send_response(response, header)

        return answer

    def _await_client(self, client: int) -> None:
        """Wait, shortly, until the reader of the client's replies has been discovered: the reply would be lost."""
        if client in self._known_clients:
            return
        writer_data = ddspy_get_matched_publication_data(self._reader.entity._ref, client, _row, to_qos)
        client_id = _client_id(writer_data)
        end = time.monotonic() + _PATIENCE
        while client_id is not None and time.monotonic() < end:
            readers = self._writer.entity.get_matched_subscriptions()
            rows = (ddspy_get_matched_subscription_data(self._writer.entity._ref, r, _row, to_qos) for r in readers)
            if any(_client_id(row) == client_id for row in rows):
                break
            time.sleep(0.005)
        self._known_clients.add(client)


def _row(*values: Any) -> tuple[Any, ...]:
    return values


def _client_id(endpoint: Any) -> str | None:
    """Return the `clientid` a client gives its two endpoints; None for peers that give none."""
    if not isinstance(endpoint, tuple) or endpoint[5] is None:
        return None
    return unpack(user_data_of(endpoint[5])).get("clientid")

"""How a node opens, watches and closes its DDS endpoints, and tells the graph of them."""

from __future__ import annotations

from typing import Any

from cyclonedds.core import DDSStatus

from .callback_groups import CallbackGroup
from .context import Context
from .dds import names as dds_names
from .dds.endpoints import Endpoint, Reader, Writer
from .dds.graph import Graph, NodeEntry
from .dds.qos_policies import to_dds
from .event_handler import EventHandler
from .node_parameters import ParameterHolder
from .qos import QoSProfile, best_available, to_profile
from .qos_overriding_options import QoSOverridingOptions, apply_overrides


class EndpointOwner(ParameterHolder):
    """Mixed into `Node`, below what creates publishers and their like."""

    _context: Context
    _entry: NodeEntry
    _default_callback_group: CallbackGroup

    def _graph(self) -> Graph:
        raise NotImplementedError

    @property
    def executor(self) -> Any:
        """The executor that runs the node's callbacks, None while there is none."""
        raise NotImplementedError

    def _writer(self, topic: str, interface: str, profile: QoSProfile, data: bytes) -> Writer:
        writer = Writer(self._context.participant, topic, dds_names.dds_type(interface), to_dds(profile, data))
        self._entry.writers.add(writer.gid_bytes)
        return writer

    def _reader(self, topic: str, interface: str, profile: QoSProfile, data: bytes) -> Reader:
        reader = Reader(self._context.participant, topic, dds_names.dds_type(interface), to_dds(profile, data))
        self._entry.readers.add(reader.gid_bytes)
        return reader

    def _watch(self, endpoint: Endpoint, handlers: list[EventHandler], receiver: Any) -> None:
        """Have the executor woken when data for `receiver` or an event for `handlers` came."""
        mask = DDSStatus.DataAvailable if receiver is not None else 0
        for handler in handlers:
            mask |= handler.mask
        if not mask:
            return

        def notice(status: int) -> None:
            if receiver is not None and status & DDSStatus.DataAvailable:
                receiver._ready = True
            for handler in handlers:
                handler.notify(status)
            self._wake()

        self._context.reactor.watch(endpoint.entity, mask, notice)

    def _close(self, endpoint: Endpoint) -> None:
        (self._entry.readers if isinstance(endpoint, Reader) else self._entry.writers).discard(endpoint.gid_bytes)
        if endpoint.alive:
            self._context.reactor.unwatch(endpoint.entity)
        endpoint.close()

    def _drop(self, owned: list[Any], entity: Any, *endpoints: Endpoint) -> bool:
        if not any(candidate is entity for candidate in owned):
            return False
        owned[:] = [candidate for candidate in owned if candidate is not entity]
        for endpoint in endpoints:
            self._close(endpoint)
        if endpoints:
            self._announce()
        self._wake()
        return True

    def _announce(self) -> None:
        self._graph().announce()
        self._wake()

    def _wake(self) -> None:
        executor = self.executor
        if executor is not None:
            executor.wake()

    def _group(self, group: CallbackGroup | None) -> CallbackGroup:
        return self._default_callback_group if group is None else group

    def _profile(
        self, qos: QoSProfile | int, entity: str, name: str, options: QoSOverridingOptions | None
    ) -> QoSProfile:
        profile = to_profile(qos)
        if options is not None:
            apply_overrides(self, entity, name, profile, options)
        others = self._graph().endpoints(dds_names.topic(name), is_reader=entity == "publisher")
        return best_available(profile, [other.qos for other in others], for_subscription=entity == "subscription")

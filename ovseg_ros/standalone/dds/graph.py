"""Who is there: every participant, node and endpoint of the domain, our own included.

Endpoints come from DDS discovery; which node they belong to comes from the topic `ros_discovery_info`, on which every
participant tells its nodes and their endpoints.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from cyclonedds._clayer import ddspy_take_endpoint, ddspy_take_participant
from cyclonedds.builtin import (
    BuiltinDataReader,
    BuiltinTopicDcpsParticipant,
    BuiltinTopicDcpsPublication,
    BuiltinTopicDcpsSubscription,
)
from cyclonedds.core import DDSStatus, InstanceState
from cyclonedds.domain import DomainParticipant
from cyclonedds.qos import Qos, _CQos

from ..interfaces import message, type_hash
from ..logging import get_logger
from ..qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from ..serialization import SerializationError, decode, encode
from . import native, user_data
from .endpoints import Reader, Writer, ignoring_local
from .names import dds_type
from .qos_policies import from_dds, to_dds
from .qos_policies import user_data as user_data_of
from .reactor import Reactor

_INFO = "rmw_dds_common/msg/ParticipantEntitiesInfo"
_log = get_logger("rmw_cyclonedds")


@dataclass(frozen=True)
class DiscoveredEndpoint:
    """A reader or writer anywhere in the domain, names as DDS has them."""

    gid: bytes
    participant: bytes
    topic: str
    type: str
    is_reader: bool
    qos: QoSProfile
    user_data: dict[str, str]


@dataclass
class NodeEntry:
    """A node and the endpoints it owns."""

    namespace: str
    name: str
    readers: set[bytes] = field(default_factory=set)
    writers: set[bytes] = field(default_factory=set)

    @property
    def full_name(self) -> str:
        """`/ns/name`."""
        return f"{self.namespace.rstrip('/')}/{self.name}"


class Graph:
    """The domain as this participant sees it. `changed` is notified at every change."""

    def __init__(self, participant: DomainParticipant, reactor: Reactor) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.gid: bytes = participant.guid.bytes
        self._endpoints: dict[bytes, DiscoveredEndpoint] = {}
        self._nodes: dict[bytes, list[NodeEntry]] = {}
        self._own: list[NodeEntry] = []
        self._silent = 0
        self._twins: set[str] = set()
        self._reactor = reactor
        profile = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        keep_all = QoSProfile(history=HistoryPolicy.KEEP_ALL, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        data = user_data.pack(typehash=type_hash(_INFO))
        kind = dds_type(_INFO)
        self._writer = Writer(participant, "ros_discovery_info", kind, to_dds(profile, data))
        self._reader = Reader(participant, "ros_discovery_info", kind, ignoring_local(to_dds(keep_all, data)))
        self._builtin: list[Any] = []
        reactor.watch(self._reader.entity, DDSStatus.DataAvailable, lambda _: self._on_info())
        self._listen(participant, BuiltinTopicDcpsParticipant, self._on_participant)
        self._listen(participant, BuiltinTopicDcpsSubscription, lambda reader: self._on_endpoint(reader, True))
        self._listen(participant, BuiltinTopicDcpsPublication, lambda reader: self._on_endpoint(reader, False))

    def _listen(self, participant: DomainParticipant, topic: Any, handler: Callable[[Any], None]) -> None:
        reader: Any = BuiltinDataReader(participant, topic)
        self._builtin.append(reader)
        self._reactor.watch(reader, DDSStatus.DataAvailable, lambda _: handler(reader))

    def close(self) -> None:
        """Delete the endpoints the graph itself uses."""
        for reader in self._builtin:
            self._reactor.unwatch(reader)
            native.delete(reader)
        self._reactor.unwatch(self._reader.entity)
        self._reader.close()
        self._writer.close()

    # -- our own nodes ------------------------------------------------------------------------------------------

    def add_node(self, node: NodeEntry) -> None:
        """Tell the domain of a node of ours."""
        with self.changed:
            self._warn_of_twins([node])
            self._own.append(node)
            self.announce()

    def remove_node(self, node: NodeEntry) -> None:
        """Tell the domain that a node of ours is gone."""
        with self.changed:
            if node in self._own:
                self._own.remove(node)
                self.announce()

    def hold(self) -> _Hold:
        """`with graph.hold():` makes one announcement of many changes."""
        return _Hold(self)

    def announce(self) -> None:
        """Send the present state of our nodes; call after changing a NodeEntry."""
        with self.changed:
            self._nodes[self.gid] = self._own
            if self._silent == 0:
                self._writer.write(encode(self._info()))
            self.changed.notify_all()

    def _info(self) -> Any:
        gid, entities = message("rmw_dds_common/msg/Gid"), message("rmw_dds_common/msg/NodeEntitiesInfo")
        return message(_INFO)(
            gid=gid(data=self.gid),
            node_entities_info_seq=[
                entities(
                    node_namespace=node.namespace,
                    node_name=node.name,
                    reader_gid_seq=[gid(data=g) for g in sorted(node.readers)],
                    writer_gid_seq=[gid(data=g) for g in sorted(node.writers)],
                )
                for node in self._own
            ],
        )

    # -- what discovery says --------------------------------------------------------------------------------------

    def _on_info(self) -> None:
        while (sample := self._reader.take()) is not None:
            try:
                info = decode(sample[0], _INFO)
            except SerializationError as error:
                _log.warning(f"a participant sent an unreadable ros_discovery_info (Humble or older?): {error}")
                continue
            nodes = [
                NodeEntry(
                    entry.node_namespace,
                    entry.node_name,
                    {g.data.tobytes() for g in entry.reader_gid_seq},
                    {g.data.tobytes() for g in entry.writer_gid_seq},
                )
                for entry in info.node_entities_info_seq
            ]
            with self.changed:
                self._nodes[info.gid.data.tobytes()] = nodes
                self._warn_of_twins(nodes)
                self.changed.notify_all()

    def _warn_of_twins(self, nodes: list[NodeEntry]) -> None:
        """Say, once per name, that another node has the name of one of ours: tools cannot tell the two apart."""
        own = {node.full_name for node in self._own}
        for name in {node.full_name for node in nodes} & own - self._twins:
            self._twins.add(name)
            _log.warning(
                f"there is more than one node named {name} in this domain, which can have unintended side effects; "
                "rename one with --ros-args -r __node:=other_name"
            )

    def _on_participant(self, reader: Any) -> None:
        for key, _, info in _drain(ddspy_take_participant, reader, lambda *row: row):
            if info.instance_state != InstanceState.Alive and key != self.gid:
                with self.changed:
                    self._nodes.pop(key, None)
                    self.changed.notify_all()

    def _on_endpoint(self, reader: Any, is_reader: bool) -> None:
        rows = _drain(ddspy_take_endpoint, reader, lambda *row: row)
        with self.changed:
            for key, participant, _, topic, kind, qos, info, _ in rows:
                if info.instance_state != InstanceState.Alive:
                    self._endpoints.pop(key, None)
                elif info.valid_data and qos is not None and not topic.startswith("DCPS"):
                    pairs = user_data.unpack(user_data_of(qos))
                    found = DiscoveredEndpoint(key, participant, topic, kind, is_reader, from_dds(qos), pairs)
                    self._endpoints[key] = found
            self.changed.notify_all()

    # -- questions --------------------------------------------------------------------------------------------------

    def nodes(self) -> list[NodeEntry]:
        """Return every node of the domain."""
        with self.changed:
            return [node for nodes in self._nodes.values() for node in nodes]

    def endpoints(self, topic: str | None = None, *, is_reader: bool | None = None) -> list[DiscoveredEndpoint]:
        """Return endpoints, of one DDS topic and one kind if asked."""
        with self.changed:
            return [
                e
                for e in self._endpoints.values()
                if (topic is None or e.topic == topic) and (is_reader is None or e.is_reader == is_reader)
            ]

    def node_of(self, endpoint: DiscoveredEndpoint) -> NodeEntry | None:
        """Return the node that owns `endpoint`, None while unknown."""
        with self.changed:
            for node in self._nodes.get(endpoint.participant, ()):
                if endpoint.gid in (node.readers if endpoint.is_reader else node.writers):
                    return node
        return None

    def endpoints_of(self, gids: Iterable[bytes]) -> list[DiscoveredEndpoint]:
        """Return the endpoints with these ids, as far as discovered."""
        with self.changed:
            return [self._endpoints[gid] for gid in gids if gid in self._endpoints]


class _Hold:
    """Holds announcements back while it is entered."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __enter__(self) -> None:
        with self._graph.changed:
            self._graph._silent += 1

    def __exit__(self, *_: object) -> None:
        with self._graph.changed:
            self._graph._silent -= 1
            self._graph.announce()


def _drain(take: Any, reader: Any, build: Any) -> list[Any]:
    """Take everything a built-in reader has."""
    rows: list[Any] = []
    while True:
        batch = take(reader._ref, 64, build, to_qos)
        if not isinstance(batch, list) or not batch:
            return rows
        rows += batch


def to_qos(pointer: int) -> Qos | None:
    """Convert a dds_qos_t; a sample of something gone has none."""
    convert: Any = _CQos.cqos_to_qos
    return convert(ctypes.c_void_p(pointer)) if pointer else None

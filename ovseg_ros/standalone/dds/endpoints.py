"""A DDS writer and a DDS reader of ready CDR."""

from __future__ import annotations

from typing import Any

from cyclonedds._clayer import ddspy_take
from cyclonedds.core import DDSException, DDSStatus, InstanceState, SampleState, ViewState
from cyclonedds.domain import DomainParticipant
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy, Qos
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from numpy import uint8
from numpy.typing import NDArray

from ..exceptions import InvalidHandle, RCLError
from . import native

_ANY = SampleState.Any | ViewState.Any | InstanceState.Any

READER_EVENTS = (
    DDSStatus.RequestedIncompatibleQos
    | DDSStatus.RequestedDeadlineMissed
    | DDSStatus.LivelinessChanged
    | DDSStatus.SampleLost
    | DDSStatus.SubscriptionMatched
)
WRITER_EVENTS = (
    DDSStatus.OfferedIncompatibleQos
    | DDSStatus.OfferedDeadlineMissed
    | DDSStatus.LivelinessLost
    | DDSStatus.PublicationMatched
)


class Endpoint:
    """What writer and reader share: the entity, its identity, its end."""

    def __init__(self, participant: DomainParticipant, topic_name: str, type_name: str) -> None:
        self.topic_name = topic_name
        self._topic: Any = Topic(participant, topic_name, native.carrier(type_name))
        self._entity: Any = None
        self._alive = True
        self.gid_bytes = b""

    @property
    def entity(self) -> Any:
        """The binding's entity; raises `InvalidHandle` once closed."""
        if not self._alive:
            raise InvalidHandle(f"the endpoint of {self.topic_name} was destroyed")
        return self._entity

    @property
    def alive(self) -> bool:
        """Whether it was not closed yet."""
        return self._alive

    @property
    def gid(self) -> bytes:
        """16 bytes that name this endpoint on the network."""
        return self.entity.guid.bytes  # type: ignore[no-any-return]

    def close(self) -> None:
        """Delete the entity; harmless when done twice."""
        if self._alive:
            self._alive = False
            native.delete(self._entity)
            native.delete(self._topic)


class Writer(Endpoint):
    """Sends CDR; safe from any thread."""

    def __init__(self, participant: DomainParticipant, topic_name: str, type_name: str, qos: Qos) -> None:
        super().__init__(participant, topic_name, type_name)
        self._entity = _create(DataWriter, participant, self._topic, qos)
        self._ref: int = self._entity._ref
        self.gid_bytes = self.gid
        #: What rmw_cyclonedds puts into requests to know its replies.
        self.handle = self._entity.get_instance_handle() & (2**64 - 1)

    def write(self, data: NDArray[uint8]) -> None:
        """Send CDR with its header, padded to 4 bytes. Blocks while a reliable reader cannot keep up."""
        if not self._alive:
            raise InvalidHandle(f"the writer of {self.topic_name} was destroyed")
        code = native.write(self._ref, data)
        if code < 0:
            raise RCLError(f"cannot publish on {self.topic_name}: {DDSException(code)}")

    def reader_count(self) -> int:
        """How many readers match now."""
        return max(0, int(self.entity._get_matched_subscriptions(self._ref, None, 0)))

    def wait_for_acks(self, timeout_ns: int) -> bool:
        """Wait until every reliable reader has everything; False on timeout."""
        return native.wait_for_acks(self.entity._ref, timeout_ns)

    def assert_liveliness(self) -> None:
        """Say that this writer lives, for MANUAL_BY_TOPIC."""
        native.assert_liveliness(self.entity._ref)


class Reader(Endpoint):
    """Receives CDR."""

    def __init__(self, participant: DomainParticipant, topic_name: str, type_name: str, qos: Qos) -> None:
        super().__init__(participant, topic_name, type_name)
        self._entity = _create(DataReader, participant, self._topic, qos)
        self._ref: int = self._entity._ref
        self.gid_bytes = self.gid

    def take(self) -> tuple[bytes, Any] | None:
        """Take the oldest sample as (CDR with header, SampleInfo), or None. Skips samples without data."""
        while self._alive:
            samples = ddspy_take(self._ref, _ANY, 1)
            if not isinstance(samples, list) or not samples:
                return None
            data, info = samples[0]
            if info.valid_data:
                return data, info
        return None

    def writer_count(self) -> int:
        """How many writers match now."""
        return max(0, int(self.entity._get_matched_publications(self._ref, None, 0)))


def ignoring_local(qos: Qos) -> Qos:
    """Return `qos`, not hearing this process's own participant."""
    return Qos(Policy.IgnoreLocal.Participant, base=qos)


def _create(kind: Any, participant: DomainParticipant, topic: Any, qos: Qos) -> Any:
    try:
        return kind(participant, topic, qos=qos)
    except DDSException as error:
        what = "publish" if kind is DataWriter else "subscribe"
        raise RCLError(f"cannot {what} on {topic.name}: {error}; check its QoS profile") from error

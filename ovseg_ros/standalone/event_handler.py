"""Events of publishers and subscriptions: matches, incompatible QoS, deadlines, liveliness, lost messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cyclonedds.core import DDSStatus

from .callback_groups import CallbackGroup
from .dds.endpoints import Endpoint
from .dds.qos_policies import kind_of_policy
from .logging import RcutilsLogger
from .qos import QoSPolicyKind, qos_policy_name_from_kind


@dataclass(frozen=True)
class QoSRequestedDeadlineMissedInfo:
    """No message came within the deadline."""

    total_count: int
    total_count_change: int


@dataclass(frozen=True)
class QoSMessageLostInfo:
    """Messages were lost on the way."""

    total_count: int
    total_count_change: int


@dataclass(frozen=True)
class QoSLivelinessLostInfo:
    """This publisher failed to say that it lives."""

    total_count: int
    total_count_change: int


@dataclass(frozen=True)
class QoSLivelinessChangedInfo:
    """Publishers came alive or stopped being so."""

    alive_count: int
    not_alive_count: int
    alive_count_change: int
    not_alive_count_change: int


@dataclass(frozen=True)
class QoSRequestedIncompatibleQoSInfo:
    """A peer was found whose QoS does not fit; nothing will flow between the two."""

    total_count: int
    total_count_change: int
    last_policy_kind: QoSPolicyKind


@dataclass(frozen=True)
class QoSSubscriptionMatchedInfo:
    """A peer matched or left."""

    total_count: int
    total_count_change: int
    current_count: int
    current_count_change: int


QoSOfferedDeadlineMissedInfo = QoSRequestedDeadlineMissedInfo
QoSOfferedIncompatibleQoSInfo = QoSRequestedIncompatibleQoSInfo
QoSPublisherMatchedInfo = QoSSubscriptionMatchedInfo


class QoSSubscriptionEventType(Enum):
    """Events of subscriptions."""

    RCL_SUBSCRIPTION_REQUESTED_DEADLINE_MISSED = 0
    RCL_SUBSCRIPTION_LIVELINESS_CHANGED = 1
    RCL_SUBSCRIPTION_REQUESTED_INCOMPATIBLE_QOS = 2
    RCL_SUBSCRIPTION_MESSAGE_LOST = 3
    RCL_SUBSCRIPTION_INCOMPATIBLE_TYPE = 4
    RCL_SUBSCRIPTION_MATCHED = 5


class QoSPublisherEventType(Enum):
    """Events of publishers."""

    RCL_PUBLISHER_OFFERED_DEADLINE_MISSED = 0
    RCL_PUBLISHER_LIVELINESS_LOST = 1
    RCL_PUBLISHER_OFFERED_INCOMPATIBLE_QOS = 2
    RCL_PUBLISHER_INCOMPATIBLE_TYPE = 3
    RCL_PUBLISHER_MATCHED = 4


@dataclass(frozen=True)
class _Event:
    """How DDS tells of an event: status bit, getter of the binding, the info made of its status."""

    status: int
    getter: str
    info: type[Any]


_EVENTS: dict[Enum, _Event] = {
    QoSSubscriptionEventType.RCL_SUBSCRIPTION_REQUESTED_DEADLINE_MISSED: _Event(
        DDSStatus.RequestedDeadlineMissed, "get_requested_deadline_missed_status", QoSRequestedDeadlineMissedInfo
    ),
    QoSSubscriptionEventType.RCL_SUBSCRIPTION_LIVELINESS_CHANGED: _Event(
        DDSStatus.LivelinessChanged, "get_liveliness_changed_status", QoSLivelinessChangedInfo
    ),
    QoSSubscriptionEventType.RCL_SUBSCRIPTION_REQUESTED_INCOMPATIBLE_QOS: _Event(
        DDSStatus.RequestedIncompatibleQos, "get_requested_incompatible_qos_status", QoSRequestedIncompatibleQoSInfo
    ),
    QoSSubscriptionEventType.RCL_SUBSCRIPTION_MESSAGE_LOST: _Event(
        DDSStatus.SampleLost, "get_sample_lost_status", QoSMessageLostInfo
    ),
    QoSSubscriptionEventType.RCL_SUBSCRIPTION_MATCHED: _Event(
        DDSStatus.SubscriptionMatched, "get_subscription_matched_status", QoSSubscriptionMatchedInfo
    ),
    QoSPublisherEventType.RCL_PUBLISHER_OFFERED_DEADLINE_MISSED: _Event(
        DDSStatus.OfferedDeadlineMissed, "get_offered_deadline_missed_status", QoSOfferedDeadlineMissedInfo
    ),
    QoSPublisherEventType.RCL_PUBLISHER_LIVELINESS_LOST: _Event(
        DDSStatus.LivelinessLost, "get_liveliness_lost_status", QoSLivelinessLostInfo
    ),
    QoSPublisherEventType.RCL_PUBLISHER_OFFERED_INCOMPATIBLE_QOS: _Event(
        DDSStatus.OfferedIncompatibleQos, "get_offered_incompatible_qos_status", QoSOfferedIncompatibleQoSInfo
    ),
    QoSPublisherEventType.RCL_PUBLISHER_MATCHED: _Event(
        DDSStatus.PublicationMatched, "get_publication_matched_status", QoSPublisherMatchedInfo
    ),
}


class EventHandler:
    """Runs a callback in the executor when one kind of event happened to an endpoint."""

    def __init__(
        self, callback_group: CallbackGroup, callback: Callable[[Any], Any], event_type: Enum, endpoint: Endpoint
    ) -> None:
        self.callback_group: CallbackGroup | None = callback_group
        self.callback = callback
        self.event_type = event_type
        self.mask = _EVENTS[event_type].status
        self._endpoint = endpoint
        self._executor_event = False
        self._ready = False

    def notify(self, status: int) -> bool:
        """Note the status bits that DDS reports; returns whether they concern this handler."""
        self._ready = self._ready or bool(status & self.mask)
        return self._ready

    def _is_ready(self) -> bool:
        return self._ready

    def _take(self) -> Callable[[], Any] | None:
        self._ready = False
        event = _EVENTS[self.event_type]
        status = getattr(self._endpoint.entity, event.getter)()
        values = {name: getattr(status, name) for name in event.info.__dataclass_fields__ if name != "last_policy_kind"}
        if event.info is QoSRequestedIncompatibleQoSInfo:
            values["last_policy_kind"] = kind_of_policy(status.last_policy_id)
        info = event.info(**values)
        return lambda: self.callback(info)


@dataclass
class SubscriptionEventCallbacks:
    """What to call at which event of a subscription; by default an incompatible publisher is logged.

    `incompatible_type` is accepted and never called: DDS does not tell.
    """

    deadline: Callable[[QoSRequestedDeadlineMissedInfo], Any] | None = None
    incompatible_qos: Callable[[QoSRequestedIncompatibleQoSInfo], Any] | None = None
    liveliness: Callable[[QoSLivelinessChangedInfo], Any] | None = None
    message_lost: Callable[[QoSMessageLostInfo], Any] | None = None
    incompatible_type: Callable[[Any], Any] | None = None
    matched: Callable[[QoSSubscriptionMatchedInfo], Any] | None = None
    use_default_callbacks: bool = True

    def create_event_handlers(
        self, group: CallbackGroup, endpoint: Endpoint, topic_name: str, logger: RcutilsLogger
    ) -> list[EventHandler]:
        """Return the handlers for the callbacks that are set."""
        kinds = QoSSubscriptionEventType
        incompatible = self.incompatible_qos
        if incompatible is None and self.use_default_callbacks:

            def incompatible(event: QoSRequestedIncompatibleQoSInfo) -> None:
                logger.warning(
                    f"New publisher discovered on topic '{topic_name}', offering incompatible QoS. No messages will be "
                    f"received from it. Last incompatible policy: {qos_policy_name_from_kind(event.last_policy_kind)}"
                )

        wanted: Iterator[tuple[Enum, Callable[[Any], Any] | None]] = iter(
            (
                (kinds.RCL_SUBSCRIPTION_REQUESTED_DEADLINE_MISSED, self.deadline),
                (kinds.RCL_SUBSCRIPTION_REQUESTED_INCOMPATIBLE_QOS, incompatible),
                (kinds.RCL_SUBSCRIPTION_LIVELINESS_CHANGED, self.liveliness),
                (kinds.RCL_SUBSCRIPTION_MESSAGE_LOST, self.message_lost),
                (kinds.RCL_SUBSCRIPTION_MATCHED, self.matched),
            )
        )
        return [EventHandler(group, callback, kind, endpoint) for kind, callback in wanted if callback is not None]


@dataclass
class PublisherEventCallbacks:
    """What to call at which event of a publisher; by default an incompatible subscription is logged.

    `incompatible_type` is accepted and never called: DDS does not tell.
    """

    deadline: Callable[[QoSOfferedDeadlineMissedInfo], Any] | None = None
    liveliness: Callable[[QoSLivelinessLostInfo], Any] | None = None
    incompatible_qos: Callable[[QoSOfferedIncompatibleQoSInfo], Any] | None = None
    incompatible_type: Callable[[Any], Any] | None = None
    matched: Callable[[QoSPublisherMatchedInfo], Any] | None = None
    use_default_callbacks: bool = True

    def create_event_handlers(
        self, group: CallbackGroup, endpoint: Endpoint, topic_name: str, logger: RcutilsLogger
    ) -> list[EventHandler]:
        """Return the handlers for the callbacks that are set."""
        kinds = QoSPublisherEventType
        incompatible = self.incompatible_qos
        if incompatible is None and self.use_default_callbacks:

            def incompatible(event: QoSOfferedIncompatibleQoSInfo) -> None:
                logger.warning(
                    f"New subscription discovered on topic '{topic_name}', requesting incompatible QoS. No messages "
                    f"will be sent to it. Last incompatible policy: {qos_policy_name_from_kind(event.last_policy_kind)}"
                )

        wanted: Iterator[tuple[Enum, Callable[[Any], Any] | None]] = iter(
            (
                (kinds.RCL_PUBLISHER_OFFERED_DEADLINE_MISSED, self.deadline),
                (kinds.RCL_PUBLISHER_LIVELINESS_LOST, self.liveliness),
                (kinds.RCL_PUBLISHER_OFFERED_INCOMPATIBLE_QOS, incompatible),
                (kinds.RCL_PUBLISHER_MATCHED, self.matched),
            )
        )
        return [EventHandler(group, callback, kind, endpoint) for kind, callback in wanted if callback is not None]

"""The publishers, subscriptions, services, clients, timers and guard conditions of a node."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

from .callback_groups import CallbackGroup
from .client import Client
from .clock import Clock
from .dds import names as dds_names
from .dds import user_data
from .dds.endpoints import Reader, Writer
from .event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from .guard_condition import GuardCondition
from .interfaces import Message, type_hash
from .interfaces import Service as ServiceType
from .logging import RcutilsLogger
from .node_endpoints import EndpointOwner
from .publisher import Publisher
from .qos import QoSProfile, qos_profile_services_default
from .qos_overriding_options import QoSOverridingOptions
from .service import Service
from .subscription import Subscription
from .timer import Rate, Timer


class EntityOwner(EndpointOwner):
    """Mixed into `Node`; `_init_entities` stands for its constructor."""

    _logger: RcutilsLogger
    _rate_group: CallbackGroup

    def _init_entities(self) -> None:
        self._publishers: list[Publisher] = []
        self._subscriptions: list[Subscription] = []
        self._clients: list[Client] = []
        self._services: list[Service] = []
        self._timers: list[Timer] = []
        self._guards: list[GuardCondition] = []

    def _resolve(self, name: str, is_service: bool, only_expand: bool = False) -> str:
        raise NotImplementedError

    @property
    def publishers(self) -> Iterator[Publisher]:
        """The node's publishers."""
        return iter(list(self._publishers))

    @property
    def subscriptions(self) -> Iterator[Subscription]:
        """The node's subscriptions."""
        return iter(list(self._subscriptions))

    @property
    def clients(self) -> Iterator[Client]:
        """The node's service clients."""
        return iter(list(self._clients))

    @property
    def services(self) -> Iterator[Service]:
        """The node's service servers."""
        return iter(list(self._services))

    @property
    def timers(self) -> Iterator[Timer]:
        """The node's timers."""
        return iter(list(self._timers))

    @property
    def guards(self) -> Iterator[GuardCondition]:
        """The node's guard conditions."""
        return iter(list(self._guards))

    # -- topics -------------------------------------------------------------------------------------------------------

    def create_publisher(
        self,
        msg_type: type[Any],
        topic: str,
        qos_profile: QoSProfile | int,
        *,
        callback_group: CallbackGroup | None = None,
        event_callbacks: PublisherEventCallbacks | None = None,
        qos_overriding_options: QoSOverridingOptions | None = None,
    ) -> Publisher:
        """Create a publisher; `qos_profile` may be a depth. Raises `TypeError`, `InvalidTopicNameException`."""
        _expect_message(msg_type)
        name = self._resolve(topic, False)
        profile = self._profile(qos_profile, "publisher", name, qos_overriding_options)
        interface = msg_type._definition.name
        writer = self._writer(dds_names.topic(name), interface, profile, user_data.pack(typehash=type_hash(interface)))
        publisher = Publisher(writer, msg_type, name, profile)
        group = self._group(callback_group)
        callbacks = event_callbacks or PublisherEventCallbacks()
        publisher.event_handlers = callbacks.create_event_handlers(group, writer, name, self._logger)
        self._watch(writer, publisher.event_handlers, None)
        self._publishers.append(publisher)
        self._announce()
        return publisher

    def create_subscription(
        self,
        msg_type: type[Any],
        topic: str,
        callback: Callable[..., Any],
        qos_profile: QoSProfile | int,
        *,
        callback_group: CallbackGroup | None = None,
        event_callbacks: SubscriptionEventCallbacks | None = None,
        qos_overriding_options: QoSOverridingOptions | None = None,
        raw: bool = False,
    ) -> Subscription:
        """Create a subscription; `raw` gives CDR as bytes. Raises `TypeError`, `InvalidTopicNameException`."""
        _expect_message(msg_type)
        name = self._resolve(topic, False)
        profile = self._profile(qos_profile, "subscription", name, qos_overriding_options)
        interface = msg_type._definition.name
        reader = self._reader(dds_names.topic(name), interface, profile, user_data.pack(typehash=type_hash(interface)))
        group = self._group(callback_group)
        try:
            made = Subscription(reader, msg_type, name, callback, group, profile, raw, self._logger)
        except TypeError:
            self._close(reader)
            raise
        callbacks = event_callbacks or SubscriptionEventCallbacks()
        made.event_handlers = callbacks.create_event_handlers(group, reader, name, self._logger)
        group.add_entity(made)
        self._subscriptions.append(made)
        self._watch(reader, made.event_handlers, made)
        self._announce()
        return made

    # -- services -----------------------------------------------------------------------------------------------------

    def create_service(
        self,
        srv_type: type[Any],
        srv_name: str,
        callback: Callable[..., Any],
        *,
        qos_profile: QoSProfile = qos_profile_services_default,
        callback_group: CallbackGroup | None = None,
    ) -> Service:
        """Serve `srv_name`; the callback gets (request, response) and returns the response."""
        _expect_service(srv_type)
        name = self._resolve(srv_name, True)
        identity = {"serviceid": _unique_id()}
        reader, writer = self._service_pair(srv_type, name, qos_profile, identity, serving=True)
        group = self._group(callback_group)
        made = Service(reader, writer, srv_type, name, callback, group, qos_profile, self._logger)
        group.add_entity(made)
        self._services.append(made)
        self._watch(reader, [], made)
        self._announce()
        return made

    def create_client(
        self,
        srv_type: type[Any],
        srv_name: str,
        *,
        qos_profile: QoSProfile = qos_profile_services_default,
        callback_group: CallbackGroup | None = None,
    ) -> Client:
        """Create a client of `srv_name`."""
        _expect_service(srv_type)
        name = self._resolve(srv_name, True)
        identity = {"clientid": _unique_id()}
        reader, writer = self._service_pair(srv_type, name, qos_profile, identity, serving=False)
        group = self._group(callback_group)
        made = Client(self._context, reader, writer, srv_type, name, group, qos_profile, self._logger)
        group.add_entity(made)
        self._clients.append(made)
        self._watch(reader, [], made)
        self._announce()
        return made

    def _service_pair(
        self, srv_type: type[Any], name: str, qos: QoSProfile, identity: dict[str, str], *, serving: bool
    ) -> tuple[Reader, Writer]:
        request = (dds_names.request(name), srv_type.Request._definition.name)
        reply = (dds_names.reply(name), srv_type.Response._definition.name)
        heard, said = (request, reply) if serving else (reply, request)
        data = [user_data.pack(**identity, typehash=type_hash(interface)) for _, interface in (heard, said)]
        writer = self._writer(*said, qos, data[1])
        return self._reader(*heard, qos, data[0]), writer

    # -- the rest -----------------------------------------------------------------------------------------------------

    def create_timer(
        self,
        timer_period_sec: float,
        callback: Callable[..., Any],
        callback_group: CallbackGroup | None = None,
        clock: Clock | None = None,
        autostart: bool = True,
    ) -> Timer:
        """Call back every `timer_period_sec` seconds of `clock` (the node's if None)."""
        group = self._group(callback_group)
        period = int(float(timer_period_sec) * 1e9)
        made = Timer(callback, group, period, clock or self._clock, context=self._context, autostart=autostart)
        made._wake = self._wake
        group.add_entity(made)
        self._timers.append(made)
        self._wake()
        return made

    def create_rate(self, frequency: float, clock: Clock | None = None) -> Rate:
        """Create something to sleep on `frequency` times a second; an executor must spin in another thread."""
        if frequency <= 0:
            raise ValueError(f"a rate needs a frequency above 0 Hz, got {frequency}")
        timer = self.create_timer(1.0 / frequency, lambda: None, self._rate_group, clock)
        return Rate(timer, context=self._context)

    def create_guard_condition(
        self, callback: Callable[..., Any], callback_group: CallbackGroup | None = None
    ) -> GuardCondition:
        """Create a condition whose `trigger()` has `callback` run in the executor."""
        group = self._group(callback_group)
        made = GuardCondition(callback, group)
        made._wake = self._wake
        group.add_entity(made)
        self._guards.append(made)
        return made

    def destroy_publisher(self, publisher: Publisher) -> bool:
        """Destroy a publisher of this node; returns False if it is none."""
        return self._drop(self._publishers, publisher, publisher._writer)

    def destroy_subscription(self, subscription: Subscription) -> bool:
        """Destroy a subscription of this node; returns False if it is none."""
        return self._drop(self._subscriptions, subscription, subscription._reader)

    def destroy_service(self, service: Service) -> bool:
        """Destroy a service of this node; returns False if it is none."""
        return self._drop(self._services, service, service._reader, service._writer)

    def destroy_client(self, client: Client) -> bool:
        """Destroy a client of this node; returns False if it is none."""
        return self._drop(self._clients, client, client._reader, client._writer)

    def destroy_timer(self, timer: Timer) -> bool:
        """Destroy a timer of this node; returns False if it is none."""
        timer.destroy()
        return self._drop(self._timers, timer)

    def destroy_rate(self, rate: Rate) -> bool:
        """Destroy a rate of this node; returns False if it is none."""
        rate.destroy()
        return self.destroy_timer(rate._timer)

    def destroy_guard_condition(self, guard: GuardCondition) -> bool:
        """Destroy a guard condition of this node; returns False if it is none."""
        guard.destroy()
        return self._drop(self._guards, guard)

    def _destroy_entities(self) -> None:
        for guard in self.guards:
            self.destroy_guard_condition(guard)
        for timer in self.timers:
            self.destroy_timer(timer)
        for client in self.clients:
            self.destroy_client(client)
        for service in self.services:
            self.destroy_service(service)
        for subscription in self.subscriptions:
            self.destroy_subscription(subscription)
        for publisher in self.publishers:
            self.destroy_publisher(publisher)

    def _ready_entities(self) -> Iterator[Any]:
        """Yield what has a callback to run, in rclpy's order: events, timers, then the rest."""
        endpoints: list[Any] = [*self._subscriptions, *self._publishers]
        handlers = [handler for endpoint in endpoints for handler in endpoint.event_handlers]
        for group in (handlers, self._timers, self._subscriptions, self._guards, self._clients, self._services):
            for entity in list(group):
                if entity._is_ready():
                    yield entity


def _unique_id() -> str:
    """Return 16 random bytes as rmw_cyclonedds spells the ids of clients and services."""
    return ".".join(f"{byte:x}" for byte in secrets.token_bytes(16))


def _expect_message(msg_type: Any) -> None:
    if not (isinstance(msg_type, type) and issubclass(msg_type, Message)):
        raise TypeError(f"expected a message class such as interfaces.message('std_msgs/msg/String'), got {msg_type!r}")


def _expect_service(srv_type: Any) -> None:
    if not (isinstance(srv_type, type) and issubclass(srv_type, ServiceType)):
        raise TypeError(
            f"expected a service class such as interfaces.service('std_srvs/srv/SetBool'), got {srv_type!r}"
        )

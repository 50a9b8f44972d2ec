"""QoS from parameters: `qos_overrides./topic.publisher.reliability` and its like."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .duration import Duration
from .exceptions import ParameterAlreadyDeclaredException
from .node_parameters import ParameterDescriptor, ParameterHolder
from .qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSPolicyEnum,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)

_ENUMS: dict[QoSPolicyKind, type[QoSPolicyEnum]] = {
    QoSPolicyKind.HISTORY: HistoryPolicy,
    QoSPolicyKind.RELIABILITY: ReliabilityPolicy,
    QoSPolicyKind.DURABILITY: DurabilityPolicy,
    QoSPolicyKind.LIVELINESS: LivelinessPolicy,
}


class InvalidQosOverridesError(Exception):
    """The validation callback refused the overridden profile."""


class QoSOverridingOptions:
    """Which policies of a publisher or subscription the user may override by parameter."""

    def __init__(
        self,
        policy_kinds: Iterable[QoSPolicyKind],
        *,
        callback: Callable[[QoSProfile], Any] | None = None,
        entity_id: str | None = None,
    ) -> None:
        """`callback` judges the profile with a SetParametersResult; `entity_id` tells apart two on one topic."""
        self.policy_kinds = tuple(policy_kinds)
        self.callback = callback
        self.entity_id = entity_id

    @classmethod
    def with_default_policies(
        cls, *, callback: Callable[[QoSProfile], Any] | None = None, entity_id: str | None = None
    ) -> QoSOverridingOptions:
        """Allow history, depth and reliability."""
        kinds = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY)
        return cls(kinds, callback=callback, entity_id=entity_id)


def apply_overrides(
    node: ParameterHolder, entity: str, topic: str, qos: QoSProfile, options: QoSOverridingOptions
) -> None:
    """Declare the parameters of an entity ("publisher" or "subscription") and change `qos` as they say.

    Raises `InvalidQosOverridesError` for a profile the callback refuses, `ValueError` for a value no policy has.
    """
    suffix = f"_{options.entity_id}" if options.entity_id else ""
    for kind in options.policy_kinds:
        if entity == "subscription" and kind is QoSPolicyKind.LIFESPAN:
            continue  # a subscription has none
        policy = kind.name.lower()
        name = f"qos_overrides.{topic}.{entity}{suffix}.{policy}"
        text = f"{policy} for {entity} `{topic}` with id `{options.entity_id}`"
        try:
            parameter = node.declare_parameter(
                name, _to_parameter(getattr(qos, policy)), ParameterDescriptor(description=text, read_only=True)
            )
        except ParameterAlreadyDeclaredException:
            parameter = node.get_parameter(name)
        setattr(qos, policy, _from_parameter(kind, parameter.value, name))
    if options.callback is not None:
        verdict = options.callback(qos)
        if not verdict.successful:
            raise InvalidQosOverridesError(f"QoS overrides of {entity} `{topic}` are not valid: {verdict.reason}")


def _to_parameter(value: Any) -> Any:
    if isinstance(value, QoSPolicyEnum):
        return value.short_key
    return value.nanoseconds if isinstance(value, Duration) else value


def _from_parameter(kind: QoSPolicyKind, value: Any, name: str) -> Any:
    if kind in _ENUMS:
        try:
            return _ENUMS[kind][value.upper()]
        except KeyError:
            expected = ", ".join(_ENUMS[kind].short_keys())
            raise ValueError(f"parameter {name} is {value!r}; expected one of {expected}") from None
    if kind in (QoSPolicyKind.LIFESPAN, QoSPolicyKind.DEADLINE, QoSPolicyKind.LIVELINESS_LEASE_DURATION):
        return Duration(nanoseconds=value)
    return value

"""QoSProfile <-> cyclonedds Qos, with the rules of rmw_cyclonedds_cpp."""

from __future__ import annotations

from typing import Any

from cyclonedds.qos import Policy, Qos

from ..duration import Duration, Infinite
from ..qos import (
    UNSPECIFIED,
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)

_INFINITE = Infinite.nanoseconds

#: DDS policy id -> ROS policy kind, for incompatible-QoS events.
_KINDS = {
    2: QoSPolicyKind.DURABILITY,
    4: QoSPolicyKind.DEADLINE,
    8: QoSPolicyKind.LIVELINESS,
    11: QoSPolicyKind.RELIABILITY,
    13: QoSPolicyKind.HISTORY,
    21: QoSPolicyKind.LIFESPAN,
}


def to_dds(profile: QoSProfile, user_data: bytes) -> Qos:
    """Return what a writer or reader of `profile` is created with; `user_data` goes into USER_DATA."""
    keep_all = profile.history is HistoryPolicy.KEEP_ALL
    history = Policy.History.KeepAll if keep_all else Policy.History.KeepLast(max(1, profile.depth))
    policies: list[Any] = [Policy.WriterDataLifecycle(autodispose=False), history]
    if profile.reliability is ReliabilityPolicy.BEST_EFFORT:
        policies.append(Policy.Reliability.BestEffort)
    else:
        policies.append(Policy.Reliability.Reliable(max_blocking_time=_INFINITE))
    if profile.durability is DurabilityPolicy.TRANSIENT_LOCAL:
        # Cyclone takes from the durability service what a late joiner is given.
        unlimited = -1
        policies += [
            Policy.Durability.TransientLocal,
            Policy.DurabilityService(0, history, unlimited, unlimited, unlimited),
        ]
    else:
        policies.append(Policy.Durability.Volatile)
    if profile.lifespan != UNSPECIFIED:
        policies.append(Policy.Lifespan(profile.lifespan.nanoseconds))
    if profile.deadline != UNSPECIFIED:
        policies.append(Policy.Deadline(profile.deadline.nanoseconds))
    lease = profile.liveliness_lease_duration
    lease_ns = _INFINITE if lease == UNSPECIFIED else lease.nanoseconds
    manual = profile.liveliness is LivelinessPolicy.MANUAL_BY_TOPIC
    policies.append((Policy.Liveliness.ManualByTopic if manual else Policy.Liveliness.Automatic)(lease_ns))
    policies.append(Policy.Userdata(user_data))
    return Qos(*policies)


def from_dds(qos: Qos) -> QoSProfile:
    """Return the profile of a discovered endpoint; durations left open read as infinite, as in rmw."""
    history: Any = qos[Policy.History]
    keep_last = isinstance(history, Policy.History.KeepLast)
    reliable = isinstance(qos[Policy.Reliability], Policy.Reliability.Reliable)
    transient = qos[Policy.Durability]
    liveliness: Any = qos[Policy.Liveliness]
    manual = isinstance(liveliness, Policy.Liveliness.ManualByTopic)
    volatile = transient in (None, Policy.Durability.Volatile)
    return QoSProfile(
        # Discovery tells neither history nor depth.
        history=HistoryPolicy.KEEP_LAST if keep_last else HistoryPolicy.UNKNOWN,
        depth=max(1, history.depth) if keep_last else 0,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE if volatile else DurabilityPolicy.TRANSIENT_LOCAL,
        lifespan=_duration(qos[Policy.Lifespan], "lifespan"),
        deadline=_duration(qos[Policy.Deadline], "deadline"),
        liveliness=LivelinessPolicy.MANUAL_BY_TOPIC if manual else LivelinessPolicy.AUTOMATIC,
        liveliness_lease_duration=_duration(liveliness, "lease_duration"),
    )


def user_data(qos: Qos) -> bytes:
    """Return the USER_DATA of a discovered participant or endpoint."""
    policy: Any = qos[Policy.Userdata]
    return bytes(policy.data) if policy is not None else b""


def kind_of_policy(dds_policy_id: int) -> QoSPolicyKind:
    """Return the ROS policy that a DDS policy id stands for."""
    return _KINDS.get(dds_policy_id, QoSPolicyKind.INVALID)


def _duration(policy: Any, field: str) -> Duration:
    return Duration(nanoseconds=getattr(policy, field)) if policy is not None else Infinite

"""Quality of service: policies, profiles, presets, compatibility."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from enum import Enum, IntEnum

from .duration import Duration, Infinite
from .exceptions import InvalidQoSProfileException

#: No value given: the middleware's default, which is "for ever".
UNSPECIFIED = Duration()


class QoSPolicyKind(IntEnum):
    """The policies; numbers as in rmw/qos_policy_kind.h."""

    INVALID = 1
    DURABILITY = 2
    DEADLINE = 4
    LIVELINESS = 8
    RELIABILITY = 16
    HISTORY = 32
    LIFESPAN = 64
    DEPTH = 128
    LIVELINESS_LEASE_DURATION = 256
    AVOID_ROS_NAMESPACE_CONVENTIONS = 512


def qos_policy_name_from_kind(policy_kind: QoSPolicyKind | int) -> str:
    """Return the name of a policy, such as `RELIABILITY`."""
    return QoSPolicyKind(policy_kind).name


class QoSPolicyEnum(IntEnum):
    """Base of the policy enumerations; numbers as in rmw/types.h."""

    @classmethod
    def short_keys(cls) -> list[str]:
        """Return the values as a user types them."""
        return [name.lower() for name in cls.__members__]

    @classmethod
    def get_from_short_key(cls, name: str) -> int:
        """Return the value of a name such as `best_effort`."""
        return cls[name.upper()].value

    @property
    def short_key(self) -> str:
        """The name as a user types it."""
        return self.name.lower()


class HistoryPolicy(QoSPolicyEnum):
    """How many samples are kept."""

    SYSTEM_DEFAULT = 0
    KEEP_LAST = 1
    KEEP_ALL = 2
    UNKNOWN = 3


class ReliabilityPolicy(QoSPolicyEnum):
    """Whether lost samples are sent again."""

    SYSTEM_DEFAULT = 0
    RELIABLE = 1
    BEST_EFFORT = 2
    UNKNOWN = 3
    BEST_AVAILABLE = 4


class DurabilityPolicy(QoSPolicyEnum):
    """Whether late joiners get old samples."""

    SYSTEM_DEFAULT = 0
    TRANSIENT_LOCAL = 1
    VOLATILE = 2
    UNKNOWN = 3
    BEST_AVAILABLE = 4


class LivelinessPolicy(QoSPolicyEnum):
    """Who says that a publisher lives."""

    SYSTEM_DEFAULT = 0
    AUTOMATIC = 1
    MANUAL_BY_TOPIC = 3
    UNKNOWN = 4
    BEST_AVAILABLE = 5


QoSHistoryPolicy = HistoryPolicy
QoSReliabilityPolicy = ReliabilityPolicy
QoSDurabilityPolicy = DurabilityPolicy
QoSLivelinessPolicy = LivelinessPolicy


class QoSProfile:
    """A set of policies. Needs `depth`, or a `history` other than KEEP_LAST; durations of 0 mean "for ever"."""

    __slots__ = (
        "avoid_ros_namespace_conventions",
        "deadline",
        "depth",
        "durability",
        "history",
        "lifespan",
        "liveliness",
        "liveliness_lease_duration",
        "reliability",
    )

    def __init__(
        self,
        *,
        history: HistoryPolicy | int | None = None,
        depth: int | None = None,
        reliability: ReliabilityPolicy | int = ReliabilityPolicy.RELIABLE,
        durability: DurabilityPolicy | int = DurabilityPolicy.VOLATILE,
        lifespan: Duration = UNSPECIFIED,
        deadline: Duration = UNSPECIFIED,
        liveliness: LivelinessPolicy | int = LivelinessPolicy.SYSTEM_DEFAULT,
        liveliness_lease_duration: Duration = UNSPECIFIED,
        avoid_ros_namespace_conventions: bool = False,
    ) -> None:
        if history is None:
            if depth is None:
                raise InvalidQoSProfileException("History and/or depth settings are required.")
            history = HistoryPolicy.KEEP_LAST
        self.history = HistoryPolicy(history)
        if self.history is HistoryPolicy.KEEP_LAST and depth is None:
            raise InvalidQoSProfileException("History set to KEEP_LAST without a depth setting.")
        self.depth = 10 if depth is None else depth
        if isinstance(self.depth, bool) or not isinstance(self.depth, int) or self.depth < 0:
            raise InvalidQoSProfileException(f"depth must be a count of messages, got {depth!r}")
        if self.depth == 0 and self.history is HistoryPolicy.KEEP_LAST:
            warnings.warn(
                "A depth of 0 with KEEP_LAST could store no data; it is taken as SYSTEM_DEFAULT", stacklevel=2
            )
        self.reliability = ReliabilityPolicy(reliability)
        self.durability = DurabilityPolicy(durability)
        self.liveliness = LivelinessPolicy(liveliness)
        for name, value in (
            ("lifespan", lifespan),
            ("deadline", deadline),
            ("liveliness_lease_duration", liveliness_lease_duration),
        ):
            if not isinstance(value, Duration):
                raise InvalidQoSProfileException(f"{name} must be a Duration, got {value!r}")
        self.lifespan = lifespan
        self.deadline = deadline
        self.liveliness_lease_duration = liveliness_lease_duration
        self.avoid_ros_namespace_conventions = avoid_ros_namespace_conventions

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, QoSProfile):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"QoSProfile({', '.join(f'{name}={getattr(self, name)}' for name in self.__slots__)})"

    def copy(self) -> QoSProfile:
        """Return an independent copy."""
        return copy.copy(self)


def to_profile(qos: QoSProfile | int) -> QoSProfile:
    """Return the profile of what `create_publisher` and its like accept: a profile, or a depth."""
    if isinstance(qos, QoSProfile):
        return qos.copy()
    if isinstance(qos, int) and not isinstance(qos, bool) and qos >= 0:
        return QoSProfile(depth=qos)
    raise TypeError(f"expected a QoSProfile or a depth of 0 or more, got {qos!r}")


qos_profile_unknown = QoSProfile(
    history=HistoryPolicy.UNKNOWN,
    depth=0,
    reliability=ReliabilityPolicy.UNKNOWN,
    durability=DurabilityPolicy.UNKNOWN,
    liveliness=LivelinessPolicy.UNKNOWN,
)
qos_profile_default = QoSProfile(depth=10)
qos_profile_system_default = QoSProfile(
    history=HistoryPolicy.SYSTEM_DEFAULT,
    depth=0,
    reliability=ReliabilityPolicy.SYSTEM_DEFAULT,
    durability=DurabilityPolicy.SYSTEM_DEFAULT,
)
qos_profile_sensor_data = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
qos_profile_services_default = QoSProfile(depth=10)
qos_profile_parameters = QoSProfile(depth=1000)
qos_profile_parameter_events = QoSProfile(depth=1000)
qos_profile_rosout_default = QoSProfile(
    depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL, lifespan=Duration(seconds=10)
)
qos_profile_action_status_default = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
qos_profile_best_available = QoSProfile(
    depth=10,
    reliability=ReliabilityPolicy.BEST_AVAILABLE,
    durability=DurabilityPolicy.BEST_AVAILABLE,
    liveliness=LivelinessPolicy.BEST_AVAILABLE,
)


class QoSPresetProfiles(Enum):
    """The presets by name; `.value` is the profile."""

    UNKNOWN = qos_profile_unknown
    DEFAULT = qos_profile_default
    SYSTEM_DEFAULT = qos_profile_system_default
    SENSOR_DATA = qos_profile_sensor_data
    SERVICES_DEFAULT = qos_profile_services_default
    PARAMETERS = qos_profile_parameters
    PARAMETER_EVENTS = qos_profile_parameter_events
    ACTION_STATUS_DEFAULT = qos_profile_action_status_default
    BEST_AVAILABLE = qos_profile_best_available

    @classmethod
    def short_keys(cls) -> list[str]:
        """Return the names as a user types them."""
        return [name.lower() for name in cls.__members__]

    @classmethod
    def get_from_short_key(cls, name: str) -> QoSProfile:
        """Return the profile of a name such as `sensor_data`."""
        return cls[name.upper()].value


class QoSCompatibility(IntEnum):
    """What `qos_check_compatible` found."""

    OK = 0
    WARNING = 1
    ERROR = 2


def qos_check_compatible(publisher_qos: QoSProfile, subscription_qos: QoSProfile) -> tuple[QoSCompatibility, str]:
    """Say whether the two would match, and why not; WARNING where a system default leaves it open."""
    pub, sub = publisher_qos, subscription_qos
    errors: list[str] = []
    if pub.reliability is ReliabilityPolicy.BEST_EFFORT and sub.reliability is ReliabilityPolicy.RELIABLE:
        errors.append("ERROR: Best effort publisher and reliable subscription;")
    if pub.durability is DurabilityPolicy.VOLATILE and sub.durability is DurabilityPolicy.TRANSIENT_LOCAL:
        errors.append("ERROR: Volatile publisher and transient local subscription;")
    if _finite(sub.deadline) and not _finite(pub.deadline):
        errors.append("ERROR: Subscription has a deadline, but publisher does not;")
    elif _finite(sub.deadline) and pub.deadline > sub.deadline:
        errors.append("ERROR: Subscription deadline is less than publisher deadline;")
    if pub.liveliness is LivelinessPolicy.AUTOMATIC and sub.liveliness is LivelinessPolicy.MANUAL_BY_TOPIC:
        errors.append("ERROR: Publisher's liveliness is automatic and subscription's is manual by topic;")
    lease, wanted = pub.liveliness_lease_duration, sub.liveliness_lease_duration
    if _finite(wanted) and not _finite(lease):
        errors.append("ERROR: Subscription has a liveliness lease duration, but publisher does not;")
    elif _finite(wanted) and lease > wanted:
        errors.append("ERROR: Subscription liveliness lease duration is less than publisher;")
    if errors:
        return QoSCompatibility.ERROR, " ".join(errors)
    warned = [
        f"WARNING: {side} {policy} is {value.short_key.replace('_', ' ')};"
        for side, profile in (("Publisher", pub), ("Subscription", sub))
        for policy, value in (("reliability", profile.reliability), ("durability", profile.durability))
        if value.name in ("SYSTEM_DEFAULT", "UNKNOWN")
    ]
    return (QoSCompatibility.WARNING, " ".join(warned)) if warned else (QoSCompatibility.OK, "")


def best_available(profile: QoSProfile, others: Sequence[QoSProfile], *, for_subscription: bool) -> QoSProfile:
    """Return `profile` with its BEST_AVAILABLE policies chosen to match every endpoint in `others`.

    A publisher offers the most; a subscription asks for no more than all publishers offer.
    """
    chosen = profile.copy()
    if profile.reliability is ReliabilityPolicy.BEST_AVAILABLE:
        weak = for_subscription and any(o.reliability is ReliabilityPolicy.BEST_EFFORT for o in others)
        chosen.reliability = ReliabilityPolicy.BEST_EFFORT if weak else ReliabilityPolicy.RELIABLE
    if profile.durability is DurabilityPolicy.BEST_AVAILABLE:
        weak = for_subscription and any(o.durability is DurabilityPolicy.VOLATILE for o in others)
        chosen.durability = DurabilityPolicy.VOLATILE if weak else DurabilityPolicy.TRANSIENT_LOCAL
    if profile.liveliness is LivelinessPolicy.BEST_AVAILABLE:
        manual = any(o.liveliness is LivelinessPolicy.MANUAL_BY_TOPIC for o in others)
        if for_subscription:
            manual = bool(others) and all(o.liveliness is LivelinessPolicy.MANUAL_BY_TOPIC for o in others)
        chosen.liveliness = LivelinessPolicy.MANUAL_BY_TOPIC if manual else LivelinessPolicy.AUTOMATIC
    return chosen


def _finite(duration: Duration) -> bool:
    return duration not in (UNSPECIFIED, Infinite)

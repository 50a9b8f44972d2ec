"""Spans of time."""

from __future__ import annotations

from functools import total_ordering
from typing import Any

from .interfaces import message

NANOSECONDS = 1_000_000_000


@total_ordering
class Duration:
    """A span of time, exact to the nanosecond; may be negative."""

    def __init__(self, *, seconds: float = 0, nanoseconds: int = 0) -> None:
        total = int(seconds * NANOSECONDS) + int(nanoseconds)
        if not -(2**63) <= total < 2**63:
            raise OverflowError(f"a Duration of {total} ns does not fit 64 bits; expected at most 292 years")
        self._nanoseconds = total

    @property
    def nanoseconds(self) -> int:
        """The span in ns."""
        return self._nanoseconds

    def __repr__(self) -> str:
        return f"Duration(nanoseconds={self._nanoseconds})"

    def __str__(self) -> str:
        return f"{'Infinite' if self == Infinite else self._nanoseconds} nanoseconds"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Duration):
            return NotImplemented
        return self._nanoseconds == other._nanoseconds

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Duration):
            return NotImplemented
        return self._nanoseconds < other._nanoseconds

    def __hash__(self) -> int:
        return hash(self._nanoseconds)

    def to_msg(self) -> Any:
        """Return a builtin_interfaces/msg/Duration."""
        seconds, nanoseconds = divmod(self._nanoseconds, NANOSECONDS)
        return message("builtin_interfaces/msg/Duration")(sec=seconds, nanosec=nanoseconds)

    @classmethod
    def from_msg(cls, msg: Any) -> Duration:
        """Make a Duration of a builtin_interfaces/msg/Duration."""
        return cls(nanoseconds=msg.sec * NANOSECONDS + msg.nanosec)


#: How ROS spells "for ever" in a QoS profile.
Infinite = Duration(nanoseconds=9223372036854775807)

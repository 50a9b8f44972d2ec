"""Points in time, each on the clock it was read from."""

from __future__ import annotations

from functools import total_ordering
from typing import Any, overload

from .clock_type import ClockType
from .duration import NANOSECONDS, Duration
from .interfaces import message


@total_ordering
class Time:
    """A point in time since the epoch of its clock, exact to the nanosecond."""

    def __init__(
        self, *, seconds: float = 0, nanoseconds: int = 0, clock_type: ClockType = ClockType.SYSTEM_TIME
    ) -> None:
        if seconds < 0 or nanoseconds < 0:
            raise ValueError(f"a Time cannot be negative, got seconds={seconds}, nanoseconds={nanoseconds}")
        total = int(seconds * NANOSECONDS) + int(nanoseconds)
        if total >= 2**63:
            raise OverflowError(f"a Time of {total} ns does not fit 64 bits")
        self._nanoseconds = total
        self._clock_type = ClockType(clock_type)

    @property
    def nanoseconds(self) -> int:
        """Nanoseconds since the epoch."""
        return self._nanoseconds

    @property
    def clock_type(self) -> ClockType:
        """The kind of clock this was read from."""
        return self._clock_type

    def seconds_nanoseconds(self) -> tuple[int, int]:
        """Return whole seconds and the nanoseconds left over."""
        return divmod(self._nanoseconds, NANOSECONDS)

    def __repr__(self) -> str:
        return f"Time(nanoseconds={self._nanoseconds}, clock_type={self._clock_type.name})"

    def __add__(self, other: Duration) -> Time:
        if not isinstance(other, Duration):
            return NotImplemented
        return Time(nanoseconds=self._nanoseconds + other.nanoseconds, clock_type=self._clock_type)

    __radd__ = __add__

    @overload
    def __sub__(self, other: Time) -> Duration: ...
    @overload
    def __sub__(self, other: Duration) -> Time: ...
    def __sub__(self, other: Time | Duration) -> Time | Duration:
        if isinstance(other, Time):
            self._same_clock(other, "subtract")
            return Duration(nanoseconds=self._nanoseconds - other._nanoseconds)
        if isinstance(other, Duration):
            return Time(nanoseconds=self._nanoseconds - other.nanoseconds, clock_type=self._clock_type)
        return NotImplemented

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Time):
            return NotImplemented
        self._same_clock(other, "compare")
        return self._nanoseconds == other._nanoseconds

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Time):
            return NotImplemented
        self._same_clock(other, "compare")
        return self._nanoseconds < other._nanoseconds

    def __hash__(self) -> int:
        return hash((self._nanoseconds, self._clock_type))

    def _same_clock(self, other: Time, verb: str) -> None:
        if self._clock_type != other._clock_type:
            raise TypeError(f"cannot {verb} times of {self._clock_type.name} and {other._clock_type.name} clocks")

    def to_msg(self) -> Any:
        """Return a builtin_interfaces/msg/Time."""
        seconds, nanoseconds = self.seconds_nanoseconds()
        return message("builtin_interfaces/msg/Time")(sec=seconds, nanosec=nanoseconds)

    @classmethod
    def from_msg(cls, msg: Any, clock_type: ClockType = ClockType.ROS_TIME) -> Time:
        """Make a Time of a builtin_interfaces/msg/Time."""
        return cls(nanoseconds=msg.sec * NANOSECONDS + msg.nanosec, clock_type=clock_type)

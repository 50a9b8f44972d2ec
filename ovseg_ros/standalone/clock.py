"""Clocks: ROS time (which a simulation may drive through /clock), system time, steady time."""

from __future__ import annotations

import threading
import time as _time

from .clock_type import ClockType
from .duration import Duration
from .time import Time

__all__ = ["Clock", "ClockType", "ROSClock"]


class Clock:
    """A clock; `Clock(clock_type=ClockType.ROS_TIME)` gives a `ROSClock`."""

    def __new__(cls, *, clock_type: ClockType = ClockType.SYSTEM_TIME) -> Clock:
        """Make a clock; of the subclass for ROS time."""
        if not isinstance(clock_type, ClockType):
            raise TypeError(f"clock_type must be a ClockType, got {clock_type!r}")
        return super().__new__(ROSClock if clock_type is ClockType.ROS_TIME else cls)

    def __init__(self, *, clock_type: ClockType = ClockType.SYSTEM_TIME) -> None:
        self._clock_type = clock_type

    @property
    def clock_type(self) -> ClockType:
        """Which time this clock tells."""
        return self._clock_type

    def __repr__(self) -> str:
        return f"Clock(clock_type={self._clock_type.name})"

    def now(self) -> Time:
        """Return the current time of this clock."""
        read = _time.monotonic_ns if self._clock_type is ClockType.STEADY_TIME else _time.time_ns
        return Time(nanoseconds=read(), clock_type=self._clock_type)

    def sleep_until(self, until: Time) -> bool:
        """Sleep until this clock shows `until`; returns whether it was reached. The sleep cannot be interrupted."""
        if until.clock_type != self._clock_type:
            raise ValueError(f"until is a {until.clock_type.name}, this clock tells {self._clock_type.name}")
        while (left := (until - self.now()).nanoseconds) > 0:
            self._pause(left)
        return True

    def sleep_for(self, rel_time: Duration) -> bool:
        """Sleep for a span of this clock's time; returns whether it passed."""
        return self.sleep_until(self.now() + rel_time)

    def _pause(self, nanoseconds: int) -> None:
        _time.sleep(nanoseconds / 1e9)


class ROSClock(Clock):
    """The node's clock: system time, unless `use_sim_time` is set and /clock tells another."""

    def __new__(cls, *, clock_type: ClockType = ClockType.ROS_TIME) -> ROSClock:
        """Make a clock of ROS time."""
        return object.__new__(cls)

    def __init__(self, *, clock_type: ClockType = ClockType.ROS_TIME) -> None:
        super().__init__(clock_type=ClockType.ROS_TIME)
        self._override: int | None = None
        self._changed = threading.Condition()

    @property
    def ros_time_is_active(self) -> bool:
        """True while /clock drives this clock."""
        return self._override is not None

    def now(self) -> Time:
        """Return simulated time where it is active, else system time."""
        override = self._override
        return Time(nanoseconds=_time.time_ns() if override is None else override, clock_type=ClockType.ROS_TIME)

    def set_ros_time_override(self, time: Time) -> None:
        """Set the time that `now` shows while simulated time is active."""
        with self._changed:
            self._override = time.nanoseconds
            self._changed.notify_all()

    def _set_ros_time_is_active(self, enabled: bool) -> None:
        """Switch simulated time on (it begins at 0 until /clock speaks) or off."""
        with self._changed:
            if enabled != self.ros_time_is_active:
                self._override = 0 if enabled else None
            self._changed.notify_all()

    def _pause(self, nanoseconds: int) -> None:
        if not self.ros_time_is_active:
            super()._pause(nanoseconds)
            return
        with self._changed:
            self._changed.wait(timeout=0.5)

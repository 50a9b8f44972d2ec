"""Timers and rates."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .callback_groups import CallbackGroup
from .clock import Clock
from .context import Context
from .exceptions import InvalidHandle, ROSInterruptException


class Timer:
    """Calls back every period of its clock; create with `node.create_timer`. A late timer skips, it never bursts."""

    def __init__(
        self,
        callback: Callable[..., Any] | None,
        callback_group: CallbackGroup | None,
        timer_period_ns: int,
        clock: Clock,
        *,
        context: Context | None = None,
        autostart: bool = True,
    ) -> None:
        if timer_period_ns < 0:
            raise ValueError(f"a timer period cannot be negative, got {timer_period_ns / 1e9} s")
        self.callback = callback
        self.callback_group = callback_group
        self._clock = clock
        self._context = context
        self._period = int(timer_period_ns)
        self._last = self._now()
        self._next = self._last + self._period
        self._canceled = not autostart
        self._destroyed = False
        self._executor_event = False
        # Wakes the executor when the next call moves; set by the node.
        self._wake: Callable[[], None] = lambda: None

    @property
    def clock(self) -> Clock:
        """The clock it runs on."""
        return self._clock

    @property
    def timer_period_ns(self) -> int:
        """The period in ns; a new one counts from the next call."""
        return self._period

    @timer_period_ns.setter
    def timer_period_ns(self, value: int) -> None:
        self._period = int(value)
        self._wake()

    def is_ready(self) -> bool:
        """Whether its time has come."""
        return not self._canceled and not self._destroyed and self.time_until_next_call() == 0

    def is_canceled(self) -> bool:
        """Whether it was cancelled."""
        return self._canceled

    def cancel(self) -> None:
        """Stop calling back until `reset`."""
        self._check()
        self._canceled = True

    def reset(self) -> None:
        """Start anew: the next call is one period from now."""
        self._check()
        self._canceled = False
        self._next = self._now() + self._period
        self._wake()

    def time_since_last_call(self) -> int:
        """Return ns since the last call, or since creation."""
        return self._now() - self._last

    def time_until_next_call(self) -> int | None:
        """Return ns until the next call, 0 if it is due, None while cancelled."""
        return None if self._canceled else max(0, self._next - self._now())

    def destroy(self) -> None:
        """Stop for good."""
        self._destroyed = True
        self._wake()

    def _call(self) -> None:
        """Note that it is called now and plan the next call on the same beat."""
        now = self._now()
        self._last = now
        self._next += self._period
        if self._next <= now:
            behind = (now - self._next) // self._period + 1 if self._period else 0
            self._next = self._next + behind * self._period if self._period else now

    def _is_ready(self) -> bool:
        return self.is_ready()

    def _take(self) -> Callable[..., Any] | None:
        if not self.is_ready():
            return None
        self._call()
        return self.callback

    def _now(self) -> int:
        return self._clock.now().nanoseconds

    def _check(self) -> None:
        if self._destroyed:
            raise InvalidHandle("the timer was destroyed")


class Rate:
    """Sleeps until the next beat of a timer, which some executor must spin in another thread."""

    def __init__(self, timer: Timer, *, context: Context) -> None:
        self._timer = timer
        self._beat = threading.Condition()
        self._count = 0
        self._over = False
        self._context = context
        timer.callback = self._tick
        context.on_shutdown(self.destroy)

    def _tick(self) -> None:
        with self._beat:
            self._count += 1
            self._beat.notify_all()

    def sleep(self) -> None:
        """Block until the next beat; raises `ROSInterruptException` when ROS shuts down meanwhile."""
        with self._beat:
            seen = self._count
            while self._count == seen and not self._over and self._context.ok():
                self._beat.wait(timeout=0.25)
            if self._over or not self._context.ok():
                raise ROSInterruptException

    def destroy(self) -> None:
        """End the present sleep and forbid further ones."""
        with self._beat:
            self._over = True
            self._beat.notify_all()

"""A thread that works on the newest thing only: latency stays one frame long however slow the work is."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestWorker(Generic[T]):
    """Runs `work(item)` in one thread and holds at most one waiting item; a newer one replaces it.

    Jobs given to `call` run in the same thread between two items and are never dropped. No exception ends the
    thread: each goes to `failed`.

    Args:
        work: called with each item, in the thread.
        dropped: called in the thread of `offer` with the item that a newer one replaced.
        failed: called in the thread with what `work` or a job raised.
    """

    def __init__(
        self, work: Callable[[T], None], dropped: Callable[[T], None], failed: Callable[[Exception], None]
    ) -> None:
        self._work, self._dropped, self._failed = work, dropped, failed
        self._changed = threading.Condition()
        self._waiting: list[T] = []  # at most one
        self._jobs: deque[Callable[[], None]] = deque()
        self._stopping = False
        # a daemon: a hung engine must not keep the process alive
        self._thread = threading.Thread(target=self._run, name="ovseg-worker", daemon=True)

    def start(self) -> None:
        """Start the thread; items and jobs given before wait for it."""
        self._thread.start()

    def offer(self, item: T) -> None:
        """Give an item; one that still waits is dropped."""
        with self._changed:
            replaced, self._waiting = self._waiting, [item]
            self._changed.notify()
        for old in replaced:
            self._dropped(old)

    def call(self, job: Callable[[], None]) -> None:
        """Run a job in the thread, before the next item."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def stop(self, timeout: float = 5.0) -> bool:
        """End the thread after what it does now and drop what waits; False where it still runs after `timeout` s."""
        with self._changed:
            self._stopping = True
            self._waiting = []
            self._jobs.clear()
            self._changed.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except Exception as error:  # the thread must outlive every error of the work
                self._failed(error)
            del task  # the frame it holds is large

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._jobs or self._waiting)
            if self._stopping:
                return None
            if self._jobs:
                return self._jobs.popleft()
            item = self._waiting.pop()
            return lambda: self._work(item)


class RateLimit:
    """Lets at most `rate` things a second pass, evenly; all of them where `rate` is 0.

    Time is monotonic: neither a ROS clock that stops nor stamps that jump back can stall it.
    """

    def __init__(self, rate: float = 0.0, clock: Callable[[], float] = monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._due = clock()

    def admit(self) -> bool:
        """Whether the thing that comes now may pass."""
        if self.rate <= 0:
            return True
        now, period = self._clock(), 1 / self.rate
        if now < self._due - 0.05 * period:  # a camera at the very rate must not lose frames to jitter
            # a rate that was just raised must not wait for the old rate's turn
            self._due = min(self._due, now + period)
            return False
        # counting from the time it was due keeps the mean rate when the camera's rate is no multiple of it
        self._due = max(self._due, now - period) + period
        return True

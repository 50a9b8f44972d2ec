"""Executors: who runs the callbacks of nodes, and in which thread."""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .context import Context, Waker, get_default_context
from .task import Future, Task


class ExternalShutdownException(Exception):  # noqa: N818
    """The context was shut down while waiting for work."""


class TimeoutException(Exception):  # noqa: N818
    """Waiting for work timed out."""


class ShutdownException(Exception):  # noqa: N818
    """The executor was shut down while waiting for work."""


class Executor(ABC):
    """Base of both executors. Usable as a context manager, which shuts it down."""

    _concurrent = False

    def __init__(self, *, context: Context | None = None) -> None:
        self._context = get_default_context() if context is None else context
        self._nodes: list[Any] = []
        self._lock = threading.RLock()
        self._tasks: list[Task] = []
        self._is_shutdown = False
        self._running: list[int] = []  # idents of the threads inside a callback
        self._idle = threading.Condition()
        self._waker = Waker()
        self._round: Iterator[Callable[[], Any]] = iter(())
        self._context.add_waker(self._waker)

    @property
    def context(self) -> Context:
        """The context whose shutdown ends spinning."""
        return self._context

    def create_task(self, callback: Any, *args: Any, **kwargs: Any) -> Task:
        """Run a function or coroutine soon; returns its Task, which is a Future."""
        task = Task(callback, args, kwargs, executor=self)
        with self._lock:
            self._tasks.append(task)
        self.wake()
        return task

    def add_node(self, node: Any) -> bool:
        """Run the callbacks of `node`; returns False if that was so already."""
        with self._lock:
            if node in self._nodes:
                return False
            self._nodes.append(node)
        node.executor = self
        self.wake()
        return True

    def remove_node(self, node: Any) -> None:
        """Stop running the callbacks of `node`."""
        with self._lock:
            if node in self._nodes:
                self._nodes.remove(node)
        self.wake()

    def get_nodes(self) -> list[Any]:
        """Return the nodes added."""
        with self._lock:
            return list(self._nodes)

    def wake(self) -> None:
        """Look for work again; safe from any thread."""
        self._waker.wake()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Stop, and wait for callbacks under way; returns False if they outlast `timeout_sec` (None: no limit)."""
        self._is_shutdown = True
        self.wake()
        limit = None if timeout_sec is None or timeout_sec < 0 else timeout_sec
        with self._idle:
            # A callback may shut its own executor down; it does not wait for itself.
            me = threading.get_ident()
            done = self._idle.wait_for(lambda: all(ident == me for ident in self._running), limit)
        with self._lock:
            self._nodes = []
        return done

    def spin(self) -> None:
        """Run callbacks until shutdown; raises `ExternalShutdownException` if that comes while waiting."""
        while self._context.ok() and not self._is_shutdown:
            self.spin_once()

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for one callback, at most `timeout_sec` (None: for ever; 0: not at all), and run it."""
        self._spin_once(timeout_sec, lambda: False)

    def spin_until_future_complete(self, future: Future, timeout_sec: float | None = None) -> None:
        """Run callbacks until `future` is done, at most `timeout_sec` (None: for ever), or until shutdown."""
        future._wake_when_done(self.wake)
        end = None if timeout_sec is None or timeout_sec < 0 else time.monotonic() + timeout_sec
        while self._context.ok() and not future.done() and not self._is_shutdown:
            left = None if end is None else end - time.monotonic()
            if left is not None and left < 0:
                return
            self._spin_once(left, future.done)

    def spin_once_until_future_complete(self, future: Future, timeout_sec: float | None = None) -> None:
        """Wait for one callback, or for `future` to be done."""
        future._wake_when_done(self.wake)
        self._spin_once(timeout_sec, future.done)

    def _spin_once(self, timeout_sec: float | None, condition: Callable[[], bool]) -> None:
        try:
            work = self._next_work(timeout_sec, condition)
        except (ShutdownException, TimeoutException):
            return
        if work is not None:
            self._execute(work)

    @abstractmethod
    def _execute(self, work: Callable[[], Any]) -> None: ...

    # -- finding work -----------------------------------------------------------------------------------------------

    def _next_work(self, timeout_sec: float | None, condition: Callable[[], bool]) -> Callable[[], Any] | None:
        """Return the next piece of work, waiting for it; None if `condition` came true."""
        end = None if timeout_sec is None or timeout_sec < 0 else time.monotonic() + timeout_sec
        while True:
            # In this order: a shutdown of the context shuts the global executor down a moment later.
            if not self._context.ok():
                raise ExternalShutdownException
            if self._is_shutdown:
                raise ShutdownException
            # One round offers each ready entity once, so that a busy topic starves nobody.
            work = next(self._round, None)
            if work is not None:
                return work
            if condition():
                return None
            self._round = self._collect()
            work = next(self._round, None)
            if work is not None:
                return work
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutException
            until_timer = self._until_timer()
            self._waker.wait(min((t for t in (left, until_timer) if t is not None), default=None))

    def _collect(self) -> Iterator[Callable[[], Any]]:
        """Yield the work there is now: tasks, then what is ready in each node."""
        with self._lock:
            self._tasks = [task for task in self._tasks if not task.done()]
            tasks = [task for task in self._tasks if not task.executing() and not task.waiting() and not task.queued]
            nodes = list(self._nodes)
        for task in tasks:
            task.queued = True
            yield task
        for node in nodes:
            for entity in node._ready_entities():
                if not entity._executor_event and entity.callback_group.can_execute(entity):
                    entity._executor_event = True
                    yield self._make_handler(entity)

    def _until_timer(self) -> float | None:
        """Return seconds until the next timer is due; a clock that may jump is looked at ten times a second."""
        soonest: float | None = None
        for node in self.get_nodes():
            for timer in node.timers:
                left = None if timer._executor_event else timer.time_until_next_call()
                if left is None or not timer.callback_group.can_execute(timer):
                    continue
                seconds = min(left / 1e9, 0.1) if getattr(timer.clock, "ros_time_is_active", False) else left / 1e9
                soonest = seconds if soonest is None else min(soonest, seconds)
        return soonest

    def _make_handler(self, entity: Any) -> Task:
        async def handle() -> None:
            if self._is_shutdown or not entity.callback_group.beginning_execution(entity):
                entity._executor_event = False
                return
            try:
                call = entity._take()
                entity._executor_event = False
                if self._concurrent:
                    self.wake()
                if call is not None:
                    result = call()
                    if inspect.isawaitable(result):
                        await result
            finally:
                entity._executor_event = False
                entity.callback_group.ending_execution(entity)
                if self._concurrent:
                    self.wake()

        return Task(handle, executor=self)

    def _run(self, work: Any) -> None:
        """Run a task; one that awaits something is kept for later. Raises what it raised."""
        with self._idle:
            self._running.append(threading.get_ident())
        work.queued = False
        try:
            work()
        finally:
            with self._idle:
                self._running.remove(threading.get_ident())
                self._idle.notify_all()
        if not work.done():
            with self._lock:
                if work not in self._tasks:
                    self._tasks.append(work)
        elif work.exception() is not None:
            raise work.exception()

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()


class SingleThreadedExecutor(Executor):
    """Runs callbacks, one at a time, in the thread that spins."""

    def _execute(self, work: Callable[[], Any]) -> None:
        self._run(work)


class MultiThreadedExecutor(Executor):
    """Runs callbacks in a pool of threads; callback groups say which may run at the same time.

    An exception of a callback is raised by `spin` when the callback has ended.
    """

    _concurrent = True

    def __init__(self, num_threads: int | None = None, *, context: Context | None = None) -> None:
        super().__init__(context=context)
        count = num_threads or len(os.sched_getaffinity(0))
        if num_threads == 1:
            warnings.warn(
                "MultiThreadedExecutor with a single thread; use SingleThreadedExecutor instead", stacklevel=2
            )
        self._pool = ThreadPoolExecutor(max(count, 2) if num_threads is None else count, "ros-executor")
        self._failures: list[BaseException] = []

    def _execute(self, work: Callable[[], Any]) -> None:
        self._pool.submit(self._run_in_pool, work)
        self._raise_failure()

    def _spin_once(self, timeout_sec: float | None, condition: Callable[[], bool]) -> None:
        self._raise_failure()
        super()._spin_once(timeout_sec, lambda: condition() or bool(self._failures))
        self._raise_failure()

    def _run_in_pool(self, work: Callable[[], Any]) -> None:
        try:
            self._run(work)
        except BaseException as error:
            self._failures.append(error)
        self.wake()

    def _raise_failure(self) -> None:
        with contextlib.suppress(IndexError):
            raise self._failures.pop(0)

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Stop, and wait for callbacks under way; see `Executor.shutdown`."""
        done = super().shutdown(timeout_sec)
        self._pool.shutdown(wait=done and threading.get_ident() not in self._running, cancel_futures=True)
        return done


__all__ = [
    "Executor",
    "ExternalShutdownException",
    "MultiThreadedExecutor",
    "ShutdownException",
    "SingleThreadedExecutor",
    "TimeoutException",
]

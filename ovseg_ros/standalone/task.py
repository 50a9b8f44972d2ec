"""Futures, and coroutines or functions that an executor runs."""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Callable, Generator
from typing import Any

Done = Callable[["Future"], Any]


class Future:
    """The outcome of something not finished yet; await it in a callback, or spin until it is done."""

    def __init__(self, *, executor: Any = None) -> None:
        self._lock = threading.RLock()
        self._done = False
        self._cancelled = False
        self._result: Any = None
        self._exception: BaseException | None = None
        self._exception_fetched = False
        self._callbacks: list[Done] = []
        self._wakeups: list[Callable[[], None]] = []
        self._executor = executor

    def __del__(self) -> None:
        if self._exception is not None and not self._exception_fetched:
            warnings.warn(f"the exception of a future was never looked at: {self._exception!r}", stacklevel=1)

    def __await__(self) -> Generator[Future, None, Any]:
        while not self.done():
            yield self
        return self.result()

    def cancel(self) -> None:
        """Give up on a result; does nothing once done."""
        with self._lock:
            if self._done:
                return
            self._cancelled = True
        self._finish()

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled

    def done(self) -> bool:
        """Whether there is a result or an exception, or it was cancelled."""
        return self._done or self._cancelled

    def result(self) -> Any:
        """Return the result (None while not done); raises the exception if there is one."""
        if self._exception is not None:
            self._exception_fetched = True
            raise self._exception
        return self._result

    def exception(self) -> BaseException | None:
        """Return the exception, or None."""
        self._exception_fetched = True
        return self._exception

    def set_result(self, result: Any) -> None:
        """Set the result and run the callbacks."""
        with self._lock:
            self._result = result
            self._done = True
        self._finish()

    def set_exception(self, exception: BaseException) -> None:
        """Set an exception and run the callbacks."""
        with self._lock:
            self._exception = exception
            self._exception_fetched = False
            self._done = True
        self._finish()

    def add_done_callback(self, callback: Done) -> None:
        """Call `callback(future)` once done: in the executor if there is one, else in the finishing thread."""
        with self._lock:
            waiting = not self.done()
            if waiting:
                self._callbacks.append(callback)
        if not waiting:
            self._call(callback)

    def _set_executor(self, executor: Any) -> None:
        self._executor = executor

    def _wake_when_done(self, wake: Callable[[], None]) -> None:
        """Call `wake` in the finishing thread: how an executor learns that a coroutine can go on."""
        with self._lock:
            waiting = not self.done()
            if waiting:
                self._wakeups.append(wake)
        if not waiting:
            wake()

    def _finish(self) -> None:
        with self._lock:
            callbacks, self._callbacks = self._callbacks, []
            wakeups, self._wakeups = self._wakeups, []
        for wake in wakeups:
            wake()
        for callback in callbacks:
            self._call(callback)

    def _call(self, callback: Done) -> None:
        if self._executor is not None:
            self._executor.create_task(callback, self)
            return
        try:
            callback(self)
        except Exception as error:
            warnings.warn(f"the callback {callback} of a future raised {error!r}", stacklevel=2)


class Task(Future):
    """A function or coroutine an executor runs, step by step where it awaits."""

    def __init__(
        self, handler: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None, executor: Any = None
    ) -> None:
        super().__init__(executor=executor)
        self._handler: Any = handler
        self._args = args
        self._kwargs = kwargs or {}
        if inspect.iscoroutinefunction(handler):
            self._handler = handler(*self._args, **self._kwargs)
        self._running = threading.Lock()
        self._awaited: Future | None = None
        #: Set by the executor while a thread has it but has not begun.
        self.queued = False

    def __call__(self) -> None:
        """Run, or go on running, until it finishes or awaits something not done yet."""
        if self.done() or not self._running.acquire(blocking=False):
            return
        try:
            if self.done():
                return
            self._step()
        finally:
            self._running.release()

    def _step(self) -> None:
        try:
            if inspect.iscoroutine(self._handler):
                try:
                    self._awaited = self._handler.send(None)
                    if self._awaited is not None and self._executor is not None:
                        self._awaited._wake_when_done(self._executor.wake)
                except StopIteration as stop:
                    self.set_result(stop.value)
            else:
                result = self._handler(*self._args, **self._kwargs)
                if inspect.iscoroutine(result):
                    self._handler = result
                    self._step()
                else:
                    self.set_result(result)
        except Exception as error:
            self.set_exception(error)

    def waiting(self) -> bool:
        """Whether it awaits a future that is not done, so that running it now would be in vain."""
        return self._awaited is not None and not self._awaited.done()

    def executing(self) -> bool:
        """Whether some thread runs it now."""
        return self._running.locked()

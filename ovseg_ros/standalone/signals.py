"""Ctrl-C and SIGTERM, as rclpy handles them.

Either signal shuts every initialised context down, which ends `spin`: SIGINT then raises KeyboardInterrupt in the
main thread (whatever handler was installed before runs too), SIGTERM makes `spin` raise ExternalShutdownException.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from enum import IntFlag
from queue import SimpleQueue
from types import FrameType
from typing import Any
from weakref import WeakSet


class SignalHandlerOptions(IntFlag):
    """Which signals to handle."""

    NO = 0
    SIGINT = 1
    SIGTERM = 2
    ALL = 3


_contexts: WeakSet[Any] = WeakSet()
_previous: dict[int, Any] = {}
_installed = SignalHandlerOptions.NO
# Callbacks of a shutdown may take locks that the interrupted code holds, so they run in a thread of their own. A
# SimpleQueue is the one queue that is safe to use inside a signal handler.
_deferred: SimpleQueue[Callable[[], None]] = SimpleQueue()
_worker: threading.Thread | None = None


def track(context: Any) -> None:
    """Shut `context` down when a signal comes."""
    _contexts.add(context)


def install_signal_handlers(options: SignalHandlerOptions = SignalHandlerOptions.ALL) -> None:
    """Install the handlers; outside the main thread, where Python allows none, this does nothing."""
    global _installed, _worker
    if options == SignalHandlerOptions.NO or threading.current_thread() is not threading.main_thread():
        return
    if _worker is None:
        _worker = threading.Thread(target=_work, name="ros-signals", daemon=True)
        _worker.start()
    for option, number in (
        (SignalHandlerOptions.SIGINT, signal.SIGINT),
        (SignalHandlerOptions.SIGTERM, signal.SIGTERM),
    ):
        if options & option and number not in _previous:
            _previous[number] = signal.signal(number, _on_signal)
            _installed |= option


def uninstall_signal_handlers() -> None:
    """Put the previous handlers back."""
    global _installed
    if threading.current_thread() is not threading.main_thread():
        return
    for number, handler in list(_previous.items()):
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, handler)
        del _previous[number]
    _installed = SignalHandlerOptions.NO


def get_current_signal_handlers_options() -> SignalHandlerOptions:
    """Return which signals are handled now."""
    return _installed


def _on_signal(number: int, frame: FrameType | None) -> None:
    for context in list(_contexts):
        context._invalidate()
        _deferred.put(context.try_shutdown)
    previous = _previous.get(number)
    if callable(previous):
        previous(number, frame)


def _work() -> None:
    while True:
        _deferred.get()()

"""The life of ROS in a process, from `init` to `shutdown`, and what its nodes share: one DDS participant."""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable, Sequence
from inspect import ismethod
from queue import Empty, SimpleQueue
from typing import Any
from weakref import WeakMethod, WeakSet

from . import logging, signals
from .arguments import Arguments, parse
from .dds.domain import (
    Discovery,
    checked_domain_id,
    close_participant,
    domain_id_from_environment,
    open_participant,
)
from .dds.graph import Graph
from .dds.reactor import Reactor
from .exceptions import NotInitializedException


class Context:
    """Holds what one `init` set up. Usable as a context manager; cannot be initialised twice."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._callbacks: list[Callable[[], Callable[[], Any] | None]] = []
        self._ok = False
        self._initialised = False
        self._domain_id = 0
        self._arguments = Arguments()
        self._nodes: WeakSet[Any] = WeakSet()
        # A signal handler may wake these, so they are SimpleQueues and nothing that takes a lock.
        self._wakers: WeakSet[Any] = WeakSet()
        self.participant: Any = None
        self.reactor: Any = None
        self.graph: Any = None

    def init(
        self, args: Sequence[str] | None = None, *, initialize_logging: bool = True, domain_id: int | None = None
    ) -> None:
        """Join the domain. `args` is the command line (sys.argv if None); `domain_id` overrides ROS_DOMAIN_ID.

        Raises `RuntimeError` when called twice, `RCLError` if DDS cannot start, `UnknownROSArgsError`.
        """
        with self._lock:
            if self._initialised:
                raise RuntimeError("Context.init() must only be called once; make a new Context")
            self._arguments = parse(sys.argv if args is None else args)
            self._domain_id = domain_id_from_environment() if domain_id is None else checked_domain_id(domain_id)
            if initialize_logging:
                logging.configure(self._arguments.log_levels)
            self.participant = open_participant(self._domain_id, Discovery.from_environment())
            self.reactor = Reactor(self.participant)
            self.graph = Graph(self.participant, self.reactor)
            self._initialised = self._ok = True
        signals.track(self)
        _open.add(self)

    @property
    def arguments(self) -> Arguments:
        """What the command line said."""
        return self._arguments

    def ok(self) -> bool:
        """Whether it is initialised and not shut down."""
        return self._ok

    def get_domain_id(self) -> int:
        """Return the DDS domain; raises `NotInitializedException` before `init`."""
        if not self._initialised:
            raise NotInitializedException
        return self._domain_id

    def on_shutdown(self, callback: Callable[[], Any]) -> None:
        """Call `callback` at shutdown (at once if that was already); a bound method is held weakly."""
        if not callable(callback):
            raise TypeError(f"on_shutdown needs a callable, got {callback!r}")
        with self._lock:
            if not self._initialised or self._ok:
                self._callbacks.append(WeakMethod(callback) if ismethod(callback) else lambda: callback)
                return
        callback()

    def shutdown(self) -> None:
        """Shut down; raises `NotInitializedException` before `init`, `RuntimeError` the second time."""
        if not self._initialised:
            raise NotInitializedException("Context must be initialized before it can be shutdown")
        if not self.try_shutdown():
            raise RuntimeError("the context was already shut down; use try_shutdown() where that may happen")

    def try_shutdown(self) -> bool:
        """Shut down unless that was done or never begun; returns whether this call did it.

        Nodes stay usable until they are destroyed; the last one to go leaves the domain.
        """
        with self._lock:
            if not self._initialised:
                return False
            did = self._ok
            self._invalidate()
            callbacks, self._callbacks = self._callbacks, []
        for get in callbacks:
            callback = get()
            if callback is not None:
                callback()
        self._close_if_unused()
        return did

    def _invalidate(self) -> None:
        """Make `ok()` False and wake whoever waits; safe in a signal handler."""
        self._ok = False
        for waker in list(self._wakers):
            waker.queue.put(None)

    def add_node(self, node: Any) -> None:
        """Keep the participant open for `node`."""
        if not self._ok:
            raise NotInitializedException("cannot create a node")
        self._nodes.add(node)

    def remove_node(self, node: Any) -> None:
        """Let go of `node`; after shutdown the last one closes the participant."""
        self._nodes.discard(node)
        self._close_if_unused()

    def add_waker(self, waker: Waker) -> None:
        """Wake `waker` at shutdown."""
        self._wakers.add(waker)

    def _close_if_unused(self) -> None:
        with self._lock:
            if not self._ok and not self._nodes:
                self._close()

    def _close(self) -> None:
        with self._lock:
            if self.participant is None:
                return
            participant, self.participant = self.participant, None
            _open.discard(self)
            self._ok = False
            self.graph.close()
            self.reactor.stop()
            close_participant(self._domain_id, participant)

    def __enter__(self) -> Context:
        self.init()
        return self

    def __exit__(self, *_: object) -> None:
        self.try_shutdown()


class Waker:
    """Something that waits and can be woken from any thread and from a signal handler."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[None] = SimpleQueue()

    def wake(self) -> None:
        """End the present wait, or the next one."""
        if self.queue.empty():
            self.queue.put(None)

    def wait(self, timeout: float | None) -> None:
        """Wait until woken, at most `timeout` seconds (None: for ever)."""
        try:
            self.queue.get(timeout=timeout)
            while True:
                self.queue.get_nowait()
        except Empty:
            pass


_open: set[Context] = set()


@atexit.register
def _close_all() -> None:
    """Leave DDS before the interpreter goes, whatever the program left open."""
    for context in list(_open):
        for node in list(context._nodes):
            node.destroy_node()
        context._close()


_default: Context | None = None
_default_lock = threading.Lock()


def get_default_context(*, shutting_down: bool = False) -> Context:
    """Return the context used where none is given; `shutting_down` makes the next call give a fresh one."""
    global _default
    with _default_lock:
        context = _default = _default or Context()
        if shutting_down:
            _default = None
        return context


def forget_default_context() -> None:
    """Make the next `get_default_context()` give a fresh context if this one is no longer usable."""
    global _default
    with _default_lock:
        if _default is not None and not _default.ok():
            _default = None


__all__ = ["Context", "Waker", "forget_default_context", "get_default_context"]

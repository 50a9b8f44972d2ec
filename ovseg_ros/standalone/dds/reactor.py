"""The one thread that waits for DDS.

Cyclone's own receive threads never enter Python: a listener would need the GIL there, and a writer that blocks with
the GIL held would then wait for acknowledgements that can no longer be processed. This thread waits in C with the GIL
released, and passes on what happened.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

from cyclonedds.core import DDSException, Entity, GuardCondition, WaitSet
from cyclonedds.domain import DomainParticipant

from ..logging import get_logger
from . import native

Handler = Callable[[int], None]

_log = get_logger("rmw_cyclonedds")


class Reactor:
    """Calls a handler, in its own thread, with the status bits of each entity that has some."""

    def __init__(self, participant: DomainParticipant) -> None:
        self._waitset: Any = WaitSet(participant)
        self._guard: Any = GuardCondition(participant)
        self._watched: dict[int, tuple[int, Handler]] = {}
        self._stopping = False
        native.attach(self._waitset._ref, self._guard._ref)
        self._thread = threading.Thread(target=self._run, name="dds-reactor", daemon=True)
        self._thread.start()

    def watch(self, entity: Entity, mask: int, handler: Handler) -> None:
        """Call `handler(status)` whenever `entity` has a status of `mask`; it must be quick and must not raise."""
        self._watched[entity._ref] = (mask, handler)
        entity.set_status_mask(mask)
        native.attach(self._waitset._ref, entity._ref)

    def unwatch(self, entity: Entity) -> None:
        """Stop watching; a call already under way may still finish."""
        self._watched.pop(entity._ref, None)
        native.detach(self._waitset._ref, entity._ref)

    def stop(self) -> None:
        """End the thread and free what it used; returns once it ended."""
        self._stopping = True
        self._guard.set(True)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)
        native.delete(self._guard)
        native.delete(self._waitset)

    def _run(self) -> None:
        waitset = self._waitset._ref
        while not self._stopping:
            try:
                triggered = native.wait(waitset, len(self._watched) + 8, native.INFINITE)
            except DDSException as error:
                if not self._stopping:
                    _log.fatal(f"the DDS wait set failed, nothing more will be received: {error}")
                return
            for handle in triggered:
                self._dispatch(handle)

    def _dispatch(self, handle: int) -> None:
        watched = self._watched.get(handle)
        if watched is None:
            return
        mask, handler = watched
        status = native.take_status(handle, mask)
        if not status:
            return
        try:
            handler(status)
        except Exception:
            if handle in self._watched:  # else it was deleted meanwhile, and its DDS calls rightly fail
                _log.error(f"handling an event of DDS failed:\n{traceback.format_exc()}")

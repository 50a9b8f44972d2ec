"""A condition that user code triggers to have a callback run in the executor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .callback_groups import CallbackGroup


class GuardCondition:
    """Calls back, in the executor, once after `trigger`; create with `node.create_guard_condition`."""

    def __init__(self, callback: Callable[..., Any] | None, callback_group: CallbackGroup | None) -> None:
        self.callback = callback
        self.callback_group = callback_group
        self._executor_event = False
        self._triggered = False
        self._wake: Callable[[], None] = lambda: None

    def trigger(self) -> None:
        """Have the callback run; safe from any thread."""
        self._triggered = True
        self._wake()

    def destroy(self) -> None:
        """Stop for good."""
        self._triggered = False
        self._wake = lambda: None

    def _is_ready(self) -> bool:
        return self._triggered

    def _take(self) -> Callable[..., Any] | None:
        self._triggered = False
        return self.callback

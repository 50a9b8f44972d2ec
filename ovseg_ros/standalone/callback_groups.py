"""Which callbacks may run at the same time in a MultiThreadedExecutor."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any
from weakref import ReferenceType, WeakMethod, ref


class CallbackGroup(ABC):
    """Base of the two groups; an entity belongs to exactly one."""

    def __init__(self) -> None:
        self.entities: set[ReferenceType[Any] | WeakMethod[Any]] = set()

    def add_entity(self, entity: Any) -> None:
        """Put `entity` in this group."""
        self.entities.add(ref(entity))

    def has_entity(self, entity: Any) -> bool:
        """Whether `entity` is in this group."""
        return ref(entity) in self.entities

    @abstractmethod
    def can_execute(self, entity: Any) -> bool:
        """Whether a callback of `entity` may begin now."""

    @abstractmethod
    def beginning_execution(self, entity: Any) -> bool:
        """Claim the right to run a callback of `entity`; returns whether it was granted."""

    @abstractmethod
    def ending_execution(self, entity: Any) -> None:
        """Give the right back."""


class ReentrantCallbackGroup(CallbackGroup):
    """Callbacks may run at the same time, the same one too."""

    def can_execute(self, entity: Any) -> bool:
        """Return True always."""
        return True

    def beginning_execution(self, entity: Any) -> bool:
        """Return True always."""
        return True

    def ending_execution(self, entity: Any) -> None:
        """Do nothing."""


class MutuallyExclusiveCallbackGroup(CallbackGroup):
    """One callback of the group at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._active: Any = None
        self._lock = threading.Lock()

    def can_execute(self, entity: Any) -> bool:
        """Return whether none of the group runs now."""
        with self._lock:
            return self._active is None

    def beginning_execution(self, entity: Any) -> bool:
        """Claim the group for `entity`."""
        with self._lock:
            if self._active is None:
                self._active = entity
                return True
            return False

    def ending_execution(self, entity: Any) -> None:
        """Release the group."""
        with self._lock:
            if self._active is entity:
                self._active = None

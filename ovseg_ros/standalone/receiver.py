"""What subscriptions, services and clients have in common: an executor takes what their reader received."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from .callback_groups import CallbackGroup
from .dds.endpoints import Reader
from .logging import RcutilsLogger
from .qos import QoSProfile


class Receiver(ABC):
    """An entity that an executor wakes for each sample of a reader."""

    def __init__(
        self, reader: Reader, callback_group: CallbackGroup, qos_profile: QoSProfile, logger: RcutilsLogger
    ) -> None:
        self._reader = reader
        self.callback_group: CallbackGroup | None = callback_group
        self.qos_profile = qos_profile
        self._logger = logger
        self._executor_event = False
        self._ready = False

    @abstractmethod
    def _received(self, data: bytes, info: Any) -> Callable[[], Any] | None:
        """The call to make with a sample; None where there is nothing to do."""

    def destroy(self) -> None:
        """Stop receiving; prefer the node's own `destroy_...`."""
        self._reader.close()

    def _is_ready(self) -> bool:
        return self._ready

    def _take(self) -> Callable[[], Any] | None:
        """Take one sample; returns the call to make with it. More may wait, so it stays ready until none came."""
        # Cleared before looking: a sample that arrives now sets it again.
        self._ready = False
        sample = self._reader.take()
        if sample is None:
            return None
        self._ready = True
        return self._received(*sample)

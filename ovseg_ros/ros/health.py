"""What the node knows about its own work: rates, times, dropped frames by reason; and sentences said once."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from time import monotonic


@dataclass(frozen=True)
class Report:
    """The node's work in the period before a report; drops count since the start.

    Attributes:
        received, published: frames in the period.
        fps: published frames a second.
        engine_ms, total_ms, age_ms: medians of the engine's time, the time from arrival to the last output and
            now - header.stamp; None where nothing was measured.
        dropped: frames since the start, by reason.
        dropped_now: frames of the period, by reason.
        silence: seconds since the last frame arrived (since the start where none did).
    """

    received: int
    published: int
    fps: float
    engine_ms: float | None
    total_ms: float | None
    age_ms: float | None
    dropped: dict[str, int]
    dropped_now: dict[str, int]
    silence: float


@dataclass
class _Period:
    start: float
    received: int = 0
    published: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    # bounded, so that a node without diagnostics keeps a constant size
    engine_ms: deque[float] = field(default_factory=lambda: deque(maxlen=512))
    total_ms: deque[float] = field(default_factory=lambda: deque(maxlen=512))
    age_ms: deque[float] = field(default_factory=lambda: deque(maxlen=512))


class Health:
    """Counts frames; every method may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._dropped: Counter[str] = Counter()
        self._period = _Period(clock())
        self._last_image = clock()

    def received(self) -> None:
        """A frame arrived."""
        with self._lock:
            self._last_image = self._clock()
            self._period.received += 1

    def drop(self, reason: str) -> None:
        """A frame was dropped."""
        with self._lock:
            self._dropped[reason] += 1
            self._period.dropped[reason] += 1

    def published(self, engine_ms: float, total_ms: float, age_ms: float | None) -> None:
        """A frame's outputs were published; `age_ms` is None for a frame without a stamp."""
        with self._lock:
            self._period.published += 1
            self._period.engine_ms.append(engine_ms)
            self._period.total_ms.append(total_ms)
            if age_ms is not None:
                self._period.age_ms.append(age_ms)

    @property
    def silence(self) -> float:
        """Seconds since the last frame arrived."""
        with self._lock:
            return self._clock() - self._last_image

    def report(self) -> Report:
        """Report the period since the last report and begin a new one."""
        with self._lock:
            now, period = self._clock(), self._period
            self._period = _Period(now)
            dropped, silence = dict(self._dropped), now - self._last_image
        return Report(
            received=period.received,
            published=period.published,
            fps=period.published / max(now - period.start, 1e-3),
            engine_ms=_median(period.engine_ms),
            total_ms=_median(period.total_ms),
            age_ms=_median(period.age_ms),
            dropped=dropped,
            dropped_now=dict(period.dropped),
            silence=silence,
        )


class Throttle:
    """Says one kind of thing at most every `period` seconds and counts what it held back."""

    def __init__(self, period: float, clock: Callable[[], float] = monotonic) -> None:
        self._period, self._clock = period, clock
        self._said: dict[str, tuple[float, int]] = {}  # kind: (when said, held back since)

    def admit(self, kind: str) -> int | None:
        """How many were held back since the last one, or None where this one must be held back too."""
        now = self._clock()
        said, held = self._said.get(kind, (now - self._period, 0))
        if now - said < self._period:
            self._said[kind] = (said, held + 1)
            return None
        self._said[kind] = (now, 0)
        return held


def _median(values: deque[float]) -> float | None:
    return median(values) if values else None

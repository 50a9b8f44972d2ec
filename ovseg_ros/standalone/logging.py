"""Loggers with rclpy's interface, ROS's line format on stderr, and /rosout for the loggers of nodes."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable
from enum import IntEnum
from types import FrameType
from typing import Any

__all__ = ["LoggingSeverity", "RcutilsLogger", "get_logger", "get_logger_effective_level", "set_logger_level"]


class LoggingSeverity(IntEnum):
    """Severities; numbers as in rcutils."""

    UNSET = 0
    DEBUG = 10
    INFO = 20
    WARN = 30
    ERROR = 40
    FATAL = 50


#: Called with (severity, name, text, stamp in ns, file, function, line) for each line of one node's loggers.
Sink = Callable[[LoggingSeverity, str, str, int, str, str, int], None]

_DEFAULT_FORMAT = "[{severity}] [{time}] [{name}]: {message}"
_COLOURS = {LoggingSeverity.DEBUG: 32, LoggingSeverity.WARN: 33, LoggingSeverity.ERROR: 31, LoggingSeverity.FATAL: 31}
_FEATURES = ("throttle_duration_sec", "throttle_time_source_type", "skip_first", "once")

_lock = threading.Lock()
_levels: dict[str, LoggingSeverity] = {}
_sinks: dict[str, Sink] = {}
_OWN_FILE = os.path.normcase(__file__)


def configure(levels: dict[str, str]) -> None:
    """Apply `--log-level`; the name "" stands for every logger."""
    for name, level in levels.items():
        set_logger_level(name, LoggingSeverity[level])


def set_logger_level(name: str, level: LoggingSeverity | int) -> None:
    """Set the level of a logger and of those below it; UNSET lets it follow its parent again."""
    _levels[name] = LoggingSeverity(level)


def get_logger_level(name: str) -> LoggingSeverity:
    """Return the level set for exactly this name, UNSET if none is."""
    return _levels.get(name, LoggingSeverity.UNSET)


def get_logger_effective_level(name: str) -> LoggingSeverity:
    """Return the level in force: the logger's, its nearest ancestor's, else INFO."""
    while True:
        if level := _levels.get(name):
            return level
        if not name:
            return LoggingSeverity.INFO
        name = name.rpartition(".")[0]


def get_logging_severity_from_string(log_severity: str) -> LoggingSeverity:
    """Return the severity of a name such as `warn`; raises `RuntimeError` for an unknown one."""
    try:
        return LoggingSeverity[log_severity.upper()]
    except KeyError:
        names = ", ".join(LoggingSeverity.__members__)
        raise RuntimeError(f"unknown severity {log_severity!r}; expected one of {names}") from None


def add_sink(name: str, sink: Sink) -> None:
    """Give every line of logger `name`, and of those below it, to `sink` too."""
    _sinks[name] = sink


def remove_sink(name: str, sink: Sink) -> None:
    """Undo `add_sink`."""
    if _sinks.get(name) is sink:
        del _sinks[name]


class RcutilsLogger:
    """A logger; get one with `get_logger(name)` or `node.get_logger()`."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        # What `once`, `skip_first` and throttling remember, per calling line.
        self._seen: dict[tuple[str, int], tuple[LoggingSeverity, float | None]] = {}

    def get_child(self, name: str) -> RcutilsLogger:
        """Return the logger below this one; raises `ValueError` for an empty name."""
        if not name:
            raise ValueError("a child logger needs a name, got an empty one")
        return RcutilsLogger(f"{self.name}.{name}" if self.name else name)

    def set_level(self, level: LoggingSeverity | int) -> None:
        """Set the level of this logger."""
        set_logger_level(self.name, level)

    def get_effective_level(self) -> LoggingSeverity:
        """Return the level in force."""
        return get_logger_effective_level(self.name)

    def is_enabled_for(self, severity: LoggingSeverity | int) -> bool:
        """Whether a line of this severity is shown."""
        return severity >= self.get_effective_level()

    def log(self, message: object, severity: LoggingSeverity | int, **kwargs: Any) -> bool:
        """Log `message`; returns whether it was shown.

        Keywords: `once=True`; `skip_first=True`; `throttle_duration_sec=s` with, optionally,
        `throttle_time_source_type=clock`. They count per calling line. Raises `TypeError` for others.
        """
        severity = LoggingSeverity(severity)
        frame = _caller()
        if kwargs and not self._passes(frame, severity, kwargs):
            return False
        if not self.is_enabled_for(severity):
            return False
        _emit(severity, kwargs.get("name", self.name), str(message), frame)
        return True

    def debug(self, message: object, **kwargs: Any) -> bool:
        """Log at DEBUG; see `log`."""
        return self.log(message, LoggingSeverity.DEBUG, **kwargs)

    def info(self, message: object, **kwargs: Any) -> bool:
        """Log at INFO; see `log`."""
        return self.log(message, LoggingSeverity.INFO, **kwargs)

    def warning(self, message: object, **kwargs: Any) -> bool:
        """Log at WARN; see `log`."""
        return self.log(message, LoggingSeverity.WARN, **kwargs)

    warn = warning

    def error(self, message: object, **kwargs: Any) -> bool:
        """Log at ERROR; see `log`."""
        return self.log(message, LoggingSeverity.ERROR, **kwargs)

    def fatal(self, message: object, **kwargs: Any) -> bool:
        """Log at FATAL; see `log`."""
        return self.log(message, LoggingSeverity.FATAL, **kwargs)

    def _passes(self, frame: FrameType, severity: LoggingSeverity, features: dict[str, Any]) -> bool:
        unknown = [name for name in features if name not in (*_FEATURES, "name")]
        if unknown:
            raise TypeError(f"{unknown[0]!r} is no logging keyword; expected {', '.join(_FEATURES)}")
        if features.get("throttle_time_source_type") is not None and "throttle_duration_sec" not in features:
            raise TypeError("throttle_time_source_type needs throttle_duration_sec")
        key = (frame.f_code.co_filename, frame.f_lineno)
        with _lock:
            first = key not in self._seen
            before, last = self._seen.get(key, (severity, None))
            if before != severity:
                raise ValueError("the severity of one logging line cannot change between calls")
            if features.get("skip_first") and first:
                self._seen[key] = (severity, None)
                return False
            if features.get("once") and last is not None:
                return False
            now = _now(features.get("throttle_time_source_type"))
            duration = features.get("throttle_duration_sec")
            if duration is not None and last is not None and 0 <= now - last < duration:
                return False
            self._seen[key] = (severity, now)
            return True


_loggers: dict[str, RcutilsLogger] = {}


def get_logger(name: str) -> RcutilsLogger:
    """Return the logger of this name, always the same one; raises `ValueError` for an empty name."""
    if not name:
        raise ValueError("Logger name must not be empty.")
    with _lock:
        return _loggers.setdefault(name, RcutilsLogger(name))


def _now(clock: Any) -> float:
    if clock is None or isinstance(clock, str):
        return time.monotonic()
    return float(clock.now().nanoseconds) / 1e9


def _caller() -> FrameType:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and os.path.normcase(frame.f_code.co_filename) == _OWN_FILE:
        frame = frame.f_back
    assert frame is not None
    return frame


def _emit(severity: LoggingSeverity, name: str, text: str, frame: FrameType) -> None:
    stamp = time.time_ns()
    file, function, line = frame.f_code.co_filename, frame.f_code.co_name, frame.f_lineno
    shown = _format(severity, name, text, stamp, file, function, line)
    try:
        sys.stderr.write(shown + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # stderr is closed: nowhere left to complain
    # Node names hold no '.', so the sink is that of the first part or a longer prefix.
    prefix = name
    while prefix:
        sink = _sinks.get(prefix)
        if sink is not None:
            try:
                sink(severity, name, text, stamp, file, function, line)
            except Exception as error:
                sys.stderr.write(f"cannot publish to /rosout: {error}\n")
            return
        prefix = prefix.rpartition(".")[0]


def _format(severity: LoggingSeverity, name: str, text: str, stamp: int, file: str, function: str, line: int) -> str:
    values = {
        "severity": severity.name,
        "name": name,
        "message": text,
        "time": f"{stamp // 10**9}.{stamp % 10**9:09d}",
        "time_as_nanoseconds": str(stamp),
        "file_name": file,
        "function_name": function,
        "line_number": str(line),
    }
    template = os.environ.get("RCUTILS_CONSOLE_OUTPUT_FORMAT") or _DEFAULT_FORMAT
    shown = re.sub(r"\{(\w+)\}", lambda m: values.get(m[1], m[0]), template)
    colour = os.environ.get("RCUTILS_COLORIZED_OUTPUT", "")
    coloured = colour == "1" or (colour != "0" and sys.stderr.isatty())
    return f"\x1b[{_COLOURS[severity]}m{shown}\x1b[0m" if coloured and severity in _COLOURS else shown

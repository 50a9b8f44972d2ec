"""What every way of spreading jobs shares: tasks, workers' replies, the pool's protocol and the error at the end."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ovseg_ros.errors import OvsegError

Function = Callable[[Any], Any]
Work = Callable[[], Function]
SHOWN = 5  # failures that an error's message tells; `JobsError.failures` has all


class JobsError(OvsegError):
    """Jobs that cannot be run, or some that failed after all others were done.

    Attributes:
        failures: the error of each failed job by its key, in the order of the items.
    """

    def __init__(self, message: str, failures: Mapping[str, Exception] | None = None) -> None:
        super().__init__(message)
        self.failures: dict[str, Exception] = dict(failures or {})


class WorkerDiedError(Exception):
    """A worker ended in the middle of a job: killed, out of memory, or by a crash in native code."""


class WorkerTraceback(Exception):  # noqa: N818  not raised; stands as the cause under an error from another process
    """The traceback of an error that was raised in a worker, as text."""

    def __str__(self) -> str:
        return f"in a worker\n{self.args[0]}"


@dataclass
class Task:
    """A job on its way: `tries` counts the attempts that failed."""

    key: str
    item: Any
    tries: int = 0


@dataclass
class Tally:
    """What progress shows, and what is left to tell at the end."""

    retried: int = 0
    workers: int = 0
    failures: dict[str, Exception] = field(default_factory=dict)

    def is_final(self, task: Task, error: Exception, retries: int) -> bool:
        """Count a failed attempt; whether it was the last.

        An `OvsegError` says that the item itself is bad, and would say so again.
        """
        task.tries += 1
        if isinstance(error, OvsegError) or task.tries > retries:
            self.failures[task.key] = error
            return True
        self.retried += 1
        return False


@dataclass(frozen=True)
class Done:
    """A finished job: its result, and the same pickled where it came from another process."""

    key: str
    result: Any
    packed: bytes | None = None


@dataclass(frozen=True)
class Reply:
    """What a worker says: it is ready for a first item, has a result (pickled), met an error, or is no more."""

    kind: Literal["ready", "result", "error", "died"]
    packed: bytes = b""
    error: Exception | None = None


class Worker(Protocol):
    """One worker of a pool."""

    def give(self, item: bytes) -> bool:
        """Hand over a pickled item; False when the worker is gone and has not begun it."""

    def stop(self) -> None:
        """End it at once."""


class Pool(Protocol):
    """Starts workers and listens to them."""

    def start(self) -> Worker:
        """A new worker; its first reply is "ready", or the error that its work's set-up raised."""

    def wait(self, workers: Collection[Worker]) -> list[tuple[Worker, Reply]]:
        """Block until at least one of these has something to say."""

    def close(self) -> None:
        """End every worker."""


def attempt(function: Function, item: bytes) -> Reply:
    """Run one job in a worker; errors become replies."""
    try:
        return Reply("result", pickle.dumps(function(pickle.loads(item)), pickle.HIGHEST_PROTOCOL))
    except Exception as error:
        return failed(error)


def prepare(work: bytes) -> tuple[Function | None, Reply]:
    """Unpickle the work and set it up in a worker."""
    try:
        return pickle.loads(work)(), Reply("ready")
    except Exception as error:
        return None, failed(error)


def failed(error: Exception) -> Reply:
    """An error as a reply that surely can be pickled, with its traceback as text."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception's own constructor may want more than its message
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return Reply("error", text.encode(), error)


def cause_of(reply: Reply) -> Exception:
    """The error of a reply, with the worker's traceback as its cause."""
    if reply.error is None:
        raise ValueError(f"a reply of kind {reply.kind!r} carries no error")
    if reply.packed:
        reply.error.__cause__ = WorkerTraceback(reply.packed.decode())
    return reply.error


def first_line(error: Exception) -> str:
    """An error in one line, with its type where the type is not one of ours."""
    lines = str(error).splitlines()
    text = lines[0] if lines else ""
    return text if isinstance(error, (OvsegError, WorkerDiedError)) else f"{type(error).__name__}: {text}"

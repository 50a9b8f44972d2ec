"""Work for the tests, in a module of its own, so that workers can import it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ovseg_ros.errors import ImageError


def value_of(item: int, factor: int = 3) -> dict[str, Any]:
    """What `Sums` computes, for comparison."""
    return {"item": item, "sums": np.cumsum(np.arange(item + 1) * factor)}


@dataclass(frozen=True)
class Sums:
    """Cumulative sums; notes in `log` every item that is begun, and beside it every worker that is ready."""

    log: Path = field(compare=False)
    factor: int = 3
    seconds: float = field(default=0.0, compare=False)

    def __call__(self) -> Callable[[int], dict[str, Any]]:
        note(self.log, "setup")
        note(self.log.with_name("workers"), str(os.getpid()))
        return self.one

    def one(self, item: int) -> dict[str, Any]:
        note(self.log, str(item))
        time.sleep(self.seconds)
        return value_of(item, self.factor)


@dataclass(frozen=True)
class Trouble:
    """Each item is what happens: ok, bad, killed, flaky:N (works at attempt N), killed-until:N, unpicklable."""

    log: Path

    def __call__(self) -> Callable[[str], str]:
        return self.one

    def one(self, item: str) -> Any:
        note(self.log, item)
        what, _, number = item.partition(":")
        tries = self.log.read_text().splitlines().count(item)
        if what == "bad":
            raise ImageError("the picture is no picture", "odd")
        if what == "killed" or (what == "killed-until" and tries < int(number)):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "flaky" and tries < int(number):
            raise OSError(f"the disk hiccups at attempt {tries}")
        if what == "strange":
            raise StrangeError(1, 2)
        return (lambda: None) if what == "unpicklable" else item


class StrangeError(Exception):
    """An error that pickle cannot rebuild."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"strange {one} {two}")


@dataclass(frozen=True)
class SetUp:
    """A set-up that fails: by an error, or the worker's end."""

    how: str
    log: Path

    def __call__(self) -> Callable[[Any], Any]:
        note(self.log, self.how)
        if self.how == "error":
            raise ImageError("no such model")
        if self.how == "exit":
            sys.stdout.flush()
            os._exit(3)
        return str


@dataclass(frozen=True)
class Meeting:
    """Every item waits until all are begun."""

    log: Path
    count: int

    def __call__(self) -> Callable[[Any], bool]:
        return self.wait

    def wait(self, item: int) -> bool:
        note(self.log, str(item))
        end = time.monotonic() + 60
        while len(self.log.read_text().splitlines()) < self.count and time.monotonic() < end:
            time.sleep(0.01)
        return time.monotonic() < end


@dataclass(frozen=True)
class Surroundings:
    """Where a worker runs."""

    def __call__(self) -> Callable[[Any], Any]:
        during = len(os.sched_getaffinity(0))
        return lambda item: (during, sorted(os.sched_getaffinity(0)), os.environ["OMP_NUM_THREADS"], os.getpid())


def note(log: Path, text: str) -> None:
    """Append a line; lines of several processes do not mix."""
    with log.open("a") as file:
        file.write(text + "\n")

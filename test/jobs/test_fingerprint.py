"""One hash a value: the same in every process, different for everything that counts."""

from __future__ import annotations

import enum
import functools
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovseg_ros.jobs import JobsError
from ovseg_ros.jobs.fingerprint import fingerprint
from ovseg_ros.vocabulary import Vocabulary


@dataclass(frozen=True)
class Settings:
    size: int
    names: tuple[str, ...] = ()
    where: Path = field(default=Path(), compare=False)


@dataclass(frozen=True)
class Others:
    size: int
    names: tuple[str, ...] = ()


class Side(enum.Enum):
    LEFT = 1
    RIGHT = 2


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value


DIFFERENT: list[Any] = [
    None, False, 0, 0.0, "0", b"0", "", 1, True, 1.0, -0.0, [], (), {}, set(), [0], (0,), ["a", "b"], ["ab"],
    [["a"], "b"], ["a", ["b"]], {"a": 1}, {"a": 2}, {"b": 1}, {"a": 1, "b": 2}, {1, 2}, {1, 3}, frozenset(),
    Side.LEFT, Side.RIGHT, Path("a"), Path("b"), Settings(1), Settings(2), Settings(1, ("a",)), Others(1), Plain(1),
    Plain(2), Plain([1]),
    np.zeros(3), np.zeros(3, np.float32), np.zeros((3, 1)), np.ones(3), np.float32(1), np.float64(1), np.int64(1),
    functools.partial(print, 1), functools.partial(print, 2), functools.partial(print, sep=""), print, len, Settings,
    Plain(1).__init__, "a".upper, "b".upper, Vocabulary.parse(["car, auto"]), Vocabulary.parse(["car", "auto"]),
    complex(1, 2), "\ud800",
]  # fmt: skip


def test_different_values_have_different_fingerprints() -> None:
    found: dict[str, Any] = {}
    for value in DIFFERENT:
        assert found.setdefault(fingerprint(value), value) is value, (value, found[fingerprint(value)])


def test_equal_values_have_one_fingerprint() -> None:
    name = "".join(["road", "side"])
    assert fingerprint(["roadside", "roadside"]) == fingerprint([name, "roadside"])  # as pickles they differ
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(Settings(1, where=Path("here"))) == fingerprint(Settings(1, where=Path("there")))
    assert fingerprint(np.arange(6).reshape(2, 3)) == fingerprint(np.asfortranarray(np.arange(6).reshape(2, 3)))


def test_a_fingerprint_is_the_same_in_another_process() -> None:
    code = (
        "from ovseg_ros.jobs.fingerprint import fingerprint; from ovseg_ros.vocabulary import Vocabulary\n"
        "print(fingerprint([{'a', 'b', 'c'}, {'x': 1.5}, Vocabulary.parse(['car, auto'])]))"
    )
    mine = fingerprint([{"a", "b", "c"}, {"x": 1.5}, Vocabulary.parse(["car, auto"])])
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True
        )
        assert done.stdout.strip() == mine, done.stderr


def test_what_cannot_be_told_apart_is_refused() -> None:
    ring: list[Any] = []
    ring.append({"ring": ring})
    with pytest.raises(JobsError, match="holds itself"):
        fingerprint(ring)
    with pytest.raises(JobsError, match="top level"):
        fingerprint(lambda: None)
    with pytest.raises(JobsError, match="no fingerprint"), open(__file__) as file:
        fingerprint(file)

"""What the values of recipes and of a system's `Choices` may be, as checks that name key, value and expectation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def is_whole(value: Any, least: int) -> bool:
    """Whether it is an int, no bool, of at least `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: Any) -> bool:
    """Whether it is an int or a float, no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_whole(choices: object, least: Mapping[str, int]) -> None:
    """Refuse attributes that are no whole numbers of at least so much, each by its name.

    Raises:
        ValueError: for the first of them.
    """
    for key, bound in least.items():
        if not is_whole(value := getattr(choices, key), bound):
            raise ValueError(f"{key} is {value!r}; expected a whole number of at least {bound}")


def check_flags(choices: object, keys: Iterable[str]) -> None:
    """Refuse attributes that are neither true nor false.

    Raises:
        ValueError: for the first of them.
    """
    for key in keys:
        if not isinstance(value := getattr(choices, key), bool):
            raise ValueError(f"{key} is {value!r}; expected true or false")

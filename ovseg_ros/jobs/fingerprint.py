"""One hash for what a job's result depends on, the same in every process and on every machine."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import types
from pathlib import PurePath
from typing import Any

import numpy as np

from ovseg_ros.jobs.base import JobsError

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def fingerprint(value: object) -> str:
    """SHA-256 of a picklable value's content, in hex.

    A pickle would not do: its bytes depend on which equal parts happen to be one object, and on the order of sets.
    Of a dataclass, fields with `compare=False` do not count: what does not change results (a worker's progress bar,
    the folder for outputs) is marked so. Functions and classes count by name.

    Raises:
        JobsError: for what cannot be pickled, such as a lambda or a file.
    """
    return _digest(value, ()).hex()


def parts_of(value: object) -> dict[str, str]:
    """The fingerprint of each field of a dataclass, so that two can be told apart by name; empty for other values."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return {}
    return {field.name: fingerprint(getattr(value, field.name)) for field in dataclasses.fields(value) if field.compare}


def _digest(value: object, above: tuple[int, ...]) -> bytes:
    """The hash of one value; `above` are the ids of the values that hold it, to notice one that holds itself."""
    if id(value) in above:
        raise JobsError(f"a {type(value).__name__} that holds itself has no fingerprint; give plain data")
    inside = (*above, id(value))
    kind, parts = _parts(value, inside)
    hashed = hashlib.sha256(kind.encode())
    for part in parts:
        hashed.update(part if isinstance(part, bytes) else _digest(part.value, inside))
    return hashed.digest()


@dataclasses.dataclass(frozen=True)
class _Inner:
    """A part that is a value of its own."""

    value: object


def _parts(value: Any, inside: tuple[int, ...]) -> tuple[str, list[bytes | _Inner]]:
    """A value's kind, and what it is made of; what has no order is sorted by hash."""
    if type(value) in _PLAIN:
        return type(value).__name__, [repr(value).encode("utf-8", "surrogatepass")]
    if isinstance(value, enum.Enum):
        return "enum", [_name(type(value)), value.name.encode()]
    if type(value) in (list, tuple):
        return type(value).__name__, [_Inner(part) for part in value]
    if type(value) is dict:
        pairs = [_digest(key, inside) + _digest(part, inside) for key, part in value.items()]
        return "dict", [*sorted(pairs)]
    if type(value) in (set, frozenset):
        return type(value).__name__, [*sorted(_digest(part, inside) for part in value)]
    if isinstance(value, PurePath):
        return "path", [str(value).encode("utf-8", "surrogatepass")]
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"array {value.dtype.str} {value.shape}", [value.tobytes()]
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)) and not _is_bound(value):
        return "name", [_name(value)]
    if dataclasses.is_dataclass(value):
        fields = [field for field in dataclasses.fields(value) if field.compare]
        return "dataclass", [_name(type(value)), *(_Inner((f.name, getattr(value, f.name))) for f in fields)]
    return "object", _reduced(value)


def _is_bound(value: object) -> bool:
    """Whether a built-in function is a method of some object."""
    owner = getattr(value, "__self__", None)
    return owner is not None and not isinstance(owner, types.ModuleType)


def _reduced(value: object) -> list[bytes | _Inner]:
    """What pickle would store of any other object."""
    try:
        reduced = value.__reduce_ex__(4)
    except TypeError as error:
        raise JobsError(f"{value!r} has no fingerprint: {error}; give plain data") from error
    if isinstance(reduced, str):
        return [reduced.encode()]
    made, arguments, state, *items = (*reduced, None, None, None)[:5]
    return [_Inner(made), _Inner(arguments), _Inner(state), *(_Inner(None if i is None else list(i)) for i in items)]


def _name(value: Any) -> bytes:
    name = f"{value.__module__}.{value.__qualname__}"
    if "<" in name:  # what a lambda or an inner function holds is not in its name
        raise JobsError(f"the function {name} cannot be sent to another process; define it at a module's top level")
    return name.encode()

"""Checking and converting what is assigned to a message field.

Arrays of primitives become one-dimensional NumPy arrays of the field's exact dtype: a buffer that already has it is
taken as it is, without a copy and without touching its elements.
"""

from __future__ import annotations

import array
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .definition import PRIMITIVES, Field

Check = Callable[[object], object]


def make_check(field: Field, owner: str, lookup: Callable[[str], type[Any]]) -> Check:
    """Return the function that checks and converts a value for `field` of the message class `owner`.

    `lookup` gives the class of a nested message by full name. The function raises `TypeError` for a wrong type and
    `ValueError` for a number out of range or a wrong length, each naming field, value and expectation.
    """
    where = f"{owner}.{field.name}"
    kind = field.type
    if kind.cardinality == "one":
        return _scalar_check(field, where, lookup)
    limit = kind.size if kind.cardinality != "unbounded" else None
    exact = kind.cardinality == "fixed"

    def checked_length(values: Any) -> Any:
        if limit is not None and (len(values) != limit if exact else len(values) > limit):
            raise ValueError(f"{where}: expected {'' if exact else 'at most '}{limit} elements, got {len(values)}")
        return values

    if kind.is_primitive:
        dtype = np.dtype(PRIMITIVES[kind.base][0])
        return lambda value: checked_length(to_array(value, dtype, where))
    element = _scalar_check(Field(field.name, type(kind)(kind.base, kind.string_bound)), f"{where}[]", lookup)

    def check_list(value: object) -> object:
        if isinstance(value, str | bytes) or not isinstance(value, Iterable):
            raise TypeError(f"{where}: expected a list ({kind}), got {_shown(value)}")
        return checked_length([element(item) for item in value])

    return check_list


def to_array(value: object, dtype: np.dtype[Any], where: str = "array") -> NDArray[Any]:
    """Give `value` as a one-dimensional C-contiguous array of `dtype`, without a copy where its memory allows.

    Accepts ndarray (any shape), bytes, bytearray, memoryview, array.array and sequences of numbers.
    """
    if isinstance(value, np.ndarray):
        return _from_ndarray(value, dtype, where)
    if isinstance(value, bytes | bytearray):
        if dtype.itemsize != 1:
            raise TypeError(
                f"{where}: expected {dtype} elements, got {type(value).__name__}; give numpy.frombuffer(..., {dtype})"
            )
        return np.frombuffer(value, dtype)
    if isinstance(value, memoryview | array.array):
        return _from_ndarray(np.asarray(value), dtype, where)
    if isinstance(value, str | dict) or not isinstance(value, Iterable):
        raise TypeError(f"{where}: expected an array of {dtype}, got {_shown(value)}")
    items = [item[0] if isinstance(item, bytes) and len(item) == 1 else item for item in value]
    if not items:
        return np.zeros(0, dtype)
    try:
        return _from_ndarray(np.array(items), dtype, where)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{where}: cannot make {dtype} of {_shown(value)}: {error}") from error


def _from_ndarray(value: NDArray[Any], dtype: np.dtype[Any], where: str) -> NDArray[Any]:
    if value.dtype == dtype:
        return value if value.ndim == 1 and value.flags.c_contiguous else np.ascontiguousarray(value).reshape(-1)
    flat = np.ascontiguousarray(value).reshape(-1)
    if np.can_cast(flat.dtype, dtype, "safe") and (flat.dtype.kind == "b") == (dtype.kind == "b"):
        return flat.astype(dtype)
    if flat.dtype.kind in "iu" and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if flat.size and (int(flat.min()) < limits.min or int(flat.max()) > limits.max):
            raise ValueError(
                f"{where}: values {flat.min()}..{flat.max()} do not fit {dtype} ({limits.min}..{limits.max})"
            )
        return flat.astype(dtype)
    if dtype.kind == "f" and flat.dtype.kind in "fiu":
        return flat.astype(dtype)
    raise TypeError(f"{where}: expected an array of {dtype}, got {value.dtype}; convert it with .astype explicitly")


def _scalar_check(field: Field, where: str, lookup: Callable[[str], type[Any]]) -> Check:
    kind = field.type
    if kind.is_message:
        wanted = lookup(kind.base)

        def check_message(value: object) -> object:
            if not isinstance(value, wanted):
                raise TypeError(f"{where}: expected {kind.base}, got {_shown(value)}")
            return value

        return check_message
    if kind.base == "string":
        return _string_check(where, kind.string_bound)
    if kind.base == "bool":
        return _bool_check(where)
    if kind.base == "byte":
        return _byte_check(where)
    if kind.base in ("float32", "float64"):
        return _float_check(where, kind.base)
    return _int_check(where, kind.base)


def _string_check(where: str, bound: int) -> Check:
    def check(value: object) -> object:
        if not isinstance(value, str):
            raise TypeError(f"{where}: expected str, got {_shown(value)}")
        if bound and len(value) > bound:
            raise ValueError(f"{where}: expected at most {bound} characters, got {len(value)}")
        return value

    return check


def _bool_check(where: str) -> Check:
    def check(value: object) -> object:
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{where}: expected bool, got {_shown(value)}")
        return bool(value)

    return check


def _byte_check(where: str) -> Check:
    def check(value: object) -> object:
        if not isinstance(value, bytes | bytearray) or len(value) != 1:
            raise TypeError(f"{where}: expected bytes of length 1 such as b'\\x00', got {_shown(value)}")
        return bytes(value)

    return check


def _float_check(where: str, base: str) -> Check:
    largest = float(np.finfo(base).max)

    def check(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, float | int | np.floating | np.integer):
            raise TypeError(f"{where}: expected float, got {_shown(value)}")
        number = float(value)
        if abs(number) > largest and abs(number) != float("inf"):
            raise ValueError(f"{where}: {number} does not fit {base}")
        return number

    return check


def _int_check(where: str, base: str) -> Check:
    limits = np.iinfo(PRIMITIVES[base][0])
    low, high = int(limits.min), int(limits.max)

    def check(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(f"{where}: expected int, got {_shown(value)}")
        number = int(value)
        if not low <= number <= high:
            raise ValueError(f"{where}: {number} does not fit {base} ({low}..{high})")
        return number

    return check


def _shown(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"

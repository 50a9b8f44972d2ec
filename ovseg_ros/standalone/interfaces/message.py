"""Message classes made from definitions; they behave like the ones rosidl generates for Python.

Differences, on purpose: every array of numbers is a NumPy array (rclpy gives array.array for unbounded ones), and a
wrong type raises TypeError (rclpy: AssertionError).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np

from .checks import Check, make_check
from .definition import PRIMITIVES, Definition, Field


class Message:
    """Base of every message class. Construct with keywords only; fields left out get their defaults."""

    __slots__ = ()

    _definition: ClassVar[Definition]
    _checks: ClassVar[dict[str, Check]]
    _defaults: ClassVar[dict[str, Callable[[], Any]]]
    _fields_and_field_types: ClassVar[dict[str, str]]
    # What an empty message holds on the wire; a class attribute so that the encoder finds it.
    structure_needs_at_least_one_member: ClassVar[int] = 0

    def __init__(self, **fields: Any) -> None:
        for name, default in self._defaults.items():
            if name in fields:
                setattr(self, name, fields.pop(name))
            else:
                object.__setattr__(self, name, default())
        if fields:
            self._refuse(next(iter(fields)))

    def __setattr__(self, name: str, value: Any) -> None:
        check = self._checks.get(name)
        if check is None:
            self._refuse(name)
        else:
            object.__setattr__(self, name, check(value))

    def _refuse(self, name: str) -> None:
        known = ", ".join(self._checks) or "none"
        raise AttributeError(f"{self._definition.name} has no field {name!r}; its fields: {known}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(_equal(getattr(self, name), getattr(other, name)) for name in self._checks)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        name = self._definition.name.replace("/", ".")
        return f"{name}({', '.join(f'{field}={_shown(getattr(self, field))}' for field in self._checks)})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Message:
        twin = type(self).__new__(type(self))
        for name in self._checks:
            object.__setattr__(twin, name, deepcopy(getattr(self, name), memo))
        return twin

    def __copy__(self) -> Message:
        twin = type(self).__new__(type(self))
        for name in self._checks:
            object.__setattr__(twin, name, getattr(self, name))
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._definition.name, {name: getattr(self, name) for name in self._checks})

    @classmethod
    def get_fields_and_field_types(cls) -> dict[str, str]:
        """Return field name -> type name, spelled as rclpy spells it (`sequence<uint8>`)."""
        return dict(cls._fields_and_field_types)


def make_class(definition: Definition, lookup: Callable[[str], type[Any]]) -> type[Message]:
    """Make the class of `definition`; `lookup` gives the class of a nested message by full name."""
    package, _, short = definition.name.rpartition("/")
    names = tuple(field.name for field in definition.fields)
    namespace: dict[str, Any] = {
        "__slots__": names,
        "__module__": package.replace("/", "."),
        "__doc__": f"{definition.name}: " + (", ".join(f"{f.type} {f.name}" for f in definition.fields) or "(empty)"),
        "_definition": definition,
        "_checks": {f.name: make_check(f, definition.name, lookup) for f in definition.fields},
        "_defaults": {f.name: _default(f, lookup) for f in definition.fields},
        "_fields_and_field_types": {f.name: str(f.type) for f in definition.fields},
        # rclpy's name; tools such as message filters read it.
        "SLOT_TYPES": tuple(str(f.type) for f in definition.fields),
    }
    namespace.update({constant.name: constant.value for constant in definition.constants})
    for field in definition.fields:
        if field.type.base == "byte" and field.type.cardinality == "one":
            # The encoder packs integers; the user sees bytes of length 1, as in rclpy.
            namespace[wire_name(field)] = _as_int(field.name)
    return type(short, (Message,), namespace)


def _as_int(name: str) -> property:
    def read(message: Message) -> int:
        return int(getattr(message, name)[0])

    return property(read)


def wire_name(field: Field) -> str:
    """Name under which the encoder reads `field`; differs from its own for a single `byte`."""
    single_byte = field.type.base == "byte" and field.type.cardinality == "one"
    return f"{field.name}_as_int" if single_byte else field.name


def make_constructor(cls: type[Message]) -> Callable[..., Message]:
    """Return a function building `cls` from positional decoded values, unchecked: the decoder's fast path."""
    fields = cls._definition.fields
    setters = [cls.__dict__[field.name].__set__ for field in fields]
    single_bytes = [index for index, f in enumerate(fields) if f.type.base == "byte" and f.type.cardinality == "one"]

    def construct(*values: Any) -> Message:
        message = cls.__new__(cls)
        if single_bytes:
            row = list(values)
            for index in single_bytes:
                row[index] = bytes([row[index]])
            values = tuple(row)
        for setter, value in zip(setters, values):  # noqa: B905  (an empty message brings one filler value)
            setter(message, value)
        return message

    return construct


def _default(field: Field, lookup: Callable[[str], type[Any]]) -> Callable[[], Any]:
    kind = field.type
    if field.default is not None:
        if kind.is_primitive and kind.cardinality != "one":
            given = np.array(field.default, PRIMITIVES[kind.base][0])
            return given.copy
        return lambda: deepcopy(field.default)
    if kind.cardinality != "one" and kind.is_primitive:
        length = kind.size if kind.cardinality == "fixed" else 0
        return lambda: np.zeros(length, PRIMITIVES[kind.base][0])
    element = _single_default(kind.base, lookup)
    if kind.cardinality == "one":
        return element
    if kind.cardinality == "fixed":
        return lambda: [element() for _ in range(kind.size)]
    return list


def _single_default(base: str, lookup: Callable[[str], type[Any]]) -> Callable[[], Any]:
    if "/" in base:
        return lookup(base)
    simple: dict[str, Any] = {"string": "", "bool": False, "byte": b"\x00", "float32": 0.0, "float64": 0.0}
    value = simple.get(base, 0)
    return lambda: value


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    return bool(one == other)


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"[{', '.join(map(str, value.tolist()))}]" if value.size <= 16 else f"<{value.size} x {value.dtype}>"
    return repr(value)


def _rebuild(name: str, fields: dict[str, Any]) -> Message:
    from . import any_message

    return any_message(name)(**fields)

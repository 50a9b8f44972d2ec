"""What a `.msg` or `.srv` text says, as data.

Reads the interface language of ROS 2: fields with optional defaults, constants, bounded strings, arrays.
`wstring` is not supported: nothing in the standard interfaces of a perception node uses it.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

Cardinality = Literal["one", "fixed", "bounded", "unbounded"]

#: Primitive name in `.msg` text -> (NumPy dtype, name that rclpy's `get_fields_and_field_types` uses).
PRIMITIVES: dict[str, tuple[str, str]] = {
    "bool": ("bool", "boolean"),
    "byte": ("uint8", "octet"),
    "char": ("uint8", "uint8"),
    "int8": ("int8", "int8"),
    "uint8": ("uint8", "uint8"),
    "int16": ("int16", "int16"),
    "uint16": ("uint16", "uint16"),
    "int32": ("int32", "int32"),
    "uint32": ("uint32", "uint32"),
    "int64": ("int64", "int64"),
    "uint64": ("uint64", "uint64"),
    "float32": ("float32", "float"),
    "float64": ("float64", "double"),
}

_TYPE = re.compile(r"^([A-Za-z][A-Za-z0-9_]*(?:/[A-Za-z][A-Za-z0-9_]*){0,2})(?:<=(\d+))?(?:\[(<=)?(\d*)\])?$")
_NAME = re.compile(r"^[A-Za-z](?:_?[A-Za-z0-9])*_?$")


class InterfaceError(ValueError):
    """An interface text or an interface name that cannot be used."""


@dataclass(frozen=True)
class FieldType:
    """Type of one field.

    `base` is a primitive, `string`, or a full name such as `std_msgs/msg/Header`. `size` is the length of a fixed
    array or the bound of a bounded one; `string_bound` is 0 for an unbounded string.
    """

    base: str
    string_bound: int = 0
    cardinality: Cardinality = "one"
    size: int = 0

    @property
    def is_primitive(self) -> bool:
        """True for numbers and booleans (not strings)."""
        return self.base in PRIMITIVES

    @property
    def is_message(self) -> bool:
        """True if the element is another message."""
        return "/" in self.base

    def __str__(self) -> str:
        """Spell the type as rclpy's `get_fields_and_field_types` does: `sequence<uint8>`, `double[9]`."""
        if self.is_primitive:
            name = PRIMITIVES[self.base][1]
        elif self.is_message:
            package, _, short = self.base.partition("/")
            name = f"{package}/{short.rpartition('/')[2]}"
        else:
            name = f"string<{self.string_bound}>" if self.string_bound else "string"
        if self.cardinality == "fixed":
            return f"{name}[{self.size}]"
        if self.cardinality == "bounded":
            return f"sequence<{name}, {self.size}>"
        return f"sequence<{name}>" if self.cardinality == "unbounded" else name


@dataclass(frozen=True)
class Field:
    """One field; `default` is None where the text gives none."""

    name: str
    type: FieldType
    default: object = None


@dataclass(frozen=True)
class Constant:
    """One constant, its value already a Python object."""

    name: str
    base: str
    value: object


@dataclass(frozen=True)
class Definition:
    """One message, with its full name such as `sensor_msgs/msg/Image`."""

    name: str
    fields: tuple[Field, ...]
    constants: tuple[Constant, ...] = ()


def parse_message(text: str, name: str) -> Definition:
    """Parse `.msg` text of the message with the full name `name`; raises `InterfaceError` naming the line."""
    package = name.partition("/")[0]
    fields: list[Field] = []
    constants: list[Constant] = []
    for number, line in enumerate(text.splitlines(), start=1):
        code = _strip_comment(line)
        if not code:
            continue
        try:
            entry = _parse_line(code, package)
        except ValueError as error:
            raise InterfaceError(f"{name}, line {number}: {line.strip()!r}: {error}") from error
        if isinstance(entry, Field):
            fields.append(entry)
        else:
            constants.append(entry)
    names = [f.name for f in fields] + [c.name for c in constants]
    if len(set(names)) != len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise InterfaceError(f"{name}: {', '.join(twice)} defined more than once; rename one of them")
    return Definition(name, tuple(fields), tuple(constants))


def parse_service(text: str, name: str) -> tuple[Definition, Definition]:
    """Parse `.srv` text into request and response; raises `InterfaceError` unless `---` separates two parts."""
    parts = re.split(r"^---[ \t]*$", text, flags=re.MULTILINE)
    if len(parts) != 2:
        raise InterfaceError(
            f"{name}: expected request and response separated by one '---' line, got {len(parts)} part(s)"
        )
    return parse_message(parts[0], f"{name}_Request"), parse_message(parts[1], f"{name}_Response")


def spell(definition: Definition) -> str:
    """Write a definition as `.msg` text."""
    lines = [f"{c.base} {c.name}={c.value!r}" for c in definition.constants]
    lines += [_spell_field(field) for field in definition.fields]
    return "\n".join(lines) + "\n"


def _spell_field(field: Field) -> str:
    kind = field.type
    base = kind.base.replace("/msg/", "/") + (f"<={kind.string_bound}" if kind.string_bound else "")
    brackets = {"one": "", "fixed": f"[{kind.size}]", "bounded": f"[<={kind.size}]", "unbounded": "[]"}
    default = "" if field.default is None else f" {field.default!r}"
    return f"{base}{brackets[kind.cardinality]} {field.name}{default}"


def _strip_comment(line: str) -> str:
    """Cut `# ...`, but not inside a quoted default or constant."""
    quote = ""
    for index, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == "#":
            return line[:index].strip()
    return line.strip()


def _parse_line(code: str, package: str) -> Field | Constant:
    spelled, _, rest = code.partition(" ")
    kind = _parse_type(spelled, package)
    rest = rest.strip()
    constant = re.match(r"^([A-Z][A-Z0-9_]*)\s*=\s*(.*)$", rest)
    if constant:
        if kind.is_message or kind.cardinality != "one":
            raise ValueError("only primitives and strings can be constants")
        return Constant(constant[1], kind.base, _parse_value(constant[2], kind))
    name, _, default = rest.partition(" ")
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is not a field name; expected letters, digits and single underscores")
    return Field(name, kind, _parse_value(default.strip(), kind) if default.strip() else None)


def _parse_type(spelled: str, package: str) -> FieldType:
    match = _TYPE.match(spelled)
    if match is None:
        raise ValueError(f"{spelled!r} is not a type")
    base, bound, upto, length = match[1], match[2], match[3], match[4]
    if base == "wstring":
        raise ValueError("wstring is not supported here; use string")
    if base not in PRIMITIVES and base != "string":
        base = _full_name(base, package)
    if bound and base != "string":
        raise ValueError(f"only string takes a bound, not {base}")
    size = int(length) if length else 0
    cardinality: Cardinality = "one"
    if length is not None:
        cardinality = "bounded" if upto else ("fixed" if length else "unbounded")
        if cardinality != "unbounded" and size < 1:
            raise ValueError("an array bound must be at least 1")
    return FieldType(base, int(bound or 0), cardinality, size)


def _full_name(base: str, package: str) -> str:
    if base == "Header":
        return "std_msgs/msg/Header"
    parts = base.split("/")
    if len(parts) == 1:
        return f"{package}/msg/{base}"
    return f"{parts[0]}/msg/{parts[1]}" if len(parts) == 2 else base


def _parse_value(text: str, kind: FieldType) -> object:
    """Turn the text of a default or constant into the Python value rclpy would give."""
    if kind.is_message:
        raise ValueError("a message field cannot have a default")
    if kind.cardinality != "one":
        items = ast.literal_eval(re.sub(r"\b(true|false)\b", lambda m: m[0].capitalize(), text))
        if not isinstance(items, list):
            raise ValueError(f"default of an array must be a list, got {text}")
        return items
    if kind.base == "string":
        quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'"
        return text[1:-1] if quoted else text
    if kind.base == "bool":
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"{text!r} is not a bool; expected true or false")
        return text.lower() in ("true", "1")
    if kind.base in ("float32", "float64"):
        return float(text)
    value = int(text, 0)
    limits = np.iinfo(PRIMITIVES[kind.base][0])
    if not limits.min <= value <= limits.max:
        raise ValueError(f"{value} does not fit {kind.base} ({limits.min}..{limits.max})")
    return bytes([value]) if kind.base == "byte" else value

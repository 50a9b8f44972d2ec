"""Parameters: names, types, values, and their messages."""

from __future__ import annotations

import array
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .arguments import node_matches, parse_value, read_parameter_file
from .interfaces import message

PARAMETER_SEPARATOR_STRING = "."

#: The constants PARAMETER_BOOL and so on.
ParameterType: Any = message("rcl_interfaces/msg/ParameterType")
ParameterValue: Any = message("rcl_interfaces/msg/ParameterValue")
ParameterMsg: Any = message("rcl_interfaces/msg/Parameter")


class Type(Enum):
    """Type of a parameter; numbers as in rcl_interfaces/msg/ParameterType."""

    NOT_SET = 0
    BOOL = 1
    INTEGER = 2
    DOUBLE = 3
    STRING = 4
    BYTE_ARRAY = 5
    BOOL_ARRAY = 6
    INTEGER_ARRAY = 7
    DOUBLE_ARRAY = 8
    STRING_ARRAY = 9

    @classmethod
    def from_parameter_value(cls, parameter_value: Any) -> Type:
        """Return the type of a Python value; raises `TypeError` if no parameter can hold it."""
        if parameter_value is None:
            return cls.NOT_SET
        for kind, python in _SCALARS.items():
            if isinstance(parameter_value, python):
                return kind
        if isinstance(parameter_value, list | tuple | array.array):
            for kind, python in _ARRAYS.items():
                if all(_is(item, python) for item in parameter_value):
                    return kind
        raise TypeError(
            f"no parameter can hold {parameter_value!r}; expected bool, int, float, str or a list of one of these"
        )

    def check(self, parameter_value: Any) -> bool:
        """Whether a value is of this type."""
        if self is Type.NOT_SET:
            return parameter_value is None
        if self in _SCALARS:
            return _is(parameter_value, _SCALARS[self])
        return isinstance(parameter_value, list | tuple | array.array) and all(
            _is(item, _ARRAYS[self]) for item in parameter_value
        )


_SCALARS: dict[Type, type] = {Type.BOOL: bool, Type.INTEGER: int, Type.DOUBLE: float, Type.STRING: str}
_ARRAYS: dict[Type, type] = {
    Type.BYTE_ARRAY: bytes,
    Type.BOOL_ARRAY: bool,
    Type.INTEGER_ARRAY: int,
    Type.DOUBLE_ARRAY: float,
    Type.STRING_ARRAY: str,
}


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and (kind is not int or not isinstance(value, bool))


class Parameter:
    """A named, typed value; does not change."""

    Type: TypeAlias = Type

    def __init__(self, name: str, type_: Type | None = None, value: Any = None) -> None:
        """Make a parameter; the type is taken from the value if it is not given.

        Raises `TypeError` for a value no parameter can hold, `ValueError` if type and value do not agree.
        """
        if type_ is None:
            type_ = Type.from_parameter_value(value)
        if not isinstance(type_, Type):
            raise TypeError(f"type_ must be a Parameter.Type, got {type_!r}")
        if not type_.check(value):
            raise ValueError(f"parameter {name!r}: type {type_.name} and value {value!r} do not agree")
        self._name = name
        self._type = type_
        self._value = value

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def type_(self) -> Type:
        """Its type."""
        return self._type

    @property
    def value(self) -> Any:
        """Its value, None if not set."""
        return self._value

    def __repr__(self) -> str:
        return f"Parameter({self._name!r}, {self._type.name}, {self._value!r})"

    def get_parameter_value(self) -> Any:
        """Return a rcl_interfaces/msg/ParameterValue."""
        msg = ParameterValue(type=self._type.value)
        if self._type is not Type.NOT_SET:
            setattr(msg, f"{self._type.name.lower()}_value", self._value)
        return msg

    def to_parameter_msg(self) -> Any:
        """Return a rcl_interfaces/msg/Parameter."""
        return ParameterMsg(name=self._name, value=self.get_parameter_value())

    @classmethod
    def from_parameter_msg(cls, param_msg: Any) -> Parameter:
        """Make a parameter of a rcl_interfaces/msg/Parameter."""
        return cls(param_msg.name, Type(param_msg.value.type), parameter_value_to_python(param_msg.value))


def parameter_value_to_python(parameter_value: Any) -> Any:
    """Return the value in a ParameterValue message, None if not set; raises `RuntimeError` for an unknown type."""
    try:
        kind = Type(parameter_value.type)
    except ValueError:
        raise RuntimeError(f"unexpected parameter type {parameter_value.type}; expected 0 to 9") from None
    if kind is Type.NOT_SET:
        return None
    value = getattr(parameter_value, f"{kind.name.lower()}_value")
    if kind is Type.BYTE_ARRAY:
        return [bytes([byte]) for byte in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def get_parameter_value(string_value: str) -> Any:
    """Return the ParameterValue message that YAML text stands for."""
    return Parameter("", value=parse_value(string_value)).get_parameter_value()


def parameter_dict_from_yaml_file(
    parameter_file: str | Path,
    use_wildcard: bool = False,
    target_nodes: Sequence[str] | None = None,
    namespace: str = "",
) -> dict[str, Any]:
    """Read a parameter file; returns name -> rcl_interfaces/msg/Parameter.

    Takes the entries of `target_nodes` (full names; all nodes if None), and those of `/**` if `use_wildcard`;
    `namespace` is put before every name. Raises `RCLError` for a bad file, `RuntimeError` if nothing is selected.
    """
    entries = read_parameter_file(parameter_file)
    patterns = {pattern for pattern, _, _ in entries}
    wanted = [f"/{node.strip('/')}" for node in target_nodes or ()]
    for node in wanted:
        if not any(node_matches(pattern, node) for pattern in patterns - {"/**"}):
            raise RuntimeError(
                f"{parameter_file} holds no parameters for {node}, only for {', '.join(sorted(patterns))}"
            )

    def selected(pattern: str) -> bool:
        if pattern == "/**":
            return use_wildcard
        return not wanted or any(node_matches(pattern, node) for node in wanted)

    # The wildcard first, so that what is said of a node wins.
    chosen = sorted((entry for entry in entries if selected(entry[0])), key=lambda entry: entry[0] != "/**")
    if not chosen:
        raise RuntimeError(f"{parameter_file} holds none of the selected parameters")
    return {namespace + name: Parameter(namespace + name, value=value).to_parameter_msg() for _, name, value in chosen}

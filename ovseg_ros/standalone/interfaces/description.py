"""A definition as a type_description_interfaces/msg/TypeDescription."""

from __future__ import annotations

from typing import Any

from . import any_message, message
from .definition import Definition, FieldType, spell

# Type ids of REP-2016; arrays add 48, bounded sequences 96, unbounded ones 144.
_IDS = {
    "int8": 2,
    "uint8": 3,
    "char": 3,
    "int16": 4,
    "uint16": 5,
    "int32": 6,
    "uint32": 7,
    "int64": 8,
    "uint64": 9,
    "float32": 10,
    "float64": 11,
    "bool": 15,
    "byte": 16,
}
_OFFSETS = {"one": 0, "fixed": 48, "bounded": 96, "unbounded": 144}


def describe(full: str) -> tuple[Any, list[Any]]:
    """Return the TypeDescription of a message and the TypeSource of each type in it.

    Raises `InterfaceError` for an unknown type.
    """
    used: dict[str, Definition] = {}
    _collect(full, used)
    referenced = [_individual(definition) for name, definition in sorted(used.items()) if name != full]
    description = message("type_description_interfaces/msg/TypeDescription")(
        type_description=_individual(used[full]), referenced_type_descriptions=referenced
    )
    source = message("type_description_interfaces/msg/TypeSource")
    ordered = sorted(used.items(), key=lambda item: (item[0] != full, item[0]))  # the type asked for comes first
    sources = [source(type_name=name, encoding="msg", raw_file_contents=spell(d)) for name, d in ordered]
    return description, sources


def _collect(full: str, used: dict[str, Definition]) -> None:
    if full not in used:
        used[full] = any_message(full)._definition
        for field in used[full].fields:
            if field.type.is_message:
                _collect(field.type.base, used)


def _individual(definition: Definition) -> Any:
    field = message("type_description_interfaces/msg/Field")
    fields = [
        field(name=f.name, type=_field_type(f.type), default_value="" if f.default is None else str(f.default))
        for f in definition.fields
    ] or [field(name="structure_needs_at_least_one_member", type=_field_type(FieldType("uint8")))]
    individual = message("type_description_interfaces/msg/IndividualTypeDescription")
    return individual(type_name=definition.name, fields=fields)


def _field_type(kind: FieldType) -> Any:
    if kind.is_message:
        number = 1
    elif kind.base == "string":
        number = 21 if kind.string_bound else 17
    else:
        number = _IDS[kind.base]
    return message("type_description_interfaces/msg/FieldType")(
        type_id=number + _OFFSETS[kind.cardinality],
        capacity=kind.size,
        string_capacity=kind.string_bound,
        nested_type_name=kind.base if kind.is_message else "",
    )

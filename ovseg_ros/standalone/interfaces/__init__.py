"""ROS interfaces by name: `message("sensor_msgs/msg/Image")`, `service("std_srvs/srv/SetBool")`.

`.msg` and `.srv` text is the source. It is looked for in the packages that `add_path` added, in the packages that lie
beside this module, and last in the ROS 2 Jazzy definitions that `rosbags` carries. Classes are made on first use and
kept, so the same name always gives the same class.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar, cast

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from .definition import Constant, Definition, Field, FieldType, InterfaceError, parse_message, parse_service
from .message import Message, make_class, make_constructor, wire_name

__all__ = ["InterfaceError", "Message", "Service", "add_path", "message", "service", "type_hash"]

_HERE = Path(__file__).parent
_lock = threading.RLock()
_packages: dict[str, Path] = {}
_classes: dict[str, type[Message]] = {}
_services: dict[str, type[Service]] = {}
_constructors: dict[str, Any] = {}
_standard = get_typestore(Stores.ROS2_JAZZY)
_described = Typestore()  # the types as the text spells them: for hashes
_wire = Typestore()  # the types as the encoder handles them


class Service:
    """Base of every service class; `Request` and `Response` are its message classes."""

    Request: ClassVar[type[Any]]
    Response: ClassVar[type[Any]]
    _name: ClassVar[str]


def add_path(directory: str | Path) -> None:
    """Add an interface package: a directory named after the package, with `msg/*.msg` and/or `srv/*.srv`.

    Raises `FileNotFoundError` if it has neither folder.
    """
    path = Path(directory).resolve()
    if not (path / "msg").is_dir() and not (path / "srv").is_dir():
        raise FileNotFoundError(f"{path} is no interface package: it has neither a msg nor a srv folder")
    with _lock:
        _packages[path.name] = path


def message(name: str) -> Any:
    """Return the class of a message such as `sensor_msgs/msg/Image` (`sensor_msgs/Image` will do).

    Raises `InterfaceError` if no package known here defines it.
    """
    package, kind, short = _split(name, "msg")
    return any_message(f"{package}/{kind}/{short}")


def service(name: str) -> Any:
    """Return the class of a service such as `std_srvs/srv/SetBool`, with `Request` and `Response`.

    Raises `InterfaceError` if no package known here defines it.
    """
    package, kind, short = _split(name, "srv")
    full = f"{package}/{kind}/{short}"
    with _lock:
        if full not in _services:
            parts = {"Request": any_message(f"{full}_Request"), "Response": any_message(f"{full}_Response")}
            members = {**parts, "_name": full, "__module__": f"{package}.srv", "__doc__": f"{full}."}
            _services[full] = cast("type[Service]", type(short, (Service,), members))
        return _services[full]


def any_message(full: str) -> type[Message]:
    """Return the class with the full name `full`; also takes `pkg/srv/Name_Request` and `..._Response`."""
    with _lock:
        if full not in _classes:
            definition = _find(full)
            cls = make_class(definition, any_message)
            _register(definition)
            _classes[full] = cls
            _wire.types[full] = cast("Any", make_constructor(cls))
            _constructors[full] = _wire.types[full]
        return _classes[full]


def type_hash(full: str) -> str:
    """Return the REP-2016 hash of a message, `RIHS01_` and 64 hex digits."""
    any_message(full)
    with _lock:
        return _described.hash_rihs01(full)


def codec() -> Typestore:
    """Return the store that encodes and decodes the classes made here; `serialization` is its only user."""
    return _wire


def _split(name: str, kind: str) -> tuple[str, str, str]:
    parts = name.split("/")
    if len(parts) == 2:
        parts.insert(1, kind)
    if len(parts) != 3 or parts[1] != kind or not all(parts):
        raise InterfaceError(f"{name!r} is no interface name; expected 'package/{kind}/Name'")
    return parts[0], parts[1], parts[2]


def _find(full: str) -> Definition:
    """Find the definition of `full`: added packages, the ones beside this module, then the standard ones."""
    package, kind, short = full.split("/")
    for folder in (_packages.get(package), _HERE / package):
        if folder is None:
            continue
        if kind == "msg" and (folder / "msg" / f"{short}.msg").is_file():
            return parse_message((folder / "msg" / f"{short}.msg").read_text("utf-8"), full)
        stem, _, part = short.rpartition("_")
        text = folder / "srv" / f"{stem}.srv"
        if kind == "srv" and part in ("Request", "Response") and text.is_file():
            return parse_service(text.read_text("utf-8"), f"{package}/srv/{stem}")[part == "Response"]
    if full in _standard.fielddefs:
        return _from_standard(full)
    known = sorted({*_packages, *(p.name for p in _HERE.iterdir() if (p / "msg").is_dir() or (p / "srv").is_dir())})
    raise InterfaceError(
        f"{full} is not defined by ROS 2 Jazzy's standard messages nor by the packages {', '.join(known)}; "
        "add its package with interfaces.add_path(directory)"
    )


def _from_standard(full: str) -> Definition:
    """Translate a definition of rosbags."""
    constants, fields = _standard.fielddefs[full]
    return Definition(
        full,
        tuple(Field(n, _field_type(desc)) for n, desc in fields if n != "structure_needs_at_least_one_member"),
        tuple(Constant(n, base, bytes([int(v)]) if base == "byte" else v) for n, base, v in constants),
    )


def _field_type(desc: Any) -> FieldType:
    kind, rest = desc
    if kind == Nodetype.BASE:
        return FieldType(rest[0], rest[1])
    if kind == Nodetype.NAME:
        return FieldType(rest)
    inner = _field_type(rest[0])
    if kind == Nodetype.ARRAY:
        return FieldType(inner.base, inner.string_bound, "fixed", rest[1])
    return FieldType(inner.base, inner.string_bound, "bounded" if rest[1] else "unbounded", rest[1])


def _register(definition: Definition) -> None:
    """Tell both stores about a definition."""
    filler = [("structure_needs_at_least_one_member", (Nodetype.BASE, ("uint8", 0)))]
    # `char` is uint8 in ROS 2; `byte` keeps its own type id in hashes but travels as uint8.
    described = [(f.name, _describe(f.type, {"char": "uint8"})) for f in definition.fields]
    wire = [(wire_name(f), _describe(f.type, {"char": "uint8", "byte": "uint8"})) for f in definition.fields]
    _described.fielddefs[definition.name] = cast("Any", ([], described or filler))
    _wire.fielddefs[definition.name] = cast("Any", ([], wire or filler))


def _describe(kind: FieldType, rename: dict[str, str]) -> Any:
    base = rename.get(kind.base, kind.base)
    inner = (Nodetype.NAME, base) if kind.is_message else (Nodetype.BASE, (base, kind.string_bound))
    if kind.cardinality == "one":
        return inner
    return (Nodetype.ARRAY if kind.cardinality == "fixed" else Nodetype.SEQUENCE, (inner, kind.size))

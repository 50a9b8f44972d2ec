"""`--ros-args`: remaps, parameters, log levels, as every ROS 2 executable understands them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .exceptions import RCLError, UnknownROSArgsError
from .names import expand_topic_name

_RULE = re.compile(r"^(?:(?P<node>[A-Za-z_][A-Za-z0-9_]*):)?(?P<match>[^:=]+|[a-z]+://[^:=]+):=(?P<to>.*)$")
_LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")
#: Options of rcl that concern outputs we do not have; they are accepted and do nothing.
_IGNORED_VALUES = ("-e", "--enclave", "--log-config-file", "--log-file-name")
_IGNORED_FLAGS = tuple(
    f"--{state}-{what}-logs" for state in ("enable", "disable") for what in ("external-lib", "stdout")
)


@dataclass(frozen=True)
class Remap:
    """One rule `[node:]from:=to`; `node` is empty where the rule is for every node."""

    node: str
    match: str
    to: str


@dataclass
class Arguments:
    """What the command line says, in its own order."""

    remaps: list[Remap] = field(default_factory=list)
    #: (pattern of node names, parameter name, value); a later entry wins.
    parameters: list[tuple[str, str, Any]] = field(default_factory=list)
    log_levels: dict[str, str] = field(default_factory=dict)
    rosout: bool = True
    #: What is not ROS's, program name included.
    remaining: list[str] = field(default_factory=list)

    def node_name(self, name: str) -> str:
        """Return the name a node created as `name` gets."""
        return self._special("__node", name) or self._special("__name", name) or name

    def namespace(self, name: str, namespace: str) -> str:
        """Return the namespace a node created as `name` in `namespace` gets."""
        return self._special("__ns", name) or namespace

    def _special(self, key: str, name: str) -> str | None:
        return next((r.to for r in self.remaps if r.match == key and r.node in ("", name)), None)

    def remap(self, full: str, name: str, namespace: str, *, is_service: bool) -> str:
        """Return the name that the full name `full` is remapped to for the node; itself if no rule fits."""
        schemes = ("rosservice://",) if is_service else ("rostopic://",)
        for rule in self.remaps:
            match = rule.match
            for scheme in schemes:
                match = match.removeprefix(scheme)
            if rule.node not in ("", name) or match.startswith("__") or "://" in match:
                continue
            if expand_topic_name(match, name, namespace, is_service=is_service) == full:
                return expand_topic_name(rule.to, name, namespace, is_service=is_service)
        return full

    def overrides(self, full_node_name: str) -> dict[str, Any]:
        """Return parameter name -> value for the node `/ns/name`."""
        return {name: value for pattern, name, value in self.parameters if node_matches(pattern, full_node_name)}


def parse(args: Sequence[str]) -> Arguments:
    """Read a command line; raises `UnknownROSArgsError` for what ROS does not know, `RCLError` for bad values."""
    result = Arguments()
    rest = list(args)
    in_ros = False
    while rest:
        word = rest.pop(0)
        if word == "--ros-args":
            in_ros = True
        elif not in_ros:
            result.remaining.append(word)
        elif word == "--":
            in_ros = False
        else:
            _parse_option(word, rest, result)
    return result


def _parse_option(word: str, rest: list[str], result: Arguments) -> None:
    if word in _IGNORED_FLAGS:
        return
    if word in ("--enable-rosout-logs", "--disable-rosout-logs"):
        result.rosout = word == "--enable-rosout-logs"
        return
    known = ("-r", "--remap", "-p", "--param", "--params-file", "--log-level", *_IGNORED_VALUES)
    if word not in known:
        # A bare rule was ROS 1's spelling; say what to write instead.
        hint = f"write -r {word}" if ":=" in word else "put what is not ROS's before --ros-args or after --"
        raise UnknownROSArgsError(f"unknown ROS argument {word!r}: {hint}; known: {', '.join(known)}")
    if not rest:
        raise UnknownROSArgsError(f"{word} needs a value")
    value = rest.pop(0)
    if word in ("-r", "--remap"):
        result.remaps.append(_parse_remap(value))
    elif word in ("-p", "--param"):
        result.parameters.append(_parse_parameter(value))
    elif word == "--params-file":
        result.parameters += read_parameter_file(value)
    elif word == "--log-level":
        name, _, level = value.rpartition(":=")
        if level.upper() not in _LEVELS:
            raise RCLError(f"--log-level {value!r}: expected one of {', '.join(_LEVELS)}, or name:=level")
        result.log_levels[name] = level.upper()


def _parse_remap(text: str) -> Remap:
    match = _RULE.match(text)
    if match is None or not match["to"]:
        raise RCLError(f"remap {text!r} is not understood; expected [node:]from:=to, e.g. image:=/camera/image_raw")
    if "~" in match["to"][1:] or (match["match"].startswith("__") and match["match"] not in _SPECIAL):
        raise RCLError(f"remap {text!r}: expected one of {', '.join(_SPECIAL)} or a topic or service name")
    return Remap(match["node"] or "", match["match"], match["to"])


_SPECIAL = ("__node", "__name", "__ns")


def _parse_parameter(text: str) -> tuple[str, str, Any]:
    left, sign, value = text.partition(":=")
    if not sign or not left:
        raise RCLError(f"parameter {text!r} is not understood; expected [node:]name:=value, e.g. threshold:=0.5")
    node, _, name = left.rpartition(":")
    return (f"/**/{node}" if node else "/**", name, parse_value(value))


def parse_value(text: str) -> Any:
    """Return the value that YAML text stands for; a text that is no YAML stands for itself."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return text if value is None or isinstance(value, dict) else checked_value(value, text)


def checked_value(value: Any, where: str) -> Any:
    """Return a parameter value; raises `RCLError` for a list of mixed types. Integers among floats become floats."""
    if not isinstance(value, list):
        return value if isinstance(value, bool | int | float | str) else str(value)
    kinds = {type(item) for item in value}
    if kinds == {int, float}:
        return [float(item) for item in value]
    if len(kinds) > 1 or not kinds <= {bool, int, float, str}:
        raise RCLError(f"parameter {where!r}: expected a list of one type (bool, int, float or str), got {value}")
    return value


def read_parameter_file(path: str | Path) -> list[tuple[str, str, Any]]:
    """Read a parameter file: node patterns over `ros__parameters`; returns entries as `Arguments.parameters` has them.

    Raises `RCLError` naming file and place if the file is missing or has another layout.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text("utf-8"))
    except OSError as error:
        raise RCLError(f"parameter file {str(path)!r} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise RCLError(f"parameter file {str(path)!r} is no YAML: {error}") from error
    if not isinstance(tree, dict):
        raise RCLError(f"parameter file {str(path)!r}: expected node names over 'ros__parameters:' at the top")
    entries: list[tuple[str, str, Any]] = []
    _walk_nodes(tree, "", str(path), entries)
    return entries


def _walk_nodes(tree: dict[str, Any], prefix: str, path: str, entries: list[tuple[str, str, Any]]) -> None:
    for key, below in tree.items():
        if not isinstance(below, dict):
            raise RCLError(f"parameter file {path!r}: {key!r} holds {below!r}; expected 'ros__parameters:' below it")
        pattern = f"{prefix}/{str(key).strip('/')}"
        for name, inner in below.items():
            if name == "ros__parameters":
                if not isinstance(inner, dict):
                    raise RCLError(f"parameter file {path!r}: ros__parameters of {key!r} holds no parameters")
                _walk_parameters(inner, "", _pattern(pattern, prefix, str(key)), path, entries)
            else:
                _walk_nodes({name: inner}, pattern, path, entries)


def _pattern(pattern: str, prefix: str, key: str) -> str:
    # A bare node name means that node in the root namespace, as rcl has it; wildcards stay.
    return pattern if prefix or key.startswith("/") or "*" in key else f"/{key}"


def _walk_parameters(
    tree: dict[str, Any], prefix: str, pattern: str, path: str, entries: list[tuple[str, str, Any]]
) -> None:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            _walk_parameters(value, f"{name}.", pattern, path, entries)
        elif value is None:
            raise RCLError(f"parameter file {path!r}: {name} has no value; give one or remove the line")
        else:
            entries.append((pattern, name, checked_value(value, f"{path}: {name}")))


def node_matches(pattern: str, full_name: str) -> bool:
    """Whether `/a/*/c` (one token) or `/**` (any number) fits the full node name."""
    expression = ""
    for token in pattern.strip("/").split("/"):
        expression += {"**": "(?:/[^/]+)*", "*": "/[^/]+"}.get(token, "/" + re.escape(token))
    return re.fullmatch(expression, full_name) is not None

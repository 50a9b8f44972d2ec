"""ROS names: checking, expanding (`~/x`, `{node}`), remapping."""

from __future__ import annotations

import re
from collections.abc import Callable

from .exceptions import (
    InvalidNamespaceException,
    InvalidNodeNameException,
    InvalidServiceNameException,
    InvalidTopicNameException,
    NameValidationException,
)

_TOKEN = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_MAX_NODE_NAME = 255
_MAX_TOPIC_NAME = 247


def validate_node_name(name: str) -> bool:
    """Return True; raises `InvalidNodeNameException` for anything but letters, digits and underscores."""
    problem = _node_problem(name)
    if problem:
        raise InvalidNodeNameException(name, *problem)
    return True


def validate_namespace(namespace: str) -> bool:
    """Return True; raises `InvalidNamespaceException` unless it is absolute and made of legal tokens."""
    problem = ("namespace must not be empty", 0) if not namespace else None
    if problem is None and namespace != "/":
        if not namespace.startswith("/"):
            problem = ("namespace must be absolute, it must lead with a '/'", 0)
        else:
            problem = _tokens_problem(namespace, "namespace")
    if problem:
        raise InvalidNamespaceException(namespace, *problem)
    return True


def validate_full_topic_name(name: str, *, is_service: bool = False) -> bool:
    """Return True; raises `InvalidTopicNameException` or `InvalidServiceNameException` for an illegal full name."""
    what = "service name" if is_service else "topic name"
    if not name.startswith("/"):
        problem: tuple[str, int] | None = (f"{what} must be absolute, it must lead with a '/'", 0)
    else:
        problem = _tokens_problem(name, what)
    if problem is None and len(name) > _MAX_TOPIC_NAME:
        problem = (f"{what} is longer than {_MAX_TOPIC_NAME} characters", _MAX_TOPIC_NAME)
    if problem:
        raise _kind(is_service)(name, *problem)
    return True


def expand_topic_name(topic_name: str, node_name: str, node_namespace: str, *, is_service: bool = False) -> str:
    """Return the full name of a topic or service as given in code or in a remap rule.

    `x` is relative to the namespace, `~/x` private to the node, `/x` absolute; `{node}`, `{ns}` and `{namespace}` are
    filled in. Raises `InvalidTopicNameException` or `InvalidServiceNameException`.
    """
    error = _kind(is_service)
    if not topic_name:
        raise error(topic_name, "name must not be empty", 0)
    prefix = node_namespace.rstrip("/")
    name = topic_name
    if name == "~" or name.startswith("~/"):
        name = f"{prefix}/{node_name}{name[1:]}"
    elif "~" in name:
        raise error(topic_name, "tilde '~' must be the first character and be followed by '/'", name.index("~"))

    def fill(match: re.Match[str]) -> str:
        known = {"node": node_name, "ns": prefix, "namespace": prefix}
        if match[1] not in known:
            raise error(
                topic_name, f"substitution {{{match[1]}}} is unknown; known: node, ns, namespace", match.start()
            )
        return known[match[1]]

    name = re.sub(r"\{([^{}]*)\}", fill, name)
    if not name.startswith("/"):
        name = f"{prefix}/{name}"
    validate_full_topic_name(name, is_service=is_service)
    return name


def _kind(is_service: bool) -> Callable[[str, str, int], NameValidationException]:
    return InvalidServiceNameException if is_service else InvalidTopicNameException


def _node_problem(name: str) -> tuple[str, int] | None:
    if not name:
        return "node name must not be empty", 0
    for index, letter in enumerate(name):
        if not (letter.isascii() and (letter.isalnum() or letter == "_")):
            return "node name must not contain characters other than alphanumerics or '_'", index
    if name[0].isdigit():
        return "node name must not start with a number", 0
    if len(name) > _MAX_NODE_NAME:
        return f"node name is longer than {_MAX_NODE_NAME} characters", _MAX_NODE_NAME
    return None


def _tokens_problem(name: str, what: str) -> tuple[str, int] | None:
    start = 1
    if name.endswith("/"):
        return f"{what} must not end with a '/'", len(name) - 1
    for token in name[1:].split("/"):
        if not token:
            return f"{what} must not contain repeated '/'", start
        if not _TOKEN.match(token):
            if token[0].isdigit():
                return f"{what} token must not start with a number", start
            wrong = next(i for i, c in enumerate(token) if not (c.isascii() and (c.isalnum() or c == "_")))
            return f"{what} must not contain characters other than alphanumerics, '_' or '/'", start + wrong
        start += len(token) + 1
    return None

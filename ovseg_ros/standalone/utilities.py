"""Small things about the process as a whole."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .arguments import parse
from .context import Context, forget_default_context, get_default_context

__all__ = [
    "get_default_context",
    "get_rmw_implementation_identifier",
    "ok",
    "remove_ros_args",
    "shutdown",
    "try_shutdown",
]


def remove_ros_args(args: Sequence[str] | None = None) -> list[str]:
    """Return the command line (sys.argv if None) without what is ROS's."""
    return parse(sys.argv if args is None else args).remaining


def ok(*, context: Context | None = None) -> bool:
    """Whether a context (the default one if None) is initialised and not shut down."""
    return (context or get_default_context()).ok()


def shutdown(*, context: Context | None = None) -> None:
    """Shut a context down (the default one if None); raises `RuntimeError` the second time."""
    (context or get_default_context(shutting_down=True)).shutdown()


def try_shutdown(*, context: Context | None = None) -> None:
    """Shut a context down (the default one if None) unless that was done already."""
    if context is not None:
        context.try_shutdown()
        return
    get_default_context().try_shutdown()
    forget_default_context()


def get_rmw_implementation_identifier() -> str:
    """Return the name of the middleware whose peer this is."""
    return "rmw_cyclonedds_cpp"

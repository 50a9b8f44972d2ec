"""Running compiled graphs: the `Engine` protocol, its backends, and the cache of built engines. Imports no torch."""

from ovseg_ros.engine.backends import installed_backends
from ovseg_ros.engine.base import Engine, Graph, Manifest, Progress
from ovseg_ros.engine.cache import build_engine, check_target, engine_root, load_engine, open_engine

__all__ = [
    "Engine",
    "Graph",
    "Manifest",
    "Progress",
    "build_engine",
    "check_target",
    "engine_root",
    "installed_backends",
    "load_engine",
    "open_engine",
]

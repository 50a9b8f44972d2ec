"""Running compiled graphs: the `Engine` protocol, its backends, and the cache of built engines. Imports no torch."""

from ovseg_ros.engine.base import Engine, Manifest
from ovseg_ros.engine.cache import engine_root, open_engine

__all__ = ["Engine", "Manifest", "engine_root", "open_engine"]

"""An engine that is wanted: where it belongs, and why what lies there or elsewhere cannot be used for it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from ovseg_ros.engine.backends import Backend
from ovseg_ros.engine.base import Graph, Manifest
from ovseg_ros.errors import EngineError
from ovseg_ros.hashing import file_hash

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"  # written last: a folder that holds it is whole


@dataclass(frozen=True)
class Order:
    """An engine that is wanted; see `open_engine` and `Backend.hardware`."""

    graph: Graph
    backend: Backend
    device: str
    precision: str
    compute_capability: str | None
    hardware: str
    root: Path

    @property
    def key(self) -> str:
        """Of the engine; see `engine_key`."""
        return engine_key(self.graph, self.backend, self.hardware, self.precision)

    @property
    def folder(self) -> Path:
        """Where the engine belongs."""
        return self.root / self.graph.model / self.key


def engine_key(graph: Graph, backend: Backend, hardware: str, precision: str) -> str:
    """16 hex digits over everything that decides whether an engine is valid."""
    limits = graph.limits if backend.planned else []
    content = [graph.hash, graph.text_identity, backend.name, backend.version(), hardware, precision, *limits]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def problem(order: Order) -> str | None:
    """Why the engine of an order cannot be used, or None where it is what it should be."""
    try:
        manifest = Manifest.read(order.folder / MANIFEST)
    except EngineError as error:
        return str(error)
    if (manifest.weights_hash, manifest.text_identity) != (order.graph.hash, order.graph.text_identity):
        return f"it is of another graph than {order.graph.path}"
    return damage(order.folder, manifest) or foreign(manifest, order.backend, order.hardware)


def damage(folder: Path, manifest: Manifest) -> str | None:
    """Which file of an engine is not as it was written, or None where all are."""
    for name, digest in manifest.files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if file_hash(path) != digest:
            return f"{name} is truncated or changed"
    return None


def foreign(manifest: Manifest, backend: Backend, hardware: str) -> str | None:
    """Why an engine is not for this backend, version and device, or None where it is."""
    ours = backend.version()
    if (manifest.backend, manifest.backend_version) != (backend.name, ours):
        return f"it was built by {manifest.backend} {manifest.backend_version}, and this is {backend.name} {ours}"
    if manifest.device != hardware:
        return f"it was built for {manifest.device}, and this is {hardware}"
    return None


def tell_of_others(order: Order) -> None:
    """Say why an engine of the same graph and backend, which the user may have expected to serve, does not."""
    for path in sorted(order.folder.parent.glob(f"[!.]*/{MANIFEST}")):
        with contextlib.suppress(EngineError):
            manifest = Manifest.read(path)
            reason = foreign(manifest, order.backend, order.hardware)
            if manifest.backend == order.backend.name and manifest.weights_hash == order.graph.hash and reason:
                log.info("the engine in %s does not serve here: %s; building one that does", path.parent, reason)
                return

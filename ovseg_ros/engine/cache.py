"""Built engines on disk: found by a hash of what decides validity, checked, and rebuilt when stale or damaged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ovseg_ros.engine import openvino
from ovseg_ros.engine.base import Engine, Manifest
from ovseg_ros.engine.openvino import OpenVINOEngine
from ovseg_ros.errors import EngineError
from ovseg_ros.hashing import file_hash

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Graph:
    """An exported graph, the source that engines are built from."""

    model: str
    path: Path
    hash: str  # SHA-256 of the file
    text_identity: str
    text_width: int
    size: tuple[int, int]
    licence: str


def engine_root() -> Path:
    """Where engines are kept: $OVSEG_ENGINES, the source tree's `engines/`, or the user's cache."""
    if chosen := os.environ.get("OVSEG_ENGINES"):
        return Path(chosen)
    source_tree = Path(__file__).resolve().parents[2] / "engines"
    if (source_tree / "README.md").is_file() and os.access(source_tree, os.W_OK):
        return source_tree
    return cache_root() / "engines"


def cache_root() -> Path:
    """The user's cache folder for this project."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ovseg_ros"


def open_engine(graph: Graph, device: str = "cpu", precision: str = "auto", root: Path | None = None) -> Engine:
    """Load the engine of a graph, building it first where there is none that fits.

    Args:
        graph: what to run.
        device: cpu, or gpu for an Intel GPU.
        precision: auto (what the device does fastest), fp32, bf16 or fp16.
        root: folder of engines; `engine_root()` where None.

    Raises:
        EngineError: for an unknown device or precision, or when the graph cannot be compiled.
    """
    if device.partition(":")[0] not in ("cpu", "gpu"):
        raise EngineError(f"there is no backend for the device {device!r}; expected cpu, or gpu for an Intel GPU")
    if precision not in openvino.PRECISIONS:
        raise EngineError(f"unknown precision {precision!r}; expected one of {', '.join(openvino.PRECISIONS)}")
    hardware = openvino.device_name(device)
    folder = (root or engine_root()) / graph.model / engine_key(graph, hardware, precision)
    problem = _problem(folder) if folder.exists() else None
    if problem:
        log.warning("the engine in %s is unusable (%s); building it anew", folder, problem)
    if problem or not folder.exists():
        folder = _build(graph, folder, device, hardware, precision)
    try:
        return OpenVINOEngine(folder, device)
    except EngineError as error:
        log.warning("%s; building it anew", error)
        return OpenVINOEngine(_build(graph, folder, device, hardware, precision), device)


def engine_key(graph: Graph, hardware: str, precision: str) -> str:
    """16 hex digits over everything that decides whether an engine is valid."""
    content = [graph.hash, graph.text_identity, "openvino", openvino.version(), hardware, precision]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _problem(folder: Path) -> str | None:
    """Why an engine cannot be used, or None where its files are what its manifest says."""
    try:
        manifest = Manifest.read(folder / "manifest.json")
    except EngineError as error:
        return str(error)
    for name, digest in manifest.files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if file_hash(path) != digest:
            return f"{name} is truncated or changed"
    return None


def _build(graph: Graph, folder: Path, device: str, hardware: str, precision: str) -> Path:
    """Build beside the target and move into place, so that no half-written engine is ever seen.

    Where the folder cannot be written, the engine goes to a temporary one and the next start builds it again.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    except OSError as error:
        log.warning("cannot keep engines in %s (%s); set OVSEG_ENGINES to a folder that can be written", folder, error)
        scratch = folder = Path(tempfile.mkdtemp(prefix="ovseg-engine-"))
    try:
        running = openvino.build(graph.path, scratch, device, precision)
        Manifest(
            model=graph.model,
            weights_hash=graph.hash,
            backend="openvino",
            backend_version=openvino.version(),
            device=hardware,
            precision=running,
            text_identity=graph.text_identity,
            text_width=graph.text_width,
            size=graph.size,
            licence=graph.licence,
            inputs={"image": "uint8 (1, H, W, 3) RGB", "text": f"float32 (K, S, {graph.text_width})"},
            outputs={"labels": "int32 (1, H, W)", "confidence": "uint8 (1, H, W)"},
            files={openvino.BLOB: file_hash(scratch / openvino.BLOB)},
        ).write(scratch / "manifest.json")
        if scratch != folder:
            scratch.chmod(0o755)  # mkdtemp makes private folders
            _replace_folder(scratch, folder)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise EngineError(f"cannot write the engine {folder}: {error}; free some space or set OVSEG_ENGINES") from error
    except EngineError:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return folder


def _replace_folder(new: Path, target: Path) -> None:
    """Move `new` to `target`; of two builders at once, either's result will do."""
    if target.exists():
        old = target.with_name(f".old-{target.name}-{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):  # another builder was first
            target.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    try:
        new.rename(target)
    except OSError:
        if not (target / "manifest.json").is_file():
            raise
        shutil.rmtree(new, ignore_errors=True)

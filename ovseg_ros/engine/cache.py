"""Built engines on disk: found by a hash of what decides validity, checked, and rebuilt when stale or damaged."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ovseg_ros.engine.backends import find_backend
from ovseg_ros.engine.base import Engine, Graph, Job, Manifest, Progress
from ovseg_ros.engine.orders import MANIFEST, Order, damage, engine_key, foreign, problem, tell_of_others
from ovseg_ros.errors import EngineError
from ovseg_ros.folders import replace_folder
from ovseg_ros.hashing import file_hash

__all__ = ["Graph", "build_engine", "cache_root", "engine_key", "engine_root", "load_engine", "open_engine"]

log = logging.getLogger(__name__)


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


def open_engine(
    graph: Graph,
    device: str = "cpu",
    precision: str = "auto",
    root: Path | None = None,
    backend: str = "auto",
    progress: Progress | None = None,
) -> Engine:
    """Load the engine of a graph, building it first where there is none that fits.

    Args:
        graph: what to run.
        device: cpu, gpu[:i] for an Intel GPU, or cuda[:i] for an NVIDIA one.
        precision: auto (what the device does fastest), fp32, bf16 or fp16.
        root: folder of engines; `engine_root()` where None.
        backend: openvino, tensorrt, tensorrt-rtx, torch, or auto, which goes by the device.
        progress: told how a build goes on.

    Raises:
        EngineError: for an unknown device, backend or precision, when there is no such device, or when the graph
            cannot be compiled.
        KeyboardInterrupt: raised by `progress` to cancel; nothing of the build is left.
    """
    chosen = find_backend(backend, device, precision)
    order = Order(graph, chosen, device, precision, None, chosen.hardware(device, None), root or engine_root())
    folder = _find_or_build(order, progress)
    try:
        return chosen.load(folder, device)
    except EngineError as error:
        log.warning("%s; building it anew", error)
        return chosen.load(_find_or_build(order, progress, anew=True), device)


def build_engine(
    graph: Graph,
    backend: str,
    precision: str = "auto",
    compute_capability: str | None = None,
    progress: Progress | None = None,
    root: Path | None = None,
    device: str | None = None,
) -> Path:
    """Build an engine where there is none yet, for this machine or for another one's GPU.

    Args:
        graph: what to build.
        backend: openvino, tensorrt, tensorrt-rtx or torch; auto goes by the device.
        precision: auto, fp32, bf16 or fp16.
        compute_capability: of the GPU it is for, such as "8.7" (tensorrt-rtx alone); this machine's where None.
        progress: told how it goes on.
        root: folder of engines; `engine_root()` where None.
        device: cpu, gpu[:i] or cuda[:i]; the backend's own where None.

    Returns:
        the engine's folder.

    Raises:
        EngineError, KeyboardInterrupt: as `open_engine`.
    """
    chosen = find_backend(backend, device, precision)
    device = device or chosen.devices[0]
    hardware = chosen.hardware(device, compute_capability)
    root = root or engine_root()
    return _find_or_build(Order(graph, chosen, device, precision, compute_capability, hardware, root), progress)


def check_target(
    backend: str, precision: str = "auto", compute_capability: str | None = None, device: str | None = None
) -> None:
    """Refuse what `build_engine` could not build for, before anything is exported for it.

    Raises:
        EngineError: as `build_engine`.
    """
    chosen = find_backend(backend, device, precision)
    chosen.hardware(device or chosen.devices[0], compute_capability)


def load_engine(folder: Path, device: str | None = None) -> Engine:
    """Load an engine from its folder, wherever that came from.

    Raises:
        EngineError: when it is damaged, or was built by another version or for another device; one sentence.
    """
    manifest = Manifest.read(folder / MANIFEST)
    backend = find_backend(manifest.backend, device)
    device = device or backend.devices[0]
    reason = damage(folder, manifest) or foreign(manifest, backend, backend.hardware(device, None))
    if reason:
        raise EngineError(f"the engine in {folder} cannot be used: {reason}; build it on this machine")
    return backend.load(folder, device)


def _find_or_build(order: Order, progress: Progress | None, anew: bool = False) -> Path:
    """The folder of a whole engine; of two that want the same one at once, the second waits for the first."""
    folder = order.folder
    if not anew and folder.exists() and problem(order) is None:
        return folder
    with _lock(order):
        if folder.exists() and not anew:
            reason = problem(order)
            if reason is None:
                return folder
            log.warning("the engine in %s is unusable (%s); building it anew", folder, reason)
        if order.compute_capability is None:
            tell_of_others(order)
        return _build(order, progress)


@contextlib.contextmanager
def _lock(order: Order) -> Iterator[None]:
    """Hold the right to build an order; nothing where the root cannot be written, as nothing is shared then."""
    lock = FileLock(order.root / ".locks" / f"{order.graph.model}-{order.key}")
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another process is building %s; waiting for it", order.folder)
            lock.acquire()
    except OSError:
        pass
    try:
        yield
    finally:
        lock.release()


def _build(order: Order, progress: Progress | None) -> Path:
    """Build beside the target and move into place, so that no half-written engine is ever seen.

    Where the root cannot be written, the engine goes to a temporary folder, and the next start builds it again.
    """
    folder = order.folder
    shared: Path | None = order.root
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for rubbish in folder.parent.glob(f".building-{order.key}-*"):  # of a builder that was killed: we hold the lock
            shutil.rmtree(rubbish, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".building-{order.key}-", dir=folder.parent))
    except OSError as error:
        log.warning(
            "cannot keep engines in %s (%s); set OVSEG_ENGINES to a folder that can be written", folder.parent, error
        )
        scratch = folder = Path(tempfile.mkdtemp(prefix="ovseg-engine-"))
        shared = None
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        graph = order.graph
        job = Job(graph, scratch, order.device, order.precision, order.compute_capability, shared, progress)
        built = order.backend.build(job)
        files = {name: file_hash(scratch / name) for name in built.files}
        _manifest(order, built.precision, files).write(scratch / MANIFEST)
        if scratch != folder:
            scratch.chmod(0o755)  # mkdtemp makes private folders
            replace_folder(scratch, folder)
    except BaseException as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if isinstance(error, OSError):
            raise EngineError(
                f"cannot write the engine {folder}: {error}; free some space or set OVSEG_ENGINES"
            ) from error
        raise
    return folder


def _manifest(order: Order, precision: str, files: dict[str, str]) -> Manifest:
    graph, planned = order.graph, order.backend.planned
    return Manifest(
        model=graph.model,
        weights_hash=graph.hash,
        backend=order.backend.name,
        backend_version=order.backend.version(),
        device=order.hardware,
        precision=precision,
        text_identity=graph.text_identity,
        text_width=graph.text_width,
        size=graph.size,
        licence=graph.licence,
        inputs={"image": "uint8 (N, H, W, 3) RGB", "text": f"float32 (K, S, {graph.text_width})"},
        outputs={"labels": "int32 (N, H, W)", "confidence": "uint8 (N, H, W)"},
        files=files,
        max_classes=graph.max_classes if planned else 0,
        max_synonyms=graph.max_synonyms if planned else 0,
        max_batch=graph.max_batch if planned else 1,
    )

"""Building TensorRT engines, by `tensorrt` (10 and 11) and by `tensorrt_rtx`, whose Python API is the same.

Networks are strongly typed: precision is in the graph (see `precision.py`), as TensorRT 11 demands and 10 supports.
TensorRT measures kernels on the GPU at hand and builds for that; TensorRT-RTX picks kernels where the engine runs, so
it builds for any compute capability, with no GPU needed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import logging
import os
import traceback
from pathlib import Path
from typing import Any

from ovseg_ros.engine import cuda
from ovseg_ros.engine.base import Built, Graph, Job, Progress
from ovseg_ros.engine.precision import half_graph
from ovseg_ros.errors import EngineError

log = logging.getLogger(__name__)

PLAN = "image.plan"
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
RTX = "tensorrt_rtx"
LEAST_BFLOAT16 = (8, 0)  # the first compute capability with bfloat16 arithmetic
TURING = "7.5"  # TensorRT-RTX multiplies no float32 matrices there


def load_module(name: str) -> Any:
    """The module `tensorrt` or `tensorrt_rtx`.

    Raises:
        EngineError: when it is not installed, or the libraries it needs are missing.
    """
    package = name.replace("_", "-")
    if importlib.util.find_spec(name) is None:
        raise EngineError(f"{package} is not installed; pip install {package} (on Jetson it comes with JetPack)")
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise EngineError(f"{package} cannot be loaded: {error}; install it again") from error


def version(name: str) -> str:
    """The module's version; a plan is valid for this version alone."""
    return str(load_module(name).__version__)


def hardware(name: str, device: str, compute_capability: str | None = None) -> str:
    """What an engine is built for: a compute capability (TensorRT-RTX), or a GPU by name (TensorRT).

    Raises:
        EngineError: when there is no such GPU here, or the module cannot build for that compute capability.
    """
    if name == RTX:
        supported = _compute_capabilities(load_module(name))
        wanted = compute_capability or cuda.find_device(device).compute_capability
        if wanted not in supported:
            raise EngineError(
                f"TensorRT-RTX cannot build for compute capability {wanted}; it supports {', '.join(supported)} "
                "(for other GPUs use the backend tensorrt)"
            )
        return f"compute capability {wanted}"
    gpu = cuda.find_device(device)
    if compute_capability not in (None, gpu.compute_capability):
        raise EngineError(
            f"TensorRT builds on the GPU that it builds for, and {gpu.name} has compute capability "
            f"{gpu.compute_capability}, not {compute_capability}; build there, or use the backend tensorrt-rtx"
        )
    return f"{gpu.name}, compute capability {gpu.compute_capability}"


def _compute_capabilities(trt: Any) -> list[str]:
    """Those that TensorRT-RTX builds for, such as "8.6"."""
    names = [name[2:] for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    return [f"{digits[:-1]}.{digits[-1]}" for digits in names]


def build(name: str, job: Job) -> Built:
    """Compile an ONNX graph into the job's folder.

    Raises:
        EngineError: when the graph cannot be parsed or compiled, or the GPU has no such precision.
        KeyboardInterrupt: when the job's progress callback raised it.
        OSError: when the folder cannot be written.
    """
    try:
        return _build(name, job)
    except BaseException as error:
        # The traceback would keep the builder until a garbage collection, which may come while the next builder logs
        # something, inside TensorRT's own lock: a deadlock.
        traceback.clear_frames(error.__traceback__)
        raise


def _build(name: str, job: Job) -> Built:
    trt = load_module(name)
    precision = "fp16" if job.precision == "auto" else job.precision
    capability = job.compute_capability or cuda.find_device(job.device).compute_capability
    _check_precision(name, precision, capability)
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    network, _parser = _parse(trt, builder, logger, job, precision, capability)
    config = builder.create_builder_config()
    config.add_optimization_profile(_profile(builder, job.graph))
    if precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)  # or products would be rounded to 10 bits
    monitor = _make_monitor(trt, job.progress)
    config.progress_monitor = monitor
    if name == RTX:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}"), 0)
    else:
        cuda.use_device(cuda.find_device(job.device).index)
        _read_timings(config, job)
    plan = builder.build_serialized_network(network, config)
    if monitor.cancelled is not None:
        raise monitor.cancelled
    if plan is None:
        raise EngineError(f"{name} cannot compile {job.graph.path}: {logger.last_error}")
    (job.folder / PLAN).write_bytes(memoryview(plan))
    if name != RTX:
        _write_timings(config, job)
    return Built(precision, (PLAN,))


def _check_precision(name: str, precision: str, capability: str) -> None:
    if precision == "bf16" and tuple(map(int, capability.split("."))) < LEAST_BFLOAT16:
        raise EngineError(f"compute capability {capability} has no bfloat16 arithmetic; build for fp16")
    if precision == "fp32" and name == RTX and capability == TURING:
        raise EngineError(f"TensorRT-RTX has no float32 products on compute capability {capability}; build for fp16")


def _parse(trt: Any, builder: Any, logger: Any, job: Job, precision: str, capability: str) -> tuple[Any, Any]:
    """The network, and the parser, whose memory the network's weights are in."""
    source = job.graph.path
    if precision != "fp32":
        source = job.folder / "typed.onnx"
        half_graph(job.graph.path, source, precision, all_products=capability == TURING)
    # TensorRT 11 types strongly whether asked or not
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(source)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        reason = "; ".join(f"{error.node_name()}: {error.desc()}".strip(": ") for error in errors) or logger.last_error
        raise EngineError(f"{trt.__name__} cannot parse {job.graph.path}: {' '.join(reason.split())}")
    if source != job.graph.path:
        source.unlink()
    return network, parser


def _profile(builder: Any, graph: Graph) -> Any:
    """Smallest, usual and largest shapes of the inputs; kernels are chosen for the usual ones."""
    smallest, usual, largest = graph.image_sizes
    profile = builder.create_optimization_profile()
    profile.set_shape("image", (1, *smallest, 3), (1, *usual, 3), (graph.max_batch, *largest, 3))
    usual_classes = min(20, graph.max_classes)
    width = graph.text_width
    profile.set_shape("text", (1, 1, width), (usual_classes, 1, width), (graph.max_classes, graph.max_synonyms, width))
    return profile


def _timings_path(job: Job) -> Path | None:
    """One file for each version; TensorRT keeps the GPUs in it apart."""
    return job.shared and job.shared / ".timings" / f"tensorrt-{version('tensorrt')}"


def _read_timings(config: Any, job: Job) -> None:
    """Start from earlier builds' measurements; those of another version are refused, and measured again."""
    path = _timings_path(job)
    if path is None:
        return
    content = path.read_bytes() if path.is_file() else b""
    if not config.set_timing_cache(config.create_timing_cache(content), ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _write_timings(config: Any, job: Job) -> None:
    path = _timings_path(job)
    if path is None:
        return
    with contextlib.suppress(OSError):  # a loss of time alone
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}")
        scratch.write_bytes(memoryview(config.get_timing_cache().serialize()))
        scratch.replace(path)


def make_logger(trt: Any) -> Any:
    """A TensorRT logger that writes to Python's, and remembers the last error in `last_error`."""
    levels = {
        trt.ILogger.Severity.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.Severity.ERROR: logging.ERROR,
        trt.ILogger.Severity.WARNING: logging.WARNING,
        trt.ILogger.Severity.INFO: logging.DEBUG,
        trt.ILogger.Severity.VERBOSE: logging.DEBUG,
    }

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.last_error = "it gave no reason"

        def log(self, severity: Any, message: str) -> None:
            level = levels[severity]
            if level == logging.ERROR:
                self.last_error = " ".join(message.split())  # the caller raises it
                level = logging.DEBUG
            log.log(level, "%s", message)

    return Logger()


def _make_monitor(trt: Any, progress: Progress | None) -> Any:
    """A progress monitor; what the callback raises stops the build and lies in `cancelled`.

    There is one without a callback as well: only while Python code runs can Ctrl-C come through.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.cancelled: BaseException | None = None
            self._totals: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self._totals[phase] = steps
            self._tell(phase, 0)

        def step_complete(self, phase: str, step: int) -> bool:
            self._tell(phase, step + 1)
            return self.cancelled is None

        def phase_finish(self, phase: str) -> None:
            self._tell(phase, self._totals.get(phase, 0))

        def _tell(self, phase: str, done: int) -> None:
            try:
                if progress is not None and self.cancelled is None:
                    progress(phase, done, self._totals.get(phase, done))
            except BaseException as error:  # no exception may cross TensorRT's own code
                self.cancelled = error

    return Monitor()

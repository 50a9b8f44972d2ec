"""The backends by name: what each is built and loaded with, and which one a device gets."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ovseg_ros.engine import openvino, tensorrt, torch
from ovseg_ros.engine.base import Built, Engine, Job
from ovseg_ros.engine.openvino import OpenVINOEngine
from ovseg_ros.engine.tensorrt_engine import TensorRTEngine
from ovseg_ros.engine.torch import TorchEngine
from ovseg_ros.errors import EngineError


@dataclass(frozen=True)
class Backend:
    """One way to build and run a graph.

    Attributes:
        name: openvino | tensorrt | tensorrt-rtx | torch.
        module: the Python module that it needs.
        devices: kinds of devices it runs on, its default first.
        precisions: what it may be asked to run in.
        planned: whether engines hold for the graph's limits alone (class count, batch, image sizes).
        version: the version of its runtime; engines hold for that one alone.
        hardware: what an engine for (device, compute capability or None) is built for, in words.
        build: builds a job's engine.
        load: loads an engine from (folder, device).
    """

    name: str
    module: str
    devices: tuple[str, ...]
    precisions: tuple[str, ...]
    planned: bool
    version: Callable[[], str]
    hardware: Callable[[str, str | None], str]
    build: Callable[[Job], Built]
    load: Callable[[Path, str], Engine]

    @property
    def installed(self) -> bool:
        """Whether its module is there; that says nothing of devices."""
        return importlib.util.find_spec(self.module) is not None


def _tensorrt(name: str, module: str) -> Backend:
    return Backend(
        name,
        module,
        ("cuda",),
        tensorrt.PRECISIONS,
        True,
        partial(tensorrt.version, module),
        partial(tensorrt.hardware, module),
        partial(tensorrt.build, module),
        partial(TensorRTEngine, module),
    )


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend(
            "openvino",
            "openvino",
            ("cpu", "gpu"),
            tuple(openvino.PRECISIONS),
            False,
            # by way of the module, so that a test can replace them
            lambda: openvino.version(),
            lambda device, capability: openvino.hardware(device, capability),
            lambda job: openvino.build(job),
            OpenVINOEngine,
        ),
        _tensorrt("tensorrt", "tensorrt"),
        _tensorrt("tensorrt-rtx", tensorrt.RTX),
        Backend(
            "torch",
            "torch",
            ("cpu", "cuda"),
            torch.PRECISIONS,
            False,
            torch.version,
            torch.hardware,
            torch.build,
            TorchEngine,
        ),
    )
}


def installed_backends() -> list[str]:
    """Names of the backends whose modules are installed."""
    return [name for name, backend in BACKENDS.items() if backend.installed]


def find_backend(name: str, device: str | None = None, precision: str = "auto") -> Backend:
    """A backend by name, or by device where the name is auto: OpenVINO, or TensorRT for an NVIDIA GPU.

    Args:
        name: a backend, or auto.
        device: cpu, gpu[:i] or cuda[:i]; None asks for no particular one.
        precision: what it must offer.

    Raises:
        EngineError: for a name, device or precision that there is not, or a backend that is not installed.
    """
    kind = "" if device is None else device.partition(":")[0]
    if kind and kind not in {d for backend in BACKENDS.values() for d in backend.devices}:
        raise EngineError(
            f"there is no backend for the device {device!r}; expected cpu, gpu for an Intel GPU, or cuda[:i]"
        )
    if name == "auto":
        name = "openvino" if kind != "cuda" else _tensorrt_installed()
    if name not in BACKENDS:
        raise EngineError(f"there is no backend {name!r}; expected auto, {', '.join(BACKENDS)}")
    backend = BACKENDS[name]
    if kind and kind not in backend.devices:
        raise EngineError(f"{name} does not run on the device {device!r}; it runs on {', '.join(backend.devices)}")
    if precision not in backend.precisions:
        raise EngineError(f"unknown precision {precision!r}; expected one of {', '.join(backend.precisions)}")
    if not backend.installed:
        raise EngineError(f"the backend {name} needs {backend.module}, which is not installed; pip install {name}")
    return backend


def _tensorrt_installed() -> str:
    for name in ("tensorrt", "tensorrt-rtx"):
        if BACKENDS[name].installed:
            return name
    raise EngineError("no backend for NVIDIA GPUs is installed; pip install 'ovseg_ros[cuda]', or install tensorrt")

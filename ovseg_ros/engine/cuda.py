"""The part of the CUDA runtime that TensorRT engines need, over cuda-python: every call is checked.

No machine with a GPU has run this module yet; its tests stand a fake runtime in for CUDA's.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ovseg_ros.errors import EngineError


@cache
def runtime() -> Any:
    """The module `cuda.bindings.runtime`.

    Raises:
        EngineError: when cuda-python is not installed.
    """
    for name in ("cuda.bindings.runtime", "cuda.cudart"):  # the second in releases before 12.6
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise EngineError("GPU engines need cuda-python, which is not installed; pip install 'ovseg_ros[cuda]'")


def checked(function: str, *arguments: Any) -> Any:
    """Call a function of the runtime by name; returns its result, or the tuple of its results.

    Raises:
        EngineError: names the function and CUDA's reason.
    """
    error, *results = getattr(runtime(), function)(*arguments)
    if int(error) != 0:
        runtime().cudaGetLastError()  # or the next call would report it again
        raise EngineError(f"{function} failed: {_reason(error)}")
    return results[0] if len(results) == 1 else tuple(results)


def _reason(error: Any) -> str:
    _, name = runtime().cudaGetErrorName(error)
    _, text = runtime().cudaGetErrorString(error)
    return f"{name.decode()} ({text.decode()})"


@dataclass(frozen=True)
class Device:
    """A GPU: its index, name and compute capability, such as "8.6"."""

    index: int
    name: str
    compute_capability: str


def find_device(device: str) -> Device:
    """The GPU that `cuda` or `cuda:1` names.

    Raises:
        EngineError: when there is no such GPU, or none at all; one sentence.
    """
    error, count = runtime().cudaGetDeviceCount()
    if int(error) != 0 or count == 0:
        reason = _reason(error) if int(error) else "CUDA lists none"
        raise EngineError(f"there is no NVIDIA GPU that CUDA can use on this machine: {reason}; try the device cpu")
    _, _, digits = device.partition(":")
    if (digits and not digits.isdecimal()) or int(digits or 0) >= count:
        raise EngineError(f"there is no GPU {device!r} on this machine; expected cuda:0 to cuda:{count - 1}")
    properties = checked("cudaGetDeviceProperties", int(digits or 0))
    return Device(int(digits or 0), properties.name.decode(), f"{properties.major}.{properties.minor}")


def use_device(index: int) -> None:
    """Make a GPU the calling thread's own; CUDA keeps that by thread."""
    checked("cudaSetDevice", index)


class _Resource:
    """Something of CUDA's with a handle, given back on leaving a `with`."""

    def __init__(self, handle: Any, free: str) -> None:
        self.handle, self._free = handle, free

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        getattr(runtime(), self._free)(self.handle)  # unchecked: after a failure of the GPU, freeing fails as well


class DeviceMemory(_Resource):
    """Bytes on the GPU, aligned to 256.

    Raises:
        EngineError: when the GPU has too little memory.
    """

    def __init__(self, size: int) -> None:
        try:
            address = checked("cudaMalloc", max(size, 1))
        except EngineError as error:
            raise EngineError(
                f"the GPU has no {size / 1e6:.0f} MB left ({error}); take fewer classes or smaller images, or stop "
                "what else uses it"
            ) from error
        super().__init__(address, "cudaFree")
        self.address = int(address)


class Tensor(_Resource):
    """An array in page-locked memory of the host, `host`, with its twin on the GPU at `address`."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        with ExitStack() as stack:
            memory = stack.enter_context(DeviceMemory(size))
            super().__init__(checked("cudaMallocHost", max(size, 1)), "cudaFreeHost")
            self._stack = stack.pop_all()
        self.address, self._size = memory.address, size
        self.host: NDArray[Any] = _array_at(int(self.handle), shape, np.dtype(dtype))
        self.host[...] = 0

    def __exit__(self, *details: Any) -> None:
        super().__exit__(*details)
        self._stack.close()

    def upload(self, stream: Stream) -> None:
        """Copy to the GPU, in the stream's order."""
        kind = runtime().cudaMemcpyKind.cudaMemcpyHostToDevice
        checked("cudaMemcpyAsync", self.address, int(self.handle), self._size, kind, stream.handle)

    def download(self, stream: Stream) -> None:
        """Copy from the GPU, in the stream's order; `host` holds it once the stream is done."""
        kind = runtime().cudaMemcpyKind.cudaMemcpyDeviceToHost
        checked("cudaMemcpyAsync", int(self.handle), self.address, self._size, kind, stream.handle)


def _array_at(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A view of host memory that someone else owns."""
    holder = type("Memory", (), {})()
    holder.__array_interface__ = {"data": (address, False), "shape": shape, "typestr": dtype.str, "version": 3}
    return np.asarray(holder)


class Stream(_Resource):
    """A queue of work on the GPU, independent of the default stream."""

    def __init__(self) -> None:
        flag = runtime().cudaStreamNonBlocking
        super().__init__(checked("cudaStreamCreateWithFlags", flag), "cudaStreamDestroy")

    def wait(self) -> None:
        """Block until all work is done; errors of the work appear here."""
        checked("cudaStreamSynchronize", self.handle)

    def capture(self, work: Callable[[], None]) -> CapturedGraph:
        """Record what `work` puts into this stream, without running it.

        Raises:
            EngineError: when something of it cannot be recorded; the stream can be used again.
        """
        # other threads may allocate meanwhile
        checked("cudaStreamBeginCapture", self.handle, runtime().cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        try:
            work()
        except BaseException:
            runtime().cudaStreamEndCapture(self.handle)  # the recording is void and says so
            runtime().cudaGetLastError()
            raise
        graph = checked("cudaStreamEndCapture", self.handle)
        try:
            return CapturedGraph(checked("cudaGraphInstantiate", graph, 0))
        finally:
            checked("cudaGraphDestroy", graph)


class CapturedGraph(_Resource):
    """Recorded work, launched as one."""

    def __init__(self, handle: Any) -> None:
        super().__init__(handle, "cudaGraphExecDestroy")

    def launch(self, stream: Stream) -> None:
        """Put it into a stream."""
        checked("cudaGraphLaunch", self.handle, stream.handle)

"""Stand-ins for CUDA's runtime and for TensorRT, strict about what the real ones would crash on.

"GPU" memory is memory of this process; work that is put into a stream runs at once, or is recorded while capturing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np


class Error(IntEnum):
    SUCCESS, OUT_OF_MEMORY, INVALID, CAPTURE, NO_DEVICE = 0, 2, 1, 900, 100


class FakeRuntime:
    """`cuda.bindings.runtime` with one GPU of `memory` bytes."""

    cudaStreamNonBlocking = 1  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815

    def __init__(self, memory: int = 1 << 30, devices: int = 1, capability: tuple[int, int] = (8, 6)) -> None:
        self.memory, self.devices, self.capability = memory, devices, capability
        self.device_blocks: dict[int, Any] = {}
        self.host_blocks: dict[int, Any] = {}
        self.streams: set[int] = set()
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.executables: dict[int, list[Callable[[], None]]] = {}
        self.recording: list[Callable[[], None]] | None = None
        self.refuse_capture = False
        self.uploads = self.launches = self.enqueues = 0
        self._next = 1000

    # what tests ask

    @property
    def leaks(self) -> int:
        """Things that were not given back."""
        kept = (self.device_blocks, self.host_blocks, self.streams, self.graphs, self.executables)
        return sum(map(len, kept))

    def submit(self, work: Callable[[], None]) -> bool:
        """A network's kernels, put into a stream."""
        self.enqueues += 1
        if self.recording is not None:
            if self.refuse_capture:
                return False
            self.recording.append(work)
        else:
            work()
        return True

    # what CUDA has

    def cudaGetErrorName(self, error: Error) -> Any:  # noqa: N802
        return Error.SUCCESS, error.name.encode()

    def cudaGetErrorString(self, error: Error) -> Any:  # noqa: N802
        return Error.SUCCESS, b"says the fake"

    def cudaGetLastError(self) -> Any:  # noqa: N802
        return (Error.SUCCESS,)

    def cudaGetDeviceCount(self) -> Any:  # noqa: N802
        return (Error.SUCCESS, self.devices) if self.devices else (Error.NO_DEVICE, None)

    def cudaGetDeviceProperties(self, index: int) -> Any:  # noqa: N802
        assert index < self.devices
        return Error.SUCCESS, SimpleNamespace(name=b"Fake GPU", major=self.capability[0], minor=self.capability[1])

    def cudaSetDevice(self, index: int) -> Any:  # noqa: N802
        return (Error.SUCCESS,)

    def cudaMalloc(self, size: int) -> Any:  # noqa: N802
        if size + sum(map(ctypes.sizeof, self.device_blocks.values())) > self.memory:
            return Error.OUT_OF_MEMORY, None
        return Error.SUCCESS, self._allocate(size, self.device_blocks)

    def cudaFree(self, address: int) -> Any:  # noqa: N802
        del self.device_blocks[address]
        return (Error.SUCCESS,)

    def cudaMallocHost(self, size: int) -> Any:  # noqa: N802
        return Error.SUCCESS, self._allocate(size, self.host_blocks)

    def cudaFreeHost(self, address: int) -> Any:  # noqa: N802
        del self.host_blocks[address]
        return (Error.SUCCESS,)

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> Any:  # noqa: N802
        assert stream in self.streams
        up = kind == self.cudaMemcpyKind.cudaMemcpyHostToDevice
        assert size <= ctypes.sizeof((self.device_blocks if up else self.host_blocks)[to])
        assert size <= ctypes.sizeof((self.host_blocks if up else self.device_blocks)[source])
        self.uploads += up
        ctypes.memmove(to, source, size)
        return (Error.SUCCESS,)

    def cudaStreamCreateWithFlags(self, flags: int) -> Any:  # noqa: N802
        self.streams.add(self._handle())
        return Error.SUCCESS, self._next

    def cudaStreamDestroy(self, stream: int) -> Any:  # noqa: N802
        self.streams.remove(stream)
        return (Error.SUCCESS,)

    def cudaStreamSynchronize(self, stream: int) -> Any:  # noqa: N802
        assert stream in self.streams
        return (Error.SUCCESS,)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> Any:  # noqa: N802
        assert stream in self.streams
        assert self.recording is None
        self.recording = []
        return (Error.SUCCESS,)

    def cudaStreamEndCapture(self, stream: int) -> Any:  # noqa: N802
        recorded, self.recording = self.recording, None
        assert recorded is not None
        if not recorded:
            return Error.CAPTURE, None
        self.graphs[self._handle()] = recorded
        return Error.SUCCESS, self._next

    def cudaGraphInstantiate(self, graph: int, flags: int) -> Any:  # noqa: N802
        self.executables[self._handle()] = list(self.graphs[graph])
        return Error.SUCCESS, self._next

    def cudaGraphDestroy(self, graph: int) -> Any:  # noqa: N802
        del self.graphs[graph]
        return (Error.SUCCESS,)

    def cudaGraphExecDestroy(self, graph: int) -> Any:  # noqa: N802
        del self.executables[graph]
        return (Error.SUCCESS,)

    def cudaGraphLaunch(self, graph: int, stream: int) -> Any:  # noqa: N802
        assert stream in self.streams
        self.launches += 1
        for work in self.executables[graph]:
            work()
        return (Error.SUCCESS,)

    def _handle(self) -> int:
        self._next += 1
        return self._next

    @staticmethod
    def _allocate(size: int, blocks: dict[int, Any]) -> int:
        block = (ctypes.c_char * size).from_buffer(bytearray(b"\xff") * size)
        blocks[ctypes.addressof(block)] = block
        return ctypes.addressof(block)


class FakeTensorRT:
    """The part of `tensorrt` that running needs; b"plan" is its one plan.

    Its network labels a pixel by its red value modulo K, with 100 times the table's first number as confidence.
    """

    __name__ = "tensorrt"
    __version__ = "11.0"
    ILogger = type(
        "ILogger",
        (),
        {"Severity": IntEnum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"])},
    )
    ExecutionContextAllocationStrategy = IntEnum("Strategy", ["STATIC", "USER_MANAGED"])

    def __init__(self, runtime: FakeRuntime) -> None:
        self.runtime = runtime
        self.fail_enqueue = False
        self.contexts = 0

    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        def deserialize_cuda_engine(plan: bytes) -> FakeEngine | None:
            if plan == b"plan":
                return FakeEngine(self)
            logger.log(self.ILogger.Severity.ERROR, "the plan's\n version does not match")
            return None

        return SimpleNamespace(deserialize_cuda_engine=deserialize_cuda_engine)

    def nptype(self, dtype: Any) -> Any:
        return dtype


class FakeEngine:
    names = ("image", "text", "labels", "confidence")
    num_io_tensors = 4

    def __init__(self, trt: FakeTensorRT) -> None:
        self.trt = trt

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_dtype(self, name: str) -> Any:
        return {"text": np.float32, "labels": np.int32}.get(name, np.uint8)

    def get_tensor_profile_shape(self, name: str, profile: int) -> Any:
        return {"image": ((1, 2, 2, 3), (1, 48, 64, 3), (2, 200, 200, 3)), "text": ((1, 1, 16),) * 2 + ((64, 4, 16),)}[
            name
        ]

    def create_execution_context(self, strategy: Any) -> FakeContext:
        assert strategy == self.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self.trt.contexts += 1
        return FakeContext(self)


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.trt = engine, engine.trt
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.memory = 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.get_tensor_profile_shape(name, 0)
        fits = all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))
        if fits:
            self.shapes[name] = shape
        return fits

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name] if name in self.shapes else self.shapes["image"][:3]

    def update_device_memory_size_for_shapes(self) -> int:
        assert len(self.shapes) == 2
        return 1000 * self.shapes["text"][0]

    def set_device_memory(self, address: int, size: int) -> None:
        assert size >= self.update_device_memory_size_for_shapes()
        self.memory = address

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        runtime = self.trt.runtime
        assert stream in runtime.streams
        assert self.memory in runtime.device_blocks
        if self.trt.fail_enqueue:
            return False
        return runtime.submit(self._compute)

    def _compute(self) -> None:
        image, text, labels, confidence = map(self._view, self.engine.names)
        labels[...] = image[..., 0] % len(text)
        confidence[...] = np.nan_to_num(100 * text[0, 0, 0])

    def _view(self, name: str) -> Any:
        block = self.trt.runtime.device_blocks[self.addresses[name]]
        shape, dtype = self.get_tensor_shape(name), self.engine.get_tensor_dtype(name)
        return np.frombuffer(block, dtype, count=int(np.prod(shape))).reshape(shape)

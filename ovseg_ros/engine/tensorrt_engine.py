"""Running TensorRT engines of either module.

Written to NVIDIA's API documentation; no machine with a GPU has run it yet. Its tests stand fakes in for TensorRT and
CUDA, so they check the order of calls and whose memory is whose, not what TensorRT computes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.engine import cuda
from ovseg_ros.engine.base import Manifest, check_shapes
from ovseg_ros.engine.tensorrt import PLAN, RTX, load_module, make_logger
from ovseg_ros.errors import EngineError

log = logging.getLogger(__name__)

KERNELS = "kernels.cache"  # what TensorRT-RTX compiled for this GPU
SESSIONS = 2  # the words in force and the next ones

Shapes = tuple[tuple[int, ...], tuple[int, ...]]  # of image and text


class TensorRTEngine:
    """An engine of `tensorrt.build`'s, loaded.

    Args:
        name: the module, tensorrt or tensorrt_rtx.
        folder: holds `manifest.json` and the plan.
        device: cuda[:i].

    Raises:
        EngineError: when there is no GPU, or the plan cannot be loaded and is to be built anew.
    """

    def __init__(self, name: str, folder: Path, device: str = "cuda") -> None:
        self.manifest = Manifest.read(folder / "manifest.json")
        trt = load_module(name)
        self._gpu = cuda.find_device(device).index
        cuda.use_device(self._gpu)
        self._logger = make_logger(trt)
        self._runtime = trt.Runtime(self._logger)
        try:
            engine = self._runtime.deserialize_cuda_engine((folder / PLAN).read_bytes())
        except OSError as error:
            raise EngineError(f"the engine in {folder} cannot be read: {error}") from error
        if engine is None:
            raise EngineError(f"the engine in {folder} cannot be loaded: {self._logger.last_error}")
        self._plan = _Plan(trt, engine, folder if name == RTX else None)
        self._sessions: dict[Shapes, _Session] = {}  # the latest used last
        self._lock, self._preparing = threading.Lock(), threading.Lock()

    def run(self, image: NDArray[np.uint8], text: NDArray[np.float32]) -> tuple[NDArray[np.integer], NDArray[np.uint8]]:
        """See `Engine.run`; batches beyond the manifest's `max_batch` run in parts.

        The first run of new shapes makes their session, which `prepare` would have made beforehand.
        """
        check_shapes(self.manifest, image.shape, text.shape)
        most = self.manifest.max_batch
        with self._lock:
            cuda.use_device(self._gpu)
            results = [self._run(image[i : i + most], text) for i in range(0, len(image), most)]
        if len(results) == 1:
            return results[0]
        return np.concatenate([r[0] for r in results]), np.concatenate([r[1] for r in results])

    def prepare(self, image_shape: tuple[int, ...], text_shape: tuple[int, ...]) -> None:
        """See `Engine.prepare`; makes the session of these shapes beside the one that frames go through."""
        check_shapes(self.manifest, image_shape, text_shape)
        shapes = ((min(image_shape[0], self.manifest.max_batch), *image_shape[1:]), tuple(text_shape))
        with self._preparing:
            if shapes in self._sessions:
                return
            cuda.use_device(self._gpu)
            session = _Session(self._plan, *shapes)
            with self._lock:
                self._keep(shapes, session)

    def close(self) -> None:
        """Give the GPU's memory back; the next run takes it again. Also happens when nothing refers to the engine."""
        with self._lock:
            while self._sessions:
                self._sessions.popitem()[1].close()

    def _run(
        self, image: NDArray[np.uint8], text: NDArray[np.float32]
    ) -> tuple[NDArray[np.integer], NDArray[np.uint8]]:
        shapes = (image.shape, text.shape)
        session = self._sessions.pop(shapes, None)
        try:
            session = session or self._new_session(shapes)
            result = session.run(image, text)
        except EngineError as error:
            if session is not None:  # what state it is in is unknown
                session.close()
            raise EngineError(
                f"TensorRT failed on an image of {image.shape[1:3]} with {len(text)} classes: {error}"
            ) from error
        self._keep(shapes, session)
        return result

    def _new_session(self, shapes: Shapes) -> _Session:
        try:
            return _Session(self._plan, *shapes)
        except EngineError:
            if not self._sessions:
                raise
        # the GPU's memory may be in other sessions
        while self._sessions:
            self._sessions.popitem()[1].close()
        return _Session(self._plan, *shapes)

    def _keep(self, shapes: Shapes, session: _Session) -> None:
        self._sessions[shapes] = session
        while len(self._sessions) > SESSIONS:
            self._sessions.pop(next(iter(self._sessions))).close()


class _Plan:
    """A deserialised engine with the settings that its execution contexts are made with.

    Args:
        trt: the module.
        engine: an ICudaEngine.
        kernels: folder for the kernels that TensorRT-RTX compiles at run time; None for TensorRT, which has none.
    """

    def __init__(self, trt: Any, engine: Any, kernels: Path | None) -> None:
        self.trt, self.engine = trt, engine
        self.captures_itself = kernels is not None
        self._config = self._cache = None
        self._kernels = kernels and kernels / KERNELS
        if hasattr(engine, "create_runtime_config"):  # TensorRT 10.0 has none
            self._config = engine.create_runtime_config()
            self._config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if self._kernels is not None and self._config is not None:
            # RTX knows better than we when its kernels are final, hence its own CUDA graphs; EAGER compiles them with
            # the first run of a shape, which `prepare` does
            self._config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            self._config.dynamic_shapes_kernel_specialization_strategy = (
                trt.DynamicShapesKernelSpecializationStrategy.EAGER
            )
            self._cache = self._config.create_runtime_cache()
            if self._kernels.is_file():
                self._cache.deserialize(self._kernels.read_bytes())  # False where it is another driver's or GPU's
            self._config.set_runtime_cache(self._cache)

    def create_context(self) -> Any:
        """An execution context whose memory the caller provides."""
        how = self._config or self.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self.engine.create_execution_context(how)
        if context is None:
            raise EngineError("TensorRT made no execution context; the GPU may be out of memory")
        return context

    def save_kernels(self) -> None:
        """Keep newly compiled kernels for the next start."""
        if self._cache is None or self._kernels is None:
            return
        content = bytes(memoryview(self._cache.serialize()))
        with contextlib.suppress(OSError):  # a loss of time alone
            if not self._kernels.is_file() or self._kernels.stat().st_size != len(content):
                scratch = self._kernels.with_suffix(f".{os.getpid()}")
                scratch.write_bytes(content)
                scratch.replace(self._kernels)


class _Session:
    """All that one shape of image and text needs: context, stream, buffers, CUDA graph. Nothing of it changes later.

    Raises:
        EngineError: for shapes beyond the engine's profile, or when the GPU has too little memory; nothing is kept.
    """

    def __init__(self, plan: _Plan, image_shape: tuple[int, ...], text_shape: tuple[int, ...]) -> None:
        engine = plan.engine
        self._context = plan.create_context()
        with ExitStack() as stack:
            for name, shape in (("image", image_shape), ("text", text_shape)):
                if not self._context.set_input_shape(name, shape):
                    least, _, most = (tuple(s) for s in engine.get_tensor_profile_shape(name, 0))
                    raise EngineError(f"{name} of shape {shape} is outside the engine's range, {least} to {most}")
            size = self._context.update_device_memory_size_for_shapes()
            memory = stack.enter_context(cuda.DeviceMemory(size))
            self._context.set_device_memory(memory.address, size)
            self._tensors: dict[str, cuda.Tensor] = {}
            for index in range(engine.num_io_tensors):
                name = engine.get_tensor_name(index)
                dtype = plan.trt.nptype(engine.get_tensor_dtype(name))
                tensor = stack.enter_context(cuda.Tensor(tuple(self._context.get_tensor_shape(name)), dtype))
                if not self._context.set_tensor_address(name, tensor.address):
                    raise EngineError(f"TensorRT refused the memory of {name}")
                self._tensors[name] = tensor
            self._stream = stack.enter_context(cuda.Stream())
            self._words: NDArray[np.float32] | None = None
            self._graph: cuda.CapturedGraph | None = None
            self._warm_up()
            if not plan.captures_itself:
                self._graph = self._capture(stack)
            plan.save_kernels()
            self.close = weakref.finalize(self, stack.pop_all().close)

    def run(self, image: NDArray[np.uint8], text: NDArray[np.float32]) -> tuple[NDArray[np.integer], NDArray[np.uint8]]:
        """Copy in, launch, copy out; the table goes over only where it is another than last time."""
        self._tensors["image"].host[...] = image
        self._tensors["image"].upload(self._stream)
        self._upload_words(text)
        if self._graph is not None:
            self._graph.launch(self._stream)
        else:
            self._enqueue()
        outputs = [self._tensors[name] for name in ("labels", "confidence")]
        for tensor in outputs:
            tensor.download(self._stream)
        self._stream.wait()
        labels, confidence = (tensor.host.copy() for tensor in outputs)  # the buffers are used again
        return labels, confidence

    def _upload_words(self, text: NDArray[np.float32]) -> None:
        tensor = self._tensors["text"]
        # an array that cannot be written to cannot have changed
        if text is self._words and not text.flags.writeable:
            return
        self._words = text
        if not np.array_equal(tensor.host, text):
            tensor.host[...] = text
            tensor.upload(self._stream)

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(int(self._stream.handle)):
            raise EngineError("TensorRT could not enqueue the network")

    def _warm_up(self) -> None:
        """A first run, on zeros: what TensorRT sets up lazily must be there before a capture."""
        for name in ("image", "text"):
            self._tensors[name].upload(self._stream)
        self._enqueue()
        self._stream.wait()

    def _capture(self, stack: ExitStack) -> cuda.CapturedGraph | None:
        """The network as a CUDA graph, which launches as one; None where it cannot be captured."""
        try:
            graph: cuda.CapturedGraph = stack.enter_context(self._stream.capture(self._enqueue))
        except EngineError as error:
            log.info("no CUDA graph, each kernel is launched by itself: %s", error)
            return None
        return graph

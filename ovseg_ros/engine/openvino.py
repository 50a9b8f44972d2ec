"""The OpenVINO backend: CPUs and Intel GPUs, the embedded default."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from ovseg_ros.engine.base import Built, Job, Manifest, check_shapes
from ovseg_ros.errors import EngineError

PRECISIONS = {"auto": None, "fp32": "f32", "bf16": "bf16", "fp16": "f16"}
BLOB = "image.blob"


def version() -> str:
    """The runtime's version; a compiled blob is valid for this version alone."""
    return str(ov.get_version())


def device_name(device: str) -> str:
    """The full name of a device, for example the CPU's model.

    Raises:
        EngineError: when OpenVINO has no such device; names those it has.
    """
    core = ov.Core()
    target = _target(device)
    if target not in {name.split(".")[0] for name in core.available_devices}:
        raise EngineError(
            f"OpenVINO has no device {device!r} on this machine; available: {', '.join(core.available_devices).lower()}"
        )
    return str(core.get_property(target, "FULL_DEVICE_NAME"))


def hardware(device: str, compute_capability: str | None = None) -> str:
    """What an engine is built for: the device's full name.

    Raises:
        EngineError: when OpenVINO has no such device, or for a compute capability, which its devices have none of.
    """
    if compute_capability is not None:
        raise EngineError(f"OpenVINO builds for no compute capability ({compute_capability}); leave it out")
    return device_name(device)


def build(job: Job) -> Built:
    """Compile an ONNX graph into the job's folder.

    Raises:
        EngineError: when OpenVINO cannot read or compile the graph.
        OSError: when the folder cannot be written.
    """
    progress = job.progress or (lambda phase, done, total: None)
    progress("compile", 0, 1)
    try:
        core = ov.Core()
        model = core.read_model(job.graph.path)
        # one image a call: with the batch known, every shape inside the network is
        model.reshape({"image": ov.PartialShape([1, -1, -1, 3])})
        compiled = core.compile_model(model, _target(job.device), _options(job.precision, threads=0))
        blob = compiled.export_model().getvalue()
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot compile {job.graph.path}: {_first_line(error)}") from error
    (job.folder / BLOB).write_bytes(blob)
    progress("compile", 1, 1)
    return Built(_precision_name(compiled), (BLOB,))


class OpenVINOEngine:
    """An engine of `build`'s, loaded.

    Args:
        folder: holds `manifest.json` and the compiled blob.
        device: cpu or gpu.
        threads: inference threads; 0 takes one a core.

    Raises:
        EngineError: when the blob cannot be loaded; it is to be built anew.
    """

    def __init__(self, folder: Path, device: str = "cpu", threads: int = 0) -> None:
        self.manifest = Manifest.read(folder / "manifest.json")
        try:
            blob = (folder / BLOB).read_bytes()
            options = _options(self.manifest.precision, threads)
            compiled = ov.Core().import_model(blob, _target(device), options)
            self._request = compiled.create_infer_request()
        except (OSError, RuntimeError) as error:
            raise EngineError(f"the engine in {folder} cannot be loaded: {_first_line(error)}") from error
        self._lock = threading.Lock()

    def run(self, image: NDArray[np.uint8], text: NDArray[np.float32]) -> tuple[NDArray[np.integer], NDArray[np.uint8]]:
        """See `Engine.run`; images of a batch run one after the other."""
        check_shapes(self.manifest, image.shape, text.shape)
        with self._lock:
            results = [_infer(self._request, one[None], text) for one in image]
        if len(results) == 1:
            return results[0]
        return np.concatenate([r[0] for r in results]), np.concatenate([r[1] for r in results])

    def prepare(self, image_shape: tuple[int, ...], text_shape: tuple[int, ...]) -> None:
        """See `Engine.prepare`; nothing is worth doing beforehand.

        OpenVINO makes the kernels of a new class count in the first run that has it: 23 ms of processor time in place
        of 15 (`mini`, 640x480, 2 cores). A run on a spare request makes them as well, but costs 24 ms during which
        frames wait, and the next frame still takes 18.
        """
        check_shapes(self.manifest, image_shape, text_shape)


def _infer(
    request: ov.InferRequest, image: NDArray[np.uint8], text: NDArray[np.float32]
) -> tuple[NDArray[np.integer], NDArray[np.uint8]]:
    try:
        # The tensors share the arrays' memory, so the arrays must outlive `infer`; only what cannot be written to
        # (a received message) is copied, because OpenVINO refuses it.
        image, text = np.require(image, requirements=("C", "W")), np.require(text, requirements=("C", "W"))
        request.set_tensor("image", ov.Tensor(image, shared_memory=True))
        request.set_tensor("text", ov.Tensor(text, shared_memory=True))
        request.infer()
        # the request's memory is used again for the next frame
        return request.get_tensor("labels").data.copy(), request.get_tensor("confidence").data.copy()
    except RuntimeError as error:
        raise EngineError(
            f"OpenVINO failed on an image of {image.shape[1:3]} with {len(text)} classes: {_first_line(error)}"
        ) from error


def _target(device: str) -> str:
    kind, _, index = device.partition(":")
    return kind.upper() + (f".{index}" if index else "")


def _options(precision: str, threads: int) -> dict[str, str]:
    options = {"PERFORMANCE_HINT": "LATENCY"}
    if hint := PRECISIONS[precision]:
        options["INFERENCE_PRECISION_HINT"] = hint
    if threads:
        options["INFERENCE_NUM_THREADS"] = str(threads)
    return options


def _precision_name(compiled: ov.CompiledModel) -> str:
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    return {"f32": "fp32", "f16": "fp16"}.get(hint, str(hint))


def _first_line(error: Exception) -> str:
    """OpenVINO's messages span lines of source positions; the last non-empty one says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

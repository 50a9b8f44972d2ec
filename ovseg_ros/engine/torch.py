"""The torch backend: the exported program itself, as the reference that the compiled backends are compared with.

The one module of `engine` that may import torch, and only once such an engine is built or loaded.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.engine.base import Built, Job, Manifest, check_shapes
from ovseg_ros.errors import EngineError

if TYPE_CHECKING:
    import torch

PROGRAM = "model.pt2"  # a torch.export program of the deployed graph, beside its ONNX file
PRECISIONS = ("auto", "fp32")  # the program insists on the types it was exported with


def version() -> str:
    """The version of torch; a saved program is kept for this version alone."""
    return importlib.metadata.version("torch")


def hardware(device: str, compute_capability: str | None = None) -> str:
    """What an engine is for: a program runs on any processor, so only the kind of device counts.

    Raises:
        EngineError: when torch sees no such device, or for a compute capability, which a program has none of.
    """
    import torch

    if compute_capability is not None:
        raise EngineError(f"the torch backend builds for no compute capability ({compute_capability}); leave it out")
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (kind == "cpu" and index):
        raise EngineError(f"the torch backend has no device {device!r}; expected cpu or cuda[:i]")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise EngineError(f"torch sees no GPU {device!r} on this machine ({torch.cuda.device_count()} in all)")
    return kind


def build(job: Job) -> Built:
    """Copy the program that lies beside the graph.

    Raises:
        EngineError: when there is none, or torch cannot read it.
        OSError: when the folder cannot be written.
    """
    source = job.graph.path.with_name(PROGRAM)
    if not source.is_file():
        raise EngineError(f"the torch backend needs {source}, which is missing; export {job.graph.model} again")
    _load(source, "cpu")
    shutil.copyfile(source, job.folder / PROGRAM)
    return Built("fp32", (PROGRAM,))


class TorchEngine:
    """A program, loaded.

    Args:
        folder: holds `manifest.json` and the program.
        device: cpu or cuda[:i].

    Raises:
        EngineError: when the program cannot be loaded; it is to be built anew.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.manifest = Manifest.read(folder / "manifest.json")
        self._device = device
        self._program = _load(folder / PROGRAM, device)
        self._lock = threading.Lock()

    def run(self, image: NDArray[np.uint8], text: NDArray[np.float32]) -> tuple[NDArray[np.integer], NDArray[np.uint8]]:
        """See `Engine.run`."""
        import torch

        check_shapes(self.manifest, image.shape, text.shape)
        try:
            with self._lock, torch.inference_mode():
                labels, confidence = self._program(self._tensor(image), self._tensor(text))
            # `numpy` shares memory with the tensors, which nobody else has
            return labels.cpu().numpy(), confidence.cpu().numpy()
        except RuntimeError as error:  # out of memory is one of them
            reason = str(error).strip().partition("\n")[0]
            raise EngineError(
                f"torch failed on an image of {image.shape[1:3]} with {len(text)} classes: {reason}"
            ) from error

    def prepare(self, image_shape: tuple[int, ...], text_shape: tuple[int, ...]) -> None:
        """See `Engine.prepare`; nothing here depends on shapes."""
        check_shapes(self.manifest, image_shape, text_shape)

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        import torch

        # torch warns of arrays that cannot be written to (a received message)
        return torch.from_numpy(np.require(array, requirements=("C", "W"))).to(self._device)


def _load(path: Path, device: str) -> Any:
    """The program as a function of (image, text)."""
    if importlib.util.find_spec("torch") is None:
        raise EngineError("the torch backend needs torch, which is not installed; pip install torch")
    import torch
    from torch.export.passes import move_to_device_pass

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own making
            program = torch.export.load(path)
            if device != "cpu":
                program = move_to_device_pass(program, device)
            return program.module()
    except Exception as error:  # whatever a damaged archive makes torch raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise EngineError(f"torch cannot load {path}: {reason}") from error

"""What every backend offers: the graph it builds from, the engine it loads, and the manifest that says what that is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import EngineError

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Graph:
    """An exported graph, the source that engines are built from.

    Backends that plan memory and kernels ahead (TensorRT) take the limits from here; the others have none.

    Attributes:
        model: the model's name.
        path: the ONNX file.
        hash: SHA-256 of that file.
        text_identity, text_width: the text encoder's identity, and D, the width of its vectors.
        size: (height, width) the network works at.
        licence: of the weights.
        max_classes, max_synonyms, max_batch: the largest K, S and N.
        image_sizes: the smallest, the usual and the largest image.
    """

    model: str
    path: Path
    hash: str
    text_identity: str
    text_width: int
    size: Size
    licence: str
    max_classes: int = 1024
    max_synonyms: int = 32
    max_batch: int = 1
    image_sizes: tuple[Size, Size, Size] = ((2, 2), (480, 640), (2160, 3840))

    @property
    def limits(self) -> list[object]:
        """What an engine is planned for, a part of its key."""
        return [self.max_classes, self.max_synonyms, self.max_batch, self.image_sizes]


@dataclass(frozen=True)
class Manifest:
    """What lies in an engine's folder, stored as `manifest.json`.

    Attributes:
        model: the model's name.
        weights_hash: SHA-256 of the ONNX graph with its weights, in hex.
        backend: openvino | tensorrt | tensorrt-rtx | torch.
        backend_version: the version that built it.
        device: the device it was built for, with its compute capability where it has one.
        precision: what its arithmetic runs in.
        text_identity: identity of the text encoder whose space the graph speaks.
        text_width: D, the width of the text table.
        size: (height, width) the network works at.
        licence: of the weights.
        inputs, outputs: tensor name to "dtype (axes)".
        files: file name to SHA-256.
        max_classes, max_synonyms, max_batch: the largest K and S it takes, 0 for any, and N of one pass.
    """

    model: str
    weights_hash: str
    backend: str
    backend_version: str
    device: str
    precision: str
    text_identity: str
    text_width: int
    size: Size
    licence: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    files: dict[str, str]
    max_classes: int = 0
    max_synonyms: int = 0
    max_batch: int = 1

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest.

        Raises:
            EngineError: when the file is missing, truncated or of another form.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            content["size"] = tuple(content["size"])
            return cls(**content)
        except (OSError, ValueError, TypeError, KeyError) as error:
            expected = ", ".join(f.name for f in fields(cls))
            raise EngineError(f"{path} is no engine manifest ({error}); expected the keys {expected}") from error

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


class Engine(Protocol):
    """A compiled segmentation graph. Every method may be called from any thread."""

    @property
    def manifest(self) -> Manifest:
        """What this engine is."""

    def run(self, image: NDArray[np.uint8], text: NDArray[np.float32]) -> tuple[NDArray[np.integer], NDArray[np.uint8]]:
        """Label every pixel.

        Args:
            image: (N, H, W, 3) uint8 RGB.
            text: (K, S, D) float32 unit vectors.

        Returns:
            labels (N, H, W) of an integer type, 0..K-1, and confidence (N, H, W) uint8, 0..255. The arrays are the
            caller's to keep.

        Raises:
            EngineError: when the backend fails or the shapes are beyond the manifest's limits; the engine can be used
                again.
        """

    def prepare(self, image_shape: tuple[int, ...], text_shape: tuple[int, ...]) -> None:
        """Do now what the first `run` of these shapes would otherwise wait for; frames go on meanwhile.

        Args:
            image_shape: (N, H, W, 3).
            text_shape: (K, S, D).

        Raises:
            EngineError: as `run`.
        """


class Progress(Protocol):
    """Told how a build goes on; raising KeyboardInterrupt cancels the build."""

    def __call__(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` steps of a phase are over; phases may lie within one another."""


@dataclass(frozen=True)
class Job:
    """One engine to build.

    Attributes:
        graph: the source.
        folder: an empty folder to write to.
        device: cpu, gpu[:i] or cuda[:i].
        precision: one of the backend's, or auto.
        compute_capability: of the GPU to build for, such as "8.6"; this machine's where None.
        shared: folder for what several builds use (timing caches); None keeps nothing.
        progress: who is told how it goes on.
    """

    graph: Graph
    folder: Path
    device: str
    precision: str
    compute_capability: str | None = None
    shared: Path | None = None
    progress: Progress | None = None


@dataclass(frozen=True)
class Built:
    """What a build made: the precision it runs in, and the files it wrote into the job's folder."""

    precision: str
    files: tuple[str, ...]


def check_shapes(manifest: Manifest, image_shape: tuple[int, ...], text_shape: tuple[int, ...]) -> None:
    """Refuse what no backend could run.

    Raises:
        EngineError: for another rank, no classes, another text width, or more classes than the engine takes.
    """
    if len(image_shape) != 4 or image_shape[3] != 3 or 0 in image_shape:
        raise EngineError(f"images are (N, H, W, 3), not {image_shape}")
    if len(text_shape) != 3 or text_shape[2] != manifest.text_width or 0 in text_shape:
        raise EngineError(f"a text table is (K, S, {manifest.text_width}) with K, S >= 1, not {text_shape}")
    for what, count, most in (
        ("classes", text_shape[0], manifest.max_classes),
        ("synonyms a class", text_shape[1], manifest.max_synonyms),
    ):
        if most and count > most:
            raise EngineError(f"{count} {what} are more than the {most} the engine was built for; build it for more")

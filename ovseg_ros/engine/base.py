"""What every backend offers, and the manifest that says what an engine is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import EngineError


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
    """

    model: str
    weights_hash: str
    backend: str
    backend_version: str
    device: str
    precision: str
    text_identity: str
    text_width: int
    size: tuple[int, int]
    licence: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    files: dict[str, str]

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
    """A compiled segmentation graph."""

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
            EngineError: when the backend fails; the engine can be used again.
        """

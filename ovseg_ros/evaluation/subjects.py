"""What can be evaluated under a protocol: an engine, or a torch network with its scores; one interface for both."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.engine.cache import cache_root
from ovseg_ros.evaluation.protocols import NATIVE, Protocol, ProtocolError, check_engine_size, engine_way
from ovseg_ros.segmentation import Segmentation
from ovseg_ros.segmenter import MAX_NARROW_CLASSES, Segmenter
from ovseg_ros.text import TextEncoder, text_table
from ovseg_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Identity:
    """What a number depends on besides data and words.

    Attributes:
        model: the model's name.
        weights_hash: SHA-256 of the graph with its weights, or of a torch network's tensors.
        backend: backend, version, device and precision.
        protocol: how images are fed, a sentence.
    """

    model: str
    weights_hash: str
    backend: str
    protocol: str


class Subject(Interface):
    """A model under a protocol, the words in force."""

    @property
    def identity(self) -> Identity:
        """What it is."""

    def set_vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """Put words in force; returns them with their templates."""

    def segment(self, rgb: NDArray[np.uint8]) -> Segmentation:
        """Label every pixel of (H, W, 3) uint8."""


class EngineSubject:
    """An engine's labels.

    Args:
        segmenter: its words are replaced.
        protocol: one that an engine can serve.

    Raises:
        ProtocolError: when it cannot; from `segment` where an image is resized to another size than the graph's.
    """

    def __init__(self, segmenter: Segmenter, protocol: Protocol = NATIVE) -> None:
        self.segmenter, self.protocol = segmenter, protocol
        manifest = segmenter.engine.manifest
        self.identity = Identity(
            model=segmenter.model,
            weights_hash=manifest.weights_hash,
            backend=f"{manifest.backend} {manifest.backend_version}, {manifest.device}, {manifest.precision}",
            protocol=engine_way(protocol, manifest.size),
        )

    def set_vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """See `Subject`."""
        return self.segmenter.set_vocabulary(vocabulary)

    def segment(self, rgb: NDArray[np.uint8]) -> Segmentation:
        """See `Subject`."""
        if self.protocol.resize is None:
            return self.segmenter.segment(rgb)
        height, width = rgb.shape[:2]
        check_engine_size(self.protocol, self.segmenter.engine.manifest.size, (height, width))
        result = self.segmenter.segment(self.protocol.resize(rgb))
        h, w = result.labels.shape
        rows, columns = np.arange(height) * h // height, np.arange(width) * w // width
        place = np.ix_(rows, columns)
        return replace(result, labels=result.labels[place], confidence=result.confidence[place])


class NetworkSubject:
    """A torch network, whose scores serve every protocol exactly.

    Args:
        net: an `onepass.DenseModel` or `MaskModel`, in evaluation mode, for inputs of any size.
        encoder: of its text space.
        protocol: how images are fed.
        model: its name.
        size: (height, width) of the deployed graph, for the native protocol; None where there is none.
        threshold: confidence (0..1) under which a pixel stays unlabelled, or falls to the vocabulary's background.
        device: cpu or cuda[:i].

    Raises:
        ProtocolError: for the native protocol without a size.
    """

    def __init__(
        self,
        net: nn.Module,
        encoder: TextEncoder,
        protocol: Protocol,
        *,
        model: str,
        size: tuple[int, int] | None,
        threshold: float = 0.0,
        device: str = "cpu",
    ) -> None:
        import torch

        self.net, self.encoder, self.protocol, self.size = net.to(device).eval(), encoder, protocol, size
        self.threshold, self.device = threshold, device
        way = f"{protocol.name}: {protocol.summary}"
        if protocol.is_native:
            if size is None:
                raise ProtocolError(f"{model} is not exported, so it has no native size; choose another --protocol")
            way = engine_way(protocol, size)
        self.identity = Identity(
            model=model,
            weights_hash=_tensors_hash(net),
            backend=f"torch {torch.__version__}, {device}, fp32",
            protocol=way,
        )
        self._vocabulary: Vocabulary | None = None
        self._label: Any = None

    def set_vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """See `Subject`."""
        import torch

        from ovseg_ros.evaluation.class_maps import ClassMapper

        templates = vocabulary.templates or self.encoder.default_templates
        self._vocabulary = replace(vocabulary, templates=templates)
        table = torch.from_numpy(text_table(self._vocabulary, self.encoder, cache_root() / "text"))
        if self.size is not None and self.protocol.is_native:
            self._label = _deployed(self.net, self.size, table, self.device)
        else:
            counts = [len(words) for words in vocabulary.classes]
            self._label = ClassMapper(self.net, self.protocol, table, counts, self.device)
        return self._vocabulary

    def segment(self, rgb: NDArray[np.uint8]) -> Segmentation:
        """See `Subject`."""
        if self._vocabulary is None:
            raise ValueError("there are no words yet; call set_vocabulary first")
        start = time.perf_counter()
        labels, confidence = self._label(rgb)
        engine_ms = (time.perf_counter() - start) * 1e3
        ids = labels.astype(np.uint16 if len(self._vocabulary) > MAX_NARROW_CLASSES else np.uint8)
        levels = [self.threshold if level is None else level for level in self._vocabulary.thresholds]
        if any(levels):
            background = self._vocabulary.background
            uncertain = confidence < np.array(levels, np.float32)[labels]
            ids[uncertain] = np.iinfo(ids.dtype).max if background is None else background
        return Segmentation(ids, np.rint(confidence * 255).astype(np.uint8), self._vocabulary, engine_ms)


@dataclass(frozen=True)
class EngineSource:
    """How a process opens an engine; see `Segmenter.load`."""

    model: str
    protocol: Protocol = NATIVE
    device: str = "cpu"
    precision: str = "auto"
    backend: str = "auto"
    threshold: float = 0.0

    def open(self) -> Subject:
        """Compile or load it."""
        segmenter = Segmenter.load(
            self.model,
            device=self.device,
            precision=self.precision,
            backend=self.backend,
            threshold=self.threshold,
        )
        return EngineSubject(segmenter, self.protocol)


@dataclass(frozen=True)
class NetworkSource:
    """How a process opens a torch network; see `networks.open_network`."""

    model: str
    protocol: Protocol = NATIVE
    device: str = "cpu"
    weights: str = ""
    threshold: float = 0.0

    def open(self) -> Subject:
        """Load its weights."""
        from ovseg_ros.evaluation.networks import open_network

        found = open_network(self.model, self.weights)
        return NetworkSubject(
            found.net,
            found.encoder,
            self.protocol,
            model=found.name,
            size=found.size,
            threshold=self.threshold,
            device=self.device,
        )


def is_checkpoint(model: str) -> bool:
    """Whether a model is named by a training run's file, which only the torch network can be made from."""
    return Path(model).suffix == ".pt"


def _deployed(net: nn.Module, size: tuple[int, int], table: Any, device: str) -> Any:
    """The deployed graph as a function of an image."""
    import torch

    from ovseg_ros.models.onepass import OnePass

    graph, table = OnePass(net, size).to(device), table.to(device)

    @torch.inference_mode()
    def label(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        labels, confidence = graph(torch.from_numpy(rgb.copy())[None].to(device), table)
        return labels[0].long().cpu().numpy(), confidence[0].float().cpu().numpy() / np.float32(255)

    return label


def _tensors_hash(net: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and values of a network's tensors, in hex."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        array = np.ascontiguousarray(tensor.detach().cpu().numpy())
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()

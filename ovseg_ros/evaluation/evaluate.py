"""Measuring a segmenter on a data set; every number carries what it depends on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
from tqdm import tqdm

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets import Dataset, Sample
from ovseg_ros.evaluation.metrics import Confusion
from ovseg_ros.segmentation import Segmentation
from ovseg_ros.segmenter import Segmenter
from ovseg_ros.vocabulary import Vocabulary


@dataclass(frozen=True)
class Report:
    """The result of one evaluation.

    Attributes:
        model, dataset: what was measured on what.
        miou: mean IoU over the classes that occur in the truth, 0..1.
        per_class: IoU by class.
        images: how many.
        protocol: how images were fed.
        prompts: the prompt templates.
        classes_hash: first 16 hex digits of SHA-256 over the words asked for.
        weights_hash: SHA-256 of the graph with its weights.
        backend: backend, version, device and precision.
        engine_ms: mean time in the engine per image, milliseconds.
        seconds: wall time of the whole evaluation.
    """

    model: str
    dataset: str
    miou: float
    per_class: dict[str, float]
    images: int
    protocol: str
    prompts: list[str]
    classes_hash: str
    weights_hash: str
    backend: str
    engine_ms: float
    seconds: float

    def json(self) -> str:
        """As JSON, one key a field."""
        return json.dumps(asdict(self), indent=2)

    def table(self) -> str:
        """As lines for a terminal."""
        rows = [f"{name:20s} {value:6.3f}" for name, value in self.per_class.items()]
        head = f"{self.model} on {self.dataset}: mIoU {self.miou:.4f} over {self.images} images"
        return "\n".join([head, *rows, f"{self.backend}, {self.engine_ms:.1f} ms an image in the engine"])


def evaluate(
    segmenter: Segmenter,
    dataset: Dataset,
    name: str,
    *,
    words: Vocabulary | None = None,
    quiet: bool = False,
    watch: Callable[[Sample, Segmentation], None] | None = None,
) -> Report:
    """Segment every image and compare with its truth.

    Images go in at their own size and are resized by the engine's graph; labels come back at the same size. Pixels
    left unlabelled count as wrong.

    Args:
        segmenter: its vocabulary is replaced.
        dataset: images with labels.
        name: of the data set, for the report.
        words: one class for each of the data set's, in their order; the data set's names where None.
        quiet: no progress bar.
        watch: called with every sample and its result.

    Raises:
        DatasetError: when `words` and the data set differ in length.
    """
    vocabulary = words or Vocabulary.parse(dataset.classes)
    if len(vocabulary) != len(dataset.classes):
        raise DatasetError(f"{len(vocabulary)} words for the {len(dataset.classes)} classes of {name}")
    vocabulary = segmenter.set_vocabulary(vocabulary)  # with the templates in force
    confusion, engine_ms = Confusion(len(dataset.classes)), []
    start = time.perf_counter()
    for sample in tqdm(_samples(dataset), total=len(dataset), unit="image", disable=quiet, desc=name):
        result = segmenter.segment(sample.rgb)
        confusion.add(sample.labels, result.labels)
        engine_ms.append(result.engine_ms)
        if watch is not None:
            watch(sample, result)
    manifest = segmenter.engine.manifest
    asked = json.dumps([vocabulary.classes, vocabulary.templates])
    return Report(
        model=segmenter.model,
        dataset=name,
        miou=round(confusion.miou(), 4),
        per_class=confusion.per_class(dataset.classes),
        images=len(dataset),
        protocol=f"whole image, resized to {manifest.size[0]}x{manifest.size[1]} inside the graph",
        prompts=list(vocabulary.templates),
        classes_hash=hashlib.sha256(asked.encode()).hexdigest()[:16],
        weights_hash=manifest.weights_hash,
        backend=f"{manifest.backend} {manifest.backend_version}, {manifest.device}, {manifest.precision}",
        engine_ms=round(float(np.mean(engine_ms)), 2),
        seconds=round(time.perf_counter() - start, 1),
    )


def _samples(dataset: Dataset) -> Iterator[Sample]:
    for i in range(len(dataset)):
        yield dataset[i]

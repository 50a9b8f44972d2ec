"""The Python API: a segmenter that labels images with words, and takes new words between two images."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.engine import Engine, Progress, open_engine
from ovseg_ros.engine.cache import cache_root
from ovseg_ros.errors import ImageError, VocabularyError
from ovseg_ros.segmentation import Segmentation
from ovseg_ros.text import TextEncoder, open_text_encoder, text_table
from ovseg_ros.vocabulary import Vocabulary
from ovseg_ros.weights import open_weights

MAX_NARROW_CLASSES = 254  # past this, label ids take 16 bits


@dataclass(frozen=True)
class _Words:
    """A vocabulary with its text table, swapped as one."""

    vocabulary: Vocabulary
    table: NDArray[np.float32]


class Segmenter:
    """An engine, a text encoder and the words in force.

    All methods may be called from any thread; `segment` uses the words that were in force when it began.

    Args:
        engine: the compiled graph.
        encoder: the text encoder of the engine's text space.
        vocabulary: the first words.
        threshold: confidence (0..1) under which a pixel stays unlabelled.
        cache: folder for text tables; None keeps none.

    Raises:
        VocabularyError: when the encoder cannot represent a word.
    """

    def __init__(
        self,
        engine: Engine,
        encoder: TextEncoder,
        vocabulary: Vocabulary | Sequence[str],
        *,
        threshold: float = 0.0,
        cache: Path | None = None,
    ) -> None:
        self.engine, self._encoder, self._cache = engine, encoder, cache
        self._update = threading.Lock()
        self._image_shape: tuple[int, ...] | None = None  # of the latest image
        self.threshold = threshold
        self._words = self._encode(vocabulary, version=1)

    @classmethod
    def load(
        cls,
        model: str = "mini",
        vocabulary: Vocabulary | Sequence[str] | None = None,
        *,
        device: str = "cpu",
        precision: str = "auto",
        backend: str = "auto",
        threshold: float = 0.0,
        progress: Progress | None = None,
    ) -> Segmenter:
        """Open a model by name; its engine is built on first use.

        Args:
            model: an embedded checkpoint ("mini", "street"), a model that `ovseg build` made, or a folder of that form.
            vocabulary: the words; those the model was trained on where None.
            device, precision, backend: see `engine.open_engine`.
            threshold: see the class.
            progress: told how the engine's build goes on.

        Raises:
            ModelError: for an unknown model or damaged weights.
            EngineError: when no engine can be built.
            VocabularyError: when a word cannot be used.
        """
        weights = open_weights(model)
        encoder = open_text_encoder(weights.text_folder, "fp32" if precision == "fp32" else "auto")
        engine = open_engine(weights.graph(encoder), device, precision, backend=backend, progress=progress)
        words = vocabulary if vocabulary is not None else Vocabulary.parse(weights.classes)
        return cls(engine, encoder, words, threshold=threshold, cache=cache_root() / "text")

    @property
    def model(self) -> str:
        """The model's name."""
        return self.engine.manifest.model

    @property
    def vocabulary(self) -> Vocabulary:
        """The words in force; without templates of their own, with those of the text encoder."""
        return self._words.vocabulary

    @property
    def threshold(self) -> float:
        """Confidence (0..1) under which a pixel stays unlabelled, for classes without a threshold of their own."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"the threshold {value} is out of range; a confidence lies in 0..1")
        self._threshold = float(value)

    def set_vocabulary(self, vocabulary: Vocabulary | Sequence[str]) -> Vocabulary:
        """Put new words in force, from the next `segment` on.

        Returns:
            The vocabulary with its new version.

        Raises:
            VocabularyError: when a word cannot be used; the old words stay in force.
            EngineError: when the engine cannot hold so many; likewise.
        """
        with self._update:  # encoders take their turn; `segment` never waits here
            words = self._encode(vocabulary, self._words.vocabulary.version + 1)
            if self._image_shape is not None:  # here, so that no frame waits for it
                self.engine.prepare(self._image_shape, words.table.shape)
            self._words = words
        return words.vocabulary

    def segment(self, rgb: NDArray[np.uint8]) -> Segmentation:
        """Label every pixel of an image.

        Args:
            rgb: (H, W, 3) uint8.

        Raises:
            ImageError: for another shape or type.
            EngineError: when the backend fails.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
            raise ImageError(f"an image is (H, W, 3) uint8, not {rgb.shape} {rgb.dtype}", "shape")
        words = self._words
        start = time.perf_counter()
        labels, confidence = self.engine.run(rgb[None], words.table)
        self._image_shape = (1, *rgb.shape)
        engine_ms = (time.perf_counter() - start) * 1e3
        wide = len(words.vocabulary) > MAX_NARROW_CLASSES
        ids = labels[0].astype(np.uint16 if wide else np.uint8)
        self._drop_uncertain(ids, confidence[0], words.vocabulary)
        return Segmentation(ids, confidence[0], words.vocabulary, engine_ms)

    def _drop_uncertain(
        self,
        ids: NDArray[np.uint8] | NDArray[np.uint16],
        confidence: NDArray[np.uint8],
        vocabulary: Vocabulary,
    ) -> None:
        """Set ids under their class's threshold to the background, or the top id of the type where there is none."""
        levels = [self._threshold if t is None else t for t in vocabulary.thresholds]
        if not any(levels):
            return
        top = np.iinfo(ids.dtype).max
        # the smallest uint8 that reaches each class's threshold
        least = np.zeros(top + 1, np.uint8)
        least[: len(levels)] = np.ceil(np.array(levels) * 255)
        instead = top if vocabulary.background is None else vocabulary.background
        ids[confidence < (least[0] if len(set(levels)) == 1 else least[ids])] = instead

    def _encode(self, vocabulary: Vocabulary | Sequence[str], version: int) -> _Words:
        if not isinstance(vocabulary, Vocabulary):
            vocabulary = Vocabulary.parse(vocabulary)
        if 0 < (most := self.engine.manifest.max_classes) < len(vocabulary):
            raise VocabularyError(
                f"{len(vocabulary)} classes are more than this engine of {self.model} holds ({most}); build it anew "
                "with a higher --max-classes"
            )
        templates = vocabulary.templates or self._encoder.default_templates
        vocabulary = replace(vocabulary, templates=templates, version=version)
        return _Words(vocabulary, text_table(vocabulary, self._encoder, self._cache))

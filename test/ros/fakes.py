"""A segmenter without a network, for tests of the node: every pixel gets the last class of the vocabulary."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import EngineError, ModelError
from ovseg_ros.segmentation import Segmentation
from ovseg_ros.vocabulary import Vocabulary


class FakeSegmenter:
    """What the node uses of `Segmenter`. Images whose first pixel is (13, 13, 13) make the engine fail."""

    def __init__(
        self,
        words: Sequence[str] = ("sky", "road"),
        *,
        delay: float = 0.0,
        encode_delay: float = 0.0,
        load_delay: float = 0.0,
        fail: str = "",
    ) -> None:
        time.sleep(load_delay)
        if fail == "model":
            raise ModelError("unknown model 'nonesuch'; known are mini and street")
        if fail == "bug":
            raise KeyError("a bug")
        self.model = "fake"
        self.threshold = 0.0
        self.delay, self.encode_delay = delay, encode_delay
        self.vocabulary = Vocabulary.parse(list(words), version=1)
        self.frames = 0
        self._lock = threading.Lock()

    def set_vocabulary(self, vocabulary: Vocabulary | Sequence[str]) -> Vocabulary:
        if not isinstance(vocabulary, Vocabulary):
            vocabulary = Vocabulary.parse(vocabulary)
        if "crash" in vocabulary.names:
            raise RuntimeError("the encoder broke")
        with self._lock:
            time.sleep(self.encode_delay)
            templates = vocabulary.templates or ("{}",)
            self.vocabulary = replace(vocabulary, templates=templates, version=self.vocabulary.version + 1)
        return self.vocabulary

    def segment(self, rgb: NDArray[np.uint8]) -> Segmentation:
        vocabulary = self.vocabulary
        assert rgb.dtype == np.uint8
        assert rgb.shape[2] == 3
        self.frames += 1
        if tuple(rgb[0, 0]) == (13, 13, 13):
            raise EngineError("the engine failed")
        if tuple(rgb[0, 0]) == (14, 14, 14):
            raise ZeroDivisionError("a bug in the engine")
        time.sleep(self.delay)
        kind = np.uint8 if len(vocabulary) <= 254 else np.uint16
        labels = np.full(rgb.shape[:2], len(vocabulary) - 1, kind)
        labels[0, 0] = np.iinfo(kind).max
        confidence = np.full(rgb.shape[:2], 204, np.uint8)
        return Segmentation(labels, confidence, vocabulary, self.delay * 1e3)

"""Measuring a segmenter whose answers are known."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets import Dataset, Sample, camvid
from ovseg_ros.evaluation.evaluate import Report, evaluate
from ovseg_ros.segmentation import Segmentation
from ovseg_ros.segmenter import Segmenter
from ovseg_ros.vocabulary import Vocabulary

KEYS = {"miou", "per_class", "images", "protocol", "prompts", "classes_hash", "weights_hash", "backend"}


@dataclass(frozen=True)
class Few:
    """Some samples of a data set."""

    whole: Dataset
    chosen: tuple[int, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.whole.classes

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> Sample:
        return self.whole[self.chosen[index]]


class Oracle:
    """A segmenter that knows the truth, and errs where it is told to."""

    model = "oracle"
    engine = SimpleNamespace(
        manifest=SimpleNamespace(
            size=(64, 96), weights_hash="ab", backend="none", backend_version="1", device="CPU", precision="fp32"
        )
    )

    def __init__(self, data: Dataset, wrong: dict[int, int]) -> None:
        self.truth = {data[i].rgb.tobytes(): data[i].labels for i in range(len(data))}
        self.table = np.array([wrong.get(i, i) for i in range(256)], np.uint8)
        self.words: Vocabulary | None = None

    def set_vocabulary(self, words: Vocabulary) -> Vocabulary:
        self.words = replace(words, templates=words.templates or ("{}",))
        return self.words

    def segment(self, rgb: np.ndarray) -> Segmentation:
        assert self.words is not None
        labels = self.table[self.truth[rgb.tobytes()]]
        return Segmentation(labels, np.full(labels.shape, 255, np.uint8), self.words, engine_ms=2.0)


def measure(root: Path, wrong: dict[int, int], **options: Any) -> Report:
    data = camvid(root, "val")
    return evaluate(Oracle(data, wrong), data, "toy", quiet=True, **options)  # type: ignore[arg-type]


def test_the_truth_scores_one(camvid_like: Path) -> None:
    report = measure(camvid_like, {})
    assert report.miou == 1.0
    assert set(report.per_class.values()) == {1.0}
    assert (report.images, report.model, report.dataset, report.engine_ms) == (2, "oracle", "toy", 2.0)


def test_unlabelled_pixels_count_as_wrong(camvid_like: Path) -> None:
    report = measure(camvid_like, {0: 255})
    assert report.per_class["sky"] == 0.0
    assert report.miou == pytest.approx(10 / 11, abs=1e-4)


def test_a_class_taken_for_another_costs_both(camvid_like: Path) -> None:
    data = camvid(camvid_like, "val")
    counts = sum(np.bincount(data[i].labels.ravel(), minlength=256) for i in range(len(data)))
    report = measure(camvid_like, {0: 3})
    assert report.per_class["sky"] == 0.0
    assert report.per_class["road"] == pytest.approx(counts[3] / (counts[0] + counts[3]), abs=1e-4)


def test_the_json_has_the_keys_of_the_contract(camvid_like: Path) -> None:
    report = measure(camvid_like, {})
    content = json.loads(report.json())
    assert set(content) >= KEYS
    assert content["prompts"] == ["{}"]
    assert content["weights_hash"] == "ab"
    assert "64x96" in content["protocol"]
    for name in content["per_class"]:
        assert name in report.table()


def test_the_hash_of_the_classes_is_that_of_words_and_prompts(camvid_like: Path) -> None:
    base = [f"word {i}" for i in range(11)]
    hashes = [
        measure(camvid_like, {}, words=words).classes_hash
        for words in (
            Vocabulary.parse(base),
            Vocabulary.parse(base[::-1]),
            Vocabulary.parse([f"{base[0]}, synonym", *base[1:]]),
            Vocabulary.parse(base, templates=["a {}"]),
        )
    ]
    assert len(set(hashes)) == 4
    assert measure(camvid_like, {}, words=Vocabulary.parse(base, thresholds=[0.5] * 11)).classes_hash == hashes[0]
    asked = [[[word] for word in base], ["{}"]]
    assert hashes[0] == hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def test_words_must_be_as_many_as_the_classes(camvid_like: Path) -> None:
    with pytest.raises(DatasetError, match="2 words for the 11 classes of toy"):
        measure(camvid_like, {}, words=Vocabulary.parse(["a", "b"]))


def test_every_sample_may_be_watched(camvid_like: Path) -> None:
    seen = []
    measure(camvid_like, {}, watch=lambda sample, result: seen.append((sample.name, result.labels.shape)))
    assert seen == [("0", (48, 64)), ("1", (48, 64))]


def test_a_shipped_model_is_better_than_chance_on_real_streets(camvid_root: Path) -> None:
    data = camvid(camvid_root, "val")
    few = Few(data, tuple(range(0, len(data), 25)))
    report = evaluate(Segmenter.load("street"), few, "camvid", quiet=True)
    assert report.images == 5
    assert report.miou > 0.3  # chance is under 0.05

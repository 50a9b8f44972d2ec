"""Evaluation over workers: the same report, nothing lost, and a run that goes on where it was ended."""

from __future__ import annotations

import os
import signal
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovseg_ros.errors import DatasetError, EngineError, OvsegError
from ovseg_ros.evaluation.datasets import Sample, class_list
from ovseg_ros.evaluation.evaluate import Evaluation, evaluate
from ovseg_ros.evaluation.protocols import find_protocol
from ovseg_ros.evaluation.questions import published_question
from ovseg_ros.evaluation.results import Report
from ovseg_ros.evaluation.scores import ImageScore, Question
from ovseg_ros.evaluation.subjects import Identity
from ovseg_ros.jobs import JobsError
from ovseg_ros.segmentation import Segmentation
from ovseg_ros.vocabulary import Vocabulary

NAMES = ("sky", "road", "car", "tree")
TIMES = {"engine_ms", "seconds"}


@dataclass(frozen=True)
class Blobs:
    """Random label blocks whose image holds the truth, so that a model may know it; class `NAMES[3]` is rare."""

    count: int = 12
    classes: tuple[str, ...] = NAMES

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        labels = np.kron(rng.integers(0, len(self.classes), (4, 5)), np.ones((8, 8))).astype(np.uint8)
        rgb = np.stack([labels, np.full_like(labels, index), labels], axis=2)
        labels[0, :6] = 255
        return Sample(f"blob{index}", rgb, labels)


class Errant:
    """A model that is wrong in some pixels, the same ones every time, and kills its process over chosen images."""

    def __init__(self, weights: str, deadly: tuple[int, ...], marks: Path | None) -> None:
        self.identity = Identity("errant", weights, "none", "native")
        self.deadly, self.marks = deadly, marks

    def set_vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        self.words = replace(vocabulary, templates=vocabulary.templates or ("{}",))
        return self.words

    def segment(self, rgb: np.ndarray) -> Segmentation:
        index = int(rgb[0, 0, 1])
        if self.marks is not None:
            with (self.marks / "seen").open("a") as file:
                file.write(f"{index}\n")
            first = self.marks / f"died{index}"
            if index in self.deadly and not first.exists():
                first.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        rng = np.random.default_rng(100 + index)
        wrong = rng.random(rgb.shape[:2]) < 0.03 * index
        labels = np.where(wrong, rng.integers(0, len(self.words), rgb.shape[:2]), rgb[..., 0]).astype(np.uint8)
        return Segmentation(labels, np.full(labels.shape, 255, np.uint8), self.words, engine_ms=1.0)


@dataclass(frozen=True)
class ErrantSource:
    weights: str = "ab"
    deadly: tuple[int, ...] = ()
    marks: Path | None = field(default=None, compare=False)

    def open(self) -> Errant:
        return Errant(self.weights, self.deadly, self.marks)


def asked(**changes: Any) -> Question:
    return Question("blobs", NAMES, Vocabulary.parse(NAMES), **changes)


def content(report: Report) -> dict[str, Any]:
    return {key: value for key, value in asdict(report).items() if key not in TIMES}


def test_workers_give_the_report_of_the_serial_run() -> None:
    work = Evaluation(ErrantSource(), Blobs(), asked())
    serial = work.run(quiet=True)
    assert 0.3 < serial.miou < 0.95
    assert serial.boundary_f is not None
    assert content(work.run(workers=2, quiet=True)) == content(serial)
    direct = evaluate(Errant("ab", (), None), Blobs(), "blobs", question=asked(), quiet=True)
    assert content(direct) == content(serial)


def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    whole = Evaluation(ErrantSource(), Blobs(), asked()).run(quiet=True)
    work = Evaluation(ErrantSource(deadly=(2, 7), marks=tmp_path), Blobs(), asked())
    report = work.run(workers=2, quiet=True)
    assert (tmp_path / "died2").exists()
    assert (tmp_path / "died7").exists()
    assert content(report) == content(whole)


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    short = Evaluation(ErrantSource(marks=tmp_path), Blobs(5), asked())
    scores = [score for _, score in _first(short, tmp_path / "out", 3)]
    assert all(isinstance(score, ImageScore) for score in scores)
    assert (tmp_path / "seen").read_text().split() == ["0", "1", "2"]
    report = short.run(folder=tmp_path / "out", quiet=True)
    assert (tmp_path / "seen").read_text().split() == ["0", "1", "2", "3", "4"]  # none twice
    assert content(report) == content(Evaluation(ErrantSource(), Blobs(5), asked()).run(quiet=True))


def _first(work: Evaluation, folder: Path, count: int) -> list[tuple[str, Any]]:
    """What a run has done when it is ended after some images."""
    from ovseg_ros.jobs import run_jobs

    results = run_jobs(work, [(f"{i:07d}", i) for i in range(len(work.dataset))], folder=folder, quiet=True)
    return [next(results) for _ in range(count)]


def test_a_folder_is_not_shared_by_two_evaluations(tmp_path: Path) -> None:
    Evaluation(ErrantSource(), Blobs(2), asked()).run(folder=tmp_path, quiet=True)
    for other in (
        Evaluation(ErrantSource("cd"), Blobs(2), asked()),
        Evaluation(ErrantSource(), Blobs(2), asked(tolerance=0.1)),
        Evaluation(ErrantSource(), Blobs(2), replace(asked(), words=Vocabulary.parse(["a", "b", "c", "d"]))),
    ):
        with pytest.raises(JobsError):
            other.run(folder=tmp_path, quiet=True)


def test_a_worker_with_another_model_is_refused() -> None:
    work = Evaluation(ErrantSource(), Blobs(2), asked())
    theirs = Evaluation(ErrantSource("cd"), Blobs(2), asked(), identity=work.identity)
    with pytest.raises(EngineError, match=r"a worker would measure.*same model"):
        theirs()


def test_worst_and_best_images_are_those_of_the_scores() -> None:
    work = Evaluation(ErrantSource(), Blobs(), asked())
    report = work.run(quiet=True)
    scores = dict(report.per_image)
    worst, best = work.extremes(report, 3)
    ranked = sorted(scores, key=lambda name: scores[name] or 0.0)
    assert [shown.sample.name for shown in worst] == ranked[:3]
    assert {shown.sample.name for shown in best} == set(ranked[-3:])
    assert best[0].miou == 1.0
    assert [s.sample.name for part in work.extremes(report, 99) for s in part].count("blob0") == 1
    wrong = (worst[0].predicted != worst[0].sample.labels)[worst[0].sample.labels != 255]
    assert wrong.mean() > 0.1


def test_scores_of_groups_and_merged_words() -> None:
    data = Blobs()
    plain = Evaluation(ErrantSource(), data, asked()).run(quiet=True)
    grouped = Evaluation(ErrantSource(), data, asked(seen=(True, True, False, False), scored=(2, 3))).run(quiet=True)
    iou = plain.per_class
    assert grouped.seen_miou == pytest.approx((iou["sky"] + iou["road"]) / 2, abs=1e-4)
    assert grouped.unseen_miou == pytest.approx((iou["car"] + iou["tree"]) / 2, abs=1e-4)
    assert grouped.miou == grouped.unseen_miou
    assert grouped.hiou is not None
    assert min(grouped.seen_miou, grouped.unseen_miou) <= grouped.hiou <= max(grouped.seen_miou, grouped.unseen_miou)
    assert grouped.per_class == iou  # the others still compete
    # six words: "dusk" counts as sky, and "kerb" as road
    merged = Question("blobs", NAMES, Vocabulary.parse([*NAMES, "dusk", "kerb"]), merge=(0, 1, 2, 3, 0, 1))
    swapped = Evaluation(SwapSource(), data, merged).run(quiet=True)
    assert swapped.miou == 1.0
    assert list(swapped.per_class) == list(NAMES)


class Swap(Errant):
    """Says word 4 for sky and word 5 for every second pixel of road."""

    def segment(self, rgb: np.ndarray) -> Segmentation:
        labels = rgb[..., 0].copy()
        labels[labels == 0] = 4
        even = (np.indices(labels.shape).sum(axis=0) % 2 == 0) & (labels == 1)
        labels[even] = 5
        return Segmentation(labels, np.full(labels.shape, 255, np.uint8), self.words)


@dataclass(frozen=True)
class SwapSource:
    def open(self) -> Swap:
        return Swap("ab", (), None)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"merge": (0, 1)}, "4 words for the 2 classes"),
        ({"merge": (0, 1, 2, 9)}, "not 0..3"),
        ({"seen": (True,)}, "1 seen flags for the 4 classes"),
    ],
)
def test_questions_that_do_not_fit_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DatasetError, match=complaint):
        asked(**changes)


def test_a_question_of_another_class_list_is_refused() -> None:
    with pytest.raises(DatasetError, match="must be the same"):
        Evaluation(ErrantSource(), Blobs(classes=("a", "b", "c", "d")), asked())


def test_published_questions_follow_the_protocol() -> None:
    single = published_question("ade150", find_protocol("single640"), trained_on="stuff171")
    assert len(single.classes) == 150
    assert len(single.words.templates) == 14
    assert single.seen is not None
    assert sum(single.seen) == 67  # EBSeg's count
    voc = published_question("voc20b", find_protocol("catseg"))
    assert (len(voc.classes), len(voc.words)) == (21, 59)
    assert voc.merge is not None
    assert voc.merge[20:] == (20,) * 39
    assert voc.words.templates == ("A photo of a {} in the scene",)
    assert set(voc.words.thresholds) == {None}
    free = published_question("voc21", find_protocol("mmseg336"))
    assert len(free.words.templates) == 80
    assert free.over == "union"
    assert set(free.words.thresholds) == {0.1}
    assert free.words.background == 0
    assert class_list("voc21", "training-free").hash in free.note
    assert "under 0.1 count as background" in free.note
    own = published_question("voc21", find_protocol("mmseg336"), variant="multi", prompts="P1", threshold=0.0)
    assert len(own.words.templates) == 1
    assert set(own.words.thresholds) == {None}
    for wrong in ({"variant": "mine"}, {"prompts": "P2"}, {"trained_on": "imagenet"}):
        with pytest.raises(OvsegError, match=next(iter(wrong.values()))):
            published_question("voc21", find_protocol("native"), **wrong)  # type: ignore[arg-type]

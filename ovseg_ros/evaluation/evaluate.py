"""Measuring a model on a data set, in this process or spread over workers; every number carries what it depends on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from tqdm import tqdm

from ovseg_ros.errors import DatasetError, EngineError
from ovseg_ros.evaluation.datasets import Dataset, Sample
from ovseg_ros.evaluation.results import Report, summarise
from ovseg_ros.evaluation.scores import ImageScore, Question
from ovseg_ros.evaluation.subjects import EngineSubject, Identity, Subject
from ovseg_ros.jobs import run_jobs
from ovseg_ros.segmentation import Segmentation
from ovseg_ros.segmenter import Segmenter
from ovseg_ros.vocabulary import Vocabulary

__all__ = ["Evaluation", "Report", "evaluate"]

Watch = Callable[[Sample, Segmentation], None]


class Source(Protocol):
    """How any process opens the model; a frozen dataclass, see `subjects.EngineSource`."""

    def open(self) -> Subject:
        """Open it."""


def evaluate(
    segmenter: Segmenter | Subject,
    dataset: Dataset,
    name: str,
    *,
    words: Vocabulary | None = None,
    question: Question | None = None,
    quiet: bool = False,
    watch: Watch | None = None,
) -> Report:
    """Segment every image in this process and compare with its truth.

    A segmenter is fed by the native protocol: images go in at their own size and are resized by the engine's graph;
    labels come back at the same size. Other protocols come as a `Subject`. Pixels left unlabelled count as wrong.

    Args:
        segmenter: its vocabulary is replaced.
        dataset: images with labels.
        name: of the data set, for the report.
        words: one class for each of the data set's, in their order; the data set's names where None.
        question: in place of `words`, all that can be asked.
        quiet: no progress bar.
        watch: called with every sample and its result.

    Raises:
        DatasetError: when words and data set differ in length.
    """
    # whatever has an engine is taken for a segmenter
    subject = EngineSubject(cast(Segmenter, segmenter)) if hasattr(segmenter, "engine") else segmenter
    asked = question or Question(name, tuple(dataset.classes), words or Vocabulary.parse(dataset.classes))
    _check(asked, dataset)
    start = time.perf_counter()
    vocabulary = subject.set_vocabulary(asked.words)  # with the templates in force
    score = _Scoring(subject, dataset, asked, watch)
    rows = [score(i) for i in tqdm(range(len(dataset)), unit="image", disable=quiet, desc=name)]
    return summarise(asked, subject.identity, vocabulary, rows, time.perf_counter() - start)


@dataclass
class Evaluation:
    """A question to a model on a data set, as work for `run_jobs`: each worker opens the model once.

    Args:
        source: opens the model.
        dataset: can be pickled.
        question: what is asked.
        identity: of the model that is meant; whatever the source opens here where None.

    Raises:
        DatasetError: when question and data set have other classes.
    """

    source: Source
    dataset: Dataset
    question: Question
    identity: Identity | None = None
    subject: Subject | None = field(default=None, init=False, compare=False, repr=False)  # of this process

    def __post_init__(self) -> None:
        _check(self.question, self.dataset)
        if self.identity is None:  # workers compare theirs with it, and so does a later run that goes on
            self.identity = self._opened().identity

    def __reduce__(self) -> tuple[Any, ...]:
        return Evaluation, (self.source, self.dataset, self.question, self.identity)

    def __call__(self) -> Callable[[int], ImageScore]:
        """Open the model where it is not yet, and return the function from a sample's index to its score."""
        subject = self._opened()
        subject.set_vocabulary(self.question.words)
        return _Scoring(subject, self.dataset, self.question)

    def run(
        self,
        *,
        folder: Path | None = None,
        workers: int = 1,
        cluster: str | None = None,
        quiet: bool = False,
    ) -> Report:
        """Score every image and report; the same report, times aside, for any number of workers.

        Args:
            folder: keeps the score of every image, so that a run that was ended goes on where it was.
            workers, cluster, quiet: see `run_jobs`.

        Raises:
            JobsError: when images failed, after all others are done; or when `folder` is of another evaluation.
        """
        start = time.perf_counter()
        subject = self._opened()
        vocabulary = subject.set_vocabulary(self.question.words)
        items = [(f"{i:07d}", i) for i in range(len(self.dataset))]
        results = run_jobs(
            self,
            items,
            folder=folder,
            workers=workers,
            cluster=cluster,
            quiet=quiet,
            describe=self.question.dataset,
        )
        rows = [score for _, score in results]
        return summarise(self.question, subject.identity, vocabulary, rows, time.perf_counter() - start)

    def extremes(self, found: Report, count: int) -> tuple[list[Shown], list[Shown]]:
        """The images with the lowest and the highest mean IoU, segmented once more to be shown.

        Args:
            found: the report of `run`.
            count: how many at each end; less where there are not so many images.

        Returns:
            The worst, worst first, and the best, best first; no image is among both.
        """
        known = [i for i, (_, miou) in enumerate(found.per_image) if miou is not None]
        ranked = sorted(known, key=lambda i: (found.per_image[i][1], i))
        low = min(count, (len(ranked) + 1) // 2)
        worst, best = ranked[:low], ranked[low:][::-1][:count]
        subject = self._opened()
        subject.set_vocabulary(self.question.words)
        return [self._show(subject, i, found) for i in worst], [self._show(subject, i, found) for i in best]

    def _show(self, subject: Subject, index: int, found: Report) -> Shown:
        sample = self.dataset[index]
        predicted = self.question.evaluated(subject.segment(sample.rgb).labels)
        return Shown(sample, predicted, float(found.per_image[index][1] or 0.0))

    def _opened(self) -> Subject:
        if self.subject is None:
            self.subject = self.source.open()
            if self.identity not in (None, self.subject.identity):
                raise EngineError(
                    f"a worker would measure {self.subject.identity}, not {self.identity}; give every machine the same "
                    "model, versions and kind of processor"
                )
        return self.subject


@dataclass(frozen=True)
class Shown:
    """An image of the report: the sample, the prediction (H, W) in evaluated ids, and its mean IoU."""

    sample: Sample
    predicted: np.ndarray[Any, np.dtype[Any]]
    miou: float


@dataclass(frozen=True)
class _Scoring:
    """From a sample's index to its score."""

    subject: Subject
    dataset: Dataset
    question: Question
    watch: Watch | None = None

    def __call__(self, index: int) -> ImageScore:
        sample = self.dataset[index]
        result = self.subject.segment(sample.rgb)
        if self.watch is not None:
            self.watch(sample, result)
        return ImageScore.of(self.question, index, sample.name, sample.labels, result.labels, result.engine_ms)


def _check(question: Question, dataset: Dataset) -> None:
    if tuple(dataset.classes) != question.classes:
        raise DatasetError(
            f"the question has {len(question.classes)} classes and the data set {len(dataset.classes)}, or others; "
            "they must be the same"
        )

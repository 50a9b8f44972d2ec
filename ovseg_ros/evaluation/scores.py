"""What is asked of a model on a data set, and what is kept of each image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.boundary import TOLERANCE, BoundaryScores, band, boundary_scores
from ovseg_ros.evaluation.metrics import Confusion, Counts, Over, count
from ovseg_ros.vocabulary import Vocabulary


@dataclass(frozen=True)
class Question:
    """What is asked of a model on a data set.

    Attributes:
        dataset: its name, for the report.
        classes: names of the evaluated classes, in the order of the truth's ids.
        words: one class for each of these, in their order, or for each entry of `merge`.
        merge: the evaluated class of every word, where there are more words than classes: in VOC-20b, words that are
            none of the twenty all count as background. None where they are the same.
        seen: for each evaluated class, whether training knew it; None where that is not known.
        scored: ids of the classes that mIoU averages over, the others only compete; None for all.
        over: which of them count; see `Confusion.miou`.
        tolerance: of the boundary scores, a share of the image's diagonal; None leaves them out.
        note: what the protocol's line says beside how images are fed.
    """

    dataset: str
    classes: tuple[str, ...]
    words: Vocabulary
    merge: tuple[int, ...] | None = None
    seen: tuple[bool, ...] | None = None
    scored: tuple[int, ...] | None = None
    over: Over = "truth"
    tolerance: float | None = TOLERANCE
    note: str = ""

    def __post_init__(self) -> None:
        wanted = len(self.classes if self.merge is None else self.merge)
        if len(self.words) != wanted:
            raise DatasetError(f"{len(self.words)} words for the {wanted} classes of {self.dataset}")
        if self.merge is not None and not 0 <= min(self.merge) <= max(self.merge) < len(self.classes):
            raise DatasetError(f"words of {self.dataset} are merged into ids that are not 0..{len(self.classes) - 1}")
        if self.seen is not None and len(self.seen) != len(self.classes):
            raise DatasetError(f"{len(self.seen)} seen flags for the {len(self.classes)} classes of {self.dataset}")

    def evaluated(self, predicted: NDArray[np.integer]) -> NDArray[np.integer]:
        """Ids of words -> ids of evaluated classes; unlabelled pixels stay past the classes."""
        if self.merge is None:
            return predicted
        table = np.full(int(np.iinfo(predicted.dtype).max) + 1, len(self.classes), np.int64)
        table[: len(self.merge)] = self.merge
        merged: NDArray[np.integer] = table[predicted]
        return merged


@dataclass(frozen=True)
class ImageScore:
    """One image's counts and scores.

    Attributes:
        index, name: of the sample.
        counts: its confusion matrix.
        near: the same within the boundary's band; None without boundary scores.
        boundary: F-scores of the classes it shows; None likewise.
        miou: mean IoU over the classes that this image's truth shows; NaN without any truth.
        engine_ms: time in the engine.
    """

    index: int
    name: str
    counts: Counts
    near: Counts | None
    boundary: BoundaryScores | None
    miou: float
    engine_ms: float

    @classmethod
    def of(
        cls,
        question: Question,
        index: int,
        name: str,
        truth: NDArray[np.integer],
        predicted: NDArray[np.integer],
        engine_ms: float,
    ) -> ImageScore:
        """Score the prediction of one image, (H, W) ids of words."""
        classes = len(question.classes)
        predicted = question.evaluated(predicted)
        counts, alone = count(truth, predicted, classes), Confusion(classes)
        alone.add_counts(counts)
        near = boundary = None
        if question.tolerance is not None:
            inside = np.where(band(truth, classes, question.tolerance), truth.astype(np.int64), classes)
            near = count(inside, predicted, classes)
            boundary = boundary_scores(truth, predicted, classes, question.tolerance)
        return cls(index, name, counts, near, boundary, alone.miou(), engine_ms)

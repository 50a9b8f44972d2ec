"""Scores from a confusion matrix: IoU and its means, accuracies, and the balance of seen and unseen classes.

Everything is derived from integer counts, so that the result is the same in whatever order, and by however many
workers, images were counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Over = Literal["truth", "union"]


class Counts(NamedTuple):
    """The entries of one image's confusion matrix that are not 0, small enough to keep for every image.

    Attributes:
        cells: (M,) int64, truth * (K + 1) + prediction, ascending; prediction K stands for "left unlabelled".
        pixels: (M,) int64, how many pixels each.
    """

    cells: NDArray[np.int64]
    pixels: NDArray[np.int64]


def count(truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> Counts:
    """Count one image.

    Args:
        truth: (H, W) class ids; what is past the classes (255, or 65535 in 16 bits) carries no truth and is left out.
        predicted: (H, W) class ids; anything past the classes counts as unlabelled, which is never right.
        classes: K.

    Raises:
        ValueError: when the two differ in size.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"the truth has shape {truth.shape}, the prediction {predicted.shape}")
    valid = (truth >= 0) & (truth < classes)
    guess = predicted[valid].astype(np.int64)
    guess = np.where((guess < 0) | (guess > classes), classes, guess)
    cells = truth[valid].astype(np.int64) * (classes + 1) + guess
    pixels = np.bincount(cells, minlength=classes * (classes + 1))
    found = np.flatnonzero(pixels)
    return Counts(found.astype(np.int64), pixels[found].astype(np.int64))


class Confusion:
    """Counts of (true class, predicted class) over any number of images.

    Args:
        classes: how many classes there are, K.

    Attributes:
        matrix: (K, K + 1) int64; rows are the truth, the last column counts pixels left unlabelled.
    """

    def __init__(self, classes: int) -> None:
        self.matrix = np.zeros((classes, classes + 1), np.int64)

    def add(self, truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> None:
        """Count one image; see `count` for the arguments and the error."""
        self.add_counts(count(truth, predicted, len(self.matrix)))

    def add_counts(self, counts: Counts) -> None:
        """Add what `count` said of one image."""
        self.matrix.reshape(-1)[counts.cells] += counts.pixels

    @property
    def truth(self) -> NDArray[np.int64]:
        """(K,) true pixels of each class."""
        total: NDArray[np.int64] = self.matrix.sum(axis=1)
        return total

    def occurring(self) -> NDArray[np.bool_]:
        """(K,) whether a class occurs in the truth."""
        return np.asarray(self.truth > 0)

    def iou(self) -> Floats:
        """(K,) intersection over union; NaN for classes that neither occur nor are predicted."""
        hit = np.diag(self.matrix)
        return _ratio(hit, self.truth + self.matrix[:, :-1].sum(axis=0) - hit)

    def accuracy(self) -> Floats:
        """(K,) share of each class's true pixels that were found; NaN for classes that do not occur."""
        return _ratio(np.diag(self.matrix), self.truth)

    def miou(self, only: Sequence[int] | NDArray[np.integer] | None = None, over: Over = "truth") -> float:
        """Mean IoU; NaN without any class to average.

        Args:
            only: ids of the classes to average over; all where None. The others still compete for pixels.
            over: "truth" averages over classes that occur in the truth (detectron2's SemSegEvaluator), "union" over
                those that occur in truth or prediction, so that a class predicted where there is none counts as 0
                (mmseg's IoUMetric). The two agree where every class occurs, as on the published sets.
        """
        iou = self.iou()
        keep = self.occurring() if over == "truth" else ~np.isnan(iou)
        if only is not None:
            listed = np.zeros(len(iou), bool)
            listed[list(only)] = True
            keep &= listed
        return float(iou[keep].mean()) if keep.any() else float("nan")

    def fwiou(self) -> float:
        """Frequency-weighted IoU: each class weighs as much as it has true pixels; NaN without any."""
        occurs = self.occurring()
        if not occurs.any():
            return float("nan")
        return float((self.iou()[occurs] * self.truth[occurs]).sum() / self.truth.sum())

    def macc(self) -> float:
        """Mean accuracy over the classes that occur; NaN without any."""
        occurs = self.occurring()
        return float(self.accuracy()[occurs].mean()) if occurs.any() else float("nan")

    def pacc(self) -> float:
        """Share of all pixels with a truth that have the right label; NaN without any."""
        total = int(self.truth.sum())
        return float(np.diag(self.matrix).sum() / total) if total else float("nan")

    def per_class(self, names: Sequence[str]) -> dict[str, float]:
        """IoU by name, for the classes that occur in the truth."""
        return {name: round(float(v), 4) for name, v, o in zip(names, self.iou(), self.occurring(), strict=True) if o}


def harmonic(first: float, second: float) -> float:
    """Harmonic mean of two scores, hIoU of seen and unseen mIoU: 0 where either is, NaN where either is missing."""
    if first != first or second != second:
        return float("nan")
    return 2 * first * second / (first + second) if first + second > 0 else 0.0


def _ratio(part: NDArray[np.integer], whole: NDArray[np.integer]) -> Floats:
    """Quotients, NaN over 0."""
    quotient: Floats = np.divide(
        part.astype(np.float64), whole.astype(np.float64), out=np.full(len(part), np.nan), where=whole > 0
    )
    return quotient

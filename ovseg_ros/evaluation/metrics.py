"""Intersection over union from a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.evaluation.datasets import IGNORE


class Confusion:
    """Counts of (true class, predicted class) over any number of images.

    Args:
        classes: how many classes there are.

    Attributes:
        matrix: (K, K + 1) int64; rows are the truth, the last column counts pixels left unlabelled.
    """

    def __init__(self, classes: int) -> None:
        self.matrix = np.zeros((classes, classes + 1), np.int64)

    def add(self, truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> None:
        """Count one image.

        Args:
            truth: (H, W) ids, 255 where the truth says nothing.
            predicted: (H, W) ids; anything past the classes counts as unlabelled.
        """
        if truth.shape != predicted.shape:
            raise ValueError(f"the truth has shape {truth.shape}, the prediction {predicted.shape}")
        k = len(self.matrix)
        valid = (truth != IGNORE) & (truth < k)
        guess = np.minimum(predicted[valid].astype(np.int64), k)
        pairs = truth[valid].astype(np.int64) * (k + 1) + guess
        self.matrix += np.bincount(pairs, minlength=k * (k + 1)).reshape(k, k + 1)

    def iou(self) -> NDArray[np.float64]:
        """(K,) intersection over union; NaN for classes that neither occur nor are predicted."""
        hit = np.diag(self.matrix).astype(np.float64)
        union = self.matrix.sum(axis=1) + self.matrix[:, :-1].sum(axis=0) - hit
        iou: NDArray[np.float64] = np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)
        return iou

    def miou(self) -> float:
        """Mean IoU over the classes that occur in the truth; NaN without any pixel."""
        occurs = self.matrix.sum(axis=1) > 0
        return float(self.iou()[occurs].mean()) if occurs.any() else float("nan")

    def per_class(self, names: Sequence[str]) -> dict[str, float]:
        """IoU by name, for the classes that occur in the truth."""
        occurs = self.matrix.sum(axis=1) > 0
        values = self.iou()
        return {name: round(float(v), 4) for name, v, o in zip(names, values, occurs, strict=True) if o}

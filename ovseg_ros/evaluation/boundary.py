"""Boundary scores: how well outlines are met, which IoU hardly sees on large regions.

Two measures share one tolerance, a share of the image's diagonal so that it means the same at every size:

- the boundary F-score of Csurka et al. ("What is a good evaluation measure for semantic segmentation?", BMVC 2013): a
  class's predicted outline is right where the true one lies within the tolerance (precision), the true one is found
  where the predicted lies within it (recall), and F is their harmonic mean. It is taken per image and class, averaged
  over the images whose truth shows the class, then over classes;
- the trimap IoU of Kohli et al. ("Robust higher order potentials for enforcing label consistency", IJCV 2009): IoU
  counted only on pixels within the tolerance of a boundary between true labels.

The outline of a class is its pixels that touch another label above, below, left or right. Neither the image's border
nor the border of a region without truth is an outline: nothing says that an object ends there.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.0075  # of the diagonal, Csurka et al.'s; 4.5 pixels at 480x360
ROUNDING = 1e-4  # pixels; distances come in 32 bits

Mask = NDArray[np.bool_]


class BoundaryScores(NamedTuple):
    """Boundary F-scores of one image.

    Attributes:
        classes: (C,) int64 ids of the classes that the truth shows.
        scores: (C,) float64, 0..1; NaN for a class without outline in the truth and in the prediction.
    """

    classes: NDArray[np.int64]
    scores: NDArray[np.float64]


def reach(shape: tuple[int, ...], tolerance: float = TOLERANCE) -> float:
    """The tolerance in pixels of an image (H, W): a share of its diagonal, at least 1 pixel.

    Raises:
        ValueError: when the share is not between 0 and 1.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"the boundary tolerance {tolerance} is out of range; expected a share of the diagonal, 0..1")
    return max(1.0, tolerance * float(np.hypot(shape[0], shape[1])))


def boundary_scores(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int, tolerance: float = TOLERANCE
) -> BoundaryScores:
    """Boundary F-score of each class that an image shows.

    Args:
        truth: (H, W) class ids; what is past the classes carries no truth, and predictions there do not count.
        predicted: (H, W) class ids.
        classes: K.
        tolerance: share of the diagonal.
    """
    valid = (truth >= 0) & (truth < classes)
    true_edge, edge = _edges(truth, valid), _edges(predicted, valid)
    far = reach(truth.shape, tolerance) + ROUNDING
    shown = np.unique(truth[valid]).astype(np.int64)
    scores = [_score(true_edge & (truth == c), edge & (predicted == c), far) for c in shown]
    return BoundaryScores(shown, np.array(scores, np.float64))


def band(truth: NDArray[np.integer], classes: int, tolerance: float = TOLERANCE) -> Mask:
    """(H, W) bool, the trimap: pixels with a truth that lie within the tolerance of a boundary between true labels."""
    valid = (truth >= 0) & (truth < classes)
    near = _distance(_edges(truth, valid)) <= reach(truth.shape, tolerance) + ROUNDING
    return np.asarray(near & valid)


def _edges(labels: NDArray[np.integer], valid: Mask) -> Mask:
    """(H, W) bool, valid pixels with a valid neighbour (of four) of another label."""
    edges = np.zeros(labels.shape, bool)
    down = (labels[1:] != labels[:-1]) & valid[1:] & valid[:-1]
    across = (labels[:, 1:] != labels[:, :-1]) & valid[:, 1:] & valid[:, :-1]
    edges[1:] |= down
    edges[:-1] |= down
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    return edges


def _score(true: Mask, guess: Mask, far: float) -> float:
    """F of one class's outlines; NaN where there is neither, 0 where there is only one."""
    trues, guesses = int(true.sum()), int(guess.sum())
    if not trues or not guesses:
        return float("nan") if trues == guesses else 0.0
    # distances matter up to `far`, so a box around the outlines is enough
    rows, columns = (np.flatnonzero((true | guess).any(axis=axis)) for axis in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    true, guess = true[box], guess[box]
    precision = int((guess & (_distance(true) <= far)).sum()) / guesses
    recall = int((true & (_distance(guess) <= far)).sum()) / trues
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _distance(edges: Mask) -> NDArray[np.float32]:
    """(H, W) Euclidean distance in pixels to the nearest edge; huge where there is none."""
    if not edges.any():
        return np.full(edges.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform(1 - edges.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)

"""Intersection over union, against scikit-learn and a loop over pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ovseg_ros.evaluation.metrics import Confusion

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
arrays = pytest.importorskip("hypothesis.extra.numpy")

COUNT = 4
NAMES = ["a", "b", "c", "d"]
truths = st.sampled_from([0, 1, 2, 3, 255])
guesses = st.sampled_from([0, 1, 2, 3, 4, 255])
images = arrays.array_shapes(min_dims=2, max_dims=2, max_side=6).flatmap(
    lambda shape: st.tuples(
        arrays.arrays(np.uint8, shape, elements=truths), arrays.arrays(np.uint8, shape, elements=guesses)
    )
)


def counted(pairs: list[tuple[np.ndarray, np.ndarray]]) -> Confusion:
    confusion = Confusion(COUNT)
    for truth, guess in pairs:
        confusion.add(truth, guess)
    return confusion


def flat(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Truth and guess of all pixels that have a truth."""
    truth = np.concatenate([t.ravel() for t, _ in pairs])
    guess = np.concatenate([g.ravel() for _, g in pairs])
    return truth[truth != 255], guess[truth != 255]


@hypothesis.given(st.lists(images, min_size=1, max_size=3))
def test_iou_is_shared_pixels_over_all_pixels(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    confusion = counted(pairs)
    truth, guess = flat(pairs)
    occurring = []
    for c, value in enumerate(confusion.iou()):
        both = sum(1 for t, g in zip(truth, guess, strict=True) if t == c and g == c)
        either = sum(1 for t, g in zip(truth, guess, strict=True) if c in (t, g))
        assert value == pytest.approx(both / either) if either else math.isnan(value)
        if c in truth:
            occurring.append(both / either)
    assert confusion.miou() == pytest.approx(np.mean(occurring)) if occurring else math.isnan(confusion.miou())


@hypothesis.given(st.lists(images, min_size=1, max_size=3))
def test_the_numbers_are_scikit_learns(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    confusion = counted(pairs)
    truth, guess = flat(pairs)
    hypothesis.assume(truth.size)
    guess = np.minimum(guess, COUNT)
    expected = metrics.confusion_matrix(truth, guess, labels=range(COUNT + 1))
    np.testing.assert_array_equal(confusion.matrix, expected[:COUNT])
    occurring = sorted(set(truth.tolist()))
    scores = metrics.jaccard_score(truth, guess, labels=occurring, average=None, zero_division=0)
    assert confusion.miou() == pytest.approx(scores.mean())
    assert confusion.per_class(NAMES) == {NAMES[c]: round(float(s), 4) for c, s in zip(occurring, scores, strict=True)}


@hypothesis.given(st.lists(images, min_size=2, max_size=4))
def test_the_order_of_images_does_not_count(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    np.testing.assert_array_equal(counted(pairs).matrix, counted(pairs[::-1]).matrix)


def test_labels_of_sixteen_bits_count_as_well() -> None:
    confusion = Confusion(2)
    confusion.add(np.array([[0, 1, 1]]), np.array([[0, 1, 65535]], np.uint16))
    np.testing.assert_array_equal(confusion.matrix, [[1, 0, 0], [0, 1, 1]])


def test_images_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\), the prediction \(3, 2\)"):
        Confusion(2).add(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))

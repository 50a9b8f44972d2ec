"""Boundary scores, against a loop over all pairs of pixels and SciPy's distance transform."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ovseg_ros.evaluation.boundary import TOLERANCE, band, boundary_scores, reach

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
arrays = pytest.importorskip("hypothesis.extra.numpy")

CLASSES = 3
sides = st.tuples(st.integers(2, 9), st.integers(2, 9))


def masks(top: list[int]) -> object:
    """A pair of label images of one size; the first with ids, the second with ids and what `top` adds."""
    return sides.flatmap(
        lambda shape: st.tuples(
            arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 255])),
            arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, *top])),
        )
    )


def outline(labels: np.ndarray, truth: np.ndarray, c: int | None) -> list[tuple[int, int]]:
    """Pixels of class c (any where None) beside another label, both with a truth, by a loop."""
    found = []
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            if truth[y, x] == 255 or (c is not None and labels[y, x] != c):
                continue
            for j, i in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= j < height and 0 <= i < width and truth[j, i] != 255 and labels[j, i] != labels[y, x]:
                    found.append((y, x))
                    break
    return found


def share_near(of: list[tuple[int, int]], others: list[tuple[int, int]], far: float) -> float:
    near = [p for p in of if any(math.dist(p, q) <= far + 1e-6 for q in others)]
    return len(near) / len(of)


@hypothesis.given(masks([255]), st.sampled_from([0.1, 0.2, 0.35]))
def test_f_is_that_of_a_loop(pair: tuple[np.ndarray, np.ndarray], tolerance: float) -> None:
    truth, guess = pair
    far = max(1.0, tolerance * math.hypot(*truth.shape))
    found = boundary_scores(truth, guess, CLASSES, tolerance)
    assert found.classes.tolist() == [c for c in range(CLASSES) if (truth == c).any()]
    for c, score in zip(found.classes, found.scores, strict=True):
        true, drawn = outline(truth, truth, int(c)), outline(guess, truth, int(c))
        if not true or not drawn:
            assert math.isnan(score) if len(true) == len(drawn) else score == 0
            continue
        precision, recall = share_near(drawn, true, far), share_near(true, drawn, far)
        expected = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        assert score == pytest.approx(expected)


@hypothesis.given(masks([]))
def test_the_band_is_scipys_distance(pair: tuple[np.ndarray, np.ndarray]) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    truth, _ = pair
    edges = np.ones(truth.shape, bool)
    for y, x in outline(truth, truth, None):
        edges[y, x] = False
    near = ndimage.distance_transform_edt(edges) <= reach(truth.shape, 0.2) if not edges.all() else np.zeros_like(edges)
    np.testing.assert_array_equal(band(truth, CLASSES, 0.2), near & (truth != 255))


def test_an_outline_within_the_tolerance_is_right_and_beyond_it_wrong() -> None:
    truth = np.zeros((300, 400), np.uint8)  # a diagonal of 500
    truth[:, 200:] = 1
    assert reach(truth.shape) == pytest.approx(3.75)
    for shift, expected in ((0, 1.0), (3, 1.0), (4, 0.0)):
        guess = np.zeros_like(truth)
        guess[:, 200 + shift :] = 1
        scores = boundary_scores(truth, guess, 2).scores
        # an edge lies on both its sides: shifted by 4, each class's own side is 4 away from its true side
        np.testing.assert_allclose(scores, [expected, expected])


def test_a_tolerance_means_the_same_at_every_size() -> None:
    rng = np.random.default_rng(0)
    small = np.kron(rng.integers(0, 3, (5, 6)), np.ones((30, 30))).astype(np.uint8)
    guess = np.roll(small, 2, axis=1)
    large, large_guess = (np.kron(x, np.ones((3, 3), np.uint8)) for x in (small, guess))
    first, second = boundary_scores(small, guess, 3, 0.02).scores, boundary_scores(large, large_guess, 3, 0.02).scores
    np.testing.assert_allclose(first, second, atol=0.02)


def test_neither_the_images_border_nor_a_region_without_truth_is_an_outline() -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[5:9, 5:9] = 255
    assert math.isnan(boundary_scores(truth, truth, 2).scores[0])
    assert not band(truth, 2).any()


@pytest.mark.parametrize("tolerance", [0.0, 1.0, -0.1])
def test_a_tolerance_that_is_no_share_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match="share of the diagonal"):
        reach((10, 10), tolerance)
    assert 0 < TOLERANCE < 1

"""Scores of a confusion matrix, against torchmetrics, scikit-learn and a loop over pixels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from ovseg_ros.evaluation.datasets import camvid
from ovseg_ros.evaluation.metrics import Confusion, count, harmonic

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


@hypothesis.given(st.lists(images, min_size=1, max_size=3))
def test_the_other_scores_are_those_of_a_loop(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    confusion = counted(pairs)
    truth, guess = flat(pairs)
    hypothesis.assume(truth.size)
    accuracies, weighted = [], 0.0
    for c in sorted(set(truth.tolist())):
        mine = [g == c for t, g in zip(truth, guess, strict=True) if t == c]
        accuracies.append(sum(mine) / len(mine))
        union = sum(1 for t, g in zip(truth, guess, strict=True) if c in (t, g))
        weighted += len(mine) / len(truth) * sum(mine) / union
    assert confusion.macc() == pytest.approx(np.mean(accuracies))
    assert confusion.fwiou() == pytest.approx(weighted)
    assert confusion.pacc() == pytest.approx(np.mean(truth == guess))


def independent_miou(truth: np.ndarray, guess: np.ndarray, classes: int) -> tuple[float, np.ndarray]:
    """Mean IoU over occurring classes and IoU by class, by torchmetrics; "unlabelled" is a class more."""
    torch = pytest.importorskip("torch")
    jaccard = pytest.importorskip("torchmetrics.functional.classification").multiclass_jaccard_index
    keep = truth < classes
    t = torch.from_numpy(truth[keep].astype(np.int64))
    g = torch.from_numpy(np.minimum(guess[keep].astype(np.int64), classes))
    values = jaccard(g, t, num_classes=classes + 1, average="none", validate_args=False)[:classes].double().numpy()
    occurs = np.isin(np.arange(classes), truth[keep])
    return float(values[occurs].mean()), values


@pytest.mark.parametrize(("classes", "dtype"), [(5, np.uint8), (150, np.uint8), (847, np.uint16)])
def test_miou_is_torchmetrics_on_random_masks(classes: int, dtype: type) -> None:
    rng = np.random.default_rng(classes)
    top = np.iinfo(dtype).max
    truth = rng.integers(0, classes, (3, 60, 80)).astype(dtype)
    guess = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, classes, truth.shape)).astype(dtype)
    truth[rng.random(truth.shape) < 0.1] = top
    guess[rng.random(truth.shape) < 0.1] = top
    confusion = Confusion(classes)
    for one in zip(truth, guess, strict=True):
        confusion.add(*one)
    mean, values = independent_miou(truth, guess, classes)
    assert confusion.miou() == pytest.approx(mean, abs=1e-6)
    np.testing.assert_allclose(np.nan_to_num(confusion.iou()), values, atol=1e-6)


def test_miou_is_torchmetrics_on_real_masks(camvid_root: Path) -> None:
    data = camvid(camvid_root, "val")
    truth = np.stack([data[i].labels for i in range(0, 40, 8)])
    guess = np.roll(truth, 12, axis=2)  # what a prediction that is some pixels off looks like
    confusion = Confusion(11)
    for one in zip(truth, guess, strict=True):
        confusion.add(*one)
    mean, values = independent_miou(truth, guess, 11)
    assert 0.1 < mean < 0.9
    assert confusion.miou() == pytest.approx(mean, abs=1e-6)
    np.testing.assert_allclose(np.nan_to_num(confusion.iou()), values, atol=1e-6)


def test_a_class_that_is_only_predicted_counts_where_the_mean_is_over_the_union() -> None:
    confusion = Confusion(3)
    confusion.add(np.array([[0, 0, 1, 1]]), np.array([[0, 0, 1, 2]]))
    assert confusion.miou() == pytest.approx((1 + 1 / 2) / 2)  # detectron2's
    assert confusion.miou(over="union") == pytest.approx((1 + 1 / 2 + 0) / 3)  # mmseg's


def test_a_mean_over_some_classes_leaves_the_others_in_the_competition() -> None:
    confusion = Confusion(3)
    confusion.add(np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 1]]))
    assert confusion.miou([1]) == pytest.approx(2 / 3)
    assert confusion.miou([0, 1]) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert math.isnan(confusion.miou([2]))


def test_without_any_truth_there_is_no_score() -> None:
    empty = Confusion(3)
    empty.add(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8))
    assert all(math.isnan(v) for v in (empty.miou(), empty.fwiou(), empty.macc(), empty.pacc()))


def test_the_harmonic_mean_balances_seen_and_unseen() -> None:
    statistics = pytest.importorskip("statistics")
    assert harmonic(0.6, 0.3) == pytest.approx(statistics.harmonic_mean([0.6, 0.3]))
    assert harmonic(0.6, 0.0) == 0.0
    assert math.isnan(harmonic(float("nan"), 0.3))


def test_the_counts_of_an_image_are_few_and_whole() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (20, 30))
    counts = count(truth, truth, 847)
    assert len(counts.cells) == 3
    assert counts.pixels.sum() == truth.size

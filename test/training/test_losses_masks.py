"""Losses of binary masks and the points they are read at, against loops over masks and pixels."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.training.losses import masks as losses  # noqa: E402
from ovseg_ros.training.losses.points import read_points, uncertain_points, uniform  # noqa: E402


def batch(seed: int, count: int = 4, points: int = 7) -> tuple[Any, Any]:
    """Logits (M, P), some of them far from 0, and targets of zeros and ones."""
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(count, points, generator=generator)
    return logits, (torch.rand(count, points, generator=generator) < 0.4).float()


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def entropy(x: float, t: float) -> float:
    return -t * math.log(sigmoid(x)) - (1 - t) * math.log(1 - sigmoid(x))


def focal(x: float, t: float, alpha: float | None = 0.25, gamma: float = 2.0) -> float:
    p = sigmoid(x) if t else 1 - sigmoid(x)
    weight = 1.0 if alpha is None else alpha if t else 1 - alpha
    return -weight * (1 - p) ** gamma * math.log(p)


def dice(xs: list[float], ts: list[float]) -> float:
    both = sum(sigmoid(x) * t for x, t in zip(xs, ts, strict=True))
    return 1 - (2 * both + 1) / (sum(map(sigmoid, xs)) + sum(ts) + 1)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (None, 2.0), (0.5, 0.0), (0.9, 3.5)])
def test_focal_loss_is_its_formula(alpha: float | None, gamma: float) -> None:
    logits, targets = batch(0)
    found = losses.sigmoid_focal(logits, targets, alpha, gamma)
    for m in range(4):
        for p in range(7):
            expected = focal(float(logits[m, p]), float(targets[m, p]), alpha, gamma)
            assert float(found[m, p]) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_losses_of_a_mask_are_loops_over_its_points() -> None:
    logits, targets = batch(1)
    for m, (xs, ts) in enumerate(zip(logits.tolist(), targets.tolist(), strict=True)):
        pairs = list(zip(xs, ts, strict=True))
        mean = sum(entropy(x, t) for x, t in pairs) / 7
        assert float(losses.mask_cross_entropy(logits, targets)[m]) == pytest.approx(mean, rel=1e-4)
        assert float(losses.mask_focal(logits, targets)[m]) == pytest.approx(
            sum(focal(x, t) for x, t in pairs) / 7, rel=1e-4
        )
        assert float(losses.mask_dice(logits, targets)[m]) == pytest.approx(dice(xs, ts), rel=1e-5)


def test_pairwise_losses_are_loops_over_pairs() -> None:
    logits, _ = batch(2, count=5)
    _, targets = batch(3, count=3)
    tables = [losses.pairwise_cross_entropy, losses.pairwise_focal, losses.pairwise_dice]
    found = [table(logits, targets) for table in tables]
    for q, xs in enumerate(logits.tolist()):
        for m, ts in enumerate(targets.tolist()):
            pairs = list(zip(xs, ts, strict=True))
            expected = [sum(entropy(x, t) for x, t in pairs) / 7, sum(focal(x, t) for x, t in pairs) / 7, dice(xs, ts)]
            for table, value in zip(found, expected, strict=True):
                assert float(table[q, m]) == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize("loss", [losses.mask_cross_entropy, losses.mask_focal, losses.mask_dice])
def test_certain_wrong_and_empty_masks_have_finite_losses_and_gradients(loss: Any) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], requires_grad=True)
    found = loss(logits, torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
    found.sum().backward()
    assert bool(found.isfinite().all())
    assert bool(logits.grad.isfinite().all())
    assert found[1].item() == 0.0  # nothing predicted where nothing is


def bilinear(image: Any, x: float, y: float) -> float:
    """A map at a point in 0..1, pixel centres at (i + 0.5) / size, zero outside."""
    height, width = image.shape
    u, v = x * width - 0.5, y * height - 0.5
    value = 0.0
    for j in (math.floor(v), math.floor(v) + 1):
        for i in (math.floor(u), math.floor(u) + 1):
            if 0 <= i < width and 0 <= j < height:
                value += float(image[j, i]) * (1 - abs(u - i)) * (1 - abs(v - j))
    return value


def test_points_are_read_bilinearly_with_zeros_outside() -> None:
    draw = uniform(generator=torch.Generator().manual_seed(4))
    maps, points = draw((3, 5, 8)), draw((3, 11, 2))
    points[:, 0] = 0.0  # the corner, outside the outermost pixel's centre
    found = read_points(maps, points)
    shared = read_points(maps, points[:1])
    for m in range(3):
        for p in range(11):
            x, y = points[m, p].tolist()
            assert float(found[m, p]) == pytest.approx(bilinear(maps[m], x, y), abs=1e-5)
            x, y = points[0, p].tolist()
            assert float(shared[m, p]) == pytest.approx(bilinear(maps[m], x, y), abs=1e-5)


@pytest.mark.parametrize(("count", "oversample", "importance"), [(16, 3.0, 0.75), (10, 2.5, 0.0), (12, 1.0, 1.0)])
def test_the_least_certain_candidates_are_chosen(count: int, oversample: float, importance: float) -> None:
    draw = uniform(generator=torch.Generator().manual_seed(5))
    logits = 10 * draw((3, 6, 6)) - 5
    drawn: list[Any] = []

    def recorded(shape: Any) -> Any:
        drawn.append(draw(shape))
        return drawn[-1]

    points = uncertain_points(logits, count, oversample, importance, recorded)
    hard = int(importance * count)
    assert points.shape == (3, count, 2)
    assert drawn[0].shape == (3, int(count * oversample), 2)
    for m in range(3):
        by_certainty = sorted(drawn[0][m].tolist(), key=lambda xy: abs(bilinear(logits[m], *xy)))
        assert sorted(points[m, :hard].tolist()) == sorted(by_certainty[:hard])
        if hard < count:
            assert torch.equal(points[m, hard:], drawn[1][m])


def test_the_same_generator_gives_the_same_points() -> None:
    logits = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0))
    first, again = (
        uncertain_points(logits, 9, draw=uniform(generator=torch.Generator().manual_seed(7))) for _ in range(2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, uncertain_points(logits, 9, draw=uniform(generator=torch.Generator().manual_seed(8))))


@pytest.mark.parametrize(("oversample", "importance"), [(0.5, 0.75), (3.0, 1.5), (3.0, -0.1)])
def test_shares_out_of_range_are_refused(oversample: float, importance: float) -> None:
    with pytest.raises(ValueError, match=f"oversample is {oversample} and importance {importance}"):
        uncertain_points(torch.zeros(1, 4, 4), 8, oversample, importance)

"""The loss, against a loop over pixels."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.training.losses import dice_loss, word_loss  # noqa: E402

OTHER, SCALE = 0.2, 12.0


def batch(seed: int) -> tuple[Any, Any, Any]:
    """Cosines (2, 3, 4, 5), targets with every word, "none of these" and ignored pixels, and weights."""
    generator = torch.Generator().manual_seed(seed)
    cosines = torch.rand(2, 3, 4, 5, generator=generator) * 2 - 1
    targets = torch.randint(0, 4, (2, 4, 5), generator=generator)
    targets[torch.rand(2, 4, 5, generator=generator) < 0.3] = -100
    return cosines, targets, torch.tensor([0.5, 1.0, 3.0, 0.8])


def brute_force(cosines: Any, targets: Any, weights: Any, alignment: float) -> float:
    entropy = total = pull = named = 0.0
    n, k, h, w = cosines.shape
    for b in range(n):
        for y in range(h):
            for x in range(w):
                t = int(targets[b, y, x])
                if t == -100:
                    continue
                scores = [float(cosines[b, i, y, x]) * SCALE for i in range(k)] + [OTHER * SCALE]
                weight = float(weights[t])
                entropy += weight * (math.log(sum(math.exp(s) for s in scores)) - scores[t])
                total += weight
                if t < k:
                    pull += weight * (1 - float(cosines[b, t, y, x]))
                    named += weight
    return (entropy / total if total else 0.0) + alignment * (pull / named if named else 0.0)


def loss_of(cosines: Any, targets: Any, weights: Any, alignment: float) -> Any:
    return word_loss(cosines, torch.tensor(OTHER), torch.tensor(SCALE), targets, weights, alignment)


@pytest.mark.parametrize("alignment", [0.0, 0.3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_loss_is_the_loop_over_pixels(seed: int, alignment: float) -> None:
    cosines, targets, weights = batch(seed)
    expected = brute_force(cosines, targets, weights, alignment)
    assert float(loss_of(cosines, targets, weights, alignment)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("alignment", [0.0, 0.3])
def test_pixels_of_no_word_are_pulled_nowhere(alignment: float) -> None:
    cosines, targets, weights = batch(3)
    targets[targets >= 0] = 3
    expected = brute_force(cosines, targets, weights, alignment)
    assert float(loss_of(cosines, targets, weights, alignment)) == pytest.approx(expected, rel=1e-5)
    assert expected == brute_force(cosines, targets, weights, 0.0)


def test_a_batch_without_truth_costs_nothing_and_teaches_nothing() -> None:
    cosines, targets, weights = batch(4)
    cosines.requires_grad_(True)
    loss = loss_of(cosines, torch.full_like(targets, -100), weights, 0.3)
    assert loss.item() == 0.0
    loss.backward()
    assert torch.equal(cosines.grad, torch.zeros_like(cosines))


def test_ignored_pixels_have_no_gradient() -> None:
    cosines, targets, weights = batch(5)
    cosines.requires_grad_(True)
    loss_of(cosines, targets, weights, 0.3).backward()
    ignored = (targets == -100)[:, None].expand_as(cosines)
    assert cosines.grad[ignored].abs().max() == 0
    assert cosines.grad[~ignored].abs().max() > 0


def brute_force_dice(probabilities: Any, targets: Any) -> float:
    n, classes, h, w = probabilities.shape
    losses = []
    for k in range(classes):
        both = claimed = true = 0.0
        for b in range(n):
            for y in range(h):
                for x in range(w):
                    if targets[b, y, x] == -100:
                        continue
                    p, t = float(probabilities[b, k, y, x]), float(targets[b, y, x] == k)
                    both, claimed, true = both + p * t, claimed + p, true + t
        if true:
            losses.append(1 - 2 * both / (claimed + true))
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("shown", [4, 2, 0])
def test_dice_is_the_loop_over_classes_that_are_shown(shown: int) -> None:
    cosines, targets, weights = batch(6)
    targets[targets >= shown] = -100
    probabilities = (torch.cat([cosines, torch.full((2, 1, 4, 5), OTHER)], dim=1) * SCALE).softmax(dim=1)
    expected = brute_force_dice(probabilities, targets)
    assert float(dice_loss(probabilities, targets)) == pytest.approx(expected, rel=1e-5)
    with_dice = word_loss(cosines, torch.tensor(OTHER), torch.tensor(SCALE), targets, weights, 0.0, dice=0.5)
    without = loss_of(cosines, targets, weights, 0.0)
    assert float(with_dice - without) == pytest.approx(0.5 * expected, abs=1e-5)


def test_dice_is_zero_where_every_pixel_is_right() -> None:
    _, targets, _ = batch(7)
    right = torch.nn.functional.one_hot(targets.clamp(min=0), 4).movedim(-1, 1).float()
    assert float(dice_loss(right, targets)) == pytest.approx(0.0, abs=1e-6)
    assert float(dice_loss(right.roll(1, dims=1), targets)) == pytest.approx(1.0)

"""Learning rates, parameter groups, averages and tasks, against torch's own and against plain loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.text import StaticTextEncoder  # noqa: E402
from ovseg_ros.training.optim import Average, make_optimizer, rate_factor  # noqa: E402
from ovseg_ros.training.task import open_task  # noqa: E402

Make = Callable[..., Any]


def rates(scheduler: Any, optimizer: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("schedule", ["cosine", "poly", "step", "constant"])
def test_schedules_are_those_of_torch(schedule: str, toy_recipe: Make) -> None:
    recipe = toy_recipe(schedule=schedule, warmup=0, steps=40, power=0.9, milestones=(0.5, 0.75), gamma=0.3)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    kinds = torch.optim.lr_scheduler
    scheduler = {
        "cosine": lambda: kinds.CosineAnnealingLR(optimizer, 40),
        "poly": lambda: kinds.PolynomialLR(optimizer, 40, 0.9),
        "step": lambda: kinds.MultiStepLR(optimizer, [20, 30], 0.3),
        "constant": lambda: kinds.ConstantLR(optimizer, 1.0),
    }[schedule]()
    assert [rate_factor(recipe, step) for step in range(40)] == pytest.approx(rates(scheduler, optimizer, 40), abs=1e-9)


def test_the_warm_up_is_linear_and_ends_where_the_schedule_begins(toy_recipe: Make) -> None:
    recipe = toy_recipe(warmup=4, steps=24)
    assert [rate_factor(recipe, step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert rate_factor(recipe, 4) == 1.0
    assert rate_factor(recipe, 14) == pytest.approx(0.5)


class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.trunk = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
        self.head = torch.nn.Linear(3, 2)
        self.frozen = torch.nn.Linear(3, 3).requires_grad_(False)


def test_every_trainable_parameter_has_the_decay_and_rate_of_its_name(toy_recipe: Make) -> None:
    net = Net()
    factors = {"trunk": 0.1, "trunk.1": 0.5}
    optimizer = make_optimizer(net, toy_recipe(multipliers=factors, learning_rate=2.0, weight_decay=0.3))
    found = {
        id(p): (group["initial_lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]
    }
    names = {name: found.pop(id(p)) for name, p in net.named_parameters() if p.requires_grad}
    assert not found
    assert names == {
        "trunk.0.weight": (0.2, 0.3), "trunk.0.bias": (0.2, 0.0), "trunk.1.weight": (1.0, 0.0),
        "trunk.1.bias": (1.0, 0.0), "head.weight": (2.0, 0.3), "head.bias": (2.0, 0.0),
    }  # fmt: skip
    with pytest.raises(ModelError, match="no trainable parameter's name begins with 'frozen'"):
        make_optimizer(net, toy_recipe(multipliers={"frozen": 0.1}))


def test_the_average_copies_no_frozen_weights_and_follows_the_others() -> None:
    net = Net()
    average = Average(net, 0.8)
    assert average.net.frozen.weight is net.frozen.weight
    expected = net.head.weight.detach().clone()
    for step in range(60):
        with torch.no_grad():
            net.head.weight.add_(1.0)
            net.trunk(torch.randn(4, 3))
        average.update(net, step)
        keep = min(0.8, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * net.head.weight.detach()
    torch.testing.assert_close(average.net.head.weight, expected)
    assert int(average.net.trunk[1].num_batches_tracked) == 60
    assert not any(p.requires_grad for p in average.net.parameters())
    assert net.head.weight.requires_grad


def test_sizes_come_from_the_recipe(toy_recipe: Make, tiny_encoder: StaticTextEncoder) -> None:
    task = open_task(toy_recipe(model={"name": "pixeltext", "widths": [4, 8, 12, 16], "features": 20}), tiny_encoder)
    assert (task.net.config.widths, task.net.config.features, task.net.config.text_width) == ((4, 8, 12, 16), 20, 16)
    again = open_task(toy_recipe(model=task.config()), tiny_encoder)
    assert again.net.config == task.net.config
    assert again.net.to_text.weight.shape == (16, 20)


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ({"name": "pixelword"}, "no model 'pixelword' can be trained; expected one of pixeltext"),
        ({"name": "pixeltext", "width": 4}, "no size 'width'; its sizes are widths, depths, features"),
        ({"name": "pixeltext", "text_width": 4}, "no size 'text_width'"),
        ({"name": "pixeltext", "widths": [4, 8]}, "PixelText cannot have the sizes"),
        ({"name": "pixeltext", "features": -3}, "PixelText cannot have the sizes"),
    ],
)
def test_models_that_cannot_be_are_refused(
    model: dict[str, Any], complaint: str, toy_recipe: Make, tiny_encoder: StaticTextEncoder
) -> None:
    with pytest.raises(ModelError, match=f"model: .*{complaint}"):
        open_task(toy_recipe(model=model), tiny_encoder)

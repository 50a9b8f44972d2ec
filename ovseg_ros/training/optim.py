"""Optimisers, learning rates over time, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from ovseg_ros.errors import ModelError
from ovseg_ros.training.recipe import Recipe


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over the trainable parameters.

    Weight decay falls on parameters with two axes or more. A parameter's learning rate is the recipe's times the factor
    of the longest prefix of its name in `multipliers`; a group keeps its own in `initial_lr`.

    Raises:
        ModelError: for a prefix that no trainable parameter begins with.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    unmet = set(recipe.multipliers)
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            prefix = max((p for p in recipe.multipliers if name.startswith(p)), key=len, default=None)
            unmet.discard(prefix or "")
            factor = 1.0 if prefix is None else recipe.multipliers[prefix]
            groups.setdefault((factor, parameter.ndim > 1), []).append(parameter)
    if unmet:
        raise ModelError(f"multipliers: no trainable parameter's name begins with {min(unmet)!r}")
    settings: list[dict[str, Any]] = [
        {
            "params": parameters,
            "weight_decay": recipe.weight_decay if decays else 0.0,
            "initial_lr": recipe.learning_rate * factor,
        }
        for (factor, decays), parameters in groups.items()
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(settings, lr=recipe.learning_rate, momentum=recipe.momentum)
    return torch.optim.AdamW(settings, lr=recipe.learning_rate, betas=recipe.betas)


def rate_factor(recipe: Recipe, step: int) -> float:
    """What the learning rates are multiplied by in a step counted from 0: a linear warm-up, then the schedule."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    if recipe.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if recipe.schedule == "poly":
        return float((1 - progress) ** recipe.power)
    if recipe.schedule == "step":
        return float(recipe.gamma ** sum(step >= share * recipe.steps for share in recipe.milestones))
    return 1.0


class Average:
    """Exponential moving average of a network's weights and batch-norm statistics.

    Args:
        net: frozen parameters are shared with it, not copied.
        decay: share that the average keeps in a step; less while the run is young.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        frozen = {id(p): p for p in net.parameters() if not p.requires_grad}
        self.net = copy.deepcopy(net, frozen).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Take in the weights after a step counted from 0."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for mean, now in zip(self.net.state_dict().values(), net.state_dict().values(), strict=True):
            if mean.data_ptr() == now.data_ptr():
                continue
            if mean.is_floating_point():
                mean.lerp_(now, 1 - keep)
            else:
                mean.copy_(now)

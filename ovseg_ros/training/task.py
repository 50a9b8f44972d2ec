"""What the trainer trains: a network with its loss, and how it is deployed. The trainer knows nothing else of a model.

A new model is a subclass of `Task` and a line in `TASKS`; recipes name it with `model: {name: NAME, ...}`.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor, nn
from torch.utils.data import Dataset

from ovseg_ros.errors import ModelError
from ovseg_ros.models.onepass import OnePass
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.batches import Batches
from ovseg_ros.training.lexicon import lexicon_words
from ovseg_ros.training.mix import Mix
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.words import WordSampler, balanced_weights

TASKS = {  # name -> module:class, imported when it is chosen
    "pixeltext": "ovseg_ros.training.pixeltext:PixelTextTask",
    "clip-mini": "ovseg_ros.training.contrastive:MiniClipTask",
    "deop": "ovseg_ros.training.deop:DeopTask",
    "gkc": "ovseg_ros.training.gkc:GkcTask",
    "esc-net": "ovseg_ros.training.esc_net:EscNetTask",
    "ebseg": "ovseg_ros.training.ebseg:EbsegTask",
}
B = TypeVar("B")


class Sealed(Generic[B]):
    """A batch on its way through Lightning Fabric, which would round every float tensor it sees to half precision.

    What autocast wants in half precision it casts itself; text embeddings and loss weights stay as they are.
    """

    def __init__(self, batch: B) -> None:
        self.batch = batch


class Task(nn.Module, ABC, Generic[B]):
    """A network with its loss.

    Args:
        recipe: the run's.
        encoder: the text encoder whose space is learned.

    Attributes:
        net: what is trained, averaged and deployed. Every trainable parameter lies in it; frozen ones have
            `requires_grad` False and are neither updated nor averaged.
        stride: pixels of a crop per cell of its target.
        unused: whether some trainable parameters get no gradient in some steps (several devices must know).
    """

    net: nn.Module
    stride = 4
    unused = False

    def __init__(self, recipe: Recipe, encoder: StaticTextEncoder) -> None:
        super().__init__()
        self.recipe, self.encoder = recipe, encoder

    @abstractmethod
    def loss(self, batch: B) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, a scalar, and further scalars for the log. Called under autocast."""

    def forward(self, sealed: Sealed[B]) -> tuple[Tensor, dict[str, Tensor]]:
        """`loss`, in the form in which several devices train."""
        return self.loss(sealed.batch)

    def batches(self, mix: Mix, parts: int) -> Dataset[Any]:
        """The run's batches: a data set of `steps * parts` entries, each a function of seed and index alone."""
        weights = balanced_weights(mix.pixel_counts(), self.recipe.balance)
        more = lexicon_words(mix.kinds, mix.forbidden) if self.recipe.words.lexicon else {}
        sampler = WordSampler(mix.kinds, mix.colours, weights, self.encoder, self.recipe.words, more, mix.forbidden)
        return Batches(mix, sampler, self.recipe, parts=parts, stride=self.stride)

    def config(self) -> dict[str, Any]:
        """The network's sizes as plain data, for the checkpoint."""
        return dict(self.recipe.model)

    def deployed(self, net: nn.Module, size: tuple[int, int]) -> OnePass:
        """The graph that is exported: uint8 pixels and a text table in, labels and confidence out."""
        return OnePass(net, size)

    def finish(self, folder: Path) -> dict[str, float]:
        """Write what else belongs into the checkpoint's folder, `net` holding the averaged weights.

        Returns:
            Further scores for the card, by title.
        """
        return {}


def open_task(recipe: Recipe, encoder: StaticTextEncoder) -> Task[Any]:
    """The task that a recipe names; its weights are drawn from torch's random numbers.

    Raises:
        ModelError: for a model without a task, or sizes it does not have.
    """
    return _task(recipe)(recipe, encoder)


def _task(recipe: Recipe) -> type[Task[Any]]:
    name = recipe.model["name"]
    if name not in TASKS:
        raise ModelError(f"model: no model {name!r} can be trained; expected one of {', '.join(TASKS)}")
    module, _, kind = TASKS[name].partition(":")
    task: type[Task[Any]] = getattr(importlib.import_module(module), kind)
    return task


def has_unused(recipe: Recipe) -> bool:
    """`Task.unused` of a recipe's task, known before it is built."""
    return _task(recipe).unused


def sizes_of(model: Mapping[str, Any], kind: type, **fixed: Any) -> Any:
    """A network's config from a recipe's `model`, lists as tuples.

    Args:
        model: with `name`, which is left out.
        kind: the config's dataclass.
        fixed: entries that a recipe cannot choose.

    Raises:
        ModelError: for a key that the config does not have.
    """
    chosen = {k: tuple(v) if isinstance(v, list) else v for k, v in model.items() if k != "name"}
    known = [key for key in getattr(kind, "__dataclass_fields__", {}) if key not in fixed]
    if unknown := next((key for key in chosen if key not in known), None):
        raise ModelError(f"model: {model['name']} has no size {unknown!r}; its sizes are {', '.join(known)}")
    try:
        return kind(**chosen, **fixed)
    except (TypeError, ValueError) as error:
        raise ModelError(f"model: {model['name']} cannot have these sizes: {error}") from error

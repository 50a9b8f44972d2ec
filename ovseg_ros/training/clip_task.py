"""What the trainings of DeOP, GKC, EBSeg and ESC-Net have in common: each stands on a CLIP that is there already."""

from __future__ import annotations

import copy
from abc import abstractmethod
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from ovseg_ros.errors import ModelError
from ovseg_ros.models.clip import VisionTransformer
from ovseg_ros.models.clip_mini import load_mini_clip, text_identity
from ovseg_ros.models.onepass import OnePass
from ovseg_ros.resources import find
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.batches import Batch
from ovseg_ros.training.matching import Segments
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.task import Task, sizes_of

CLIP = "clip-mini"  # where a recipe names no other
NEVER = -1e4  # logit of a word that a picture is not asked about: no share in its softmax
C = TypeVar("C")  # the choices of a system, a dataclass


class ClipTask(Task[Batch], Generic[C]):
    """A system around a mini CLIP.

    `model` names the system, the CLIP (`clip`: a checkpoint of `weights/`, or a path), and what the system's `Choices`
    has.

    Attributes:
        choices: the system's own part of `model`.
        clip: the CLIP as it is on disk, in evaluation mode, to copy weights from.
    """

    Choices: type[C]

    def __init__(self, recipe: Recipe, encoder: StaticTextEncoder) -> None:
        super().__init__(recipe, encoder)
        chosen = dict(recipe.model)
        self._clip_name = str(chosen.pop("clip", CLIP))
        self.choices: C = sizes_of(chosen, self.Choices)
        # in a list, so that it is no part of this module: it is neither moved nor saved with it
        self._clip = [open_clip_mini(self._clip_name, encoder)]

    @property
    def clip(self) -> VisionTransformer:
        """The CLIP as it is on disk."""
        return self._clip[0]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Task`.

        Raises:
            ModelError: a prediction or a term is not finite.
        """
        try:
            return self.batch_loss(batch)
        except (FloatingPointError, ValueError) as error:  # as `match` and `total` refuse NaN
            raise ModelError(str(error)) from error

    @abstractmethod
    def batch_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The system's loss, and its terms by name."""

    def pixels(self, batch: Batch) -> Tensor:
        """The batch's images as the network takes them: (B, 3, H, W) float, normalised by its statistics."""
        mean, std = (
            255 * torch.tensor(values, device=batch.images.device).reshape(3, 1, 1)
            for values in (self.net.pixel_mean, self.net.pixel_std)
        )
        return (batch.images.float() - mean) / std

    def truth(self, batch: Batch) -> list[Segments]:
        """One segment for every word that a picture shows; pixels of no word, or without truth, belong to none."""
        return [Segments.from_labels(target, len(batch.words)) for target in batch.targets]

    def config(self) -> dict[str, Any]:
        """The name, the CLIP and every choice."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self.choices).items()}
        return {"name": self.recipe.model["name"], "clip": self._clip_name, **plain}

    def deployed(self, net: nn.Module, size: tuple[int, int]) -> OnePass:
        """One pass over a copy, its position tables resized for `size` once."""
        return self.one_pass(baked(net, size), size)

    def one_pass(self, net: nn.Module, size: tuple[int, int]) -> OnePass:
        """The form of `OnePass` that a system has."""
        return OnePass(net, size)


def open_clip_mini(name: str, encoder: StaticTextEncoder) -> VisionTransformer:
    """A mini CLIP of `weights/`, or by the path of its folder, for words of this text encoder.

    Raises:
        ModelError: it is not there, damaged, or of another text space.
    """
    folder = Path(name) if "/" in name else find("weights") / name
    clip = load_mini_clip(folder)
    if text_identity(folder) != encoder.identity:
        raise ModelError(f"{folder} was trained with another text encoder; make it anew with `ovseg train clip-mini`")
    return clip


def asked_logits(logits: Tensor, asked: Tensor) -> Tensor:
    """Class logits without the words that a picture is not asked about (`Batch.asked`).

    Args:
        logits: (N, Q, K + 1), "no object" last.
        asked: (N, K) bool.

    Returns:
        The same with -1e4 for those words.
    """
    with_no_object = torch.cat([asked, asked.new_ones(len(asked), 1)], dim=1)
    return logits.masked_fill(~with_no_object[:, None], NEVER)


def baked(net: nn.Module, size: tuple[int, int]) -> Any:
    """A copy in evaluation mode, its position tables resized for images of (height, width)."""
    # with gradients in reach, torch's exporter cannot take attention in windows apart
    own: Any = copy.deepcopy(net).eval().requires_grad_(False)
    own.bake(size)
    return own

"""Training PixelText: pixels to the words they show, by cross entropy, a pull onto the word, and dice."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ovseg_ros.errors import ModelError
from ovseg_ros.models.pixeltext import PixelText, PixelTextConfig
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.batches import Batch
from ovseg_ros.training.losses import word_loss
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.task import Task, sizes_of

NEVER = -1e4  # cosine of a word that a picture is not asked about: no share in its softmax


class PixelTextTask(Task[Batch]):
    """The embedded checkpoints' network; `model` may set `widths`, `depths` and `features`."""

    net: PixelText
    stride = PixelText.stride

    def __init__(self, recipe: Recipe, encoder: StaticTextEncoder) -> None:
        super().__init__(recipe, encoder)
        config = sizes_of(recipe.model, PixelTextConfig, text_width=encoder.width)
        try:
            net = PixelText(config)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"model: PixelText cannot have the sizes {dict(recipe.model)}: {error}") from error
        # channels last: the layout that convolutions on CPUs and tensor cores want
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See `losses.word_loss`; a word that a picture is not asked about has no part in it."""
        images = batch.images.float() * (2 / 255) - 1  # (B, 3, H, W)
        features = self.net(images)
        with torch.autocast(features.device.type, enabled=False):
            cosines = self.net.cosines(features.float(), batch.text)  # (B, K, h, w)
            cosines = cosines.masked_fill(~batch.asked[:, :, None, None], NEVER)
            terms = (self.recipe.alignment, self.recipe.dice)
            scale = self.net.scale()
            loss = word_loss(cosines, self.net.other, scale, batch.targets, batch.weights, *terms)
        return loss, {"scale": scale}

    def config(self) -> dict[str, Any]:
        """The name and every size."""
        sizes = {name: getattr(self.net.config, name) for name in ("widths", "depths", "features")}
        return {"name": "pixeltext", **{k: list(v) if isinstance(v, tuple) else v for k, v in sizes.items()}}

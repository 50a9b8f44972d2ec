"""The deployed graph of networks that keep a shortlist of classes."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor

from ovseg_ros.models.catseg_correlation import Shortlist
from ovseg_ros.models.onepass import DenseModel, OnePass
from ovseg_ros.models.read_out import pick, read_out, to_image_size


class ShortlistModel(DenseModel, Protocol):
    """A `DenseModel` that looks closely at a few classes only."""

    def shortlist(self, pixels: Tensor, text: Tensor) -> Shortlist:
        """(N, 3, H, W) normalised, (K, S, D) -> logits of those classes."""


class ShortlistPass(OnePass):
    """As `OnePass`, with the same labels and confidence, but without maps of the classes that were not kept.

    So its time does not grow with the vocabulary, but for one product of features and words.

    Args:
        net: a `ShortlistModel`.
        size: (height, width) it works at, multiples of its `multiple`.
    """

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """See `OnePass`."""
        net = cast(ShortlistModel, self.net)
        found = net.shortlist(self.pixels(image), text)
        places, confidence = read_out(lambda kept, _: kept, found.logits, text, net.stride, net.other_logit())
        labels = pick(found.classes[..., None], places.flatten(1).to(torch.int64))  # (N, H W, 1)
        labels = labels.reshape(places.shape).to(torch.int32)
        labels, confidence = (to_image_size(y, image.shape[1], image.shape[2]) for y in (labels, confidence))
        return labels, (confidence * 255 + 0.5).to(torch.uint8)

"""The deployed graph: uint8 pixels and a text table in, label ids and confidence out, in one pass.

Everything a frame needs is in here (resize, normalise, segment, upsample, arg-max), so that one exported file serves
every backend and little crosses the bus. The words are an input: changing them never touches the graph.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_ros.models.mask_read_out import Proposals, Proposer, read_out_masks
from ovseg_ros.models.read_out import read_out, to_image_size


class DenseModel(Protocol):
    """What a network offers to be deployed; also an `nn.Module`.

    Attributes:
        pixel_mean, pixel_std: statistics of RGB values in 0..1 that the network's input is normalised by.
        stride: pixels of its input per cell of its features.
        coarse: see `read_out`.
    """

    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    stride: int
    coarse: int

    def features(self, pixels: Tensor, text: Tensor) -> Tensor:
        """(N, 3, H, W) normalised, (K, S, D) -> (N, C, H/stride, W/stride); few networks look at the words here."""

    def scores(self, features: Tensor, text: Tensor) -> Tensor:
        """Logits of classes by their best synonym: (N, C, h, w), (K, S, D) or (N, K, S, D) -> (N, K, h, w)."""

    def other_logit(self) -> Tensor | None:
        """The logit of "none of these words", a scalar; None where the model has no such answer."""


class MaskModel(Proposer, Protocol):
    """What a network of mask proposals (MaskFormer and its heirs) offers to be deployed; also an `nn.Module`.

    A pixel's score for a word is the sum over proposals of their probability of the word times their mask there: a
    mass, not a logit, and read out as such (`read_out_masks`). Proposals do not depend on the words, so words cost
    one product with Q embeddings, whatever the size of the image.

    Attributes:
        pixel_mean, pixel_std: statistics of RGB values in 0..1 that the network's input is normalised by.
        stride: pixels of its input per cell of its masks.
        multiple: see `Proposer`; itself a multiple of stride * coarse.
        coarse, fine: see `read_out_masks`.
    """

    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    stride: int
    coarse: int
    fine: bool


class OnePass(nn.Module):
    """A dense model between uint8 pixels and label ids.

    Args:
        net: the network, a `DenseModel` or a `MaskModel`.
        size: (height, width) it works at, multiples of its stride.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.net = net
        self.size = size
        model = cast(DenseModel, net)
        cell: int = getattr(net, "multiple", model.stride * model.coarse)
        if size[0] % cell or size[1] % cell:
            raise ValueError(f"the size {size[0]}x{size[1]} is no multiple of {cell}")
        self.register_buffer("mean", 255 * torch.tensor(model.pixel_mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(model.pixel_std).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Label every pixel.

        Args:
            image: (N, H, W, 3) uint8 RGB, any size.
            text: (K, S, D) float32 unit vectors, S synonyms a class, padded by repeating.

        Returns:
            labels (N, H, W) int32 in 0..K-1 and confidence (N, H, W) uint8, 255 times the softmax probability among
            the words, and "none of these" where the model has that answer.
        """
        features = self.features(image, text)
        if isinstance(features, Proposals):
            masked = cast(MaskModel, self.net)
            classes = masked.classes(features.embeddings, text)  # (N, Q, K)
            labels, confidence = read_out_masks(features.masks, classes, masked.stride, masked.coarse, fine=masked.fine)
        else:
            dense = cast(DenseModel, self.net)
            labels, confidence = read_out(
                dense.scores, features, text, dense.stride, dense.other_logit(), coarse=dense.coarse
            )
        labels, confidence = (to_image_size(y, image.shape[1], image.shape[2]) for y in (labels, confidence))
        return labels, (confidence * 255 + 0.5).to(torch.uint8)

    def features(self, image: Tensor, text: Tensor) -> Tensor | Proposals:
        """From pixels to what the network makes of them, (N, C, h, w) or proposals: (N, H, W, 3) uint8 -> features."""
        features: Tensor | Proposals = self.net.features(self.pixels(image), text)  # type: ignore[operator]
        return features

    def pixels(self, image: Tensor) -> Tensor:
        """The network's input, resized and normalised: (N, H, W, 3) uint8 -> (N, 3, height, width) float32."""
        # uint8 is cast away first and back last: some compilers move no uint8 inside a graph
        x = image.to(torch.float32).permute(0, 3, 1, 2)
        x = F.interpolate(x, size=self.size, mode="bilinear", align_corners=False)
        return (x - self.mean) / self.std


class EncoderAlone(OnePass):
    """The same up to the features, in the same form: what one pass costs without words, for comparison in time only."""

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Labels and confidence (N, H, W) that mean nothing, but need every feature."""
        features = self.features(image, text)
        if isinstance(features, Proposals):
            share = features.embeddings.mean(dim=2)[:, :, None, None]  # (N, Q, 1, 1)
            features = features.masks + share
        seen = features.mean(dim=1) > text.mean()  # (N, h, w)
        seen = to_image_size(seen.to(torch.float32), image.shape[1], image.shape[2])
        return seen.to(torch.int32), (seen * 255).to(torch.uint8)

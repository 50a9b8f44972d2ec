"""From mask proposals and their class probabilities to a class map: sum over q of p(q, c) sigmoid(mask_q).

MaskFormer's semantic inference (Cheng et al., arXiv 2107.06278, section 3.4), in two forms: `class_map` at full size,
every mask and every class upsampled, as the published code of DeOP and GKC has it (`measured_class_map`);
`read_out_masks` as it is deployed, which upsamples only classes that the image may show.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_ros.models.read_out import candidates, pick, upsample, winners, words

TINY = 1e-6  # keeps shares finite where no mask claims a cell


class Proposals(NamedTuple):
    """What a mask network says of an image before it hears the words; see `onepass.MaskModel`.

    Attributes:
        masks: (N, Q, h, w) float, mask logits.
        embeddings: (N, Q, C) float, what the network's `classes` compares with the words.
    """

    masks: Tensor
    embeddings: Tensor


class Proposer(Protocol):
    """A network of mask proposals, whose answer to an image does not depend on the words.

    Attributes:
        multiple: what the sides of its input must be multiples of.
    """

    multiple: int

    def features(self, pixels: Tensor, text: Tensor) -> Proposals:
        """(N, 3, H, W) normalised, (K, S, D) -> masks (N, Q, H/stride, W/stride) and embeddings (N, Q, C)."""

    def classes(self, embeddings: Tensor, text: Tensor) -> Tensor:
        """Probabilities of classes by their best synonym, "no object" dropped: (N, Q, C), (K, S, D) -> (N, Q, K)."""


def measured_class_map(model: Proposer, pixels: Tensor, text: Tensor, size: tuple[int, int]) -> Tensor:
    """The published inference of DeOP and GKC, every class at full size.

    Args:
        model: in evaluation mode.
        pixels: (N, 3, H, W) normalised, of any size; padded with the mean colour at the right and below.
        text: (K, S, D).
        size: (height, width) of the result, for instance that of the labels.

    Returns:
        (N, K, height, width).
    """
    height, width = pixels.shape[2:]
    whole = F.pad(pixels, (0, -width % model.multiple, 0, -height % model.multiple))
    masks, embeddings = model.features(whole, text)
    maps = class_map(masks, model.classes(embeddings, text), (whole.shape[2], whole.shape[3]), (height, width))
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def class_map(masks: Tensor, classes: Tensor, padded: tuple[int, int], image: tuple[int, int]) -> Tensor:
    """The class map at the image's size, before it is resized to the size of the labels.

    Args:
        masks: (N, Q, h, w) mask logits; Q may be 0.
        classes: (N, Q, K) probabilities of the classes, "no object" dropped.
        padded: (height, width) that the network saw; the masks are upsampled to it, bilinear.
        image: (height, width) of the picture in its top left corner; the rest is padding and is cut off.

    Returns:
        (N, K, height, width) of the image, each value the sum over proposals of probability times sigmoid(mask).
    """
    masks, classes = _at_least_one(masks, classes)
    large = F.interpolate(masks, size=padded, mode="bilinear", align_corners=False)
    inside = large[:, :, : image[0], : image[1]].sigmoid()
    return _mix(classes.transpose(1, 2), inside)


def read_out_masks(
    masks: Tensor, classes: Tensor, factor: int, coarse: int = 1, *, fine: bool = False
) -> tuple[Tensor, Tensor]:
    """Arg-max and confidence at `factor` times the masks' resolution.

    The class map is taken at the masks' own resolution and upsampled, which differs from `class_map` in the order of
    sigmoid and interpolation only, at the borders of masks. As the map is linear in the probabilities, the sum over
    all classes is one more map: the confidence leaves out no class.

    Args:
        masks: (N, Q, h, w) mask logits; Q may be 0.
        classes: (N, Q, K) probabilities of the classes, "no object" dropped.
        factor: upsampling factor, bilinear.
        coarse: candidates are chosen on every `coarse`-th row and column.
        fine: upsample the mask logits, all Q of them, and take the sigmoid after it as `class_map` does.

    Returns:
        labels (N, factor h, factor w) int32, and confidence of the same shape, float32 in 0..1: the winner's share of
        what the proposals say, where they say more than 1 in all, and its value where they leave room for "none of
        these words". 0 where no mask claims a pixel.
    """
    masks, classes = _at_least_one(masks, classes)
    weights = classes.transpose(1, 2)  # (N, K, Q)
    inside = masks.sigmoid()
    mass = _mix(weights, inside[:, :, ::coarse, ::coarse])  # (N, K, h', w')
    odds = mass / mass.amax(dim=1, keepdim=True).clamp(min=TINY)
    chosen = candidates(odds.flatten(2))  # (N, M)
    rows = torch.cat([pick(weights, chosen), weights.sum(dim=1, keepdim=True)], dim=1)  # (N, M + 1, Q)
    maps = _mix(rows, upsample(masks, factor).sigmoid()) if fine else upsample(_mix(rows, inside), factor)
    few, total = maps[:, :-1], maps[:, -1:]
    top = few.amax(dim=1, keepdim=True)  # (N, 1, H, W)
    return winners(few, top, chosen), (top / total.clamp(min=1.0))[:, 0]


def name_logits(embeddings: Tensor, text: Tensor) -> Tensor:
    """Products of proposals and words, the best synonym of each class: (N, Q, D), (K, S, D) -> (N, Q, K)."""
    n, q, _ = embeddings.shape
    logits = embeddings @ words(text).t()  # (N, Q, K S)
    return logits.reshape(n, q, text.shape[0], text.shape[1]).amax(dim=-1)


def with_no_object(logits: Tensor, no_object: Tensor) -> Tensor:
    """Class probabilities beside "no object", which is dropped: (N, Q, K), (N, Q, 1) logits -> (N, Q, K)."""
    return torch.cat([logits, no_object], dim=-1).softmax(dim=-1)[..., :-1]


def _at_least_one(masks: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """The same, or one proposal of nothing where there are none: nothing can be interpolated between no maps."""
    if masks.shape[1]:
        return masks, classes
    return masks.new_zeros(masks.shape[0], 1, *masks.shape[2:]), classes.new_zeros(masks.shape[0], 1, classes.shape[2])


def _mix(weights: Tensor, inside: Tensor) -> Tensor:
    """(N, K, Q), (N, Q, h, w) -> (N, K, h, w)."""
    n, q, h, w = inside.shape
    return (weights @ inside.reshape(n, q, h * w)).reshape(n, weights.shape[1], h, w)

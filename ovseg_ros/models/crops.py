"""Proposals cut out of the image: masked, cropped to their boxes and resized, in operations that compilers like.

Boxes and crop sizes differ from proposal to proposal, which a graph of fixed shapes has no slices for. Resizing is
linear and works on rows and columns apart, so cutting out and resizing together are two matrix products with weights
that depend on the box.
"""

from __future__ import annotations

import torch
from torch import Tensor

CUBIC = -0.75  # the bicubic kernel's parameter, as torch and OpenCV have it


def boxes_of(inside: Tensor) -> tuple[Tensor, Tensor]:
    """The tight boxes of binary masks.

    Args:
        inside: (Q, H, W) float of zeros and ones.

    Returns:
        boxes (Q, 4) float: top, left, height, width, whole pixels; that of an empty mask is the whole image. And
        (Q,) bool, whether a mask is not empty.
    """
    top, height = _extent(inside.amax(dim=2))
    left, width = _extent(inside.amax(dim=1))
    shown = height > 0
    whole = (torch.zeros_like(top), torch.full_like(top, inside.shape[1]), torch.full_like(top, inside.shape[2]))
    zero, full_height, full_width = whole
    boxes = [
        torch.where(shown, own, other)
        for own, other in ((top, zero), (left, zero), (height, full_height), (width, full_width))
    ]
    return torch.stack(boxes, dim=1), shown


def crop_resize(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Boxes of images, resized to squares by bicubic interpolation, without antialias, corners not aligned.

    The same as slicing and `torch.nn.functional.interpolate`: nothing outside a box reaches its crop.

    Args:
        images: (Q, C, H, W) float.
        boxes: (Q, 4) float: top, left, height, width, whole pixels inside the image.
        size: pixels a side of the crops.

    Returns:
        (Q, C, size, size) float.
    """
    rows = resize_weights(boxes[:, 0], boxes[:, 2], size, images.shape[2])  # (Q, size, H)
    columns = resize_weights(boxes[:, 1], boxes[:, 3], size, images.shape[3])  # (Q, size, W)
    return rows[:, None] @ images @ columns[:, None].transpose(2, 3)


def resize_weights(start: Tensor, length: Tensor, size: int, total: int) -> Tensor:
    """Bicubic weights from an axis to a resized part of it.

    Args:
        start, length: (Q,) float, first pixel and length of the part, whole numbers.
        size: pixels after resizing.
        total: pixels of the axis.

    Returns:
        (Q, size, total) float; each row sums to 1 and is 0 outside the part.
    """
    steps = torch.arange(size, device=start.device, dtype=start.dtype)
    pixels = torch.arange(total, device=start.device, dtype=start.dtype)
    place = (steps + 0.5) * (length / size)[:, None] - 0.5  # (Q, size), in pixels of the part
    low = place.floor()
    weights = torch.zeros(())
    for tap in (-1, 0, 1, 2):  # taps beyond the part's ends read its outermost pixel
        pixel = (low + tap).clamp(min=0).minimum(length[:, None] - 1) + start[:, None]
        hit = (pixel[:, :, None] == pixels).to(start.dtype)  # (Q, size, total)
        weights = weights + _cubic(place - low - tap)[:, :, None] * hit
    return weights


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel, for distances under 2."""
    d = x.abs()
    near = ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * CUBIC - 4 * CUBIC
    return torch.where(d <= 1, near, far)


def _extent(shown: Tensor) -> tuple[Tensor, Tensor]:
    """First one and the length up to the last one of each row; the length is not positive where there is none."""
    total = shown.shape[1]
    order = torch.arange(total, device=shown.device, dtype=shown.dtype)
    first = total - (shown * (total - order)).amax(dim=1)
    last = (shown * (order + 1)).amax(dim=1)
    return first, last - first

"""What EBSeg's two encoders look at: one image, normalised twice, at two sizes (section 3.1 and its released code)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_ros.models.clip_config import ClipVisionConfig
from ovseg_ros.models.sam.config import PIXEL_MEAN, PIXEL_STD

DIVISOR = 32  # both sides of what the encoders see


def padded_inputs(image: Tensor, clip: ClipVisionConfig, scale: float) -> tuple[Tensor, Tensor]:
    """An image of any size as the published code prepares it.

    Normalised for each encoder, padded with zeros on the right and below (which is the mean colour of either) to a
    multiple of 32, then scaled for CLIP.

    Args:
        image: (N, 3, H, W) RGB in 0..255, any type.
        clip: whose mean and std CLIP's input is normalised with.
        scale: side of CLIP's input against SAM's.

    Returns:
        SAM's input (N, 3, H', W') float and CLIP's, see `for_clip`.
    """
    down, right = -image.shape[2] % DIVISOR, -image.shape[3] % DIVISOR
    x = image.to(torch.float32) / 255
    sam, clip_input = (
        F.pad((x - _column(x, mean)) / _column(x, std), (0, right, 0, down))
        for mean, std in ((PIXEL_MEAN, PIXEL_STD), (clip.mean, clip.std))
    )
    return sam, scaled(clip_input, scale)


def for_clip(pixels: Tensor, clip: ClipVisionConfig, scale: float) -> Tensor:
    """SAM's input as CLIP's: (N, 3, H, W) with SAM's mean and std -> (N, 3, floor(scale H), floor(scale W)).

    Pixels are normalised anew and scaled, bilinear without antialias, in steps of exactly 1 / scale.
    """
    gain = _column(pixels, [ours / theirs for ours, theirs in zip(PIXEL_STD, clip.std, strict=True)])
    shift = [(ours - theirs) / std for ours, theirs, std in zip(PIXEL_MEAN, clip.mean, clip.std, strict=True)]
    return scaled(pixels * gain + _column(pixels, shift), scale)


def scaled(pixels: Tensor, scale: float) -> Tensor:
    """(N, 3, H, W) -> (N, 3, floor(scale H), floor(scale W))."""
    return F.interpolate(pixels, scale_factor=scale, mode="bilinear", align_corners=False)


def whole_patches(pixels: Tensor, patch: int) -> Tensor:
    """Without the rows and columns past the last whole patch, as a convolution drops them.

    Raises:
        ValueError: not one patch is left.
    """
    h, w = pixels.shape[2] // patch, pixels.shape[3] // patch
    if not h or not w:
        raise ValueError(
            f"CLIP's input is {pixels.shape[2]} x {pixels.shape[3]} pixels, less than a patch of {patch}: take a "
            "larger image"
        )
    return pixels[:, :, : h * patch, : w * patch]


def _column(like: Tensor, values: tuple[float, ...] | list[float]) -> Tensor:
    """Three values as (1, 3, 1, 1)."""
    return torch.tensor(values, dtype=like.dtype, device=like.device).reshape(1, 3, 1, 1)

"""Losses of a class map: DeOP's third stage, which matches nothing, and ESC-Net's, as CAT-Seg has it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_ros.training.losses.masks import FOCAL_ALPHA, FOCAL_GAMMA
from ovseg_ros.training.losses.precision import in_float32
from ovseg_ros.training.words import IGNORE

SHARPNESS = 3.0  # DeOP's OUTPUT_SIG
DEOP_FOCAL, DEOP_DICE = 2.0, 0.8  # weights
CERTAIN = 1e-4  # a probability so near to 0 counts as this much inside the logarithm


@in_float32
def deop_terms(
    logits: Tensor,
    masks: Tensor,
    targets: Tensor,
    ignore: int = IGNORE,
    weights: tuple[float, float] | None = None,
    counted: Tensor | None = None,
) -> dict[str, Tensor]:
    """DeOP's third stage (arXiv 2304.01198): focal and dice loss of the read-out's probabilities.

    The read-out S = sum_n softmax(logits)_n sigmoid(mask_n) is no probability; y = sigmoid(3 S - 3) is taken for one.
    As in the released code an ignored pixel is truly "no object" to the focal loss, so it teaches every class that it
    is not there, and to dice it counts as a pixel that shows none of the classes.

    Args:
        logits: (N, Q, K + 1) float, "no object" last.
        masks: (N, Q, h, w) float logits.
        targets: (N, H, W) int64 in 0..K-1, or `ignore`.
        ignore: the id of pixels without truth.
        weights: of focal and dice; default 2.0 and 0.8.
        counted: (N, K + 1, H, W) bool, or what broadcasts to it: which pixels count for which classes, "no object"
            last; the others have no part in either term. None: all, as published.

    Returns:
        Weighted terms "focal" and "dice".
    """
    classes = logits.shape[2] - 1
    up = F.interpolate(masks.float(), size=targets.shape[1:], mode="bilinear", align_corners=False)  # (N, Q, H, W)
    share = torch.einsum("nqc,nqhw->nchw", logits.float().softmax(dim=2), up.sigmoid())  # (N, K + 1, H, W)
    y = (SHARPNESS * share - SHARPNESS).sigmoid()
    known = _check(targets, classes, ignore)
    truth = F.one_hot(targets.where(known, classes), classes + 1).movedim(3, 1).to(torch.bool)  # (N, K + 1, H, W)
    focal, dice = weights or (DEOP_FOCAL, DEOP_DICE)
    if counted is None:
        counted = truth.new_ones(())
    counted = counted.expand_as(truth)
    named = (part[:, :classes] for part in (y, truth, counted))
    return {"focal": focal * _focal(y, truth, counted), "dice": dice * _image_dice(*named)}


def pixel_cross_entropy(logits: Tensor, targets: Tensor, ignore: int = IGNORE) -> Tensor:
    """Mean cross entropy of pixels with truth, 0 without any: (N, K, h, w) logits, upsampled, (N, H, W) -> scalar."""
    up = F.interpolate(logits.float(), size=targets.shape[1:], mode="bilinear", align_corners=False)
    known = _check(targets, logits.shape[1], ignore)
    return F.cross_entropy(up, targets.where(known, IGNORE), ignore_index=IGNORE, reduction="sum") / known.sum().clamp(
        1
    )


def pixel_binary_cross_entropy(logits: Tensor, targets: Tensor, ignore: int = IGNORE) -> Tensor:
    """CAT-Seg's loss (arXiv 2303.11797): every class is a yes or no at every pixel.

    As in its released code a pixel without truth says no to every class.

    Args:
        logits: (N, K, h, w) float, upsampled bilinear to the truth's size.
        targets: (N, H, W) int64 in 0..K-1, or `ignore`.
        ignore: the id of pixels without truth.

    Returns:
        A float32 scalar, the mean over pixels and classes.
    """
    classes = logits.shape[1]
    up = F.interpolate(logits.float(), size=targets.shape[1:], mode="bilinear", align_corners=False)
    known = _check(targets, classes, ignore)
    truth = F.one_hot(targets.where(known, classes), classes + 1)[..., :classes].movedim(3, 1)
    return F.binary_cross_entropy_with_logits(up, truth.to(up))


def _focal(y: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """Mean focal loss of the probabilities that count: (N, C, H, W), bool twice -> scalar, 0 without any."""
    right = torch.where(truth, y, 1 - y)
    alpha = torch.where(truth, FOCAL_ALPHA, 1 - FOCAL_ALPHA)
    each = -alpha * (1 - right) ** FOCAL_GAMMA * right.clamp(CERTAIN, 1 - CERTAIN).log()
    return (each * counted).sum() / counted.sum().clamp(min=1)


def _image_dice(y: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """1 - dice, all that counts of an image together, one added above and below, meaned over images."""
    p, t = (y * counted).flatten(1), (truth & counted).flatten(1).to(y)
    return (1 - (2 * (p * t).sum(dim=1) + 1) / (p.sum(dim=1) + t.sum(dim=1) + 1)).mean()


def _check(targets: Tensor, classes: int, ignore: int) -> Tensor:
    """Which pixels have truth (N, H, W); others than 0..classes-1 and `ignore` are refused."""
    known = targets != ignore
    wrong = known & ((targets < 0) | (targets >= classes))
    if bool(wrong.any()):
        raise ValueError(
            f"a pixel's class is {int(targets[wrong][0])}; expected 0 to {classes - 1}, or {ignore} for none: "
            "map the data set's ids onto the words first"
        )
    return known

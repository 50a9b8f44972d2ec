"""Random crops of a picture: zoomed, stretched, mirrored, placed around a thing, in other light."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.sources import Picture


def augment(
    picture: Picture,
    recipe: Recipe,
    rng: np.random.Generator,
    focus: tuple[float, float] | None = None,
    zoom: tuple[float, float] | None = None,
) -> Picture:
    """A random crop, zoomed, stretched, mirrored, in other light; pixels outside the image are without truth.

    Args:
        picture: what to crop.
        recipe: the ranges.
        rng: draws from them.
        focus: a pixel (x, y) that the crop is to show; anywhere where None.
        zoom: stands for the recipe's range of crop pixels per image pixel.
    """
    height, width = recipe.crop
    rows, columns = picture.ids.shape
    scale = np.exp(rng.uniform(*np.log(zoom or recipe.zoom)))
    stretch = np.exp(rng.uniform(-recipe.stretch, recipe.stretch) / 2)
    sx, sy = scale * stretch, scale / stretch
    # place the crop inside the zoomed image; centre it where the image is the smaller one
    slack_x, slack_y = columns * sx - width, rows * sy - height
    x = _offset(slack_x, width, None if focus is None else focus[0] * sx, rng)
    y = _offset(slack_y, height, None if focus is None else focus[1] * sy, rng)
    matrix = np.array([[sx, 0, -x], [0, sy, -y]], np.float64)
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += width - 1
    rgb = picture.rgb
    if scale < 0.75:  # area filter, as the eye of a smaller camera has it
        rgb = cv2.blur(rgb, (2, 2)).astype(np.uint8)
    rgb = cv2.warpAffine(rgb, matrix, (width, height), flags=cv2.INTER_LINEAR).astype(np.uint8)
    ids = cv2.warpAffine(picture.ids, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=255)
    return Picture(_relight(rgb, recipe, rng), ids.astype(np.uint8), picture.regions)


def _offset(slack: float, length: int, focus: float | None, rng: np.random.Generator) -> float:
    """Where a crop of some length starts, within 0..slack; a focus lies in its middle three fifths."""
    if slack <= 0:
        return slack / 2
    if focus is None:
        return float(rng.uniform(0, slack))
    return float(np.clip(focus - rng.uniform(0.2, 0.8) * length, 0, slack))


def _relight(rgb: NDArray[np.uint8], recipe: Recipe, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Random brightness, contrast, saturation, hue and sensor noise."""
    image = rgb.astype(np.float32)
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    saturation = 1 + rng.uniform(-recipe.saturation, recipe.saturation)
    image = grey[..., None] + (image - grey[..., None]) * saturation
    if recipe.hue:
        image = image @ _hue_rotation(rng.uniform(-recipe.hue, recipe.hue)).T
    contrast = 1 + rng.uniform(-recipe.contrast, recipe.contrast)
    brightness = 255 * rng.uniform(-recipe.brightness, recipe.brightness) / 2
    mean = float(grey.mean())
    image = (image - mean) * contrast + mean + brightness
    image += rng.normal(0, rng.uniform(0, 6), (*rgb.shape[:2], 1)).astype(np.float32)
    return image.clip(0, 255).astype(np.uint8)


def _hue_rotation(turn: float) -> NDArray[np.float32]:
    """The rotation of RGB space about its grey axis by a share of the circle (Rodrigues' formula)."""
    angle = 2 * np.pi * turn
    axis = np.full(3, 3**-0.5)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return np.asarray(rotation, np.float32)

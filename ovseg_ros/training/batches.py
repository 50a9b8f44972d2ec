"""Training batches as a function of (seed, step) alone, so that a resumed run sees what an unbroken one would."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.sources import Picture, Source
from ovseg_ros.training.words import IGNORE, OTHER, WordSampler

STRIDE = 4  # of the network's output
LEAST = 12  # pixels of a thing that a crop is placed around


@dataclass(frozen=True)
class Batch:
    """What one step trains on.

    Attributes:
        images: (B, 3, H, W) float32 in -1..1.
        targets: (B, H/4, W/4) int64: word index, K for "none of these words", -100 without truth.
        text: (K, D) float32 unit vectors.
        weights: (K + 1,) float32 loss weights, the last one for "none of these words".
    """

    images: Tensor
    targets: Tensor
    text: Tensor
    weights: Tensor


class Batches(Dataset[Batch]):
    """Batch `step` of a run; any step may be asked for, in any order and process."""

    def __init__(self, source: Source, sampler: WordSampler, recipe: Recipe) -> None:
        self.source, self.sampler, self.recipe = source, sampler, recipe

    def __len__(self) -> int:
        return self.recipe.steps

    def __getitem__(self, step: int) -> Batch:
        cv2.setNumThreads(0)  # runs beside the training step; the cores are busy
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, step))
        pictures = []
        for draw in range(step * recipe.batch, (step + 1) * recipe.batch):
            picture = self.source.load(self._index(draw))
            focus = self._focus(picture, rng) if rng.random() < recipe.focus else None
            pictures.append(augment(picture, recipe, rng, focus))
        regions = [p.regions[i] for p in pictures for i in np.unique(p.ids) if i < len(p.regions)]
        question = self.sampler.draw(regions, rng)
        k = len(question.words)
        targets = []
        for picture in pictures:
            table = np.full(256, IGNORE, np.int64)
            for i, region in enumerate(picture.regions):
                word = question.target.get(question.key(region), OTHER)
                table[i] = k if word == OTHER else word
            targets.append(table[picture.ids[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]])
        images = np.stack([p.rgb for p in pictures]).transpose(0, 3, 1, 2).astype(np.float32) * (2 / 255) - 1
        return Batch(
            torch.from_numpy(images),
            torch.from_numpy(np.stack(targets)),
            torch.from_numpy(question.text),
            torch.from_numpy(np.append(question.weights, np.float32(1.0))),
        )

    def _index(self, draw: int) -> int:
        """Which picture the run's n-th draw takes: a new permutation every epoch."""
        epoch, place = divmod(draw, len(self.source))
        return int(_permutation(self.recipe.seed, epoch, len(self.source))[place])

    def _focus(self, picture: Picture, rng: np.random.Generator) -> tuple[float, float] | None:
        """A pixel (x, y) on some thing in the picture, kinds drawn by their loss weight; None where there is none."""
        sizes = np.bincount(picture.ids.ravel(), minlength=256)[: len(picture.regions)]
        shown = np.flatnonzero(sizes >= LEAST)
        if not len(shown):
            return None
        weights = np.array([self.sampler.weights.get(picture.regions[i].kind, 1.0) for i in shown])
        chosen = rng.choice(shown, p=weights / weights.sum())
        y, x = divmod(int(rng.choice(np.flatnonzero(picture.ids == chosen))), picture.ids.shape[1])
        return float(x), float(y)


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, 7, epoch)).permutation(count)


def augment(
    picture: Picture, recipe: Recipe, rng: np.random.Generator, focus: tuple[float, float] | None = None
) -> Picture:
    """A random crop, zoomed, stretched, mirrored, in other light; pixels outside the image are without truth.

    Args:
        picture: what to crop.
        recipe: the ranges.
        rng: draws from them.
        focus: a pixel (x, y) that the crop is to show; anywhere where None.
    """
    height, width = recipe.crop
    rows, columns = picture.ids.shape
    zoom = np.exp(rng.uniform(*np.log(recipe.zoom)))
    stretch = np.exp(rng.uniform(-recipe.stretch, recipe.stretch) / 2)
    sx, sy = zoom * stretch, zoom / stretch
    # place the crop inside the zoomed image; centre it where the image is the smaller one
    slack_x, slack_y = columns * sx - width, rows * sy - height
    x = _offset(slack_x, width, None if focus is None else focus[0] * sx, rng)
    y = _offset(slack_y, height, None if focus is None else focus[1] * sy, rng)
    matrix = np.array([[sx, 0, -x], [0, sy, -y]], np.float64)
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += width - 1
    rgb = picture.rgb
    if zoom < 0.75:  # area filter, as the eye of a smaller camera has it
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

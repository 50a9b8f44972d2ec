"""Training batches as a function of (seed, step) alone, so that a resumed run sees what an unbroken one would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ovseg_ros.training.augment import augment
from ovseg_ros.training.mix import Mix
from ovseg_ros.training.moving import Moving
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.sources import Picture
from ovseg_ros.training.words import IGNORE, OTHER, Question, WordSampler

LEAST = 12  # pixels of a thing that a crop is placed around


@dataclass(frozen=True)
class Batch(Moving):
    """What one pass through the network trains on.

    Losses that match queries with masks take `matching.Segments.from_labels(targets[i], K)` for picture i.

    Attributes:
        images: (B, 3, H, W) uint8 RGB, in channels-last order in memory.
        targets: (B, H/stride, W/stride) int64: word index, K for "none of these words", -100 without truth.
        text: (K, D) float32 unit vectors.
        weights: (K + 1,) float32 loss weights, the last one for "none of these words".
        asked: (B, K) bool, which words count for which picture; see `mix.Ingredient.complete`.
        words: the K words.
    """

    images: Tensor
    targets: Tensor
    text: Tensor
    weights: Tensor
    asked: Tensor
    words: tuple[str, ...]


class Batches(Dataset[Batch]):
    """Part `i` of a run: any may be asked for, in any order and process.

    Args:
        mix: the pictures.
        sampler: draws the words.
        recipe: augmentation, seed and sizes.
        parts: passes, over all devices, that one optimiser step is made of; part i belongs to step i // parts.
        stride: pixels of a crop per cell of its target.

    Raises:
        ValueError: when the recipe's batch cannot be split into so many parts.
    """

    def __init__(self, mix: Mix, sampler: WordSampler, recipe: Recipe, *, parts: int = 1, stride: int = 4) -> None:
        if recipe.batch % parts:
            raise ValueError(f"a batch of {recipe.batch} cannot be split into {parts} equal parts")
        self.mix, self.sampler, self.recipe, self.parts, self.stride = mix, sampler, recipe, parts, stride

    def __len__(self) -> int:
        return self.recipe.steps * self.parts

    def __getitem__(self, part: int) -> Batch:
        cv2.setNumThreads(0)  # runs beside the training step; the cores are busy
        rng = np.random.default_rng((self.recipe.seed, part))
        size = self.recipe.batch // self.parts
        drawn = [self._draw(draw, rng) for draw in range(part * size, (part + 1) * size)]
        shown = [[p.regions[i] for i in np.unique(p.ids) if i < len(p.regions)] for _, p in drawn]
        question = self.sampler.draw([region for regions in shown for region in regions], rng)
        asked = []
        for (number, _), regions in zip(drawn, shown, strict=True):
            own = [key is not None and self.mix.knows(number, key[1]) for key in question.keys]
            far = ~self.sampler.near(question, regions) & self.mix.ingredients[number].complete
            asked.append(np.array(own) | far)
        images = np.stack([picture.rgb for _, picture in drawn])  # (B, H, W, 3)
        return Batch(
            torch.from_numpy(images).permute(0, 3, 1, 2),
            torch.from_numpy(np.stack([self._target(picture, question) for _, picture in drawn])),
            torch.from_numpy(question.text),
            torch.from_numpy(np.append(question.weights, np.float32(1.0))),
            torch.from_numpy(np.stack(asked)),
            question.words,
        )

    def _draw(self, draw: int, rng: np.random.Generator) -> tuple[int, Picture]:
        """The source and the crop of one draw."""
        number, index = self.mix.pick(draw)
        one, picture = self.mix.ingredients[number], self.mix.load(number, index)
        share = self.recipe.focus if one.focus is None else one.focus
        focus = self._focus(picture, rng) if rng.random() < share else None
        return number, augment(picture, self.recipe, rng, focus, one.zoom)

    def _target(self, picture: Picture, question: Question) -> NDArray[np.int64]:
        """(h, w), the word of every cell's middle pixel."""
        table = np.full(256, IGNORE, np.int64)
        for i, region in enumerate(picture.regions):
            word = question.target.get(question.key(region), OTHER)
            table[i] = len(question.words) if word == OTHER else word
        middle = slice(self.stride // 2, None, self.stride)
        target: NDArray[np.int64] = table[picture.ids[middle, middle]]
        return target

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


def parts_of(step: int, parts: int, rank: int, processes: int) -> Sequence[int]:
    """The parts of a step that one of several processes goes through."""
    own = parts // processes
    return range(step * parts + rank * own, step * parts + (rank + 1) * own)

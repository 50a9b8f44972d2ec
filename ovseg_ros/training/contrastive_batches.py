"""Batches of crops with captions, and of regions with words, as a function of (seed, step) alone."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ovseg_ros.errors import DatasetError
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.contrastive_captions import Caption, CaptionWriter, Judge
from ovseg_ros.training.mix import Mix
from ovseg_ros.training.moving import Moving
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.regions import Crop, CropMix, draw_crop
from ovseg_ros.training.words import Region

HALF = 0.5  # patches that a region must cover to be pooled
FloatArray = NDArray[np.float32]
H = TypeVar("H", bound=Hashable)


@dataclass(frozen=True)
class CropBatch(Moving):
    """What one pass trains on. Row i of a `counted` is image or region i, column j text j; its own text is column i.

    Attributes:
        images: (B, 3, S, S) uint8 RGB.
        captions: (B + A, D) float32 unit vectors: the crops' captions, then A words about anything.
        captions_counted: (B, B + A) bool: the own caption, and those that are surely wrong.
        masks: (P, h, w) float32, how much of each patch a region covers, 0..1.
        owner: (P,) int64, the crop of each region.
        words: (P + A, D) float32 unit vectors: the regions' words, then the same A.
        words_counted: (P, P + A) bool.
        texts: the B captions, the P words and the A words about anything.
    """

    images: Tensor
    captions: Tensor
    captions_counted: Tensor
    masks: Tensor
    owner: Tensor
    words: Tensor
    words_counted: Tensor
    texts: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Shown:
    """An image or a region: its source, what it shows, and its own text."""

    source: int
    seen: tuple[Region, ...]
    own: Caption


class CropBatches(Dataset[CropBatch]):
    """Part `i` of a run: any may be asked for, in any order and process.

    Args:
        mix: the pictures.
        encoder: of the words; the space that is learned.
        writer: draws words and captions.
        recipe: size and light of the crops, seed and sizes.
        crops: how pictures are cropped.
        patch: pixels a side of a patch.
        regions: the most regions of a crop that are pooled.
        per_picture: crops that follow each other and come from one picture.
        weights: by kind, how often a thing is chosen.
        parts: passes, over all devices, that one optimiser step is made of.

    Raises:
        ValueError: when the recipe's batch cannot be split into so many parts.
    """

    def __init__(
        self,
        mix: Mix,
        encoder: StaticTextEncoder,
        writer: CaptionWriter,
        recipe: Recipe,
        *,
        crops: CropMix,
        patch: int,
        regions: int,
        per_picture: int,
        weights: dict[str, float],
        parts: int = 1,
    ) -> None:
        if recipe.batch % parts:
            raise ValueError(f"a batch of {recipe.batch} cannot be split into {parts} equal parts")
        self.mix, self.encoder, self.writer, self.recipe, self.crops = mix, encoder, writer, recipe, crops
        self.patch, self.regions, self.per_picture, self.weights, self.parts = (
            patch, regions, per_picture, weights, parts,
        )  # fmt: skip
        self.judge = Judge(mix, encoder)
        self.strangers = strangers(encoder, mix.forbidden)

    def __len__(self) -> int:
        return self.recipe.steps * self.parts

    def __getitem__(self, part: int) -> CropBatch:
        cv2.setNumThreads(0)  # runs beside the training step; the cores are busy
        rng = np.random.default_rng((self.recipe.seed, 17, part))
        crops = self.draw(part, rng)
        images = [Shown(source, crop.in_view(), self.writer.caption(crop, rng)) for source, crop in crops]
        owner, masks, regions = [], [], []
        for number, (source, crop) in enumerate(crops):
            for place, share in self._pooled(crop, rng):
                region = crop.regions[place]
                owner.append(number)
                masks.append(share)
                regions.append(Shown(source, (region,), self.writer.word(region, rng)))
        size = min(self.recipe.words.absent, len(self.strangers))
        about = tuple(str(word) for word in rng.choice(self.strangers, size=size, replace=False)) if size else ()
        captions, captions_counted = self._texts(images, about, rng)
        words, words_counted = self._texts(regions, about, rng)
        return CropBatch(
            torch.from_numpy(np.stack([crop.rgb for _, crop in crops]).transpose(0, 3, 1, 2).copy()),
            captions,
            captions_counted,
            torch.from_numpy(np.stack(masks)),
            torch.tensor(owner),
            words,
            words_counted,
            (tuple(one.own.text for one in images), tuple(one.own.text for one in regions), about),
        )

    def draw(self, part: int, rng: np.random.Generator) -> list[tuple[int, Crop]]:
        """The crops of a part, each with its source; those of pictures that show no thing are missing.

        Raises:
            DatasetError: when all are missing.
        """
        size = self.recipe.batch // self.parts
        found: list[tuple[int, Crop]] = []
        last, picture = -1, None
        for number in range(part * size, (part + 1) * size):
            draw = number // self.per_picture
            source, index = self.mix.pick(draw)
            if draw != last:
                last, picture = draw, self.mix.load(source, index)
            assert picture is not None
            crop = draw_crop(picture, self.recipe, self.crops, self.weights, rng)
            if crop is not None and (crop.areas() >= HALF * self.patch**2).any():
                found.append((source, crop))
        if not found:
            raise DatasetError(f"{size} crops in a row show no labelled thing; check the labels of the sources")
        return found

    def _pooled(self, crop: Crop, rng: np.random.Generator) -> list[tuple[int, FloatArray]]:
        """Places and masks of up to `regions` regions of a crop, the subject among them, rare kinds more often."""
        shares = crop.shares(self.patch)
        large = np.flatnonzero(shares.sum(axis=(1, 2)) >= HALF)
        chances = np.array([self.weights.get(crop.regions[i].kind, 1.0) for i in large])
        chances[large == crop.subject] += 1e6
        count = min(len(large), self.regions)
        chosen = rng.choice(large, size=count, replace=False, p=chances / chances.sum())
        return [(int(i), shares[i]) for i in chosen]

    def _texts(self, shown: Sequence[Shown], about: Sequence[str], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The texts (n + A, D), each moved a little, and which of them count for which image (n, n + A)."""
        rows = self.encoder.encode([one.own.text for one in shown])
        strange = self.encoder.encode(about) if about else rows[:0]
        counted = np.concatenate([self._wrong(shown), self._strange(shown, strange)], axis=1)
        counted[np.arange(len(shown)), np.arange(len(shown))] = True
        text = np.concatenate([rows, strange])
        noise = rng.normal(size=text.shape).astype(np.float32)
        text = text + self.recipe.words.noise * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        text = text / np.linalg.norm(text, axis=1, keepdims=True)
        return torch.from_numpy(text), torch.from_numpy(counted)

    def _wrong(self, shown: Sequence[Shown]) -> NDArray[np.bool_]:
        """(n, n): caption j is surely wrong of image i; alike ones are judged once."""
        images, row = _distinct([(one.source, one.seen) for one in shown])
        claims, column = _distinct([one.own.claims for one in shown])
        table = np.array([[self.judge.wrong(*image, claim) for claim in claims] for image in images], bool)
        return np.asarray(table[np.ix_(row, column)])

    def _strange(self, shown: Sequence[Shown], rows: FloatArray) -> NDArray[np.bool_]:
        """(n, A): word j about anything is surely wrong of image i."""
        cosines = self.judge.to_kinds(rows)
        images, row = _distinct([(one.source, one.seen) for one in shown])
        return np.asarray(np.stack([self.judge.strange(*image, cosines) for image in images])[row])


def _distinct(keys: Sequence[H]) -> tuple[list[H], NDArray[np.int64]]:
    """The distinct ones among keys, and the place of each key among those."""
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return list(places), np.array([places[key] for key in keys])


def strangers(encoder: StaticTextEncoder, forbidden: Collection[str]) -> NDArray[np.str_]:
    """Whole English words that the encoder knows, in alphabetical order, without forbidden ones and parts of them."""
    out = {part for word in forbidden for part in (word, *word.split())}
    words = {w for w in encoder.tokens() if w.isascii() and w.isalpha() and 4 <= len(w) <= 12}
    return np.array(sorted(words - out))

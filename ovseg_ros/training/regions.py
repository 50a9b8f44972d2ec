"""Crops around single things, and windows of scenes, with the mask of what a caption speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.training.augment import augment
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.sources import Picture
from ovseg_ros.training.words import Region

NONE = 255  # an id without truth
LEAST = 100  # pixels of a picture that make a thing: fewer are no more than a blot once enlarged
SHOWN = 16  # pixels of a crop that must still show its subject
GREY = (123, 117, 104)  # CLIP's mean pixel, RGB: what stands for a background that is taken away
BESIDE, AMONG = 0.1, 0.01  # shares of a crop from which what is not its subject, or what a scene shows, is in view
Bool = NDArray[np.bool_]
Ids = NDArray[np.uint8]
Window = tuple[int, int, int, int]  # top, left, height, width, pixels


@dataclass(frozen=True)
class CropMix:
    """How pictures are cropped.

    Attributes:
        scenes: share of crops that are windows of the scene, up to the whole frame, instead of single things.
        window: range of a window's side, as a share of the frame's longer side.
        grey: share of single things whose background is taken away.
        margin: range of what is added around a thing on each side, as a share of its longer side.
    """

    scenes: float = 0.4
    window: tuple[float, float] = (0.2, 1.0)
    grey: float = 0.15
    margin: tuple[float, float] = (0.05, 0.4)


@dataclass(frozen=True)
class Crop:
    """A crop.

    Attributes:
        rgb: (S, S, 3) uint8.
        ids: (S, S) uint8, index into `regions`, 255 without truth.
        regions: what the ids stand for. A thing apart from others of its kind has an id of its own.
        subject: the id of the single thing that the crop was placed around; None for a scene.
    """

    rgb: NDArray[np.uint8]
    ids: Ids
    regions: tuple[Region, ...]
    subject: int | None

    def areas(self) -> NDArray[np.int64]:
        """Pixels of every region, (len(regions),)."""
        areas: NDArray[np.int64] = np.bincount(self.ids.ravel(), minlength=256)[: len(self.regions)]
        return areas

    def places_in_view(self) -> list[int]:
        """The ids of what a viewer would say the crop shows: the subject, and what else is large enough."""
        least = (AMONG if self.subject is None else BESIDE) * self.ids.size
        return [i for i, area in enumerate(self.areas()) if i == self.subject or area >= least]

    def in_view(self) -> tuple[Region, ...]:
        """The regions of `places_in_view`."""
        return tuple(self.regions[i] for i in self.places_in_view())

    def shares(self, patch: int) -> NDArray[np.float32]:
        """(len(regions), S / patch, S / patch), how much of each patch a region covers, 0..1."""
        side = len(self.ids) // patch
        cells = np.arange(side * side).reshape(side, side).repeat(patch, axis=0).repeat(patch, axis=1)
        counts = np.bincount((self.ids.astype(np.int64) * side * side + cells).ravel(), minlength=256 * side * side)
        return (counts.reshape(256, side, side)[: len(self.regions)] / patch**2).astype(np.float32)


def draw_crop(
    picture: Picture, recipe: Recipe, mix: CropMix, weights: Mapping[str, float], rng: np.random.Generator
) -> Crop | None:
    """A random crop, mirrored, stretched and in other light; None for a picture without a thing large enough.

    Args:
        picture: what to crop.
        recipe: size of the crop (square) and ranges of its light; `zoom` has no part in this.
        mix: the shares of the kinds of crops.
        weights: by kind, how often a thing in the picture is chosen.
        rng: draws all of it.
    """
    if rng.random() < mix.scenes:
        return _scene(picture, recipe, mix, rng)
    sizes = np.bincount(picture.ids.ravel(), minlength=256)[: len(picture.regions)]
    large = np.flatnonzero(sizes >= LEAST)
    if not len(large):
        return None
    chances = np.array([weights.get(picture.regions[i].kind, 1.0) for i in large])
    for place in rng.choice(large, size=len(large), replace=False, p=chances / chances.sum()):
        part = _any_part(picture.ids == place, rng)
        if part is not None:
            crop = _single(picture, part, int(place), recipe, mix, rng)
            if np.count_nonzero(crop.ids == crop.subject) >= SHOWN:
                return crop
    return None


def connected(mask: Bool, least: int = LEAST) -> list[Bool]:
    """The connected parts (8 neighbours) of a mask (H, W) with at least so many pixels."""
    labels, large = _labelled(mask, least)
    return [labels == label for label in large]


def window_around(mask: Bool, margin: float) -> Window:
    """A mask's box with a margin, made as square as the frame allows.

    Args:
        mask: (H, W), not empty.
        margin: share of the box's longer side that is added on each side.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    middle = (rows[0] + rows[-1] + 1) / 2, (columns[0] + columns[-1] + 1) / 2
    side = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    (top, height), (left, width) = (
        _span(c, side * (1 + 2 * margin), total) for c, total in zip(middle, mask.shape, strict=True)
    )
    return top, left, height, width


def cut(rgb: NDArray[np.uint8], ids: Ids, window: Window, size: int) -> tuple[NDArray[np.uint8], Ids]:
    """A window of an image (H, W, 3) and its ids (H, W), resized to squares of `size` pixels."""
    top, left, height, width = window
    place = np.s_[top : top + height, left : left + width]
    way = cv2.INTER_AREA if max(height, width) > size else cv2.INTER_LINEAR
    small = cv2.resize(np.ascontiguousarray(rgb[place]), (size, size), interpolation=way)
    known = cv2.resize(np.ascontiguousarray(ids[place]), (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
    return small.astype(np.uint8), known.astype(np.uint8)


def greyed(rgb: NDArray[np.uint8], mask: Bool) -> NDArray[np.uint8]:
    """An image (H, W, 3) that is grey outside a mask (H, W)."""
    return np.where(mask[..., None], rgb, np.array(GREY, np.uint8))


def _labelled(mask: Bool, least: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The part that each pixel (H, W) belongs to, and the numbers of the large ones."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return np.asarray(labels, np.int32), 1 + np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= least)


def _any_part(mask: Bool, rng: np.random.Generator) -> Bool | None:
    """One of the connected parts, each as likely; None where none is large enough."""
    labels, large = _labelled(mask, LEAST)
    return np.asarray(labels == rng.choice(large)) if len(large) else None


def _single(picture: Picture, part: Bool, place: int, recipe: Recipe, mix: CropMix, rng: np.random.Generator) -> Crop:
    """A crop around one connected part of a region."""
    subject, regions, ids = place, picture.regions, picture.ids
    if len(regions) < NONE:  # an id for it alone, unless there is none left
        subject, regions, ids = len(regions), (*regions, regions[place]), ids.copy()
        ids[part] = subject
    window = window_around(part, rng.uniform(*mix.margin))
    crop = _lit(replace(picture, ids=ids, regions=regions), window, subject, recipe, rng)
    if rng.random() >= mix.grey:
        return crop
    inside = crop.ids == subject
    return replace(crop, rgb=greyed(crop.rgb, inside), ids=np.where(inside, crop.ids, np.uint8(NONE)))


def _scene(picture: Picture, recipe: Recipe, mix: CropMix, rng: np.random.Generator) -> Crop | None:
    """A window anywhere; None where it shows nothing that is known."""
    height, width = picture.ids.shape
    side = rng.uniform(*mix.window) * max(height, width)
    (top, h), (left, w) = (_span(rng.uniform(0, total), side, total) for total in (height, width))
    crop = _lit(picture, (top, left, h, w), None, recipe, rng)
    return crop if crop.in_view() else None


def _lit(picture: Picture, window: Window, subject: int | None, recipe: Recipe, rng: np.random.Generator) -> Crop:
    """A window of a picture at the recipe's size, mirrored, stretched a little and in other light."""
    rgb, ids = cut(picture.rgb, picture.ids, window, recipe.crop[0])
    seen = augment(Picture(rgb, ids, picture.regions), recipe, rng, zoom=(1.0, 1.0))
    return Crop(seen.rgb, seen.ids, seen.regions, subject)


def _span(middle: float, length: float, total: int) -> tuple[int, int]:
    """Start and length, whole pixels, of a stretch around a middle, moved and shortened until it lies in 0..total."""
    whole = min(total, max(1, round(length)))
    return int(np.clip(round(middle - whole / 2), 0, total - whole)), whole

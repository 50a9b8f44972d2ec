"""Crops show what they are said to show: checked by colours that only one region has, and by loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
ndimage = pytest.importorskip("scipy.ndimage")

from ovseg_ros.training.regions import GREY, LEAST, CropMix, connected, draw_crop, window_around  # noqa: E402
from ovseg_ros.training.sources import Picture  # noqa: E402
from ovseg_ros.training.words import Region  # noqa: E402

PAINT = np.array([[40, 40, 40], [230, 30, 30], [30, 230, 30], [30, 30, 230]], np.uint8)
REGIONS = tuple(Region(kind, (kind,)) for kind in ("floor", "box", "mug", "chair"))
SINGLE = CropMix(scenes=0.0, grey=0.0)


def paint(*boxes: tuple[int, int, int, int, int]) -> Picture:
    """A floor with boxes (id, top, left, height, width) on it, each id of its own colour."""
    ids = np.zeros((90, 120), np.uint8)
    for place, top, left, height, width in boxes:
        ids[top : top + height, left : left + width] = place
    return Picture(PAINT[ids], ids, REGIONS)


def by_colour(rgb: np.ndarray) -> np.ndarray:
    """(H, W), the region whose colour is nearest."""
    return ((rgb[:, :, None].astype(int) - PAINT) ** 2).sum(axis=3).argmin(axis=2)


def distance(rgb: np.ndarray) -> np.ndarray:
    """(H, W), how far the nearest region's colour is."""
    return np.asarray(np.sqrt(((rgb[:, :, None].astype(int) - PAINT) ** 2).sum(axis=3).min(axis=2)))


@pytest.fixture
def recipe(toy_recipe: Callable[..., Any]) -> Any:
    return toy_recipe(crop=(64, 64), brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, stretch=0.05)


def test_a_window_holds_the_box_and_is_square_where_the_frame_allows() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        mask = np.zeros((30, 50), bool)
        top, left = rng.integers(0, 29), rng.integers(0, 49)
        mask[top : top + rng.integers(1, 30), left : left + rng.integers(1, 50)] = True
        y, x, height, width = window_around(mask, float(rng.uniform(0, 0.5)))
        assert 0 <= y <= 30 - height
        assert 0 <= x <= 50 - width
        inside = np.zeros_like(mask)
        inside[y : y + height, x : x + width] = True
        assert height == width or height == 30
        if mask.any(axis=0).sum() <= 30:  # otherwise no square of this frame holds it
            assert not (mask & ~inside).any()


def test_the_subject_is_where_its_colour_is(recipe: Any) -> None:
    picture, rng, seen = (
        paint((1, 10, 10, 30, 20), (2, 50, 70, 12, 40), (3, 20, 80, 25, 25)),
        np.random.default_rng(1),
        [],
    )
    for _ in range(40):
        crop = draw_crop(picture, recipe, SINGLE, {"floor": 0.01}, rng)
        assert crop is not None
        assert crop.subject is not None
        assert crop.rgb.shape == (64, 64, 3)
        kind = crop.regions[crop.subject].kind
        shown = by_colour(crop.rgb) == [region.kind for region in REGIONS].index(kind)
        mask = crop.ids == crop.subject
        pure = (crop.ids != 255) & (distance(crop.rgb) < 60)  # pixels on edges are mixed
        assert pure.mean() > 0.6
        assert (mask == shown)[pure].mean() > 0.97, kind
        seen.append(kind)
        if kind != "floor":  # tight: the thing takes a good part of its crop
            assert mask.mean() > 0.08  # 12 x 40 pixels with 0.4 of 40 around them
    assert {"box", "mug", "chair"} <= set(seen)


def test_one_of_several_alike_is_the_subject(recipe: Any) -> None:
    picture, rng = paint((1, 30, 30, 16, 16), (1, 30, 54, 16, 16), (1, 60, 30, 16, 16)), np.random.default_rng(2)
    others = 0
    for _ in range(12):
        crop = draw_crop(picture, recipe, CropMix(scenes=0.0, grey=0.0, margin=(1.0, 1.0)), {"floor": 1e-9}, rng)
        assert crop is not None
        assert ndimage.label(crop.ids == crop.subject)[1] == 1
        others += int(crop.ids[crop.ids != crop.subject].tolist().count(1) > 0)
    assert others  # its neighbours are in view, and are not it


def test_a_grey_background_is_grey_up_to_the_mask(recipe: Any) -> None:
    picture, rng = paint((1, 30, 30, 16, 40)), np.random.default_rng(3)
    crop = draw_crop(picture, recipe, CropMix(scenes=0.0, grey=1.0), {"floor": 1e-9}, rng)
    assert crop is not None
    mask = crop.ids == crop.subject
    assert 0 < mask.sum() < mask.size
    assert (crop.rgb[~mask] == GREY).all()
    assert (crop.ids[~mask] == 255).all()
    assert (by_colour(crop.rgb)[mask] == 1).mean() > 0.95


def test_shares_are_those_of_a_loop(recipe: Any) -> None:
    picture, rng = paint((1, 10, 10, 30, 20), (2, 50, 70, 12, 40)), np.random.default_rng(4)
    crop = draw_crop(picture, recipe, CropMix(scenes=1.0, window=(0.9, 1.0)), {}, rng)
    assert crop is not None
    assert crop.subject is None
    shares = crop.shares(16)
    assert shares.shape == (4, 4, 4)
    for place in range(4):
        for y in range(4):
            for x in range(4):
                cell = crop.ids[16 * y : 16 * y + 16, 16 * x : 16 * x + 16]
                assert shares[place, y, x] == pytest.approx((cell == place).mean())
    shown = {region.kind for region in crop.in_view()}
    assert shown == {REGIONS[i].kind for i in range(4) if (crop.ids == i).sum() >= 0.01 * crop.ids.size}


def test_parts_are_those_of_scipy() -> None:
    mask = np.random.default_rng(5).random((40, 60)) < 0.45
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    wanted = [labels == i for i in range(1, count + 1) if (labels == i).sum() >= 30]
    found = connected(mask, 30)
    assert wanted
    assert len(found) == len(wanted)
    assert {part.tobytes() for part in found} == {part.tobytes() for part in wanted}


@pytest.mark.parametrize("scenes", [0.0, 1.0])
def test_a_picture_without_a_thing_gives_no_crop(recipe: Any, scenes: float) -> None:
    ids = np.full((90, 120), 255, np.uint8)
    assert (
        draw_crop(Picture(PAINT[ids % 4], ids, REGIONS), recipe, CropMix(scenes), {}, np.random.default_rng(0)) is None
    )
    ids[:3, :3] = 1  # under LEAST
    assert LEAST > 9
    picture = Picture(PAINT[ids % 4], ids, REGIONS)
    assert draw_crop(picture, recipe, SINGLE, {}, np.random.default_rng(0)) is None

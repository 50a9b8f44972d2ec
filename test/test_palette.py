"""Colours, overlays and legends."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from ovseg_ros.palette import colour_mask, colours, draw_legend, overlay
from ovseg_ros.segmentation import Segmentation
from ovseg_ros.vocabulary import Vocabulary

NAMES = ["car", "road", "sky", "tree", "人", "person", "box", "shelf", "pallet", "forklift", "mug", "table"]


def segmentation(labels: np.ndarray, count: int) -> Segmentation:
    vocabulary = Vocabulary.parse([f"word {i}" for i in range(count)])
    return Segmentation(labels, np.full(labels.shape, 200, np.uint8), vocabulary)


def test_a_word_has_one_colour_in_every_process() -> None:
    code = f"from ovseg_ros.palette import colours; print(colours({NAMES!r}).tolist())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {f"{colours(NAMES).tolist()}\n"}


def test_a_word_keeps_its_colour_when_words_that_look_otherwise_are_added() -> None:
    alone = {name: tuple(colours([name])[0]) for name in NAMES}
    kept = [name for name, colour in zip(NAMES, colours(NAMES), strict=True) if tuple(colour) == alone[name]]
    assert kept[0] == NAMES[0]
    assert len(kept) >= len(NAMES) // 2


def test_words_of_one_vocabulary_are_told_apart() -> None:
    table = colours(NAMES).astype(int)
    distances = np.abs(table[:, None] - table[None]).sum(axis=2)
    assert distances[~np.eye(len(NAMES), dtype=bool)].min() > 60
    assert np.abs(table).sum(axis=1).min() > 60  # and from the black of unlabelled pixels


def test_many_words_all_get_a_colour() -> None:
    assert colours([f"word {i}" for i in range(1024)]).shape == (1024, 3)
    assert colours([]).shape == (0, 3)


@pytest.mark.parametrize(("dtype", "count"), [(np.uint8, 254), (np.uint16, 300)])
def test_the_mask_looks_up_every_pixel(dtype: type, count: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, count, (7, 9)).astype(dtype)
    labels[0, :4] = np.iinfo(dtype).max
    result = segmentation(labels, count)
    table = colours(result.vocabulary.names)
    mask = colour_mask(result)
    for y, x in np.ndindex(labels.shape):
        expected = (0, 0, 0) if labels[y, x] == np.iinfo(dtype).max else tuple(table[labels[y, x]])
        assert tuple(mask[y, x]) == expected


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_overlay_blends_labelled_pixels_and_leaves_the_others(alpha: float) -> None:
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)
    labels = rng.integers(0, 3, (8, 10)).astype(np.uint8)
    labels[:3] = 255
    before = rgb.copy()
    result = segmentation(labels, 3)
    drawn = overlay(rgb, result, alpha, legend=False)
    expected = (1 - alpha) * rgb + alpha * colours(result.vocabulary.names)[np.minimum(labels, 2)]
    assert np.abs(drawn[3:] - expected[3:]).max() <= 1
    np.testing.assert_array_equal(drawn[:3], rgb[:3])
    np.testing.assert_array_equal(rgb, before)


def test_the_legend_shows_the_colours_of_the_classes_that_occur() -> None:
    image = np.full((120, 160, 3), 7, np.uint8)
    labels = np.full((120, 160), 2, np.uint8)
    labels[:30] = 0
    draw_legend(image, segmentation(labels, 4))
    seen = {tuple(pixel) for pixel in image.reshape(-1, 3)}
    table = [tuple(colour) for colour in colours([f"word {i}" for i in range(4)])]
    assert [colour in seen for colour in table] == [True, False, True, False]
    assert (image[60:] == 7).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 2)])
def test_a_legend_fits_any_image_and_word(shape: tuple[int, int]) -> None:
    vocabulary = Vocabulary.parse(["人" * 50])
    result = Segmentation(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8), vocabulary)
    assert overlay(np.zeros((*shape, 3), np.uint8), result).shape == (*shape, 3)

"""Reading photographs and masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets.read import read_colour_ids, read_ids, read_rgb

Image = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_indices_of_a_palette_are_read_and_not_its_colours(tmp_path: Path, bits: int) -> None:
    ids = np.random.default_rng(bits).integers(0, 2**bits, (17, 13)).astype(np.uint8)
    image = Image.fromarray(ids)
    image.putpalette(np.random.default_rng(0).integers(0, 256, 3 * 2**bits).astype(np.uint8).tobytes())
    image.save(tmp_path / "a.png", bits=bits, transparency=0)
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.mode == "P"
    content = (tmp_path / "a.png").read_bytes()
    assert (content[24], content[25]) == (bits, 3)  # the file does have a palette and so many bits
    np.testing.assert_array_equal(read_ids(tmp_path / "a.png"), ids)


@pytest.mark.parametrize(("suffix", "dtype"), [("png", np.uint8), ("png", np.uint16), ("tif", np.uint16)])
def test_grey_masks_are_read_at_their_depth(tmp_path: Path, suffix: str, dtype: type) -> None:
    ids = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (5, 7), endpoint=True).astype(dtype)
    Image.fromarray(ids).save(tmp_path / f"a.{suffix}")
    read = read_ids(tmp_path / f"a.{suffix}")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, ids)


def test_panoptic_colours_are_numbers(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[1, 2, 3], [255, 255, 255]]], np.uint8)).save(tmp_path / "a.png")
    assert read_colour_ids(tmp_path / "a.png").tolist() == [[1 + 2 * 256 + 3 * 65536, 2**24 - 1]]


@pytest.mark.parametrize("shape", [(4, 8), (8, 4), None])
def test_photographs_are_turned_as_their_mask_is(tmp_path: Path, shape: tuple[int, int] | None) -> None:
    stored = np.zeros((4, 8, 3), np.uint8)
    stored[:, :2] = (250, 10, 10)  # red on the left, which EXIF's orientation 6 puts at the top
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    rgb = read_rgb(tmp_path / "a.jpg", shape)
    assert rgb.shape[:2] == (shape or (8, 4))
    red = rgb[:, :2] if shape == (4, 8) else rgb[:2]
    assert red[..., 0].min() > 150
    assert rgb[4:, 4:, 0].size == 0 or rgb[4:, 4:, 0].max() < 100


def test_grey_photographs_get_three_channels(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((2, 3), 7, np.uint8))
    assert read_rgb(tmp_path / "a.png").tolist() == [[[7, 7, 7]] * 3] * 2


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 17 + b"\3" + b"\0" * 30])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    for read in (read_ids, read_rgb, read_colour_ids):
        with pytest.raises(DatasetError, match=r"a\.png is no readable image"):
            read(tmp_path / "a.png")
        with pytest.raises(DatasetError, match=r"b\.png cannot be read: No such file"):
            read(tmp_path / "b.png")


def test_masks_of_other_kinds_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "colours.png"), np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"colours\.png has shape \(2, 3, 3\); expected \(2, 3\) with one channel"):
        read_ids(tmp_path / "colours.png")
    cv2.imwrite(str(tmp_path / "floats.tif"), np.zeros((2, 3), np.float32))
    with pytest.raises(DatasetError, match=r"floats\.tif is float32; expected uint8 or uint16"):
        read_ids(tmp_path / "floats.tif")

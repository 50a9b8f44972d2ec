"""Image messages to pixels, against OpenCV's encoders, brute force and byte-by-byte construction."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from ovseg_ros.errors import ImageError
from ovseg_ros.ros.pixels import ENCODINGS, compressed_to_rgb, depth_to_metres, to_rgb

HEIGHT, WIDTH = 24, 32


def scene(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A smooth colourful image, so that subsampled and interpolated colours stay close to the original."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    channels = [60 + 120 * x / width, 50 + 150 * y / height, 200 - 100 * (x + y) / (width + height)]
    return np.stack(channels, axis=2).astype(np.uint8)


def image(pixels: np.ndarray, encoding: str, pad: int = 0, big: bool = False, **fields: Any) -> SimpleNamespace:
    """A message of rows (rows, anything), each followed by `pad` bytes of rubbish."""
    kind = pixels.dtype.newbyteorder(">" if big else "<")
    rows = np.ascontiguousarray(pixels.astype(kind)).view(np.uint8).reshape(pixels.shape[0], -1)
    rows = np.hstack([rows, np.full((rows.shape[0], pad), 0xEE, np.uint8)])
    values = {
        "encoding": encoding,
        "height": HEIGHT,
        "width": WIDTH,
        "step": rows.shape[1],
        "is_bigendian": int(big),
        "data": array("B", rows.tobytes()),
    }
    return SimpleNamespace(**{**values, **fields})


def swapped(rgb: np.ndarray) -> np.ndarray:
    return rgb[..., ::-1]


def with_alpha(pixels: np.ndarray) -> np.ndarray:
    return np.dstack([pixels, np.full(pixels.shape[:2], 77, pixels.dtype)])


@pytest.mark.parametrize("pad", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "make"),
    [
        ("rgb8", lambda rgb: rgb),
        ("bgr8", swapped),
        ("8UC3", swapped),
        ("rgba8", with_alpha),
        ("bgra8", lambda rgb: with_alpha(swapped(rgb))),
        ("8UC4", lambda rgb: with_alpha(swapped(rgb))),
    ],
)
def test_colour_8_bit(encoding, make, pad):
    rgb = scene()
    assert np.array_equal(to_rgb(image(make(rgb), encoding, pad)), rgb)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("pad", [0, 2, 3])
@pytest.mark.parametrize(
    ("encoding", "make"),
    [
        ("rgb16", lambda rgb: rgb),
        ("bgr16", swapped),
        ("16UC3", swapped),
        ("rgba16", with_alpha),
        ("bgra16", lambda rgb: with_alpha(swapped(rgb))),
        ("16UC4", lambda rgb: with_alpha(swapped(rgb))),
    ],
)
def test_colour_16_bit(encoding, make, pad, big):
    rgb = scene()
    deep = rgb.astype(np.uint16) * 257  # 255 becomes 65535
    assert np.array_equal(to_rgb(image(make(deep), encoding, pad, big)), rgb)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_8_bit(encoding):
    grey = scene()[..., 0]
    assert np.array_equal(to_rgb(image(grey, encoding, 7)), np.dstack([grey] * 3))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
def test_grey_16_bit(encoding, big):
    deep = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH), np.uint16)
    expected = np.rint(deep.astype(np.float64) * 255 / 65535).astype(np.uint8)
    assert np.array_equal(to_rgb(image(deep, encoding, 0, big)), np.dstack([expected] * 3))


def mosaic(rgb: np.ndarray, pattern: str) -> np.ndarray:
    """What a sensor with that filter sees, pixel by pixel."""
    out = np.empty(rgb.shape[:2], rgb.dtype)
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            out[y, x] = rgb[y, x, "rgb".index(pattern[y % 2 * 2 + x % 2])]
    return out


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer(pattern, bits):
    rgb = scene()
    raw = mosaic(rgb, pattern)
    raw = raw.astype(np.uint16) * 257 if bits == 16 else raw
    got = to_rgb(image(raw, f"bayer_{pattern}{bits}", 6, big=bits == 16)).astype(int)
    assert np.abs(got - rgb)[1:-1, 1:-1].max() <= 6  # interpolation; a swapped colour would be off by 100


def yuv(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Y, U, V of ITU-R BT.601, limited range, in full resolution."""
    r, g, b = (rgb[..., i].astype(np.float64) for i in range(3))
    y = 16 + (65.738 * r + 129.057 * g + 25.064 * b) / 256
    u = 128 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256
    v = 128 + (112.439 * r - 94.154 * g - 18.285 * b) / 256
    return tuple(np.rint(plane).astype(np.uint8) for plane in (y, u, v))  # type: ignore[return-value]


def packed(rgb: np.ndarray, order: str) -> np.ndarray:
    y, u, v = yuv(rgb)
    parts = {"y": y[:, 0::2], "Y": y[:, 1::2], "u": u[:, ::2], "v": v[:, ::2]}
    return np.stack([parts[name] for name in order], axis=2).reshape(rgb.shape[0], -1)


def planes(rgb: np.ndarray, down: int, across: int, order: str = "uv") -> np.ndarray:
    """Luma rows, then rows of interleaved chroma."""
    y, u, v = yuv(rgb)
    chroma = {"u": u[::down, ::across], "v": v[::down, ::across]}
    pairs = np.stack([chroma[name] for name in order], axis=2)
    return np.vstack([y, pairs.reshape(-1, rgb.shape[1])])


@pytest.mark.parametrize(
    ("encoding", "make"),
    [
        ("uyvy", lambda rgb: packed(rgb, "uyvY")),
        ("yuv422", lambda rgb: packed(rgb, "uyvY")),
        ("yuyv", lambda rgb: packed(rgb, "yuYv")),
        ("yuv422_yuy2", lambda rgb: packed(rgb, "yuYv")),
        ("nv12", lambda rgb: planes(rgb, 2, 2)),
        ("nv21", lambda rgb: planes(rgb, 2, 2, "vu")),
        ("nv16", lambda rgb: planes(rgb, 1, 2)),
        ("nv24", lambda rgb: planes(rgb, 1, 1)),
    ],
)
@pytest.mark.parametrize("pad", [0, 4])
def test_yuv(encoding, make, pad):
    rgb = scene()
    message = image(make(rgb), encoding, 0)
    if pad and encoding == "nv24":  # a chroma row is two luma rows long, and so is its step
        rows = np.frombuffer(message.data, np.uint8).reshape(-1, WIDTH)
        luma = np.pad(rows[:HEIGHT], ((0, 0), (0, pad)))
        chroma = np.pad(rows[HEIGHT:].reshape(HEIGHT, 2 * WIDTH), ((0, 0), (0, 2 * pad)))
        message.step, message.data = WIDTH + pad, luma.tobytes() + chroma.tobytes()
    elif pad:
        message = image(make(rgb), encoding, pad)
    got = to_rgb(message).astype(int)
    assert got.shape == rgb.shape
    assert np.abs(got - rgb).max() <= 12


def test_every_encoding_is_tested():
    tested = {"rgb8", "bgr8", "8UC3", "rgba8", "bgra8", "8UC4", "rgb16", "bgr16", "16UC3", "rgba16", "bgra16", "16UC4"}
    tested |= {
        "mono8",
        "8UC1",
        "mono16",
        "16UC1",
        "uyvy",
        "yuv422",
        "yuyv",
        "yuv422_yuy2",
        "nv12",
        "nv21",
        "nv16",
        "nv24",
    }
    tested |= {f"bayer_{p}{b}" for p in ("rggb", "bggr", "gbrg", "grbg") for b in (8, 16)}
    assert tested == set(ENCODINGS)


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda b: np.frombuffer(b, np.uint8), lambda b: array("B", b)])
def test_kinds_of_data_and_no_copy(kind):
    message = image(scene(), "rgb8")
    message.data = kind(message.data.tobytes())
    got = to_rgb(message)
    assert np.array_equal(got, scene())
    assert np.shares_memory(got, np.frombuffer(message.data, np.uint8))


def test_last_row_needs_no_padding():
    message = image(scene(), "rgb8", 8)
    message.data = message.data[:-8]
    assert np.array_equal(to_rgb(message), scene())


@pytest.mark.parametrize(
    ("fields", "reason", "text"),
    [
        ({"data": array("B")}, "empty", "without data"),
        ({"data": b""}, "empty", "without data"),
        ({"data": np.empty(0, np.uint8)}, "empty", "without data"),
        ({"height": 0}, "size", "32x0"),
        ({"width": 0}, "size", "0x24"),
        ({"height": 0, "width": 0, "data": b""}, "size", "0x0"),
        ({"step": 0}, "step", "step 0; a row takes 96 bytes"),
        ({"step": 95}, "step", "step 95; a row takes 96 bytes"),
        ({"step": 97}, "truncated", "needs 2327 bytes and has 2304"),
        ({"data": bytes(2303)}, "truncated", "needs 2304 bytes and has 2303"),
        ({"height": 16384, "width": 16384, "data": bytes(10)}, "size", "16384x16384"),
        ({"height": 2**32 - 1, "width": 2**32 - 1, "data": bytes(10)}, "size", "4294967295"),
        ({"height": 8000, "width": 8000, "step": 24000, "data": bytes(10)}, "truncated", "has 10"),
        ({"encoding": "jpeg2000"}, "encoding", "unknown image encoding 'jpeg2000'; known are rgb8, "),
        ({"encoding": ""}, "encoding", "unknown"),
        ({"encoding": "x" * 9999}, "encoding", "unknown"),
        ({"encoding": "32FC1"}, "encoding", "remap `image`"),
        ({"encoding": "nv12", "width": 31, "step": 96}, "size", "31x24"),
        ({"encoding": "nv12", "height": 23, "step": 96}, "size", "32x23"),
        ({"encoding": "yuyv", "width": 31, "step": 96}, "size", "31x24"),
    ],
)
def test_bad_images(fields, reason, text):
    with pytest.raises(ImageError) as caught:
        to_rgb(image(scene(), **{"encoding": "rgb8", **fields}))
    assert caught.value.reason == reason
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_tiny_bayer_images_do_not_crash():
    for height, width in ((1, 1), (2, 2), (1, 7), (3, 1)):
        raw = np.full((height, width), 9, np.uint8)
        got = to_rgb(image(raw, "bayer_rggb8", height=height, width=width))
        assert got.shape == (height, width, 3)


@pytest.mark.parametrize("big", [False, True])
def test_depth_in_millimetres(big):
    depth = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH)
    got = depth_to_metres(image(depth, "16UC1", 4, big))
    assert got.dtype == np.float32
    assert np.isnan(got[0, 0])
    assert np.allclose(got.ravel()[1:], depth.ravel()[1:] / 1000)


@pytest.mark.parametrize("big", [False, True])
def test_depth_in_metres_with_every_kind_of_nothing(big):
    depth = np.full((HEIGHT, WIDTH), 1.5, np.float32)
    depth[0, :5] = [np.nan, np.inf, -np.inf, 0, -1]
    got = depth_to_metres(image(depth, "32FC1", 4, big))
    assert np.isnan(got[0, :5]).all()
    assert (got[1:] == 1.5).all()
    assert np.isnan(depth_to_metres(image(np.full((HEIGHT, WIDTH), np.nan, np.float32), "32FC1"))).all()


def test_depth_of_another_encoding():
    with pytest.raises(ImageError, match="known are 16UC1"):
        depth_to_metres(image(scene(), "rgb8"))


def compressed(data: Any, kind: str = "bgr8; jpeg compressed bgr8") -> SimpleNamespace:
    return SimpleNamespace(data=array("B", bytes(data)), format=kind)


def encoded(extension: str, rgb: np.ndarray) -> bytes:
    return cv2.imencode(extension, rgb[..., ::-1])[1].tobytes()


def test_compressed():
    rgb = scene()
    assert np.array_equal(compressed_to_rgb(compressed(encoded(".png", rgb), "png")), rgb)
    got = compressed_to_rgb(compressed(encoded(".jpg", rgb) + bytes(64)))  # some cameras pad with zeros
    assert np.abs(got.astype(int) - rgb).mean() < 4
    assert compressed_to_rgb(compressed(encoded(".jpg", rgb[..., 0])[:])).shape == rgb.shape


def huge_png() -> bytes:
    header = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + b"IHDR"
    return header + (40000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0" + bytes(4) + b"IEND"


def huge_jpeg() -> bytes:
    data = bytearray(encoded(".jpg", scene()))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (b"", "jpeg", "empty"),
        (b"no image at all", "jpeg", "encoding"),
        (encoded(".jpg", scene())[:-40], "jpeg", "truncated"),
        (encoded(".png", scene())[:-40], "png", "truncated"),
        (b"\xff\xd8\xff\xd9", "jpeg", "truncated"),
        (huge_png(), "png", "size"),
        (huge_jpeg(), "jpeg", "size"),
        (b"\0" * 12 + encoded(".png", scene()), "16UC1; compressedDepth png", "encoding"),
    ],
)
def test_bad_compressed_images(data, kind, reason):
    with pytest.raises(ImageError) as caught:
        compressed_to_rgb(compressed(data, kind))
    assert caught.value.reason == reason

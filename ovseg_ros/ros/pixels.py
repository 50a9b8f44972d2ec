"""Image messages in, NumPy arrays out: every encoding of sensor_msgs, any row step, both byte orders.

Nothing here imports ROS: a message is any object with the fields of `sensor_msgs/msg/Image`, so a bag reader may
use these functions too. All sizes are checked before anything is allocated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import ImageError

Pixels = NDArray[np.uint8]

MAX_PIXELS = 1 << 26  # 8192 x 8192; a larger header is a mistake, not a camera


class _Layout(NamedTuple):
    """How the pixels of an encoding lie in memory and what makes uint8 (H, W, 3) RGB of them."""

    channels: int  # values of one pixel in a row
    bits: int  # of one value
    planes: int  # rows of `data` per 2 rows of the image: 2 when packed; chroma planes come after
    to_rgb: Callable[[Pixels], Pixels]


def _cvt(code: int) -> Callable[[Pixels], Pixels]:
    return lambda raw: cv2.cvtColor(raw, code)  # type: ignore[return-value]


def _same(raw: Pixels) -> Pixels:
    return raw


def _semi_planar(step: int) -> Callable[[Pixels], Pixels]:
    """Luma and interleaved chroma rows as YUYV, which OpenCV knows; `step` chroma values per luma value."""

    def convert(raw: Pixels) -> Pixels:
        height = raw.shape[0] // (1 + step)
        luma, chroma = raw[:height], raw[height:].reshape(height, -1, 2)
        packed = np.stack([luma, chroma[:, ::step].reshape(luma.shape)], axis=2)  # (H, W, 2)
        return cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_YUYV)  # type: ignore[return-value]

    return convert


def _bayer(pattern: str) -> Callable[[Pixels], Pixels]:
    # OpenCV names Bayer codes by the second row; these are its aliases by the first, as ROS does
    return _cvt(int(getattr(cv2, f"COLOR_Bayer{pattern}2RGB")))


_GRAY, _BGR = _cvt(cv2.COLOR_GRAY2RGB), _cvt(cv2.COLOR_BGR2RGB)
_RGBA, _BGRA = _cvt(cv2.COLOR_RGBA2RGB), _cvt(cv2.COLOR_BGRA2RGB)
_UYVY, _YUYV = _cvt(cv2.COLOR_YUV2RGB_UYVY), _cvt(cv2.COLOR_YUV2RGB_YUYV)

_LAYOUTS = {
    "rgb8": _Layout(3, 8, 2, _same),
    "bgr8": _Layout(3, 8, 2, _BGR),
    "rgba8": _Layout(4, 8, 2, _RGBA),
    "bgra8": _Layout(4, 8, 2, _BGRA),
    "rgb16": _Layout(3, 16, 2, _same),
    "bgr16": _Layout(3, 16, 2, _BGR),
    "rgba16": _Layout(4, 16, 2, _RGBA),
    "bgra16": _Layout(4, 16, 2, _BGRA),
    "mono8": _Layout(1, 8, 2, _GRAY),
    "mono16": _Layout(1, 16, 2, _GRAY),
    # the OpenCV types carry no colour order: OpenCV's own, BGR
    "8UC1": _Layout(1, 8, 2, _GRAY),
    "8UC3": _Layout(3, 8, 2, _BGR),
    "8UC4": _Layout(4, 8, 2, _BGRA),
    "16UC1": _Layout(1, 16, 2, _GRAY),
    "16UC3": _Layout(3, 16, 2, _BGR),
    "16UC4": _Layout(4, 16, 2, _BGRA),
    "yuv422": _Layout(2, 8, 2, _UYVY),
    "uyvy": _Layout(2, 8, 2, _UYVY),
    "yuv422_yuy2": _Layout(2, 8, 2, _YUYV),
    "yuyv": _Layout(2, 8, 2, _YUYV),
    "nv12": _Layout(1, 8, 3, _cvt(cv2.COLOR_YUV2RGB_NV12)),
    "nv21": _Layout(1, 8, 3, _cvt(cv2.COLOR_YUV2RGB_NV21)),
    "nv16": _Layout(1, 8, 4, _semi_planar(1)),
    "nv24": _Layout(1, 8, 6, _semi_planar(2)),
    **{
        f"bayer_{pattern.lower()}{bits}": _Layout(1, bits, 2, _bayer(pattern))
        for pattern in ("RGGB", "BGGR", "GBRG", "GRBG")
        for bits in (8, 16)
    },
}
ENCODINGS = tuple(_LAYOUTS)


def to_rgb(message: Any) -> Pixels:
    """Pixels of a `sensor_msgs/msg/Image` as uint8 (H, W, 3) RGB.

    Contiguous `rgb8` is a view of the message's data; 16-bit values are scaled by 255/65535.

    Raises:
        ImageError: the message cannot be an image; `reason` is one of empty, size, step, truncated, encoding.
    """
    encoding = str(message.encoding)
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        raise ImageError(_unknown(encoding), "encoding")
    height, width = _size(message, encoding)
    subsampled = layout.to_rgb in (_UYVY, _YUYV) or layout.planes > 2
    if (subsampled and width % 2) or (layout.planes == 3 and height % 2):
        raise ImageError(f"{encoding} shares colour between neighbours and can't be {width}x{height}", "size")
    rows = height * layout.planes // 2
    # a chroma row of nv24 is two steps long: its padding goes last
    raw = _rows(message, rows, int(message.step) if encoding == "nv24" else width, layout.channels, layout.bits)
    if layout.bits == 16:
        raw = cv2.convertScaleAbs(raw, alpha=255 / 65535)
    rgb = layout.to_rgb(raw)
    return rgb if rgb.shape[1] == width else np.ascontiguousarray(rgb[:, :width])


def depth_to_metres(message: Any) -> NDArray[np.float32]:
    """Depth of a `sensor_msgs/msg/Image` in metres, float32 (H, W); NaN where there is none.

    `16UC1` is in millimetres and `32FC1` in metres (REP 118). Zero, negative and infinite depths become NaN.

    Raises:
        ImageError: as `to_rgb`.
    """
    encoding = str(message.encoding)
    if encoding not in ("16UC1", "mono16", "32FC1"):
        raise ImageError(f"depth in encoding {encoding!r} is unknown; known are 16UC1 (mm) and 32FC1 (m)", "encoding")
    height, width = _size(message, encoding)
    raw = _rows(message, height, width, 1, 32 if encoding == "32FC1" else 16)
    depth = raw.astype(np.float32)
    if encoding != "32FC1":
        depth *= np.float32(0.001)
    with np.errstate(invalid="ignore"):
        depth[~((depth > 0) & (depth < np.inf))] = np.nan
    return depth


def compressed_to_rgb(message: Any) -> Pixels:
    """Pixels of a `sensor_msgs/msg/CompressedImage` (JPEG, PNG or what OpenCV reads) as uint8 (H, W, 3) RGB.

    Raises:
        ImageError: no data, data that ends early, too large, or not an image; `reason` as `to_rgb`.
    """
    data = _bytes(message.data)
    head, form = data[:32].tobytes(), str(message.format)
    if "compressedDepth" in form:
        raise ImageError(f"{form!r} is a depth image; give a colour image to `image`", "encoding")
    jpeg, png = head.startswith(b"\xff\xd8"), head.startswith(b"\x89PNG\r\n\x1a\n")
    tail = data[-4096:].tobytes()  # cameras pad behind the end mark
    if (jpeg and b"\xff\xd9" not in tail) or (png and b"IEND" not in tail):
        raise ImageError(f"compressed image ends early, after {data.size} bytes", "truncated")
    if png:
        _check_size(int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big"), "png")
    elif jpeg:
        _check_size(*_jpeg_size(data), "jpeg")
    try:
        # the orientation tag is ignored: a mask must lie on the pixels that the camera sent
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        bgr = None
    if bgr is None:
        raise ImageError(f"compressed image of format {form!r} and {data.size} bytes can't be decoded", "encoding")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def _size(message: Any, encoding: str) -> tuple[int, int]:
    height, width = int(message.height), int(message.width)
    _check_size(height, width, encoding)
    return height, width


def _check_size(height: int, width: int, encoding: str) -> None:
    if height <= 0 or width <= 0:
        raise ImageError(f"{encoding} image of size {width}x{height}", "size")
    if height * width > MAX_PIXELS:
        raise ImageError(f"{encoding} image of {width}x{height} exceeds {MAX_PIXELS} pixels", "size")


def _rows(message: Any, rows: int, width: int, channels: int, bits: int) -> NDArray[Any]:
    """Rows of the message without their padding, contiguous and in native byte order; a view where it can be."""
    data, step, item = _bytes(message.data), int(message.step), bits // 8
    row = width * channels * item
    what = f"{message.encoding} image of {message.width}x{message.height}"
    if step < row:
        raise ImageError(f"{what} has step {step}; a row takes {row} bytes", "step")
    need = step * (rows - 1) + row  # the last row needs no padding
    if data.size < need:
        raise ImageError(f"{what} with step {step} needs {need} bytes and has {data.size}", "truncated")
    kind = {8: "u1", 16: "u2", 32: "f4"}[bits]
    view: NDArray[Any] = np.ndarray(
        (rows, width, channels) if channels > 1 else (rows, width),
        np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<"),
        data,
        strides=(step, channels * item, item) if channels > 1 else (step, item),
    )
    return np.ascontiguousarray(view, np.dtype(kind))


def _bytes(data: Any) -> Pixels:
    """A message's data (array.array, bytes or ndarray) as a flat uint8 view."""
    if len(data) == 0:
        raise ImageError("image without data", "empty")
    return np.frombuffer(memoryview(data).cast("B"), np.uint8)


def _jpeg_size(data: Pixels) -> tuple[int, int]:
    """Height and width from the frame header of a JPEG, so that a size is known before it is decoded."""
    at, size = 2, data.size
    while at + 9 <= size:
        marker = int(data[at + 1])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int(data[at + 5]) << 8 | int(data[at + 6]), int(data[at + 7]) << 8 | int(data[at + 8])
        at += 2 + (int(data[at + 2]) << 8 | int(data[at + 3]))
    raise ImageError(f"JPEG of {size} bytes has no frame header", "truncated")


def _unknown(encoding: str) -> str:
    if encoding.startswith(("32F", "64F")):
        return f"{encoding} holds depth or data, not colour; remap `image` to the camera's colour topic"
    return f"unknown image encoding {encoding[:32]!r}; known are {', '.join(ENCODINGS)}"

"""sensor_msgs/Image and CompressedImage <-> OpenCV arrays, with cv_bridge's interface and conversions.

Beyond cv_bridge: nv12, nv21, `uyvy`, `yuyv` and Bayer to RGBA are understood; what needs no conversion is a view.
"""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .image_encodings import Encoding, generic_name, lookup
from .interfaces import message

Image: Any = message("sensor_msgs/msg/Image")
CompressedImage: Any = message("sensor_msgs/msg/CompressedImage")

#: Suffix by which OpenCV calls a source format in its conversion codes.
_YUV = {
    "yuv422": "UYVY",
    "uyvy": "UYVY",
    "yuv422_yuy2": "YUY2",
    "yuyv": "YUY2",
    "nv12": "NV12",
    "nv21": "NV21",
}
# OpenCV names a Bayer pattern by its second row, ROS by its first.
_BAYER = {"rggb": "BG", "bggr": "RG", "gbrg": "GR", "grbg": "GB"}
_FORMATS = ("bmp", "jpeg", "jpg", "jp2", "png", "pbm", "pgm", "ppm", "sr", "ras", "tiff", "tif", "webp")


class CvBridgeError(TypeError):
    """An image cannot be converted as asked."""


class CvBridge:
    """Converts images; has no state."""

    def encoding_to_dtype_with_channels(self, encoding: str) -> tuple[str, int]:
        """Return NumPy's dtype and the channels of an encoding; raises `CvBridgeError` for an unknown one."""
        found = _lookup(encoding)
        return found.dtype, found.channels

    def imgmsg_to_cv2(self, img_msg: Any, desired_encoding: str = "passthrough") -> NDArray[Any]:
        """Return an image as an array (H, W) or (H, W, C), converted to `desired_encoding`.

        Where nothing needs converting the array is a view of the message (read-only if that was received). nv12 and
        nv21 pass through as (H * 3 / 2, W). Raises `CvBridgeError`.
        """
        encoding = _lookup(img_msg.encoding)
        image = _pixels(img_msg, encoding)
        if desired_encoding in ("passthrough", "", img_msg.encoding):
            return image
        return convert(image, encoding, _lookup(desired_encoding))

    def cv2_to_imgmsg(self, cvim: NDArray[Any], encoding: str = "passthrough", header: Any = None) -> Any:
        """Return an array (H, W) or (H, W, C) as sensor_msgs/Image; it shares memory where the array is contiguous.

        `passthrough` names the pixels generically (`8UC3`). Raises `CvBridgeError` if the array does not fit
        `encoding`, `TypeError` if it is no array.
        """
        if not isinstance(cvim, np.ndarray):
            raise TypeError(f"expected a NumPy array, got {type(cvim).__name__}")
        if cvim.ndim not in (2, 3) or not cvim.size:
            raise CvBridgeError(f"expected an image (H, W) or (H, W, C), got the shape {cvim.shape}")
        channels = 1 if cvim.ndim == 2 else cvim.shape[2]
        try:
            actual = generic_name(cvim.dtype.name, channels)
        except ValueError as error:
            raise CvBridgeError(str(error)) from None
        if encoding == "passthrough":
            encoding = actual
        wanted = _lookup(encoding)
        if (wanted.dtype, wanted.channels) != (cvim.dtype.name, channels):
            raise CvBridgeError(
                f"encoding specified as {encoding}, but image has incompatible type {actual}; convert it first"
            )
        height = cvim.shape[0] * 2 // 3 if encoding in ("nv12", "nv21") else cvim.shape[0]
        made = Image(
            height=height,
            width=cvim.shape[1],
            encoding=encoding,
            is_bigendian=int(_is_big(cvim.dtype)),
            step=cvim.shape[1] * channels * cvim.itemsize,
            data=np.ascontiguousarray(cvim).reshape(-1).view(np.uint8),
        )
        if header is not None:
            made.header = header
        return made

    def compressed_imgmsg_to_cv2(self, cmprs_img_msg: Any, desired_encoding: str = "passthrough") -> NDArray[Any]:
        """Return the decoded image, (H, W), (H, W, 3) BGR or (H, W, 4) BGRA, converted to `desired_encoding`.

        Raises `CvBridgeError` if it cannot be decoded.
        """
        data = np.asarray(cmprs_img_msg.data, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
        if image is None:
            raise CvBridgeError(f"{data.size} bytes of format {cmprs_img_msg.format!r} are no image OpenCV can decode")
        if desired_encoding in ("passthrough", ""):
            return image
        bits = 16 if image.dtype == np.uint16 else 8
        family = "mono" if image.ndim == 2 else ("bgr" if image.shape[2] == 3 else "bgra")
        return convert(image, _lookup(f"{family}{bits}"), _lookup(desired_encoding))

    def cv2_to_compressed_imgmsg(self, cvim: NDArray[Any], dst_format: str = "jpg") -> Any:
        """Return an array, grey or BGR, as sensor_msgs/CompressedImage; masks want `png`. Raises `CvBridgeError`."""
        if not isinstance(cvim, np.ndarray):
            raise TypeError(f"expected a NumPy array, got {type(cvim).__name__}")
        if dst_format not in _FORMATS:
            raise CvBridgeError(f"{dst_format!r} is no format to compress to; expected one of {', '.join(_FORMATS)}")
        try:
            done, data = cv2.imencode(f".{dst_format}", cvim)
        except cv2.error as error:
            raise CvBridgeError(f"cannot compress {cvim.dtype} {cvim.shape} to {dst_format}: {error}") from error
        if not done:
            raise CvBridgeError(f"cannot compress {cvim.dtype} {cvim.shape} to {dst_format}")
        return CompressedImage(format=dst_format, data=data.reshape(-1))


def convert(image: NDArray[Any], source: Encoding, target: Encoding) -> NDArray[Any]:
    """Return `image` in another encoding, a copy; raises `CvBridgeError` where that makes no sense."""
    generic = "generic" in (source.family, target.family)
    if generic:
        if source.family == "generic" and target.family != "generic":
            raise CvBridgeError(
                f"[{source.name}] is not a color format. but [{target.name}] is. The conversion does not make sense"
            )
        if source.channels != target.channels:
            raise CvBridgeError(f"[{source.name}] and [{target.name}] do not have the same number of channels")
        return _change_depth(image, source, target)
    if source.family == target.family:
        if source.family in ("bayer", "yuv") and source.name != target.name:
            raise CvBridgeError(f"Unsupported conversion from [{source.name}] to [{target.name}]")
        return _change_depth(image, source, target)
    code = getattr(cv2, f"COLOR_{_code(source, target)}", None)
    if code is None or target.family in ("bayer", "yuv"):
        raise CvBridgeError(f"Unsupported conversion from [{source.name}] to [{target.name}]")
    return _change_depth(cv2.cvtColor(image, code), source, target)


def _code(source: Encoding, target: Encoding) -> str:
    to = target.family.upper()
    if source.family == "bayer":
        return f"Bayer{_BAYER[source.name[6:10]]}2{to}"
    return f"YUV2{to}_{_YUV[source.name]}" if source.family == "yuv" else f"{source.family.upper()}2{to}"


def _change_depth(image: NDArray[Any], source: Encoding, target: Encoding) -> NDArray[Any]:
    """Change the type of the pixels, stretching between 8 and 16 bits as cv_bridge does."""
    if source.dtype == target.dtype:
        return image.copy() if source.family == target.family or "generic" in (source.family, target.family) else image
    scale = {(8, 16): 65535.0 / 255.0, (16, 8): 255.0 / 65535.0}.get((source.bits, target.bits), 1.0)
    scaled = image.astype(np.float64) * scale
    if np.dtype(target.dtype).kind in "iu":
        limits = np.iinfo(target.dtype)
        scaled = np.clip(np.rint(scaled), limits.min, limits.max)
    return scaled.astype(target.dtype)


def _pixels(msg: Any, encoding: Encoding) -> NDArray[Any]:
    """Return the pixels of a message as a view (H, W) or (H, W, C), rows cut out of padded ones."""
    dtype = np.dtype(encoding.dtype)
    if bool(msg.is_bigendian) != (sys.byteorder == "big"):
        dtype = dtype.newbyteorder()
    rows = msg.height * 3 // 2 if encoding.name in ("nv12", "nv21") else msg.height
    row = msg.width * encoding.channels * dtype.itemsize
    step = msg.step or row
    data = np.asarray(msg.data, np.uint8)
    if step < row or data.size < step * (rows - 1) + row or not rows or not row:
        raise CvBridgeError(
            f"image {msg.width}x{msg.height} {msg.encoding} with step {msg.step} needs {rows} rows of {row} bytes, "
            f"but its data has {data.size} bytes"
        )
    if data.size < step * rows:  # the last row may lack its padding
        data = np.concatenate([data, np.zeros(step * rows - data.size, np.uint8)])
    lines = data[: step * rows].reshape(rows, step)[:, :row]
    shape = (rows, msg.width) if encoding.channels == 1 else (rows, msg.width, encoding.channels)
    if step == row:
        pixels = lines.reshape(-1).view(dtype).reshape(shape)
    else:
        pixels = np.ascontiguousarray(lines).reshape(-1).view(dtype).reshape(shape)
    return pixels if dtype.isnative else pixels.astype(dtype.newbyteorder("="))


def _is_big(dtype: np.dtype[Any]) -> bool:
    return dtype.byteorder == ">" or (dtype.byteorder == "=" and sys.byteorder == "big")


def _lookup(encoding: str) -> Encoding:
    try:
        return lookup(encoding)
    except ValueError as error:
        raise CvBridgeError(str(error)) from None

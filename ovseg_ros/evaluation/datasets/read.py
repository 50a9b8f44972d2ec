"""Image files as arrays: colours of photographs, ids of masks."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import DatasetError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PALETTE = 3  # PNG's colour type
GREY = 0
DEPTHS = (1, 2, 4, 8)  # bits of an index


def read_rgb(path: Path, shape: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """A photograph.

    It is turned as its EXIF tag says, unless only the stored pixels have the mask's shape: masks are drawn on either.

    Args:
        path: PNG, JPEG or another format that OpenCV reads.
        shape: (height, width) of the mask, where there is one.

    Returns:
        (H, W, 3) uint8.

    Raises:
        DatasetError: naming a file that is no readable image.
    """
    content = np.frombuffer(_content(path), np.uint8)
    bgr = _decode(content, cv2.IMREAD_COLOR, path)
    if shape is not None and bgr.shape[:2] == shape[::-1] != shape:
        stored = _decode(content, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, path)
        bgr = stored if stored.shape[:2] == shape else bgr
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8)


def read_ids(path: Path) -> NDArray[np.integer]:
    """A mask with one id a pixel: the grey levels, or the indices of a file with a palette.

    Returns:
        (H, W) uint8 or uint16.

    Raises:
        DatasetError: naming a file that is no readable image, or has several channels.
    """
    content, step = _as_greys(_content(path))
    ids = _decode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED, path)
    if ids.ndim != 2:
        raise DatasetError(f"the mask {path} has shape {ids.shape}; expected {ids.shape[:2]} with one channel")
    if ids.dtype not in (np.uint8, np.uint16):
        raise DatasetError(f"the mask {path} is {ids.dtype}; expected uint8 or uint16")
    return ids // step if step > 1 else ids


def read_colour_ids(path: Path) -> NDArray[np.integer]:
    """A mask of COCO's panoptic format, whose colours hold numbers: red + 256 green + 65536 blue.

    Returns:
        (H, W) int64.

    Raises:
        DatasetError: naming a file that is no readable image.
    """
    bgr = _decode(np.frombuffer(_content(path), np.uint8), cv2.IMREAD_COLOR, path).astype(np.int64)
    ids: NDArray[np.int64] = bgr @ np.array([65536, 256, 1])
    return ids


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error


def _decode(content: NDArray[np.uint8], flags: int, path: Path) -> NDArray[Any]:
    image: NDArray[Any] | None = cv2.imdecode(content, flags) if content.size else None
    if image is None:
        raise DatasetError(f"{path} is no readable image")
    return image


def _as_greys(content: bytes) -> tuple[bytes, int]:
    """A PNG with a palette as one of grey levels, whose indices OpenCV would hide behind colours.

    Returns:
        The file, and by what its levels are the indices' multiple: decoders spread levels of less than 8 bits.
    """
    if content[:8] != PNG_SIGNATURE or content[25:26] != bytes([PALETTE]) or content[24] not in DEPTHS:
        return content, 1
    chunks, at = [PNG_SIGNATURE], 8
    while at < len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")  # length, kind, body and checksum
        kind, chunk = content[at + 4 : at + 8], content[at:end]
        if kind == b"IHDR":
            header = chunk[4:17] + bytes([GREY]) + chunk[18:-4]
            chunk = chunk[:4] + header + zlib.crc32(header).to_bytes(4, "big")
        if kind not in (b"PLTE", b"tRNS"):
            chunks.append(chunk)
        at = end
    return b"".join(chunks), 255 // ((1 << content[24]) - 1)

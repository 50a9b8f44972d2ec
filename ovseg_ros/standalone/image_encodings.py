"""The encodings of sensor_msgs/Image: what each means in memory, and which colours it holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Family = Literal["gray", "rgb", "bgr", "rgba", "bgra", "bayer", "yuv", "generic"]

_DTYPES = {
    "8U": "uint8",
    "8S": "int8",
    "16U": "uint16",
    "16S": "int16",
    "32S": "int32",
    "32F": "float32",
    "64F": "float64",
}
_GENERIC = re.compile(r"^(8U|8S|16U|16S|32S|32F|64F)C([1-9]\d*)?$")


@dataclass(frozen=True)
class Encoding:
    """`dtype` and `channels` of a pixel, and the colour family; `generic` knows nothing of colours."""

    name: str
    dtype: str
    channels: int
    family: Family

    @property
    def bits(self) -> int:
        """Bits of one channel."""
        return int("".join(c for c in self.dtype if c.isdigit()))


def _named() -> dict[str, Encoding]:
    table = {"mono8": Encoding("mono8", "uint8", 1, "gray"), "mono16": Encoding("mono16", "uint16", 1, "gray")}
    families: tuple[Family, ...] = ("rgb", "bgr", "rgba", "bgra")
    for family in families:
        for bits in (8, 16):
            name = f"{family}{bits}"
            table[name] = Encoding(name, f"uint{bits}", len(family), family)
    for pattern in ("rggb", "bggr", "gbrg", "grbg"):
        for bits in (8, 16):
            name = f"bayer_{pattern}{bits}"
            table[name] = Encoding(name, f"uint{bits}", 1, "bayer")
    for name in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv"):
        table[name] = Encoding(name, "uint8", 2, "yuv")
    # 4:2:0: a plane of Y, then one of interleaved chroma at half the size; 3/2 the height in bytes.
    for name in ("nv12", "nv21"):
        table[name] = Encoding(name, "uint8", 1, "yuv")
    return table


_NAMED = _named()


def lookup(name: str) -> Encoding:
    """Return an encoding by name; raises `ValueError` for one nobody knows."""
    if name in _NAMED:
        return _NAMED[name]
    match = _GENERIC.match(name)
    if match is None:
        raise ValueError(f"Unrecognized image encoding [{name}]; known: {', '.join(sorted(_NAMED))}, 8UC1 ... 64FC4")
    return Encoding(name, _DTYPES[match[1]], int(match[2] or 1), "generic")


def generic_name(dtype: str, channels: int) -> str:
    """Return the generic encoding of an array, such as `8UC3`; raises `ValueError` for a dtype OpenCV lacks."""
    for short, name in _DTYPES.items():
        if name == dtype:
            return f"{short}C{channels}"
    raise ValueError(f"no image encoding has pixels of {dtype}; expected one of {', '.join(_DTYPES.values())}")

"""A short recorded drive with its truth in one .npz file, for machines where OpenGL cannot be had.

The file holds JPEG images, PNG instance masks, optional 16-bit PNG depth in millimetres, poses, times, the camera
matrix and the objects; reading it needs NumPy and OpenCV only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import DatasetError
from ovseg_ros.sim.frame import Frame, SimObject

FORMAT = 1
DEFAULT = Path(__file__).with_name("recorded_drive.npz")
Bytes = NDArray[np.uint8]


def write(path: Path, frames: Iterable[Frame], *, quality: int = 88, depth: bool = False) -> int:
    """Write frames of one scene, in the order of their times; returns the size of the file in bytes."""
    listed = list(frames)
    if not listed:
        raise ValueError("There are no frames to record; pass at least one.")
    first = listed[0]
    columns = {
        "rgb": [_encode(".jpg", frame.rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality]) for frame in listed],
        "instances": [_encode(".png", frame.instances, [cv2.IMWRITE_PNG_COMPRESSION, 9]) for frame in listed],
    }
    if depth:
        columns["depth"] = [_encode(".png", _millimetres(frame), [cv2.IMWRITE_PNG_COMPRESSION, 9]) for frame in listed]
    arrays: dict[str, NDArray[np.generic]] = {
        "format": np.array(FORMAT),
        "times": np.array([frame.time for frame in listed]),
        "poses": np.array([frame.pose for frame in listed]),
        "intrinsics": first.intrinsics,
        "size": np.array(first.rgb.shape[:2]),
        "objects": np.frombuffer(json.dumps([vars(item) for item in first.objects]).encode(), np.uint8),
    }
    for name, blobs in columns.items():
        arrays[name] = np.concatenate(blobs)
        arrays[f"{name}_ends"] = np.cumsum([len(blob) for blob in blobs])
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return path.stat().st_size


class Recording:
    """A recorded drive that renders like a `Simulator`; it plays to and fro, so any time will do."""

    live = False

    def __init__(
        self, path: Path | str = DEFAULT, *, width: int | None = None, height: int | None = None, note: str = ""
    ) -> None:
        """Open a recording; a width and height other than its own are met by scaling.

        Raises:
            DatasetError: the file is missing or is not a recording.
        """
        self.note = note
        try:
            with np.load(path, allow_pickle=False) as file:
                self._arrays = {name: file[name] for name in file.files}
            version = int(self._arrays["format"])
            rows, columns = (int(size) for size in self._arrays["size"])
            self.objects = tuple(_object(entry) for entry in json.loads(self._arrays["objects"].tobytes()))
            self.times: NDArray[np.float64] = self._arrays["times"]
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise DatasetError(
                f"{path} is no recorded drive ({type(error).__name__}: {error}); "
                "write one with python -m ovseg_ros.sim.record."
            ) from error
        if version != FORMAT:
            raise DatasetError(f"{path} has the format {version}, this code reads {FORMAT}; record the drive again.")
        self.width, self.height = width or columns, height or rows
        self._scale = (self.width / columns, self.height / rows)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """The camera matrix (3, 3) in pixels of the size that is rendered."""
        matrix = np.array(self._arrays["intrinsics"], dtype=np.float64)
        for axis, scale in enumerate(self._scale):
            matrix[axis, axis] *= scale
            matrix[axis, 2] = (matrix[axis, 2] + 0.5) * scale - 0.5
        return matrix

    def render(self, t: float, *, depth: bool = True) -> Frame:
        """The recorded frame nearest to t seconds; its depth is None where none was recorded."""
        if not math.isfinite(t):
            raise ValueError(f"The time {t!r} is not finite; pass seconds such as 1.5.")
        start, span = float(self.times[0]), float(self.times[-1] - self.times[0])
        phase = math.fmod(abs(t), 2 * span) if span > 0 else 0.0
        at = start + (phase if phase <= span else 2 * span - phase)
        index = int(np.argmin(np.abs(self.times - at)))
        rgb = self._decode("rgb", index, cv2.IMREAD_COLOR)[..., ::-1]
        instances = self._decode("instances", index, cv2.IMREAD_UNCHANGED)
        metres: NDArray[np.float32] | None = None
        if depth and "depth" in self._arrays:
            coded = self._decode("depth", index, cv2.IMREAD_UNCHANGED)
            metres = np.where(coded > 0, coded / 1000, np.nan).astype(np.float32)
        if self._scale != (1.0, 1.0):
            size = (self.width, self.height)
            rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            instances = np.asarray(cv2.resize(instances, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint16)
            if metres is not None:
                metres = np.asarray(cv2.resize(metres, size, interpolation=cv2.INTER_NEAREST), dtype=np.float32)
        return Frame(
            rgb=np.ascontiguousarray(rgb, dtype=np.uint8),
            instances=instances.astype(np.uint16),
            objects=self.objects,
            intrinsics=self.intrinsics,
            pose=self._arrays["poses"][index],
            time=float(t),
            depth=metres,
        )

    def frames(self, count: int, fps: float = 15, *, depth: bool = True) -> Iterator[Frame]:
        """The first `count` frames at a rate."""
        for index in range(count):
            yield self.render(index / fps, depth=depth)

    def close(self) -> None:
        """Nothing to free; here so that a recording can stand in for a simulator."""

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _decode(self, column: str, index: int, flags: int) -> NDArray[np.integer[Any]]:
        """One decoded image of a column."""
        ends = self._arrays[f"{column}_ends"]
        blob = self._arrays[column][ends[index - 1] if index else 0 : ends[index]]
        image = cv2.imdecode(blob, flags)
        if image is None:
            raise DatasetError(f"Frame {index} of the recording has a broken {column} image; record the drive again.")
        return np.asarray(image, dtype=np.uint8 if image.dtype == np.uint8 else np.uint16)


def _encode(suffix: str, image: NDArray[np.generic], options: list[int]) -> Bytes:
    """An encoded image as bytes."""
    done, data = cv2.imencode(suffix, np.ascontiguousarray(image), options)
    if not done:
        raise ValueError(f"OpenCV cannot encode an image {image.shape} as {suffix}.")
    return np.asarray(data, dtype=np.uint8).ravel()


def _millimetres(frame: Frame) -> NDArray[np.uint16]:
    """Depth (H, W) as whole millimetres, 0 where there is none."""
    if frame.depth is None:
        raise ValueError("The frame has no depth to record; render it with depth=True.")
    return np.asarray(np.clip(np.nan_to_num(frame.depth) * 1000 + 0.5, 0, 65535), dtype=np.uint16)


def _object(entry: dict[str, object]) -> SimObject:
    """One object as it was written."""
    low, high = entry["low"], entry["high"]
    if not isinstance(low, list) or not isinstance(high, list):
        raise TypeError("an object without a box")
    colour = entry["colour"]
    return SimObject(str(entry["kind"]), None if colour is None else str(colour), tuple(low), tuple(high))

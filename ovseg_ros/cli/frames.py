"""Frames of videos, webcams and rosbag2 recordings, one interface."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import ImageError

VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm")
BAGS = (".mcap", ".db3")
IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
Frames = Iterator[NDArray[np.uint8]]


def is_bag(path: Path) -> bool:
    """Whether a path is a rosbag2 recording: its folder, or one file of it."""
    return path.suffix in BAGS or (path / "metadata.yaml").is_file()


def open_frames(source: str, topic: str = "") -> tuple[str, float, Frames]:
    """Open a video, a webcam ("webcam:0") or a rosbag2 recording.

    Args:
        source: what to open.
        topic: of a bag's images; may be left out where the bag has but one.

    Returns:
        a name for the results, frames a second, and the frames, (H, W, 3) uint8 RGB each.

    Raises:
        ImageError: when it cannot be opened, or the bag has no such topic.
    """
    if source.startswith("webcam:"):
        number = source.partition(":")[2]
        if not number.isdigit():
            raise ImageError(f"{source!r} is no webcam; expected webcam:0, webcam:1 ...")
        return f"webcam{number}", *_capture(cv2.VideoCapture(int(number)))
    path = Path(source)
    if is_bag(path):
        return path.stem, *_bag(path, topic)
    return path.stem, *_capture(cv2.VideoCapture(source))


def _capture(capture: cv2.VideoCapture) -> tuple[float, Frames]:
    def frames() -> Frames:
        while True:
            good, bgr = capture.read()
            if not good:
                capture.release()
                return
            yield cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)

    return capture.get(cv2.CAP_PROP_FPS) or 30.0, frames()


def _bag(path: Path, topic: str) -> tuple[float, Frames]:
    from rosbags.highlevel import AnyReader, AnyReaderError
    from rosbags.typesys import Stores, get_typestore

    from ovseg_ros.ros.pixels import compressed_to_rgb, to_rgb

    def open_bag() -> Any:
        try:
            reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
            reader.open()
        except (AnyReaderError, OSError, ValueError, KeyError) as error:
            raise ImageError(f"{path} is no readable rosbag2 recording: {error}") from error
        return reader

    with closing(open_bag()) as reader:
        found = {c.topic: c.msgcount for c in reader.connections if c.msgtype in IMAGE_TYPES}
        seconds = reader.duration / 1e9
    if not found:
        raise ImageError(f"{path} has no topic of type {' or '.join(IMAGE_TYPES)}")
    if topic and topic not in found:
        raise ImageError(f"{path} has no image topic {topic!r}; it has {', '.join(sorted(found))}")
    if not topic and len(found) > 1:
        raise ImageError(f"{path} has several image topics; choose one with --topic: {', '.join(sorted(found))}")
    chosen = topic or next(iter(found))

    def frames() -> Frames:
        with closing(open_bag()) as reader:
            connections = [c for c in reader.connections if c.topic == chosen]
            for connection, _, raw in reader.messages(connections):
                message = reader.deserialize(raw, connection.msgtype)
                convert = to_rgb if connection.msgtype == IMAGE_TYPES[0] else compressed_to_rgb
                yield convert(message)

    return max(1.0, min(60.0, found[chosen] / seconds)) if seconds > 0 else 30.0, frames()

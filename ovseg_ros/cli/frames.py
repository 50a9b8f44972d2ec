"""Frames of videos, webcams and rosbag2 recordings, one interface."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import ImageError

VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm")
BAGS = (".mcap", ".db3")
IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
WEBCAM = "webcam:"
Frames = Iterator[NDArray[np.uint8]]
Window = tuple[int | None, int | None]  # recording times in nanoseconds, from and before; None: the recording's own end


@dataclass(frozen=True)
class Recording:
    """The images of one topic of a rosbag2 recording.

    Attributes:
        path: the recording's folder, or one file of it.
        topic: of the images.
        count: how many there are.
        fps: how many a second, 1 to 60.
        start, stop: recording times in nanoseconds, from and before which the messages lie.
    """

    path: Path
    topic: str
    count: int
    fps: float
    start: int
    stop: int

    @classmethod
    def open(cls, path: Path, topic: str = "") -> Recording:
        """Look into a recording.

        Raises:
            ImageError: when it cannot be read, has no image topic, or several and none is chosen.
        """
        with closing(_reader(path)) as reader:
            found = {c.topic: c.msgcount for c in reader.connections if c.msgtype in IMAGE_TYPES}
            start, stop = int(reader.start_time), int(reader.end_time)
        if not found:
            raise ImageError(f"{path} has no topic of type {' or '.join(IMAGE_TYPES)}")
        if topic and topic not in found:
            raise ImageError(f"{path} has no image topic {topic!r}; it has {', '.join(sorted(found))}")
        if not topic and len(found) > 1:
            raise ImageError(f"{path} has several image topics; choose one with --topic: {', '.join(sorted(found))}")
        topic = topic or next(iter(found))
        seconds = (stop - start) / 1e9
        fps = max(1.0, min(60.0, found[topic] / seconds)) if seconds > 0 else 30.0
        return cls(path, topic, found[topic], fps, start, stop)

    def windows(self, frames: int) -> list[Window]:
        """The recording's time in equal parts of about so many frames each; every message lies in one of them."""
        count = max(1, -(-self.count // frames))
        times = [self.start + (self.stop - self.start) * i // count for i in range(1, count)]
        return list(zip([None, *times], [*times, None], strict=True))

    def frames(self, window: Window = (None, None)) -> Frames:
        """The images of a window of time, (H, W, 3) uint8 RGB each.

        Raises:
            ImageError: when the recording can no longer be read, or one has an unknown encoding.
        """
        from ovseg_ros.ros.pixels import compressed_to_rgb, to_rgb

        with closing(_reader(self.path)) as reader:
            connections = [c for c in reader.connections if c.topic == self.topic]
            for connection, _, raw in reader.messages(connections, *window):
                message = reader.deserialize(raw, connection.msgtype)
                convert = to_rgb if connection.msgtype == IMAGE_TYPES[0] else compressed_to_rgb
                yield convert(message)


def is_bag(path: Path) -> bool:
    """Whether a path is a rosbag2 recording: its folder, or one file of it."""
    return path.suffix in BAGS or (path / "metadata.yaml").is_file()


def is_webcam(source: str) -> bool:
    """Whether a source is a camera of this machine."""
    return source.startswith(WEBCAM)


def source_name(source: str) -> str:
    """A name for the results of a source: "webcam0", or the stem of a path."""
    return source.replace(":", "") if is_webcam(source) else Path(source).stem


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
    if is_webcam(source):
        number = source.removeprefix(WEBCAM)
        if not number.isdigit():
            raise ImageError(f"{source!r} is no webcam; expected webcam:0, webcam:1 ...")
        return source_name(source), *_capture(cv2.VideoCapture(int(number)))
    path = Path(source)
    if is_bag(path):
        recording = Recording.open(path, topic)
        return path.stem, recording.fps, recording.frames()
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


def _reader(path: Path) -> Any:
    """rosbags' reader, open."""
    from rosbags.highlevel import AnyReader, AnyReaderError
    from rosbags.typesys import Stores, get_typestore

    try:
        reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
        reader.open()
    except (AnyReaderError, OSError, ValueError, KeyError) as error:
        raise ImageError(f"{path} is no readable rosbag2 recording: {error}") from error
    return reader

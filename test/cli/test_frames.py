"""Recordings and videos as sources of frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ovseg_ros.cli.frames import is_bag, open_frames
from ovseg_ros.errors import ImageError

STORE = get_typestore(Stores.ROS2_JAZZY)


def record(path: Path, storage: StoragePlugin, pictures: dict[str, list[np.ndarray]]) -> None:
    image, header = STORE.types["sensor_msgs/msg/Image"], STORE.types["std_msgs/msg/Header"]
    stamp = STORE.types["builtin_interfaces/msg/Time"]
    with Writer(path, version=9, storage_plugin=storage) as writer:
        for topic, frames in pictures.items():
            connection = writer.add_connection(topic, image.__msgtype__, typestore=STORE)
            for i, rgb in enumerate(frames):
                height, width = rgb.shape[:2]
                message = image(
                    header=header(stamp=stamp(sec=i, nanosec=0), frame_id="camera"),
                    height=height,
                    width=width,
                    encoding="bgr8",
                    is_bigendian=0,
                    step=3 * width,
                    data=rgb[..., ::-1].reshape(-1),
                )
                raw = STORE.serialize_cdr(message, image.__msgtype__)
                writer.write(connection, i * 100_000_000, raw)


def pictures(count: int) -> list[np.ndarray]:
    return [np.full((12, 16, 3), (10 * i, 100, 200), np.uint8) for i in range(count)]


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_recording_gives_the_images_that_were_recorded(tmp_path: Path, storage: StoragePlugin) -> None:
    record(tmp_path / "drive", storage, {"/camera": pictures(4)})
    file = next(p for p in (tmp_path / "drive").iterdir() if p.suffix in (".mcap", ".db3"))
    for source in (tmp_path / "drive", file):
        assert is_bag(source)
        _, fps, frames = open_frames(str(source))
        assert [f.tolist() for f in frames] == [p.tolist() for p in pictures(4)]
        assert fps == pytest.approx(4 / 0.3, rel=0.01)


def test_several_image_topics_ask_for_a_choice(tmp_path: Path) -> None:
    record(tmp_path / "drive", StoragePlugin.MCAP, {"/left": pictures(1), "/right": pictures(2)})
    with pytest.raises(ImageError, match="--topic: /left, /right"):
        open_frames(str(tmp_path / "drive"))
    with pytest.raises(ImageError, match="'/rear'"):
        open_frames(str(tmp_path / "drive"), "/rear")
    assert len(list(open_frames(str(tmp_path / "drive"), "/right")[2])) == 2


def test_a_truncated_recording_is_one_error(tmp_path: Path) -> None:
    record(tmp_path / "drive", StoragePlugin.MCAP, {"/camera": pictures(4)})
    file = next((tmp_path / "drive").glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ImageError, match="no readable rosbag2"):
        open_frames(str(file))


def test_a_video_gives_its_frames(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (64, 48))
    for i in range(5):
        writer.write(np.full((48, 64, 3), 40 * i, np.uint8))
    writer.release()
    name, fps, frames = open_frames(str(path))
    means = [float(f.mean()) for f in frames]
    assert (name, fps) == ("clip", 12.0)
    assert means == pytest.approx([0, 40, 80, 120, 160], abs=4)


def test_a_webcam_needs_a_number() -> None:
    with pytest.raises(ImageError, match="webcam:0"):
        open_frames("webcam:front")

"""A recording gives back what was written, and ships small and readable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ovseg_ros.errors import DatasetError
from ovseg_ros.sim import HELD_OUT_PAIRS, KINDS, Frame, Recording, SimObject
from ovseg_ros.sim.recording import DEFAULT, write


def drawn(count: int) -> list[Frame]:
    """Frames of a smooth image with a square that moves, and a depth ramp with a hole."""
    frames = []
    ramp = np.tile(np.linspace(40, 200, 64), (48, 1))
    for index in range(count):
        instances = np.ones((48, 64), np.uint16)
        instances[10:20, index * 5 : index * 5 + 10] = 300
        depth = (ramp / 40).astype(np.float32)
        depth[0, 0] = np.nan
        pose = np.eye(4)
        pose[0, 3] = index
        objects = (SimObject("wall"),) + (SimObject("mug", "red", (0.0, 0.0, 0.0), (0.1, 0.2, 0.3)),) * 299
        rgb = np.repeat(ramp[..., None], 3, 2).astype(np.uint8)
        intrinsics = np.array([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]])
        frames.append(Frame(rgb, instances, objects, intrinsics, pose, index / 2, depth))
    return frames


def test_round_trip(tmp_path: Path) -> None:
    frames = drawn(5)
    size = write(tmp_path / "drive.npz", frames, depth=True)
    assert size == (tmp_path / "drive.npz").stat().st_size
    with Recording(tmp_path / "drive.npz") as drive:
        assert len(drive) == 5
        assert drive.objects == frames[0].objects
        for index, t in ((0, 0.0), (2, 1.0), (4, 2.0), (3, 2.5), (0, 4.0), (1, 4.5)):  # to and fro
            frame = drive.render(t)
            np.testing.assert_array_equal(frame.instances, frames[index].instances)
            np.testing.assert_array_equal(frame.pose, frames[index].pose)
            np.testing.assert_allclose(frame.rgb, frames[index].rgb, atol=8)
            np.testing.assert_allclose(frame.depth, frames[index].depth, atol=6e-4)
        np.testing.assert_array_equal(drive.intrinsics, frames[0].intrinsics)
        assert drive.render(0.0, depth=False).depth is None


def test_another_size_scales_image_mask_and_camera(tmp_path: Path) -> None:
    write(tmp_path / "drive.npz", drawn(2))
    drive = Recording(tmp_path / "drive.npz", width=32, height=24)
    frame = drive.render(0.0)
    assert frame.rgb.shape == (24, 32, 3)
    assert frame.depth is None
    assert set(np.unique(frame.instances)) == {1, 300}
    np.testing.assert_allclose(frame.intrinsics, [[25, 0, 15.5], [0, 25, 11.5], [0, 0, 1]])


def test_the_shipped_drive_is_small_labelled_and_of_an_evaluation_scene() -> None:
    assert DEFAULT.stat().st_size <= 2.5e6
    drive = Recording()
    assert (drive.width, drive.height) == (640, 480)
    assert len(drive) >= 30
    assert {item.kind for item in drive.objects} <= set(KINDS)
    assert any((item.colour, item.kind) in HELD_OUT_PAIRS for item in drive.objects)
    frames = [drive.render(t) for t in (0.0, 3.0, 6.0)]
    assert all(frame.instances.min() >= 1 and frame.instances.max() <= len(drive.objects) for frame in frames)
    assert not np.array_equal(frames[0].rgb, frames[1].rgb)


@pytest.mark.parametrize("content", [None, b"", b"no archive"])
def test_a_file_that_is_no_recording_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"broken.npz is no recorded drive .*ovseg_ros.sim.record"):
        Recording(path)


def test_nothing_to_record_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frames"):
        write(tmp_path / "drive.npz", [])

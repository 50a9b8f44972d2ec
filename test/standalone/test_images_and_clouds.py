"""cv_bridge and point_cloud2."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from ovseg_ros.standalone import point_cloud2
from ovseg_ros.standalone.cv_bridge import CvBridge, CvBridgeError
from ovseg_ros.standalone.image_encodings import _NAMED
from ovseg_ros.standalone.interfaces import message

Header = message("std_msgs/msg/Header")
Image = message("sensor_msgs/msg/Image")
PointField = message("sensor_msgs/msg/PointField")
RNG = np.random.default_rng(3)


def _random(encoding: str, height: int = 6, width: int = 8) -> Any:
    dtype, channels = CvBridge().encoding_to_dtype_with_channels(encoding)
    shape = (height, width) if channels == 1 else (height, width, channels)
    if np.dtype(dtype).kind == "f":
        return RNG.random(shape).astype(dtype)
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


GENERIC = [f"{depth}C{n}" for depth in ("8U", "8S", "16U", "16S", "32S", "32F", "64F") for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("encoding", [*sorted(_NAMED), *GENERIC, "8UC", "32FC10"])
def test_round_trip_of_each_encoding(encoding: str) -> None:
    bridge = CvBridge()
    image = _random(encoding)
    header = Header(frame_id="camera")
    msg = bridge.cv2_to_imgmsg(image, encoding, header)
    assert msg.header == header
    assert (msg.encoding, msg.width) == (encoding, 8)
    assert msg.step == image.nbytes // image.shape[0]
    back = bridge.imgmsg_to_cv2(msg)
    np.testing.assert_array_equal(back, image)
    assert back.dtype == image.dtype
    assert np.shares_memory(back, msg.data)
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(msg, encoding), image)


@pytest.mark.parametrize(
    ("source", "target", "code"),
    [
        ("rgb8", "bgr8", cv2.COLOR_RGB2BGR),
        ("bgra8", "rgb8", cv2.COLOR_BGRA2RGB),
        ("rgba8", "mono8", cv2.COLOR_RGBA2GRAY),
        ("mono8", "rgb8", cv2.COLOR_GRAY2RGB),
        ("rgb16", "bgra16", cv2.COLOR_RGB2BGRA),
        ("yuv422", "rgb8", cv2.COLOR_YUV2RGB_UYVY),
        ("yuv422_yuy2", "bgr8", cv2.COLOR_YUV2BGR_YUY2),
        ("yuyv", "rgb8", cv2.COLOR_YUV2RGB_YUY2),
        ("nv12", "rgb8", cv2.COLOR_YUV2RGB_NV12),
        ("nv21", "bgr8", cv2.COLOR_YUV2BGR_NV21),
        ("bayer_rggb8", "rgb8", cv2.COLOR_BayerBG2RGB),
        ("bayer_grbg8", "bgr8", cv2.COLOR_BayerGB2BGR),
        ("bayer_gbrg16", "mono16", cv2.COLOR_BayerGR2GRAY),
    ],
)
def test_colours_are_converted(source: str, target: str, code: int) -> None:
    image = _random(source)
    msg = CvBridge().cv2_to_imgmsg(image, source)
    np.testing.assert_array_equal(CvBridge().imgmsg_to_cv2(msg, target), cv2.cvtColor(image, code))


def test_a_pure_colour_survives_each_colour_encoding() -> None:
    bridge = CvBridge()
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    msg = bridge.cv2_to_imgmsg(red, "rgb8")
    for target, pixel in (("bgr8", [0, 0, 255]), ("rgba8", [255, 0, 0, 255]), ("bgra16", [0, 0, 65535, 65535])):
        assert bridge.imgmsg_to_cv2(msg, target)[0, 0].tolist() == pixel
    assert bridge.imgmsg_to_cv2(msg, "mono8")[0, 0] == 76


def test_depth_changes_stretch_colours() -> None:
    bridge = CvBridge()
    msg = bridge.cv2_to_imgmsg(np.array([[0, 128, 255]], np.uint8), "mono8")
    assert bridge.imgmsg_to_cv2(msg, "mono16").tolist() == [[0, 32896, 65535]]
    depth = bridge.cv2_to_imgmsg(np.array([[0, 1500, 65535]], np.uint16), "16UC1")
    assert bridge.imgmsg_to_cv2(depth, "32FC1").tolist() == [[0.0, 1500.0, 65535.0]]


def test_padded_rows_and_big_endian() -> None:
    bridge = CvBridge()
    rows = np.arange(24, dtype=np.uint8).reshape(3, 8)
    msg = Image(width=2, height=3, encoding="rgb8", step=8, data=rows)
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(msg), rows[:, :6].reshape(3, 2, 3))
    big = Image(width=2, height=1, encoding="mono16", step=4, is_bigendian=1, data=b"\x01\x02\x03\x04")
    assert bridge.imgmsg_to_cv2(big).tolist() == [[0x102, 0x304]]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda b: b.imgmsg_to_cv2(Image(width=2, height=2, encoding="h264")), r"Unrecognized image encoding \[h264\]"),
        (
            lambda b: b.imgmsg_to_cv2(Image(width=2, height=2, encoding="rgb8", step=6, data=[1])),
            "its data has 1 bytes",
        ),
        (lambda b: b.imgmsg_to_cv2(b.cv2_to_imgmsg(_random("32FC1")), "rgb8"), "is not a color format"),
        (lambda b: b.imgmsg_to_cv2(b.cv2_to_imgmsg(_random("8UC2")), "8UC3"), "same number of channels"),
        (lambda b: b.imgmsg_to_cv2(b.cv2_to_imgmsg(_random("rgb8"), "rgb8"), "yuv422"), "Unsupported conversion"),
        (lambda b: b.cv2_to_imgmsg(_random("rgb8"), "mono8"), "incompatible type 8UC3"),
        (lambda b: b.cv2_to_imgmsg(np.zeros((2, 2), np.int64)), "no image encoding has pixels of int64"),
        (lambda b: b.cv2_to_imgmsg([1]), "expected a NumPy array, got list"),
        (lambda b: b.cv2_to_compressed_imgmsg(_random("bgr8"), "gif9"), "is no format"),
        (lambda b: b.compressed_imgmsg_to_cv2(message("sensor_msgs/msg/CompressedImage")(data=b"abc")), "no image"),
    ],
)
def test_bad_images_are_explained(make: Any, reason: str) -> None:
    with pytest.raises((CvBridgeError, TypeError), match=reason):
        make(CvBridge())


def test_compressed() -> None:
    bridge = CvBridge()
    image = _random("bgr8", 32, 32)
    png = bridge.cv2_to_compressed_imgmsg(image, "png")
    assert png.format == "png"
    np.testing.assert_array_equal(bridge.compressed_imgmsg_to_cv2(png), image)
    np.testing.assert_array_equal(bridge.compressed_imgmsg_to_cv2(png, "rgb8"), image[..., ::-1])
    mask = _random("mono16", 32, 32)
    np.testing.assert_array_equal(
        bridge.compressed_imgmsg_to_cv2(bridge.cv2_to_compressed_imgmsg(mask, "png"), "mono16"), mask
    )
    smooth = np.full((32, 32, 3), (10, 200, 90), np.uint8)
    jpg = bridge.compressed_imgmsg_to_cv2(bridge.cv2_to_compressed_imgmsg(smooth))
    assert np.abs(jpg.astype(int) - smooth).max() < 5


def _fields(*rows: tuple[str, int, int]) -> list[Any]:
    return [PointField(name=name, offset=offset, datatype=kind, count=1) for name, offset, kind in rows]


MIXED = _fields(("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("label", 12, 4), ("confidence", 14, 2))


def test_cloud_round_trip_with_nan() -> None:
    points = [(1.0, 2.0, 3.0, 7, 200), (np.nan, 0.0, 0.0, 1, 0), (-1.0, 0.5, 0.25, 65535, 255)]
    cloud = point_cloud2.create_cloud(Header(frame_id="camera"), MIXED, points)
    assert (cloud.width, cloud.height, cloud.point_step, cloud.row_step) == (3, 1, 15, 45)
    read = point_cloud2.read_points(cloud)
    assert read.dtype.names == ("x", "y", "z", "label", "confidence")
    assert read["label"].tolist() == [7, 1, 65535]
    assert np.isnan(read["x"][1])
    kept = point_cloud2.read_points(cloud, skip_nans=True)
    assert kept["confidence"].tolist() == [200, 255]
    assert point_cloud2.read_points_list(cloud, ["x", "label"], skip_nans=True)[1] == (-1.0, 65535)
    assert point_cloud2.read_points_list(cloud)[0].confidence == 200
    np.testing.assert_array_equal(
        point_cloud2.read_points_numpy(cloud, ["x", "y", "z"], skip_nans=True), [[1, 2, 3], [-1, 0.5, 0.25]]
    )
    with pytest.raises(ValueError, match="must have one type"):
        point_cloud2.read_points_numpy(cloud)
    with pytest.raises(ValueError, match="has no field w; it has x, y"):
        point_cloud2.read_points(cloud, ["w"])


def test_organised_cloud() -> None:
    xyz = RNG.random((4, 5, 3)).astype(np.float32)
    cloud = point_cloud2.create_cloud_xyz32(Header(), xyz)
    assert (cloud.width, cloud.height) == (5, 4)
    np.testing.assert_array_equal(point_cloud2.read_points_numpy(cloud, reshape_organized_cloud=True), xyz)
    np.testing.assert_array_equal(point_cloud2.read_points_numpy(cloud, uvs=[(2, 3)]), xyz[3, 2][None])
    np.testing.assert_array_equal(point_cloud2.read_points_numpy(cloud, uvs=[17]), xyz[3, 2][None])
    structured = np.zeros((2, 3), point_cloud2.dtype_from_fields(MIXED, 16))
    structured["label"] = 9
    padded = point_cloud2.create_cloud(Header(), MIXED, structured, point_step=16)
    assert (padded.point_step, padded.width, padded.height) == (16, 3, 2)
    assert point_cloud2.read_points(padded, reshape_organized_cloud=True)["label"].shape == (2, 3)


def test_short_cloud_is_refused() -> None:
    cloud = point_cloud2.create_cloud_xyz32(Header(), [[1, 2, 3]])
    cloud.width = 2
    with pytest.raises(ValueError, match="a cloud of 2x1 points needs 24 bytes, it has 12"):
        point_cloud2.read_points(cloud)
    with pytest.raises(ValueError, match="do not hold the 3 numbers"):
        point_cloud2.create_cloud(Header(), MIXED[:3], np.zeros((4, 2)))

"""Between messages and arrays: `to_rgb` and its kin read messages (`pixels`), the functions here build them.

Builders take results as the core makes them and a header, which goes into the message unchanged.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros import ros
from ovseg_ros.errors import ImageError
from ovseg_ros.ros.pixels import ENCODINGS, compressed_to_rgb, depth_to_metres, to_rgb

if TYPE_CHECKING:
    from ovseg_ros.segmentation import Region, Segmentation
    from ovseg_ros.vocabulary import Vocabulary

__all__ = [
    "ENCODINGS",
    "cloud_message",
    "compressed_to_rgb",
    "depth_to_metres",
    "detected_message",
    "detections_message",
    "image_message",
    "label_info_message",
    "to_rgb",
]

# x, y, z and rgb as PCL packs them, so that rviz shows the colours; the label as in PCL's PointXYZRGBL
POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("label", "<u4"), ("confidence", "<f4")])


def image_message(pixels: NDArray[Any], encoding: str, header: Any) -> Any:
    """`sensor_msgs/msg/Image` of uint8 or uint16 pixels (H, W) or (H, W, C), rows without padding."""
    message = ros.Image()
    message.header = header
    message.height, message.width = int(pixels.shape[0]), int(pixels.shape[1])
    message.encoding = encoding
    message.is_bigendian = int(pixels.dtype.itemsize > 1 and sys.byteorder == "big")
    message.step = int(pixels.nbytes // pixels.shape[0])
    message.data = _blob(pixels)
    return message


def label_info_message(vocabulary: Vocabulary, threshold: float, header: Any) -> Any:
    """`vision_msgs/msg/LabelInfo`: the name of each label id. The top id of the mask's type is unlabelled."""
    message = ros.LabelInfo()
    message.header = header
    message.threshold = float(threshold)
    message.class_map = [
        ros.VisionClass(class_id=index, class_name=name) for index, name in enumerate(vocabulary.names)
    ]
    return message


def detected_message(segmentation: Segmentation, header: Any) -> Any:
    """`ovseg_msgs/msg/DetectedClasses`: the classes in the mask, the largest first."""
    message = ros.DetectedClasses()
    message.header = header
    message.vocabulary_version = segmentation.vocabulary.version
    message.classes = [
        ros.DetectedClass(
            class_id=int(found.id),
            class_name=found.name,
            area=float(found.area),
            confidence=float(found.confidence),
        )
        for found in segmentation.detected()
    ]
    return message


def detections_message(regions: Iterable[Region], header: Any) -> Any:
    """`vision_msgs/msg/Detection2DArray`: a box per region; `class_id` is the class's name."""
    message = ros.Detection2DArray()
    message.header = header
    message.detections = [_detection(region, header) for region in regions]
    return message


def _detection(region: Region, header: Any) -> Any:
    detection = ros.Detection2D()
    detection.header = header
    detection.bbox.center.position.x = region.x + region.width / 2
    detection.bbox.center.position.y = region.y + region.height / 2
    detection.bbox.size_x = float(region.width)
    detection.bbox.size_y = float(region.height)
    hypothesis = ros.ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = region.name
    hypothesis.hypothesis.score = float(region.confidence)
    detection.results = [hypothesis]
    return detection


def cloud_message(
    depth: NDArray[np.float32], camera_info: Any, rgb: NDArray[np.uint8], segmentation: Segmentation, header: Any
) -> Any:
    """`sensor_msgs/msg/PointCloud2`, organised as the image, of `POINT`s; x, y, z are NaN where depth is.

    Args:
        depth: metres (H, W), registered to the image.
        camera_info: the image's `sensor_msgs/msg/CameraInfo`; its `k` is used, distortion is not.
        rgb: the image (H, W, 3).
        segmentation: its result.
        header: of the image.

    Raises:
        ImageError: the depth or camera_info does not belong to such an image.
    """
    height, width = segmentation.labels.shape
    fx, fy, cx, cy = (float(camera_info.k[index]) for index in (0, 4, 2, 5))
    if not (fx > 0 and fy > 0):
        raise ImageError(f"camera_info has the focal lengths {fx} and {fy}; is the camera calibrated?", "camera_info")
    if depth.shape != (height, width):
        raise ImageError(
            f"depth is {depth.shape[1]}x{depth.shape[0]} and the image {width}x{height}; register depth to colour",
            "depth",
        )
    points = np.empty((height, width), POINT)
    points["x"] = (np.arange(width, dtype=np.float32) - np.float32(cx)) / np.float32(fx) * depth
    points["y"] = (np.arange(height, dtype=np.float32)[:, None] - np.float32(cy)) / np.float32(fy) * depth
    points["z"] = depth
    colour = rgb.astype(np.uint32)
    points["rgb"] = colour[..., 0] << 16 | colour[..., 1] << 8 | colour[..., 2]
    points["label"] = segmentation.labels
    points["confidence"] = segmentation.confidence.astype(np.float32) / np.float32(255)
    message = ros.PointCloud2()
    message.header = header
    message.height, message.width = int(height), int(width)
    message.fields = _point_fields()
    message.is_bigendian = False
    message.point_step = POINT.itemsize
    message.row_step = POINT.itemsize * int(width)
    message.is_dense = False
    message.data = _blob(points)
    return message


@lru_cache(maxsize=1)
def _point_fields() -> list[Any]:
    kinds = {"rgb": ros.PointField.FLOAT32, "label": ros.PointField.UINT32}  # PCL calls packed rgb a float
    assert POINT.fields is not None
    return [
        ros.PointField(name=name, offset=int(field[1]), datatype=kinds.get(name, ros.PointField.FLOAT32), count=1)
        for name, field in POINT.fields.items()
    ]


def _blob(values: NDArray[Any]) -> array[int]:
    """Bytes for a `uint8[]` field: an array.array, the one type that rclpy takes without checking each element."""
    blob = array("B")
    content: Any = np.ascontiguousarray(values).reshape(-1).view(np.uint8)  # numpy's releases type buffers differently
    blob.frombytes(memoryview(content))
    return blob

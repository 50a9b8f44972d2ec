"""What the node publishes. An output without subscribers costs nothing; all carry the image's header."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ovseg_ros import ros
from ovseg_ros.errors import ImageError
from ovseg_ros.palette import overlay
from ovseg_ros.ros.messages import (
    cloud_message,
    depth_to_metres,
    detected_message,
    detections_message,
    image_message,
    label_info_message,
)
from ovseg_ros.ros.parameters import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ovseg_ros.segmentation import Segmentation
    from ovseg_ros.vocabulary import Vocabulary


class Outputs:
    """The node's publishers.

    Args:
        node: the node.
        settings: returns the settings in force.
        geometry: returns the depth and camera_info messages for a header, or None where there are none.
        problem: called with a kind and a sentence when one output can't be made; the others are.
    """

    def __init__(
        self,
        node: ros.Node,
        settings: Callable[[], Settings],
        geometry: Callable[[Any], tuple[Any, Any] | None],
        problem: Callable[[str, str], None],
    ) -> None:
        self._settings, self._geometry, self._problem = settings, geometry, problem
        self._publishers = {
            name: node.create_publisher(kind, f"~/{name}", 5)
            for name, kind in {
                "mask": ros.Image,
                "confidence": ros.Image,
                "overlay": ros.Image,
                "detected_classes": ros.DetectedClasses,
                "detections": ros.Detection2DArray,
                "points": ros.PointCloud2,
            }.items()
        }
        latched = ros.QoSProfile(depth=1, durability=ros.DurabilityPolicy.TRANSIENT_LOCAL)
        self._label_info = node.create_publisher(ros.LabelInfo, "~/label_info", latched)
        self._announced: tuple[int, float] | None = None

    def wanted(self, name: str | None = None) -> bool:
        """Whether an output, or any of them, has a subscriber. `label_info` alone needs no frames."""
        chosen = [self._publishers[name]] if name else self._publishers.values()
        return any(publisher.get_subscription_count() > 0 for publisher in chosen)

    def announce(self, vocabulary: Vocabulary, header: Any) -> None:
        """Publish what label ids mean, once a vocabulary and threshold."""
        state = (vocabulary.version, self._settings().threshold)
        if state != self._announced:
            self._label_info.publish(label_info_message(vocabulary, state[1], header))
            self._announced = state

    def publish(self, header: Any, rgb: NDArray[Any], result: Segmentation) -> None:
        """Publish the outputs of a frame that have subscribers; `label_info` before them if it is news."""
        self.announce(result.vocabulary, header)
        settings = self._settings()
        makers: dict[str, Callable[[], Any]] = {
            "mask": lambda: image_message(result.labels, "mono8" if result.labels.itemsize == 1 else "mono16", header),
            "confidence": lambda: image_message(result.confidence, "mono8", header),
            "detected_classes": lambda: detected_message(result, header),
            "detections": lambda: detections_message(result.regions(settings.min_region_area), header),
            "points": lambda: self._points(header, rgb, result),
            "overlay": lambda: image_message(overlay(rgb, result, settings.overlay_alpha), "rgb8", header),
        }
        for name, make in makers.items():  # the cheap and most awaited first
            if self.wanted(name) and (message := make()) is not None:
                self._publishers[name].publish(message)

    def _points(self, header: Any, rgb: NDArray[Any], result: Segmentation) -> Any:
        geometry = self._geometry(header)
        if geometry is None:
            self._problem("points", "no points: no depth and camera_info with the stamp of the image has come")
            return None
        try:
            return cloud_message(depth_to_metres(geometry[0]), geometry[1], rgb, result, header)
        except ImageError as error:
            self._problem("points", f"no points: {error}")
            return None

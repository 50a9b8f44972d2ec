"""What the node subscribes to: images, whatever QoS and transport their publishers use, and depth when wanted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from ovseg_ros import ros
from ovseg_ros.ros.messages import compressed_to_rgb, to_rgb
from ovseg_ros.ros.parameters import Settings

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class ImageInput:
    """The subscription to `image` or `image/compressed`.

    Args:
        node: the node.
        settings: returns the settings in force.
        received: called with each message and the function that makes RGB pixels of it.
        group: callback group of the subscription.
    """

    def __init__(
        self,
        node: ros.Node,
        settings: Callable[[], Settings],
        received: Callable[[Any, Callable[[Any], Any]], None],
        group: Any,
    ) -> None:
        self._node, self._settings, self._received, self._group = node, settings, received, group
        base = node.resolve_topic_name("image")
        # as image_transport does: the compressed topic lies under the remapped raw one
        self._topics = {"raw": base, "compressed": f"{base}/compressed"}
        self._subscription: Any = None
        self._current: tuple[str, Any] | None = None
        self._adapting = threading.Lock()  # a timer and QoS events ask for it
        self.adapt()

    @property
    def topic(self) -> str:
        """The topic subscribed to now."""
        assert self._current is not None
        return self._topics[self._current[0]]

    def adapt(self) -> None:
        """Subscribe as the publishers of the moment and the settings ask for."""
        with self._adapting:
            transport = self._transport()
            wanted = (transport, self._reliability(self._publishers(transport)))
            if wanted == self._current:
                return
            old, self._subscription = self._subscription, self._subscribe(*wanted)
            if old is not None:  # after the new one is there, so that little is lost
                self._node.destroy_subscription(old)
                self._node.get_logger().info(f"subscribed to {self.topic}, {_name(wanted[1])}, as its publishers are")

    def explain(self) -> str:
        """Why no image comes, in a few words and with a remedy."""
        assert self._current is not None
        transport, reliability = self._current
        found = self._node.get_publishers_info_by_topic(self.topic)
        fitting = self._publishers(transport)
        if not found:
            return f"no publisher; is the camera running{self._others()}?"
        names = ", ".join(sorted({_full_name(info) for info in found}))
        if not fitting:
            kind = IMAGE if transport == "raw" else COMPRESSED
            return f"its publisher {names} sends {found[0].topic_type}, not {kind}"
        if not any(_fits(info, reliability) for info in fitting):
            return f"publishers with incompatible QoS ({names}); set image_reliability to auto"
        return f"the publisher {names} is there and sends nothing"

    def _subscribe(self, transport: str, reliability: Any) -> Any:
        self._current = (transport, reliability)
        decode = to_rgb if transport == "raw" else compressed_to_rgb
        return self._node.create_subscription(
            ros.Image if transport == "raw" else ros.CompressedImage,
            self._topics[transport],
            lambda message: self._received(message, decode),
            ros.QoSProfile(depth=self._settings().queue_depth, reliability=reliability),
            callback_group=self._group,
            event_callbacks=ros.SubscriptionEventCallbacks(incompatible_qos=lambda _: self.adapt()),
        )

    def _transport(self) -> str:
        asked = self._settings().image_transport
        if asked != "auto":
            return asked
        only_compressed = not self._publishers("raw") and self._publishers("compressed")
        return "compressed" if only_compressed else "raw"

    def _reliability(self, publishers: list[Any]) -> Any:
        """Reliable where all offer it: large images lose fragments otherwise. Best effort hears every publisher."""
        asked = self._settings().image_reliability
        best_effort, reliable = ros.ReliabilityPolicy.BEST_EFFORT, ros.ReliabilityPolicy.RELIABLE
        if asked == "best_effort":
            return best_effort
        if asked == "auto" and not publishers and self._current:
            return self._current[1]  # the camera is gone for now, and will most likely return as it was
        unreliable = sorted(_full_name(info) for info in publishers if not _fits(info, reliable))
        if unreliable and asked == "reliable" and self._current and self._current[1] == reliable:
            self._node.get_logger().warning(
                f"{self.topic}: {', '.join(unreliable)} publishes best effort, which a reliable subscription can't "
                "hear; subscribing best effort"
            )
        if unreliable:
            return best_effort
        return reliable if publishers or asked == "reliable" else best_effort

    def _publishers(self, transport: str) -> list[Any]:
        kind = IMAGE if transport == "raw" else COMPRESSED
        found = self._node.get_publishers_info_by_topic(self._topics[transport])
        return [info for info in found if info.topic_type == kind]

    def _others(self) -> str:
        """Image topics that someone publishes, as a hint."""
        own = f"{self._node.get_fully_qualified_name()}/"
        topics = [
            name
            for name, kinds in self._node.get_topic_names_and_types()
            if IMAGE in kinds and not name.startswith(own) and self._node.count_publishers(name)
        ]
        return f" (there are images on {', '.join(sorted(topics)[:5])}: remap `image`)" if topics else ""


class DepthInput:
    """Subscriptions to `depth` and `camera_info`, there only while points are wanted."""

    def __init__(self, node: ros.Node, settings: Callable[[], Settings], group: Any) -> None:
        self._node, self._settings, self._group = node, settings, group
        self._subscriptions: list[Any] = []
        self._depth: deque[Any] = deque(maxlen=8)
        self._info: Any = None

    def want(self, wanted: bool) -> None:
        """Subscribe, or stop and forget."""
        if wanted and not self._subscriptions:
            qos = ros.qos_profile_sensor_data
            self._subscriptions = [
                self._node.create_subscription(ros.Image, "depth", self._keep_depth, qos, callback_group=self._group),
                self._node.create_subscription(
                    ros.CameraInfo, "camera_info", self._keep_info, qos, callback_group=self._group
                ),
            ]
        elif not wanted and self._subscriptions:
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            self._subscriptions = []
            self._depth.clear()
            self._info = None

    def at(self, header: Any) -> tuple[Any, Any] | None:
        """The depth whose stamp is nearest to a header's and the camera_info, or None."""
        stamp, info = seconds(header.stamp), self._info
        waiting = list(self._depth)  # a copy: callbacks append meanwhile
        if not waiting or info is None:
            return None
        nearest = min(waiting, key=lambda depth: abs(seconds(depth.header.stamp) - stamp))
        near = abs(seconds(nearest.header.stamp) - stamp) <= self._settings().depth_tolerance
        return (nearest, info) if near else None

    def _keep_depth(self, message: Any) -> None:  # rclpy takes no builtin such as deque.append
        self._depth.append(message)

    def _keep_info(self, message: Any) -> None:
        self._info = message


def seconds(stamp: Any) -> float:
    """A `builtin_interfaces/msg/Time` in seconds."""
    return float(stamp.sec + stamp.nanosec * 1e-9)


def _fits(info: Any, reliability: Any) -> bool:
    """Whether a subscription of that reliability hears this publisher."""
    return bool(
        reliability == ros.ReliabilityPolicy.BEST_EFFORT
        or info.qos_profile.reliability == ros.ReliabilityPolicy.RELIABLE
    )


def _full_name(info: Any) -> str:
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def _name(policy: Any) -> str:
    return str(policy.name).lower().replace("_", " ")

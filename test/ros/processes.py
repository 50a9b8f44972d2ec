"""Child processes of the tests: `processes.py KIND OPTIONS ...`, KIND node, camera or subscriber, OPTIONS JSON."""

from __future__ import annotations

import json
import sys
import time

import numpy as np


def run_node(options: dict, arguments: list[str]) -> int:
    from fakes import FakeSegmenter

    from ovseg_ros.ros import node

    if not options.pop("building", False):
        return node.main(["node", *arguments], segmenter=lambda settings: FakeSegmenter(**options))

    def build(settings, progress):
        """An engine that takes a minute to build."""
        for step in range(600):
            progress("compile", step, 600)
            time.sleep(0.1)
        return FakeSegmenter(**options)

    node.load_segmenter = build
    return node.main(["node", *arguments])


def run_camera(options: dict) -> int:
    """Publish `frames` images at `rate`, numbered by `header.frame_id`, then print when each was sent."""
    from ovseg_ros import ros
    from ovseg_ros.ros.messages import image_message

    ros.rclpy.init(args=["camera"])
    node = ros.Node("camera")
    reliability = getattr(ros.ReliabilityPolicy, options.get("reliability", "reliable").upper())
    publisher = node.create_publisher(ros.Image, "image", ros.QoSProfile(depth=5, reliability=reliability))
    deadline = time.monotonic() + 60
    while publisher.get_subscription_count() < 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(options.get("settle", 0.0))
    height, width = options.get("size", [480, 640])
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    start, sent = time.monotonic(), []
    for index in range(options["frames"]):
        time.sleep(max(0.0, start + index / options["rate"] - time.monotonic()))
        header = ros.Header(stamp=node.get_clock().now().to_msg(), frame_id=str(index))
        if options.get("stamps") == "back" and index >= options["frames"] // 2:
            header.stamp.sec -= 3600
        publisher.publish(image_message(pixels, "rgb8", header))
        sent.append(time.monotonic())
    time.sleep(options.get("linger", 0.5))
    print(json.dumps(sent))
    node.destroy_node()
    ros.rclpy.try_shutdown()
    return 0


def run_subscriber() -> int:
    """Listen to masks until killed."""
    from ovseg_ros import ros

    ros.rclpy.init(args=["subscriber"])
    node = ros.Node("subscriber")
    node.create_subscription(ros.Image, "/ovseg/mask", lambda _: print("hears", flush=True), 10)
    ros.rclpy.spin(node)
    return 0


if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    if sys.argv[1] == "node":
        sys.exit(run_node(options, sys.argv[3:]))
    sys.exit(run_camera(options) if sys.argv[1] == "camera" else run_subscriber())

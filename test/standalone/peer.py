"""The other side of the tests: `peer.py ROLE ARGS...` runs a node and prints JSON lines, "ready" first."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import ovseg_ros.standalone as rclpy
from ovseg_ros.standalone.executors import ExternalShutdownException
from ovseg_ros.standalone.interfaces import message, service
from ovseg_ros.standalone.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data

String = message("std_msgs/msg/String")
Image = message("sensor_msgs/msg/Image")


def say(what: Any) -> None:
    print(json.dumps(what), flush=True)


def listener(node: rclpy.Node, topic: str) -> None:
    node.create_subscription(String, topic, lambda msg: say(msg.data), 10)


def latched_listener(node: rclpy.Node, topic: str) -> None:
    qos = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(String, topic, lambda msg: say(msg.data), qos)


def talker(node: rclpy.Node, topic: str) -> None:
    publisher = node.create_publisher(String, topic, 10)
    count = iter(range(10**6))
    node.create_timer(0.02, lambda: publisher.publish(String(data=f"{next(count)}")))


def image_listener(node: rclpy.Node, topic: str) -> None:
    def on_image(msg: Any) -> None:
        age = time.time() - msg.header.stamp.sec - msg.header.stamp.nanosec / 1e9
        say([msg.encoding, msg.width, msg.height, int(msg.data.astype(int).sum()), age])

    node.create_subscription(Image, topic, on_image, qos_profile_sensor_data)


def slow_listener(node: rclpy.Node, topic: str) -> None:
    node.create_subscription(Image, topic, lambda msg: time.sleep(0.2), 10)


def server(node: rclpy.Node, name: str) -> None:
    def answer(request: Any, response: Any) -> Any:
        response.success = request.data
        response.message = f"heard {request.data}"
        return response

    node.create_service(service("std_srvs/srv/SetBool"), name, answer)


def parameters(node: rclpy.Node) -> None:
    descriptor = message("rcl_interfaces/msg/ParameterDescriptor")
    limits = message("rcl_interfaces/msg/FloatingPointRange")(from_value=0.0, to_value=1.0)
    result = message("rcl_interfaces/msg/SetParametersResult")
    node.declare_parameter("threshold", 0.5, descriptor(description="share", floating_point_range=[limits]))
    node.declare_parameter("names", ["a", "b"])
    node.declare_parameter("camera.width", 640)
    node.declare_parameter("fixed", "yes", descriptor(read_only=True))

    def judge(changes: list[Any]) -> Any:
        bad = [p for p in changes if p.name == "camera.width" and p.value % 2]
        return result(successful=not bad, reason="width must be even" if bad else "")

    node.add_on_set_parameters_callback(judge)


def idle(node: rclpy.Node) -> None:
    """Only be there."""


def busy(node: rclpy.Node) -> None:
    """A callback that takes its time."""
    node.create_timer(0.01, lambda: time.sleep(0.05))


def worker(node: rclpy.Node) -> None:
    """Publishes from a thread of its own until shutdown."""
    publisher = node.create_publisher(String, "work", 10)

    def work() -> None:
        while rclpy.ok():
            publisher.publish(String(data="x"))
            time.sleep(0.005)

    thread = threading.Thread(target=work)
    thread.start()
    node.context.on_shutdown(lambda: None)


ROLES = {f.__name__: f for f in (listener, latched_listener, talker, image_listener, slow_listener, server)}
ROLES |= {f.__name__: f for f in (parameters, idle, busy, worker)}


def main() -> None:
    rclpy.init(args=sys.argv)
    role, *args = rclpy.utilities.remove_ros_args(sys.argv)[1:]
    node = rclpy.create_node(role)
    try:
        ROLES[role](node, *args)
        say("ready")
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()

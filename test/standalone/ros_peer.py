"""A real rclpy node for test_real_ros2.py; run with ROS 2 sourced. Prints JSON lines, "ready" first."""

import json
import sys

import rclpy
from rcl_interfaces.msg import Log
from rclpy.executors import ExternalShutdownException
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool


def say(what):
    print(json.dumps(what), flush=True)


def main():
    rclpy.init()
    node = rclpy.create_node("real", namespace="/ros")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = node.create_publisher(String, "/from_real", latched)
    publisher.publish(String(data="latched by rclpy"))
    node.create_subscription(String, "/to_real", lambda m: say(["string", m.data]), 10)
    node.create_subscription(
        Image,
        "/image",
        lambda m: say(["image", m.header.frame_id, m.width, m.height, m.encoding, sum(m.data)]),
        qos_profile_sensor_data,
    )
    node.create_subscription(Log, "/rosout", lambda m: say(["log", m.name, m.level, m.msg]), 100)
    node.declare_parameter("gain", 1.5)

    def answer(request, response):
        response.success = not request.data
        response.message = "from rclpy"
        return response

    node.create_service(SetBool, "/real_switch", answer)
    client = node.create_client(SetBool, "/our_switch")

    def ask():
        if client.service_is_ready():
            timer.cancel()
            client.call_async(SetBool.Request(data=True)).add_done_callback(
                lambda f: say(["reply", f.result().success, f.result().message])
            )

    timer = node.create_timer(0.1, ask)

    def look():
        names = sorted(ns.rstrip("/") + "/" + n for n, ns in node.get_node_names_and_namespaces())
        if "/ours" in names:
            looking.cancel()
            services = [name for name, _ in node.get_service_names_and_types_by_node("ours", "/")]
            infos = node.get_publishers_info_by_topic("/to_real")
            hashes = [str(i.topic_type_hash) for i in infos if i.node_name == "ours"]
            say(["graph", names, sorted(services), hashes])

    looking = node.create_timer(2.0, look)
    say("ready")
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())

"""Against a real ROS 2 with rmw_cyclonedds_cpp, where there is one: `ROS2_SETUP` names its setup.bash.

Without that variable the setup of ROS_DISTRO, or of the developers' machine, is tried; else all is skipped.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovseg_ros.standalone.interfaces import message, service, type_hash
from ovseg_ros.standalone.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data

HERE = Path(__file__).parent
String = message("std_msgs/msg/String")
Image = message("sensor_msgs/msg/Image")
SetBool = service("std_srvs/srv/SetBool")


def _setup() -> Path | None:
    candidates = [os.environ.get("ROS2_SETUP", ""), f"/opt/ros/{os.environ.get('ROS_DISTRO', '-')}/setup.bash"]
    return next((Path(c) for c in candidates if c and Path(c).is_file()), None)


SETUP = _setup()
pytestmark = pytest.mark.skipif(SETUP is None, reason="no ROS 2 here; set ROS2_SETUP to its setup.bash")


def _in_ros(*command: str) -> list[str]:
    """A command with ROS sourced, on the test's domain and discovery range."""
    keep = "export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST RMW_IMPLEMENTATION=rmw_cyclonedds_cpp; unset CYCLONEDDS_URI"
    return ["bash", "-c", f"source {SETUP} && {keep} && exec {shlex.join(command)}"]


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")} | {"PYTHONUNBUFFERED": "1"}


@pytest.fixture
def real(domain: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        _in_ros("python3", str(HERE / "ros_peer.py")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    if first.strip() != '"ready"':
        process.kill()
        pytest.skip(f"rclpy does not run here: {process.communicate()[1][-300:]}")
    yield process
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)


def _hear(process: subprocess.Popen[str], kind: str) -> Any:
    """Return the next line of this kind."""
    assert process.stdout is not None
    while line := process.stdout.readline():
        said = json.loads(line)
        if said[0] == kind:
            return said[1:]
    raise AssertionError(f"the rclpy node ended without saying {kind!r}")


def test_everything_with_an_rclpy_node(real: Any, ros: Any) -> None:
    node = ros.node("ours")
    strings = node.create_publisher(String, "/to_real", 10)
    images = node.create_publisher(Image, "/image", qos_profile_sensor_data)
    heard: list[str] = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(String, "/from_real", lambda m: heard.append(m.data), latched)

    def answer(request: Any, response: Any) -> Any:
        response.success, response.message = request.data, "from standalone"
        return response

    node.create_service(SetBool, "/our_switch", answer)

    # topics, both ways
    assert ros.spin_until(lambda: heard == ["latched by rclpy"])
    assert ros.spin_until(lambda: strings.get_subscription_count() == 1 and images.get_subscription_count() == 1)
    strings.publish(String(data="grüezi"))
    assert _hear(real, "string") == ["grüezi"]
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    msg = Image(width=640, height=480, encoding="rgb8", step=1920, data=pixels)
    msg.header.frame_id = "camera"
    images.publish(msg)
    assert _hear(real, "image") == ["camera", 640, 480, "rgb8", int(pixels.astype(int).sum())]

    # rosout
    node.get_logger().warning("can you hear me?")
    said = _hear(real, "log")
    while said[0] != "ours":
        said = _hear(real, "log")
    assert said == ["ours", 30, "can you hear me?"]

    # services: ours calls theirs
    client = node.create_client(SetBool, "/real_switch")
    response = ros.call(client, SetBool.Request(data=False))
    assert (response.success, response.message) == (True, "from rclpy")
    parameters = service("rcl_interfaces/srv/GetParameters")
    asked = ros.call(node.create_client(parameters, "/ros/real/get_parameters"), parameters.Request(names=["gain"]))
    assert asked.values[0].double_value == 1.5

    # the graph, as we see it
    assert "/ros/real" in node.get_fully_qualified_node_names()
    served = dict(node.get_service_names_and_types_by_node("real", "/ros"))
    assert served["/real_switch"] == ["std_srvs/srv/SetBool"]
    [info] = node.get_publishers_info_by_topic("/from_real")
    assert (info.node_name, info.node_namespace) == ("real", "/ros")
    assert str(info.topic_type_hash) == type_hash("std_msgs/msg/String")
    assert info.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL

    # services: theirs calls ours; the graph, as they see it
    said_reply: list[Any] = []
    ros.spin_for(3.0)
    said_reply.append(_hear(real, "reply"))
    assert said_reply == [[True, "from standalone"]]
    names, services, hashes = _hear(real, "graph")
    assert "/ours" in names
    assert "/our_switch" in services
    assert hashes == [type_hash("std_msgs/msg/String")]


PACKAGES = [
    "std_msgs",
    "sensor_msgs",
    "geometry_msgs",
    "vision_msgs",
    "rcl_interfaces",
    "std_srvs",
    "diagnostic_msgs",
    "type_description_interfaces",
    "rmw_dds_common",
    "rosgraph_msgs",
]


def test_type_hashes_are_rosidls(domain: int) -> None:
    """Every interface of ROS that we know has the hash that rosidl wrote next to it."""
    ask = _in_ros("bash", "-c", "echo $AMENT_PREFIX_PATH")
    found = subprocess.run(ask, capture_output=True, text=True, env=_environment(), check=True)
    compared = 0
    for prefix in found.stdout.strip().split(":"):
        for package in PACKAGES:
            for path in Path(prefix, "share", package).glob("*/*.json"):
                for entry in json.loads(path.read_text())["type_hashes"]:
                    name = entry["type_name"]
                    parts = name.split("/")
                    if parts[0] != package or parts[2].endswith("_Event") or parts[1] == "action":
                        continue
                    if parts[1] == "srv" and not parts[2].endswith(("_Request", "_Response")):
                        continue
                    if (parts[1] == "srv" and package in ("sensor_msgs", "diagnostic_msgs")) or "WString" in name:
                        continue
                    try:
                        ours = type_hash(name)
                    except ValueError:
                        continue  # one we do not carry
                    assert ours == entry["hash_string"], name
                    compared += 1
    assert compared > 100


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["ros2", "node", "list", "--no-daemon", "--spin-time", "2"], "/parameters"),
        (
            ["ros2", "param", "get", "/parameters", "threshold", "--no-daemon", "--spin-time", "2"],
            "Double value is: 0.5",
        ),
        (["ros2", "param", "set", "/parameters", "camera.width", "641", "--no-daemon", "--spin-time", "2"], "be even"),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
def test_command_line_tools(peer: Any, command: list[str], expected: str) -> None:
    peer("parameters")
    done = subprocess.run(
        _in_ros(*command), capture_output=True, text=True, env=_environment(), timeout=120, check=False
    )
    assert expected in done.stdout + done.stderr

"""The graph: nodes, endpoints, their types and QoS; the environment that shapes discovery."""

from __future__ import annotations

import signal
from typing import Any

import pytest

import ovseg_ros.standalone as rclpy
from ovseg_ros.standalone.dds.domain import Discovery
from ovseg_ros.standalone.exceptions import (
    InvalidNodeNameException,
    NotInitializedException,
    RCLError,
    UnknownROSArgsError,
)
from ovseg_ros.standalone.interfaces import message, service, type_hash
from ovseg_ros.standalone.qos import (
    DurabilityPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
    qos_profile_sensor_data,
    qos_profile_system_default,
)

String = message("std_msgs/msg/String")


def test_another_process_is_known_by_name(ros: Any, peer: Any) -> None:
    other = peer("talker", "chatter")
    node = ros.node("watcher", namespace="/w")
    assert ros.spin_until(lambda: "talker" in node.get_node_names())
    assert ("talker", "/") in node.get_node_names_and_namespaces()
    assert ("watcher", "/w") in node.get_node_names_and_namespaces()
    assert ros.spin_until(lambda: node.count_publishers("/chatter") == 1)
    [info] = node.get_publishers_info_by_topic("/chatter")
    assert (info.node_name, info.node_namespace) == ("talker", "/")
    assert info.topic_type == "std_msgs/msg/String"
    assert str(info.topic_type_hash) == type_hash("std_msgs/msg/String")
    assert len(info.endpoint_gid) == 16
    assert info.qos_profile.reliability is ReliabilityPolicy.RELIABLE
    assert info.qos_profile.durability is DurabilityPolicy.VOLATILE
    assert info.qos_profile.liveliness is LivelinessPolicy.AUTOMATIC
    assert ("/chatter", ["std_msgs/msg/String"]) in node.get_publisher_names_and_types_by_node("talker", "/")
    services = dict(node.get_service_names_and_types_by_node("talker", "/"))
    assert services["/talker/get_parameters"] == ["rcl_interfaces/srv/GetParameters"]
    assert len(services) == 7
    with pytest.raises(RCLError, match=r"no node 'nobody'.*there are: /talker, /w/watcher"):
        node.get_publisher_names_and_types_by_node("nobody", "/")
    other.stop(signal.SIGTERM)
    assert ros.spin_until(lambda: node.get_node_names() == ["watcher"])
    assert node.count_publishers("/chatter") == 0


def test_own_entities_come_and_go(ros: Any) -> None:
    node = ros.node("own")
    sub = node.create_subscription(String, "x", lambda m: None, qos_profile_sensor_data)
    assert ros.spin_until(lambda: node.count_subscribers("x") == 1)
    [info] = node.get_subscriptions_info_by_topic("x")
    assert info.qos_profile.reliability is ReliabilityPolicy.BEST_EFFORT
    assert info.node_name == "own"
    node.create_client(service("std_srvs/srv/SetBool"), "switch")
    assert ros.spin_until(lambda: node.count_clients("/switch") == 1)
    expected = [("/switch", ["std_srvs/srv/SetBool"])]
    assert ros.spin_until(lambda: node.get_client_names_and_types_by_node("own", "/") == expected)
    assert ("/x", ["std_msgs/msg/String"]) in node.get_topic_names_and_types()
    assert ("rt/x", ["std_msgs::msg::dds_::String_"]) in node.get_topic_names_and_types(no_demangle=True)
    node.destroy_subscription(sub)
    assert ros.spin_until(lambda: node.count_subscribers("x") == 0)


def test_get_type_description(ros: Any) -> None:
    node = ros.node("types")
    srv = service("type_description_interfaces/srv/GetTypeDescription")
    client = node.create_client(srv, "/types/get_type_description")
    wanted = srv.Request(type_name="sensor_msgs/msg/Image", type_hash=type_hash("sensor_msgs/msg/Image"))
    reply = ros.call(client, wanted)
    assert reply.successful, reply.failure_reason
    described = reply.type_description
    assert [f.name for f in described.type_description.fields][-1] == "data"
    assert described.type_description.fields[-1].type.type_id == 147  # unbounded uint8
    referenced = [t.type_name for t in described.referenced_type_descriptions]
    assert referenced == ["builtin_interfaces/msg/Time", "std_msgs/msg/Header"]
    assert "uint8[] data" in reply.type_sources[0].raw_file_contents
    refused = ros.call(client, srv.Request(type_name="sensor_msgs/msg/Image", type_hash="RIHS01_0"))
    assert not refused.successful


@pytest.mark.parametrize("reach", ["SUBNET", "LOCALHOST", "SYSTEM_DEFAULT"])
def test_processes_meet_in_each_range(domain: int, monkeypatch: Any, request: Any, reach: str) -> None:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", reach)
    peer = request.getfixturevalue("peer")
    ros = request.getfixturevalue("ros")
    peer("idle")
    node = ros.node("me")
    assert ros.spin_until(lambda: "idle" in node.get_node_names())


def test_processes_meet_on_loopback_without_multicast(domain: int, monkeypatch: Any, request: Any) -> None:
    lo = '<CycloneDDS><Domain><General><Interfaces><NetworkInterface name="lo" multicast="false"/></Interfaces>'
    monkeypatch.setenv("CYCLONEDDS_URI", f"{lo}</General></Domain></CycloneDDS>")
    peer = request.getfixturevalue("peer")
    ros = request.getfixturevalue("ros")
    peer("idle")
    node = ros.node("me")
    assert ros.spin_until(lambda: "idle" in node.get_node_names())


def test_range_off_hides(domain: int, monkeypatch: Any, request: Any) -> None:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    request.getfixturevalue("peer")("idle")
    ros = request.getfixturevalue("ros")
    node = ros.node("me")
    ros.spin_for(1.0)
    assert node.get_node_names() == ["me"]


def test_environment_becomes_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS", "CYCLONEDDS_URI"):
        monkeypatch.delenv(name, raising=False)
    assert Discovery.from_environment() == Discovery("SUBNET")
    monkeypatch.setenv("ROS_STATIC_PEERS", "10.0.0.1;robot.local")
    monkeypatch.setenv("CYCLONEDDS_URI", "file:///etc/cyclone.xml")
    config = Discovery.from_environment().config()
    assert '<Peer address="10.0.0.1"/><Peer address="robot.local"/>' in config
    assert config.endswith(",file:///etc/cyclone.xml")
    monkeypatch.setenv("ROS_LOCALHOST_ONLY", "1")
    assert "<AllowMulticast>false" in Discovery.from_environment().config()
    assert '<Peer address="localhost"/>' in Discovery.from_environment().config()
    monkeypatch.delenv("ROS_LOCALHOST_ONLY")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SYSTEM_DEFAULT")
    assert Discovery.from_environment().config() == "file:///etc/cyclone.xml"
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "NEAR")
    with pytest.raises(RCLError, match="is 'NEAR'; expected one of SUBNET, LOCALHOST, OFF"):
        Discovery.from_environment()


def test_bad_starts_are_explained(domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotInitializedException, match=r"call init\(\) first"):
        rclpy.Node("early", context=rclpy.Context())
    with pytest.raises(UnknownROSArgsError, match="--wrong"):
        rclpy.Context().init(["--ros-args", "--wrong"])
    with pytest.raises(RCLError, match="domain id 233 does not exist; expected a number from 0 to 232"):
        rclpy.Context().init([], domain_id=233)
    monkeypatch.setenv("ROS_DOMAIN_ID", "abc")
    with pytest.raises(RCLError, match="ROS_DOMAIN_ID is 'abc'; expected a number"):
        rclpy.Context().init([])
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("CYCLONEDDS_URI", "<CycloneDDS><Nonsense/></CycloneDDS>")
    with pytest.raises(RCLError, match="Nonsense"):
        rclpy.Context().init([])
    monkeypatch.delenv("CYCLONEDDS_URI")
    with rclpy.Context() as context, pytest.raises(InvalidNodeNameException):
        rclpy.Node("not ok", context=context)


def test_compatibility_of_profiles() -> None:
    reliable, best_effort = QoSProfile(depth=1), qos_profile_sensor_data
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    assert qos_check_compatible(reliable, best_effort) == (QoSCompatibility.OK, "")
    verdict, reason = qos_check_compatible(best_effort, reliable)
    assert verdict == QoSCompatibility.ERROR
    assert "Best effort publisher and reliable subscription" in reason
    assert qos_check_compatible(reliable, latched)[0] == QoSCompatibility.ERROR
    assert qos_check_compatible(qos_profile_system_default, reliable)[0] == QoSCompatibility.WARNING

"""Parameters: declared in a node, reached through its services, given on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ovseg_ros.standalone as rclpy
from ovseg_ros.standalone.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterAlreadyDeclaredException,
    ParameterImmutableException,
    ParameterNotDeclaredException,
    ParameterUninitializedException,
)
from ovseg_ros.standalone.interfaces import message, service
from ovseg_ros.standalone.parameter import Parameter, ParameterType, parameter_dict_from_yaml_file
from ovseg_ros.standalone.qos import QoSProfile, ReliabilityPolicy
from ovseg_ros.standalone.qos_overriding_options import QoSOverridingOptions

Descriptor = message("rcl_interfaces/msg/ParameterDescriptor")
Result = message("rcl_interfaces/msg/SetParametersResult")
String = message("std_msgs/msg/String")


def test_declare_get_set(ros: Any) -> None:
    node = ros.node("holder")
    assert node.declare_parameter("threshold", 0.5).value == 0.5
    assert node.get_parameter("threshold").type_ is Parameter.Type.DOUBLE
    [result] = node.set_parameters([Parameter("threshold", value=0.25)])
    assert result.successful
    assert node.get_parameter("threshold").value == 0.25
    with pytest.raises(ParameterAlreadyDeclaredException, match="threshold"):
        node.declare_parameter("threshold", 1.0)
    with pytest.raises(ParameterNotDeclaredException, match="nothing"):
        node.get_parameter("nothing")
    assert node.get_parameter_or("nothing", Parameter("nothing", value=7)).value == 7
    node.undeclare_parameter("threshold")
    assert not node.has_parameter("threshold")


def test_static_types_ranges_and_read_only(ros: Any) -> None:
    node = ros.node("strict")
    step = message("rcl_interfaces/msg/IntegerRange")(from_value=0, to_value=10, step=5)
    node.declare_parameter("count", 5, Descriptor(integer_range=[step]))
    node.declare_parameter("fixed", "a", Descriptor(read_only=True))

    def reason(name: str, value: Any) -> str:
        [result] = node.set_parameters([Parameter(name, value=value)])
        assert not result.successful
        return str(result.reason)

    assert "expected 'INTEGER' got 'DOUBLE'" in reason("count", 5.0)
    assert "Min: 0, Max: 10, value: 11" in reason("count", 11)
    assert "not a valid step" in reason("count", 7)
    assert "read-only" in reason("fixed", "b")
    with pytest.raises(ParameterImmutableException):
        node.undeclare_parameter("fixed")
    with pytest.raises(InvalidParameterValueException, match="out of range"):
        node.declare_parameter("other", 11, Descriptor(integer_range=[step]))
    node.declare_parameter("later", Parameter.Type.STRING)
    with pytest.raises(ParameterUninitializedException, match="later"):
        node.get_parameter("later")
    node.declare_parameter("any", None, Descriptor(dynamic_typing=True))
    assert node.set_parameters([Parameter("any", value=[1, 2])])[0].successful
    with pytest.raises(ValueError, match="static type but no default"):
        node.declare_parameter("none", None, Descriptor())
    with pytest.warns(UserWarning, match="by its name alone"):
        node.declare_parameter("bare")


def test_callbacks_have_their_say(ros: Any) -> None:
    node = ros.node("callbacks")
    node.declare_parameter("width", 640)
    node.declare_parameter("height", 480)
    seen: list[str] = []

    def before(parameters: list[Parameter]) -> list[Parameter]:
        seen.append("before")
        return [*parameters, Parameter("height", value=parameters[0].value)]

    def judge(parameters: list[Parameter]) -> Any:
        seen.append("judge")
        return Result(successful=all(p.value % 2 == 0 for p in parameters), reason="must be even")

    node.add_pre_set_parameters_callback(before)
    node.add_on_set_parameters_callback(judge)
    node.add_post_set_parameters_callback(lambda parameters: seen.append("after"))
    assert node.set_parameters_atomically([Parameter("width", value=320)]).successful
    assert seen == ["before", "judge", "after"]
    assert node.get_parameter("height").value == 320
    refused = node.set_parameters_atomically([Parameter("width", value=321)])
    assert (refused.successful, refused.reason) == (False, "must be even")
    assert node.get_parameter("width").value == 320
    node.remove_on_set_parameters_callback(judge)
    assert node.set_parameters_atomically([Parameter("width", value=321)]).successful


def test_six_services_of_another_process(ros: Any, peer: Any) -> None:
    peer("parameters")
    node = ros.node("tool")

    def ask(kind: str, **request: Any) -> Any:
        srv = service(f"rcl_interfaces/srv/{kind}")
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in kind).lstrip("_")
        client = node.create_client(srv, f"/parameters/{snake}")
        return ros.call(client, srv.Request(**request))

    names = ask("ListParameters", prefixes=[], depth=0).result.names
    assert {"threshold", "names", "camera.width", "fixed", "use_sim_time"} <= set(names)
    assert ask("ListParameters", prefixes=["camera"], depth=1).result.names == ["camera.width"]
    values = ask("GetParameters", names=["threshold", "names"]).values
    assert (values[0].type, values[0].double_value) == (ParameterType.PARAMETER_DOUBLE, 0.5)
    assert values[1].string_array_value == ["a", "b"]
    assert ask("GetParameters", names=["threshold", "no such"]).values == []
    assert ask("GetParameterTypes", names=["camera.width"]).types.tolist() == [ParameterType.PARAMETER_INTEGER]
    [descriptor] = ask("DescribeParameters", names=["threshold"]).descriptors
    assert (descriptor.name, descriptor.description) == ("threshold", "share")
    assert descriptor.floating_point_range[0].to_value == 1.0

    wanted = [Parameter("threshold", value=0.75), Parameter("threshold", value=2.0), Parameter("none", value=1)]
    results = ask("SetParameters", parameters=[p.to_parameter_msg() for p in wanted]).results
    assert [r.successful for r in results] == [True, False, False]
    assert "out of range" in results[1].reason
    assert "undeclared" in results[2].reason
    together = [Parameter("threshold", value=0.1), Parameter("camera.width", value=641)]
    result = ask("SetParametersAtomically", parameters=[p.to_parameter_msg() for p in together]).result
    assert (result.successful, result.reason) == (False, "width must be even")
    assert ask("GetParameters", names=["threshold"]).values[0].double_value == 0.75


def test_changes_are_published_as_events(ros: Any) -> None:
    node = ros.node("events", namespace="/a")
    events: list[Any] = []
    node.create_subscription(message("rcl_interfaces/msg/ParameterEvent"), "/parameter_events", events.append, 100)
    assert ros.spin_until(lambda: node.count_publishers("/parameter_events") == 1)
    node.declare_parameter("x", 1)
    node.set_parameters([Parameter("x", value=2)])
    assert ros.spin_until(lambda: len(events) >= 2)
    new, changed = events[-2:]
    assert new.node == changed.node == "/a/events"
    assert [p.name for p in new.new_parameters] == ["x"]
    assert [p.value.integer_value for p in changed.changed_parameters] == [2]


FILE = """
/**:
  ros__parameters:
    threshold: 0.1
    camera: {width: 320, name: wild}
/robot/*:
  ros__parameters:
    camera: {width: 640}
robot:
  seg:
    ros__parameters:
      classes: [road, car]
      weights: [1, 2.5]
other:
  ros__parameters:
    threshold: 9.0
"""


def test_command_line_and_file(ros: Any, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(FILE)
    args = ["--params-file", str(path), "-p", "threshold:=0.7", "-p", "elsewhere:threshold:=0.8"]
    args += ["-p", "seg:flag:=true", "-p", "text:=a b"]
    node = ros.node("seg", namespace="robot", cli_args=args)
    for name, default, expected in (
        ("threshold", 0.5, 0.7),
        ("camera.width", 1, 640),
        ("camera.name", "", "wild"),
        ("classes", [""], ["road", "car"]),
        ("weights", [0.0], [1.0, 2.5]),
        ("flag", False, True),
        ("text", "", "a b"),
    ):
        assert node.declare_parameter(name, default).value == expected, name
    with pytest.raises(InvalidParameterTypeException, match=r"'threshold'.*of type 'DOUBLE', expecting type 'INTEGER'"):
        ros.node("typed", cli_args=args).declare_parameter("threshold", 1)
    given = [Parameter("threshold", value=0.9)]
    assert ros.node("given", cli_args=args, parameter_overrides=given).declare_parameter("threshold", 0.0).value == 0.9
    auto = ros.node("auto", cli_args=args, automatically_declare_parameters_from_overrides=True)
    assert auto.get_parameter("text").value == "a b"


def test_file_as_messages(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(FILE)
    found = parameter_dict_from_yaml_file(str(path), use_wildcard=True, target_nodes=["/robot/seg"])
    assert found["camera.width"].value.integer_value == 640
    assert found["threshold"].value.double_value == 0.1
    assert list(found["classes"].value.string_array_value) == ["road", "car"]
    with pytest.raises(RuntimeError, match="no parameters for /nobody"):
        parameter_dict_from_yaml_file(str(path), target_nodes=["/nobody"])


def test_qos_overrides(ros: Any) -> None:
    args = ["-p", "qos_overrides./image.subscription.reliability:=best_effort"]
    args += ["-p", "qos_overrides./image.publisher.depth:=3", "-p", "qos_overrides./bad.publisher.history:=some"]
    node = ros.node("qos", cli_args=args)
    options = QoSOverridingOptions.with_default_policies()
    qos = QoSProfile(depth=10)
    sub = node.create_subscription(String, "image", lambda m: None, qos, qos_overriding_options=options)
    pub = node.create_publisher(String, "image", qos, qos_overriding_options=options)
    assert sub.qos_profile.reliability is ReliabilityPolicy.BEST_EFFORT
    assert pub.qos_profile.depth == 3
    assert qos == QoSProfile(depth=10)
    with pytest.raises(ValueError, match=r"is 'some'; expected one of system_default, keep_last"):
        node.create_publisher(String, "bad", qos, qos_overriding_options=options)


def test_sim_time(ros: Any) -> None:
    node = ros.node("sim", parameter_overrides=[Parameter("use_sim_time", value=True)])
    clock = message("rosgraph_msgs/msg/Clock")
    publisher = node.create_publisher(clock, "/clock", 1)
    ticks: list[int] = []
    node.create_timer(1.0, lambda: ticks.append(node.get_clock().now().nanoseconds))
    assert node.get_clock().now().nanoseconds == 0
    for second in (5, 6, 7):
        publisher.publish(clock(clock=message("builtin_interfaces/msg/Time")(sec=second)))
        assert ros.spin_until(lambda s=second: ticks and ticks[-1] == s * 10**9, 5)  # type: ignore[misc]
    node.set_parameters([Parameter("use_sim_time", value=False)])
    assert node.get_clock().now().nanoseconds > 10**18
    refused = node.set_parameters([Parameter("use_sim_time", value=1)])[0]
    assert not refused.successful


def test_undeclared_allowed(ros: Any) -> None:
    node = ros.node("loose", allow_undeclared_parameters=True)
    assert node.get_parameter("x").type_ is Parameter.Type.NOT_SET
    assert node.set_parameters([Parameter("x", value=1)])[0].successful
    assert node.get_parameter("x").value == 1
    assert isinstance(node, rclpy.Node)

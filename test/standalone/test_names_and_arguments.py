"""Names, remaps and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ovseg_ros.standalone.arguments import node_matches, parse, parse_value, read_parameter_file
from ovseg_ros.standalone.exceptions import (
    InvalidNamespaceException,
    InvalidNodeNameException,
    InvalidServiceNameException,
    InvalidTopicNameException,
    RCLError,
    UnknownROSArgsError,
)
from ovseg_ros.standalone.interfaces import message, service
from ovseg_ros.standalone.names import expand_topic_name, validate_namespace, validate_node_name
from ovseg_ros.standalone.utilities import remove_ros_args


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("image", "/ns/image"),
        ("/image", "/image"),
        ("~/mask", "/ns/node/mask"),
        ("~", "/ns/node"),
        ("{node}/x", "/ns/node/x"),
        ("{ns}/x", "/ns/x"),
        ("a/{namespace}b", None),
        ("", None),
        ("a b", None),
        ("1a", None),
        ("a/", None),
        ("a~b", None),
        ("{who}", None),
    ],
)
def test_expansion(name: str, full: str | None) -> None:
    if full is None:
        with pytest.raises(InvalidTopicNameException):
            expand_topic_name(name, "node", "/ns")
        with pytest.raises(InvalidServiceNameException):
            expand_topic_name(name, "node", "/ns", is_service=True)
    else:
        assert expand_topic_name(name, "node", "/ns") == full


def test_bad_names_point_at_the_place() -> None:
    with pytest.raises(InvalidNodeNameException) as error:
        validate_node_name("no-dash")
    assert str(error.value).splitlines()[1:] == ["  'no-dash'", "     ^"]
    with pytest.raises(InvalidNamespaceException, match="absolute"):
        validate_namespace("relative")


def test_remaps(ros: Any) -> None:
    args = ["-r", "__node:=eye", "-r", "__ns:=/robot", "-r", "image:=/camera/image_raw", "-r", "~/mask:=labels"]
    args += ["-r", "eye:/only:=/mine", "-r", "other:/only:=/theirs", "--remap", "set:=/global_set"]
    node = ros.node("plain", cli_args=args)
    assert node.get_fully_qualified_name() == "/robot/eye"
    string = message("std_msgs/msg/String")
    names = {name: node.create_publisher(string, name, 1).topic_name for name in ("image", "~/mask", "/only", "x")}
    assert names == {"image": "/camera/image_raw", "~/mask": "/robot/labels", "/only": "/mine", "x": "/robot/x"}
    assert node.create_service(service("std_srvs/srv/Trigger"), "set", lambda q, r: r).service_name == "/global_set"
    assert node.resolve_topic_name("image") == "/camera/image_raw"
    assert node.resolve_topic_name("image", only_expand=True) == "/robot/image"
    assert node.get_logger().name == "robot.eye"
    special = ros.node("plain", cli_args=["-r", "plain:__node:=renamed", "-r", "else:__ns:=/no"])
    assert special.get_fully_qualified_name() == "/renamed"


def test_arguments_are_split() -> None:
    args = parse(["prog", "--own", "--ros-args", "-p", "a:=1", "--", "file", "--ros-args", "--log-level", "debug"])
    assert args.remaining == ["prog", "--own", "file"]
    assert args.parameters == [("/**", "a", 1)]
    assert args.log_levels == {"": "DEBUG"}
    assert remove_ros_args(["prog", "x", "--ros-args", "-r", "a:=b"]) == ["prog", "x"]
    assert parse(["--ros-args", "-e", "/enclave", "--disable-rosout-logs", "--disable-stdout-logs"]).rosout is False


@pytest.mark.parametrize(
    ("args", "kind", "reason"),
    [
        (["--unknown"], UnknownROSArgsError, "unknown ROS argument '--unknown'"),
        (["a:=b"], UnknownROSArgsError, "write -r a:=b"),
        (["-p"], UnknownROSArgsError, "-p needs a value"),
        (["-p", "a=1"], RCLError, r"expected \[node:\]name:=value"),
        (["-r", "a:b"], RCLError, r"expected \[node:\]from:=to"),
        (["-r", "__typo:=b"], RCLError, "__node, __name, __ns"),
        (["--log-level", "loud"], RCLError, "expected one of DEBUG"),
        (["--params-file", "/no/such.yaml"], RCLError, "cannot be read: No such file"),
        (["-p", "a:=[1, b]"], RCLError, "list of one type"),
    ],
)
def test_bad_arguments_are_explained(args: list[str], kind: type[Exception], reason: str) -> None:
    with pytest.raises(kind, match=reason):
        parse(["--ros-args", *args])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1.0", 1.0),
        ("true", True),
        ("yes", True),
        ("hello", "hello"),
        ("'1'", "1"),
        ("[1, 2]", [1, 2]),
        ("[a, b]", ["a", "b"]),
        ("[1, 2.5]", [1.0, 2.5]),
        ("", ""),
        ("a: b: c", "a: b: c"),
        ("person, car", "person, car"),
    ],
)
def test_values_are_yaml(text: str, value: Any) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("/**", "/a", True),
        ("/**", "/a/b/c", True),
        ("/a/*", "/a/b", True),
        ("/a/*", "/a/b/c", False),
        ("/**/c", "/a/b/c", True),
        ("/**/c", "/c", True),
        ("/a/**", "/a/b/c", True),
        ("/a", "/ab", False),
        ("/*", "/a", True),
        ("/*", "/a/b", False),
    ],
)
def test_patterns_of_parameter_files(pattern: str, name: str, fits: bool) -> None:
    assert node_matches(pattern, name) is fits


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("just text", "expected node names"),
        ("node:\n  ros__parameters:\n    a:\n", "a has no value"),
        ("node:\n  ros__parameters: 3\n", "holds no parameters"),
        ("node: 3\n", "expected 'ros__parameters:' below"),
        ("a: [", "is no YAML"),
    ],
)
def test_bad_parameter_files_are_explained(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(RCLError, match=reason):
        read_parameter_file(path)

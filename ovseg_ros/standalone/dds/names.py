"""How ROS names and types are spelled in DDS."""

from __future__ import annotations

import re

_MESSAGE = re.compile(r"^(\w+)::(\w+)::dds_::(\w+)_$")
_SERVICE = re.compile(r"^(\w+)::srv::dds_::(\w+)_(Request|Response)_$")


def topic(name: str) -> str:
    """`/a/b` -> `rt/a/b`."""
    return f"rt{name}"


def request(name: str) -> str:
    """`/s` -> `rq/sRequest`."""
    return f"rq{name}Request"


def reply(name: str) -> str:
    """`/s` -> `rr/sReply`."""
    return f"rr{name}Reply"


def ros_topic(dds_topic: str) -> str | None:
    """`rt/a/b` -> `/a/b`; None for anything that is no ROS topic."""
    return dds_topic[2:] if dds_topic.startswith("rt/") else None


def ros_service(dds_topic: str) -> tuple[str, str] | None:
    """`rq/sRequest` -> ("/s", "Request"); None for anything that is no ROS service."""
    for prefix, suffix in (("rq/", "Request"), ("rr/", "Reply")):
        if dds_topic.startswith(prefix) and dds_topic.endswith(suffix):
            return dds_topic[2 : -len(suffix)], suffix
    return None


def dds_type(ros_type: str) -> str:
    """`sensor_msgs/msg/Image` -> `sensor_msgs::msg::dds_::Image_`."""
    package, kind, short = ros_type.split("/")
    return f"{package}::{kind}::dds_::{short}_"


def ros_type(dds: str) -> str:
    """`sensor_msgs::msg::dds_::Image_` -> `sensor_msgs/msg/Image`; other spellings stay as they are."""
    match = _MESSAGE.match(dds)
    return "/".join(match.groups()) if match else dds


def ros_service_type(dds: str) -> str:
    """`std_srvs::srv::dds_::SetBool_Request_` -> `std_srvs/srv/SetBool`; other spellings stay as they are."""
    match = _SERVICE.match(dds)
    return f"{match[1]}/srv/{match[2]}" if match else dds

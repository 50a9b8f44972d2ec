"""Loggers, /rosout, clocks, times and durations."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from ovseg_ros.standalone.clock import Clock, ClockType, ROSClock
from ovseg_ros.standalone.duration import Duration, Infinite
from ovseg_ros.standalone.interfaces import message
from ovseg_ros.standalone.logging import LoggingSeverity, get_logger, set_logger_level
from ovseg_ros.standalone.qos import qos_profile_rosout_default
from ovseg_ros.standalone.time import Time


def test_lines_look_like_ros(capsys: pytest.CaptureFixture[str]) -> None:
    logger = get_logger("some.node")
    logger.info("hello")
    logger.warn("careful")
    assert not logger.debug("hidden")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"\[INFO\] \[\d{10}\.\d{9}\] \[some\.node\]: hello", lines[0])
    assert lines[1].startswith("[WARN] ")


def test_format_from_the_environment(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RCUTILS_CONSOLE_OUTPUT_FORMAT", "{severity}|{name}|{function_name}|{message}")
    get_logger("f").error("x")
    assert capsys.readouterr().err == "ERROR|f|test_format_from_the_environment|x\n"


def test_levels_are_inherited() -> None:
    child = get_logger("parent").get_child("child")
    assert child.name == "parent.child"
    assert child.get_effective_level() == LoggingSeverity.INFO
    set_logger_level("parent", LoggingSeverity.ERROR)
    assert not child.is_enabled_for(LoggingSeverity.WARN)
    child.set_level(LoggingSeverity.DEBUG)
    assert child.is_enabled_for(LoggingSeverity.DEBUG)
    set_logger_level("parent", LoggingSeverity.UNSET)


def test_once_skip_first_and_throttle() -> None:
    logger = get_logger("features")
    assert [logger.info("x", once=True) for _ in range(3)] == [True, False, False]
    assert [logger.info("x", skip_first=True) for _ in range(3)] == [False, True, True]
    shown = []
    for _ in range(6):
        shown.append(logger.info("x", throttle_duration_sec=0.2))
        time.sleep(0.06)
    assert shown[0] is True
    assert shown[1] is False
    assert sum(shown) == 2
    with pytest.raises(TypeError, match="'every' is no logging keyword"):
        logger.info("x", every=3)


def test_rosout_carries_lines_to_late_joiners(ros: Any) -> None:
    node = ros.node("speaker", namespace="/a")
    node.get_logger().error("early")
    heard: list[Any] = []
    node.create_subscription(message("rcl_interfaces/msg/Log"), "/rosout", heard.append, qos_profile_rosout_default)
    assert ros.spin_until(lambda: heard)
    node.get_logger().get_child("part").info("late")
    assert ros.spin_until(lambda: len(heard) == 2)
    first, second = heard
    assert (first.name, first.level, first.msg) == ("a.speaker", 40, "early")
    assert first.function == "test_rosout_carries_lines_to_late_joiners"
    assert first.file == __file__
    assert (second.name, second.msg) == ("a.speaker.part", "late")
    assert abs(Time.from_msg(first.stamp).nanoseconds - time.time_ns()) < 10**10


def test_rosout_can_be_switched_off(ros: Any) -> None:
    node = ros.node("silent", enable_rosout=False)
    assert "/rosout" not in [publisher.topic_name for publisher in node.publishers]
    other = ros.node("other", cli_args=["--disable-rosout-logs"])
    assert "/rosout" not in [publisher.topic_name for publisher in other.publishers]


def test_two_nodes_of_one_name_are_told(ros: Any, peer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ros.node("idle")
    peer("idle")
    assert ros.spin_until(lambda: "/idle" in capsys.readouterr().err, 5)


def test_durations() -> None:
    assert Duration(seconds=1.5).nanoseconds == 1_500_000_000
    assert Duration(seconds=1, nanoseconds=2) > Duration(seconds=1)
    assert Duration.from_msg(Duration(seconds=-1.25).to_msg()) == Duration(seconds=-1.25)
    assert str(Infinite) == "Infinite nanoseconds"
    with pytest.raises(OverflowError):
        Duration(seconds=10**10)
    with pytest.raises(TypeError):
        assert Duration() < 1  # type: ignore[operator]


def test_times() -> None:
    one = Time(seconds=1, nanoseconds=5)
    assert one.seconds_nanoseconds() == (1, 5)
    assert one + Duration(seconds=2) == Time(seconds=3, nanoseconds=5)
    assert one - Time(seconds=1) == Duration(nanoseconds=5)
    assert one - Duration(nanoseconds=5) == Time(seconds=1)
    assert Time.from_msg(one.to_msg(), ClockType.SYSTEM_TIME) == one
    with pytest.raises(TypeError, match="cannot compare times of SYSTEM_TIME and ROS_TIME"):
        assert one < Time(clock_type=ClockType.ROS_TIME)
    with pytest.raises(ValueError, match="negative"):
        Time(nanoseconds=-1)


def test_clocks() -> None:
    assert isinstance(Clock(clock_type=ClockType.ROS_TIME), ROSClock)
    steady = Clock(clock_type=ClockType.STEADY_TIME)
    before = steady.now()
    assert steady.sleep_for(Duration(seconds=0.05))
    assert 0.05 <= (steady.now() - before).nanoseconds / 1e9 < 1
    assert abs(Clock().now().nanoseconds - time.time_ns()) < 10**9
    assert ROSClock().now().clock_type is ClockType.ROS_TIME

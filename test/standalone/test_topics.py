"""Publishers and subscriptions, between processes and within one."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

from ovseg_ros.standalone.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from ovseg_ros.standalone.exceptions import InvalidHandle, InvalidTopicNameException
from ovseg_ros.standalone.interfaces import message
from ovseg_ros.standalone.qos import (
    DurabilityPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_best_available,
    qos_profile_sensor_data,
)
from ovseg_ros.standalone.serialization import serialize_message

String = message("std_msgs/msg/String")
Image = message("sensor_msgs/msg/Image")


def test_publishes_to_another_process(ros: Any, peer: Any) -> None:
    other = peer("listener", "chatter")
    node = ros.node("talker")
    publisher = node.create_publisher(String, "chatter", 10)
    assert ros.spin_until(lambda: publisher.get_subscription_count() == 1)
    for text in ("one", "zwei", "drei – ü"):
        publisher.publish(String(data=text))
    assert [other.line() for _ in range(3)] == ["one", "zwei", "drei – ü"]


def test_hears_another_process(ros: Any, peer: Any) -> None:
    peer("talker", "chatter")
    heard: list[str] = []
    node = ros.node("listener")
    subscription = node.create_subscription(String, "chatter", lambda msg: heard.append(msg.data), 10)
    assert ros.spin_until(lambda: len(heard) >= 10)
    assert [int(b) - int(a) for a, b in itertools.pairwise(heard)] == [1] * (len(heard) - 1)
    assert subscription.get_publisher_count() == 1


def test_publishes_ready_cdr_and_receives_it_raw(ros: Any) -> None:
    node = ros.node("raw")
    heard: list[tuple[bytes, dict[str, int]]] = []
    publisher = node.create_publisher(String, "chatter", 10)
    node.create_subscription(String, "chatter", lambda msg, info: heard.append((msg, info)), 10, raw=True)
    before = time.time_ns()
    publisher.publish(serialize_message(String(data="hello")))
    assert ros.spin_until(lambda: heard)
    assert heard[0][0] == serialize_message(String(data="hello"))
    assert before <= heard[0][1]["source_timestamp"] <= time.time_ns()


def test_image_crosses_whole_and_fast(ros: Any, peer: Any) -> None:
    other = peer("image_listener", "image")
    node = ros.node("camera")
    publisher = node.create_publisher(Image, "image", qos_profile_sensor_data)
    assert ros.spin_until(lambda: publisher.get_subscription_count() == 1)
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    ages = []
    took = []
    for _ in range(20):
        msg = Image(width=640, height=480, encoding="rgb8", step=1920, data=pixels)
        msg.header.stamp = node.get_clock().now().to_msg()
        start = time.perf_counter()
        publisher.publish(msg)
        took.append(time.perf_counter() - start)
        encoding, width, height, total, age = other.line()
        assert (encoding, width, height, total) == ("rgb8", 640, 480, int(pixels.astype(int).sum()))
        ages.append(age)
    # About 1 ms on an idle machine; per-element work would take 100 ms each time, a busy machine only now and then.
    assert min(took) < 0.03
    assert min(ages) < 0.06


def test_received_arrays_are_views_of_what_was_received(ros: Any) -> None:
    node = ros.node("views")
    heard: list[Any] = []
    publisher = node.create_publisher(Image, "image", 1)
    node.create_subscription(Image, "image", heard.append, 1)
    sent = np.arange(12, dtype=np.uint8)
    publisher.publish(Image(width=12, height=1, encoding="mono8", step=12, data=sent))
    assert ros.spin_until(lambda: heard)
    data = heard[0].data
    assert isinstance(data, np.ndarray)
    assert data.dtype == np.uint8
    assert not data.flags.owndata
    np.testing.assert_array_equal(data, sent)


def test_late_joiner_gets_what_was_latched(ros: Any, peer: Any) -> None:
    node = ros.node("latch")
    qos = QoSProfile(depth=2, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = node.create_publisher(String, "map", qos)
    for text in ("old", "last but one", "last"):
        publisher.publish(String(data=text))
    other = peer("latched_listener", "map")
    assert [other.line(), other.line()] == ["last but one", "last"]


def test_keep_last_drops_the_oldest(ros: Any) -> None:
    node = ros.node("newest")
    heard: list[str] = []
    publisher = node.create_publisher(String, "chatter", 10)
    node.create_subscription(String, "chatter", lambda msg: heard.append(msg.data), 1)
    for number in range(5):
        publisher.publish(String(data=str(number)))
    assert ros.spin_until(lambda: heard)
    ros.spin_for(0.1)
    assert heard == ["4"]


def test_incompatible_qos_is_told_to_both(ros: Any) -> None:
    node = ros.node("mismatch")
    told: dict[str, Any] = {}
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    pub_events = PublisherEventCallbacks(incompatible_qos=lambda e: told.__setitem__("pub", e))
    sub_events = SubscriptionEventCallbacks(incompatible_qos=lambda e: told.__setitem__("sub", e))
    publisher = node.create_publisher(String, "chatter", best_effort, event_callbacks=pub_events)
    node.create_subscription(String, "chatter", lambda msg: None, 1, event_callbacks=sub_events)
    assert ros.spin_until(lambda: len(told) == 2)
    for event in told.values():
        assert event.last_policy_kind == QoSPolicyKind.RELIABILITY
        assert (event.total_count, event.total_count_change) == (1, 1)
    assert publisher.get_subscription_count() == 0


def test_incompatible_qos_is_logged_by_default(ros: Any, capsys: pytest.CaptureFixture[str]) -> None:
    node = ros.node("mismatch")
    node.create_publisher(String, "chatter", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    node.create_subscription(String, "chatter", lambda msg: None, 1)
    ros.spin_for(0.3)
    printed = capsys.readouterr().err
    assert "[WARN]" in printed
    assert "offering incompatible QoS. No messages will be received" in printed
    assert "RELIABILITY" in printed


def test_matched_events_count_peers(ros: Any) -> None:
    node = ros.node("matched")
    counts: list[int] = []
    events = PublisherEventCallbacks(matched=lambda e: counts.append(e.current_count))
    publisher = node.create_publisher(String, "chatter", 1, event_callbacks=events)
    subscription = node.create_subscription(String, "chatter", lambda msg: None, 1)
    assert ros.spin_until(lambda: counts == [1])
    node.destroy_subscription(subscription)
    assert ros.spin_until(lambda: counts == [1, 0])
    assert publisher.get_subscription_count() == 0


def test_best_available_matches_what_is_there(ros: Any) -> None:
    node = ros.node("best")
    heard: list[Any] = []
    publisher = node.create_publisher(String, "chatter", qos_profile_sensor_data)
    assert ros.spin_until(lambda: node.count_publishers("chatter") == 1)
    made = node.create_subscription(String, "chatter", heard.append, qos_profile_best_available)
    assert made.qos_profile.reliability is ReliabilityPolicy.BEST_EFFORT
    publisher.publish(String(data="x"))
    assert ros.spin_until(lambda: heard)


def test_garbage_is_dropped_and_the_rest_goes_on(ros: Any, capsys: pytest.CaptureFixture[str]) -> None:
    node = ros.node("tough")
    heard: list[str] = []
    publisher = node.create_publisher(String, "chatter", 20)
    node.create_subscription(String, "chatter", lambda msg: heard.append(msg.data), 20)
    good = serialize_message(String(data="good"))
    for garbage in (
        b"\x00\x01\x00\x00\xff\xff\xff\xff",  # a string of 4 GB
        b"\x00\x01\x00\x00",  # nothing
        b"\x12\x34\x00\x00" + good[4:],  # an encapsulation nobody knows
        good[:9],  # cut off
        good + b"\x00" * 64,  # too long
        b"\x00\x01\x00\x00\x05\x00\x00\x00\xff\xfe\xfd\xfc\x00",  # no UTF-8
    ):
        try:
            publisher.publish(garbage)
        except RuntimeError:
            assert len(garbage) <= 4  # DDS itself refuses a sample without a byte
    publisher.publish(String(data="good"))
    assert ros.spin_until(lambda: heard == ["good"])
    assert "dropped a message on /chatter" in capsys.readouterr().err


def test_dying_subscriber_does_not_stop_the_publisher(ros: Any, peer: Any) -> None:
    other = peer("slow_listener", "image")
    node = ros.node("camera")
    publisher = node.create_publisher(Image, "image", 5)
    assert ros.spin_until(lambda: publisher.get_subscription_count() == 1)
    msg = Image(width=640, height=480, encoding="rgb8", step=1920, data=np.zeros(480 * 640 * 3, np.uint8))
    for _ in range(5):
        publisher.publish(msg)
    other.stop(signal.SIGKILL)
    start = time.monotonic()
    for _ in range(10):
        publisher.publish(msg)
    # A reliable writer may wait until the dead reader's lease (10 s) ends, but no longer, and Python goes on.
    assert time.monotonic() - start < 12


def test_publishing_from_many_threads(ros: Any) -> None:
    node = ros.node("threads")
    heard: list[str] = []
    publisher = node.create_publisher(String, "chatter", 1000)
    node.create_subscription(String, "chatter", lambda msg: heard.append(msg.data), 1000)

    def work(name: int) -> None:
        for number in range(50):
            publisher.publish(String(data=f"{name}.{number}"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    assert ros.spin_until(lambda: len(heard) == 200)
    for thread in threads:
        thread.join()
    assert sorted(heard) == sorted(f"{n}.{i}" for n in range(4) for i in range(50))


def test_errors_name_what_is_wrong(ros: Any) -> None:
    node = ros.node("wrong")
    publisher = node.create_publisher(String, "chatter", 1)
    with pytest.raises(TypeError, match=r"expected std_msgs/msg/String .* got <class 'str'>"):
        publisher.publish("hello")
    with pytest.raises(InvalidTopicNameException, match="must not contain repeated '/'"):
        node.create_publisher(String, "a//b", 1)
    with pytest.raises(TypeError, match="expected a message class"):
        node.create_publisher(str, "chatter", 1)
    with pytest.raises(TypeError, match="takes"):
        node.create_subscription(String, "chatter", lambda: None, 1)
    with pytest.raises(TypeError, match="depth"):
        node.create_publisher(String, "chatter", -1)
    assert node.destroy_publisher(publisher)
    assert not node.destroy_publisher(publisher)
    with pytest.raises(InvalidHandle, match="/chatter was destroyed"):
        publisher.publish(String())

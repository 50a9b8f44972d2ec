"""The node on the wire: it runs in a process of its own with a fake segmenter; the test is camera and subscriber."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ovseg_ros import ros

from .conftest import until

ANSWERS = [
    ([], "empty"),
    (["car", "car"], "twice"),
    (["car", "vehicle, Car"], "twice"),
    ([""], "empty word"),
    (["a" * 10_000], "10000 characters"),
    (["bell\x07"], "control"),
    (["line\nbreak"], "control"),
    ([f"word {i}" for i in range(5000)], "5000 classes are too many"),
    (["crash"], "the encoder broke"),
]


@pytest.fixture(scope="module")
def node(spawn_for_module):
    return spawn_for_module("node", ["--ros-args", "-p", "image_timeout:=1.0", "-p", "diagnostics_period:=0.2"])


def labels(mask) -> np.ndarray:
    kind = {"mono8": np.uint8, "mono16": np.uint16}[mask.encoding]
    return np.frombuffer(bytes(mask.data), kind).reshape(mask.height, mask.width)


def stream(peer, received, count=1, **send):
    """Send images until `count` more messages are in `received`; return those."""
    start = len(received)
    end = time.monotonic() + 60
    while len(received) < start + count:
        assert time.monotonic() < end, "nothing came"
        peer.send(**send)
        time.sleep(0.03)
    return received[start:]


def diagnostics(peer):
    """The latest status as a dictionary, `message` and `level` included."""
    received = peer.record(ros.DiagnosticArray, "/diagnostics")

    def latest() -> dict[str, str]:
        for message in reversed(received):
            for status in message.status:
                if "segmentation" in status.name:
                    values = {item.key: item.value for item in status.values}
                    return {**values, "message": status.message, "level": status.level, "name": status.name}
        return {}

    return latest


def test_masks_carry_the_header_and_the_size(peer, node):
    masks = peer.record(ros.Image, "/ovseg/mask")
    infos = peer.record(ros.LabelInfo, "/ovseg/label_info", peer.latched())
    peer.connect()
    stream(peer, masks)
    time.sleep(0.2)
    masks.clear()
    sent = peer.send(np.full((37, 53, 3), 9, np.uint8), name="the frame")
    mask = until(lambda: masks and masks[-1])
    assert mask.header == sent.header
    assert (mask.height, mask.width, mask.encoding, mask.step) == (37, 53, "mono8", 53)
    info = until(lambda: infos and infos[-1])
    names = [c.class_name for c in info.class_map]
    assert labels(mask)[0, 0] == 255
    assert (labels(mask)[1:] == len(names) - 1).all()


def test_outputs_agree(peer, node):
    outputs = {
        "mask": ros.Image,
        "confidence": ros.Image,
        "overlay": ros.Image,
        "detected_classes": ros.DetectedClasses,
        "detections": ros.Detection2DArray,
    }
    received = {name: peer.record(kind, f"/ovseg/{name}") for name, kind in outputs.items()}
    assert peer.set_words("sky", "road, street").success
    until(lambda: all(peer.node.count_publishers(f"/ovseg/{name}") for name in outputs))
    peer.connect()
    for name in outputs:
        stream(peer, received[name], name="x")
    time.sleep(0.3)
    for messages in received.values():
        messages.clear()
    sent = peer.send(name="agree")
    latest = {name: until(lambda m=messages: m and m[-1]) for name, messages in received.items()}
    assert all(message.header == sent.header for message in latest.values())
    assert latest["overlay"].encoding == "rgb8"
    assert latest["overlay"].height == sent.height
    assert set(bytes(latest["confidence"].data)) == {204}
    found = latest["detected_classes"].classes[0]
    assert (found.class_id, found.class_name) == (1, "road")
    assert found.confidence == pytest.approx(0.8)
    assert latest["detections"].detections[0].results[0].hypothesis.class_id == "road"


def test_points_come_with_depth_of_the_stamp(peer, node):
    clouds = peer.record(ros.PointCloud2, "/ovseg/points")
    depth = peer.node.create_publisher(ros.Image, "depth", ros.qos_profile_sensor_data)
    info = peer.node.create_publisher(ros.CameraInfo, "camera_info", ros.qos_profile_sensor_data)
    peer.connect(masks=False)
    until(lambda: depth.get_subscription_count() and info.get_subscription_count())
    end = time.monotonic() + 60
    while not clouds and time.monotonic() < end:
        stamp = peer.node.get_clock().now().to_msg()
        message = ros.Image(height=48, width=64, encoding="32FC1", step=256)
        message.header.stamp = stamp
        message.data = np.full((48, 64), 2.0, "<f4").tobytes()
        depth.publish(message)
        info.publish(ros.CameraInfo(k=np.array([50.0, 0, 32, 0, 50, 24, 0, 0, 1])))
        time.sleep(0.03)
        sent = peer.send()
        sent.header.stamp = stamp
        peer.images.publish(sent)
        time.sleep(0.05)
    points = np.frombuffer(bytes(clouds[-1].data), np.float32).reshape(48, 64, -1)
    assert (points[..., 2] == 2.0).all()
    assert points[0, 0, 0] == pytest.approx(-32 / 50 * 2)


def test_vocabulary_past_254_classes_is_16_bit(peer, node):
    masks = peer.record(ros.Image, "/ovseg/mask")
    peer.connect()
    assert peer.set_words(*[f"word {i}" for i in range(300)]).success
    mask = stream(peer, masks, 5)[-1]
    assert mask.encoding == "mono16"
    assert labels(mask)[0, 0] == 65535
    assert labels(mask)[1, 1] == 299


def test_service_answers_and_parameter_agree(peer, node):
    response = peer.set_words("person, human", "Gabelstapler", "行人")
    assert response.success
    assert list(response.classes) == ["person, human", "Gabelstapler", "行人"]
    got = peer.call(ros.GetVocabulary, "get_vocabulary", ros.GetVocabulary.Request())
    assert list(got.classes) == list(response.classes)
    assert got.version == response.version
    assert got.model
    assert list(got.templates) == ["{}"]
    assert all(np.isnan(got.thresholds))
    assert shown(peer) == list(response.classes)


def test_templates_and_thresholds_of_the_service(peer, node):
    assert peer.set_words("a", "b", templates=["photo of {}"], thresholds=[0.5, float("nan")]).success
    got = peer.call(ros.GetVocabulary, "get_vocabulary", ros.GetVocabulary.Request())
    assert list(got.templates) == ["photo of {}"]
    assert got.thresholds[0] == 0.5
    assert np.isnan(got.thresholds[1])
    assert got.background == ""
    assert peer.set_words("a", "b, rest", background="b").success
    got = peer.call(ros.GetVocabulary, "get_vocabulary", ros.GetVocabulary.Request())
    assert got.background == "b"
    assert not peer.set_words("a", "b", background="rest").success
    assert not peer.set_words("a", "b", thresholds=[0.5]).success
    assert not peer.set_words("a", "b", templates=["no place"]).success


@pytest.mark.parametrize(("words", "text"), ANSWERS, ids=lambda value: value if isinstance(value, str) else "")
def test_bad_words_are_refused_with_a_sentence(peer, node, words, text):
    before = peer.set_words("sky", "road")
    response = peer.set_words(*words)
    assert not response.success
    assert text in response.message
    assert len(response.message) < 400
    assert list(response.classes) == ["sky", "road"]
    assert response.version == before.version
    assert shown(peer) == ["sky", "road"]


def parameter_service(name: str):
    from ovseg_ros.standalone.interfaces import service

    if ros.backend() == "standalone":
        return service(f"rcl_interfaces/srv/{name}")
    import rcl_interfaces.srv

    return getattr(rcl_interfaces.srv, name)


def shown(peer, name: str = "vocabulary") -> list[str]:
    kind = parameter_service("GetParameters")
    return list(peer.call(kind, "/ovseg/get_parameters", kind.Request(names=[name])).values[0].string_array_value)


def put(peer, **values):
    kind = parameter_service("SetParameters")
    parameters = [ros.Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    return peer.call(kind, "/ovseg/set_parameters", kind.Request(parameters=parameters)).results[0]


def test_vocabulary_as_parameter(peer, node):
    version = peer.set_words("sky").version
    assert put(peer, vocabulary=["floor", "pallet, skid"]).successful
    got = peer.call(ros.GetVocabulary, "get_vocabulary", ros.GetVocabulary.Request())
    assert (list(got.classes), got.version) == (["floor", "pallet, skid"], version + 1)
    result = put(peer, vocabulary=["floor", "floor"])
    assert not result.successful
    assert "twice" in result.reason
    assert shown(peer) == ["floor", "pallet, skid"]


def test_live_threshold_is_announced(peer, node):
    infos = peer.record(ros.LabelInfo, "/ovseg/label_info", peer.latched())
    assert put(peer, threshold=0.75).successful
    until(lambda: infos and infos[-1].threshold == pytest.approx(0.75))
    assert not put(peer, threshold=1.5).successful
    assert put(peer, threshold=0.0).successful
    until(lambda: infos[-1].threshold == 0)


def test_label_info_for_late_joiners_without_frames(peer, node):
    version = peer.set_words("alpha", "beta")
    assert version.success
    infos = peer.record(ros.LabelInfo, "/ovseg/label_info", peer.latched())
    until(lambda: infos and [c.class_name for c in infos[-1].class_map] == ["alpha", "beta"])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"data": b""}, "empty"),
        ({"height": 0}, "size"),
        ({"step": 1}, "step"),
        ({"data": bytes(100)}, "truncated"),
        ({"encoding": "h265"}, "encoding"),
        ({"encoding": "32FC1"}, "encoding"),
        ({"height": 16384, "width": 16384, "step": 49152, "data": bytes(10)}, "size"),
        ({"data": bytes([13] * 48 * 64 * 3)}, "engine"),
        ({"data": bytes([14] * 48 * 64 * 3)}, "internal"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_frames_are_dropped_and_counted_by_reason(peer, node, fields, reason):
    masks, latest = peer.record(ros.Image, "/ovseg/mask"), diagnostics(peer)
    peer.connect()
    stream(peer, masks)
    before = int(until(latest).get(f"dropped: {reason}", 0))
    end = time.monotonic() + 60
    while int(latest().get(f"dropped: {reason}", 0)) == before:
        assert time.monotonic() < end, latest()
        peer.send(name="bad", **fields)
        time.sleep(0.03)
    if reason != "internal":  # the others come again and again, until diagnostics complain
        until(lambda: peer.send(name="bad", **fields) and "none could be used" in latest()["message"])
    assert node.process.poll() is None
    stream(peer, masks)  # the node goes on
    assert not any(mask.header.frame_id == "bad" for mask in masks)


def test_lazy_outputs(peer, node):
    """Without subscribers frames are counted and not segmented; label_info alone asks for none."""
    latest = diagnostics(peer)
    peer.record(ros.LabelInfo, "/ovseg/label_info", peer.latched())
    peer.connect(masks=False)
    before = int(until(latest).get("dropped: no subscriber", 0))
    end = time.monotonic() + 60
    while int(latest().get("dropped: no subscriber", 0)) < before + 5:
        assert time.monotonic() < end, latest()
        peer.send()
        time.sleep(0.03)
    until(lambda: latest()["message"].startswith("idle"))


def test_a_stream_that_stops_is_explained_and_returns(peer, node):
    masks, latest = peer.record(ros.Image, "/ovseg/mask"), diagnostics(peer)
    peer.connect()
    stream(peer, masks)
    until(lambda: latest().get("message", "").endswith("fps"))
    until(lambda: "no image for" in latest()["message"])
    assert "/peer is there and sends nothing" in latest()["message"]
    peer.node.destroy_publisher(peer.images)
    until(lambda: "no publisher" in latest()["message"])
    peer.images = peer.node.create_publisher(ros.Image, "image", 5)
    peer.connect()
    stream(peer, masks, 3)
    until(lambda: latest()["message"].endswith("fps"))


def test_stamps_that_jump_back_stall_nothing(peer, node):
    masks = peer.record(ros.Image, "/ovseg/mask")
    peer.connect()
    assert put(peer, max_rate=50).successful
    stream(peer, masks, 3)
    message = peer.send()
    message.header.stamp.sec, message.header.frame_id = 12, "old"
    end = time.monotonic() + 60
    while not any(mask.header.frame_id == "old" for mask in masks):
        assert time.monotonic() < end
        peer.images.publish(message)
        time.sleep(0.03)
    stream(peer, masks, 3)
    assert put(peer, max_rate=0.0).successful


def test_max_rate(peer, node):
    masks = peer.record(ros.Image, "/ovseg/mask")
    peer.connect()
    stream(peer, masks)
    assert put(peer, max_rate=5.0).successful
    time.sleep(0.3)
    masks.clear()
    end = time.monotonic() + 2
    while time.monotonic() < end:
        peer.send()
        time.sleep(0.02)
    assert put(peer, max_rate=0.0).successful
    assert 7 <= len(masks) <= 13


def test_nothing_was_a_traceback(node):
    assert node.process.poll() is None
    assert "Traceback" not in node.text

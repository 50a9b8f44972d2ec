"""The node's process: how it starts, ends, keeps its size, and gets along with cameras, subscribers and twins."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from ovseg_ros import ros

from .conftest import until

QUICK = ["--ros-args", "-p", "image_timeout:=1.0", "-p", "diagnostics_period:=0.2"]


@pytest.mark.parametrize(("number", "busy"), [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, True)])
def test_signals_end_it_cleanly(spawn, peer, number, busy):
    node = spawn("node", delay=0.05)
    until(lambda: "ready after" in node.text)
    if busy:
        masks = peer.record(ros.Image, "/ovseg/mask")
        camera = spawn("camera", rate=60, frames=600)
        until(lambda: len(masks) > 3)
    started = time.monotonic()
    assert node.end(number) == 0
    assert time.monotonic() - started < 10
    assert "Traceback" not in node.text
    assert "Error" not in node.text
    if busy:
        camera.process.kill()


def test_signals_that_come_twice_and_while_loading(spawn, peer):
    node = spawn("node", load_delay=3.0)
    until(lambda: peer.node.count_publishers("/ovseg/mask"))
    time.sleep(0.3)
    assert "ready after" not in node.text
    node.process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    assert node.end(signal.SIGINT) == 0
    assert "Traceback" not in node.text


@pytest.mark.parametrize(
    ("options", "arguments", "code", "text"),
    [
        ({"fail": "model"}, [], 2, "unknown model 'nonesuch'; known are mini and street"),
        ({"fail": "bug"}, [], 1, "KeyError: 'a bug'"),
        ({}, ["--ros-args", "-p", "threshold:=2.0"], 2, "threshold"),
        ({}, ["--ros-args", "-p", "image_reliability:=maybe"], 2, "auto or best_effort or reliable"),
        ({}, ["--ros-args", "--no-such-flag"], 2, "no-such-flag"),
    ],
    ids=["model", "bug", "range", "choice", "flag"],
)
def test_bad_starts_end_with_a_sentence(spawn, options, arguments, code, text):
    node = spawn("node", arguments, **options)
    assert node.process.wait(90) == code
    assert text in node.text
    assert "Traceback" not in node.text


def test_visible_while_the_model_loads(spawn, peer):
    node = spawn("node", load_delay=3.0)
    masks = peer.record(ros.Image, "/ovseg/mask")
    client = peer.node.create_client(ros.SetVocabulary, "set_vocabulary")
    assert client.wait_for_service(60)
    assert "ready after" not in node.text
    assert peer.set_words("early", "bird").success  # waits for the model
    end = time.monotonic() + 60
    while not masks and time.monotonic() < end:
        peer.send()
        time.sleep(0.03)
    assert masks


def test_a_build_tells_of_its_progress_and_ends_with_the_node(spawn, peer):
    node = spawn("node", QUICK, building=True)
    received = peer.record(ros.DiagnosticArray, "/diagnostics")

    def told() -> bool:
        messages = [status.message for array in received for status in array.status]
        return any("loading the model mini: compile, " in text and " of 600" in text for text in messages)

    until(told)
    started = time.monotonic()
    assert node.end(signal.SIGINT) == 0
    assert time.monotonic() - started < 10
    assert "Traceback" not in node.text


def test_newest_frame_wins_over_the_wire(spawn, peer):
    """A camera of 50 Hz and an engine of 100 ms: masks are few, in order and never much older than one of its runs."""
    spawn("node", QUICK, delay=0.1)
    masks: list[tuple[float, int]] = []

    def note(mask) -> None:
        masks.append((time.monotonic(), int(mask.header.frame_id)))

    peer.node.create_subscription(ros.Image, "/ovseg/mask", note, 10)
    until(lambda: peer.node.count_publishers("/ovseg/mask"))
    camera = spawn("camera", rate=50, frames=150, settle=0.5, size=[120, 160])
    camera.process.wait(90)
    sent = json.loads(camera.text.splitlines()[-1])
    numbers = [number for _, number in masks]
    assert numbers == sorted(set(numbers))
    assert 15 <= len(masks) <= 32
    ages = [arrived - sent[number] for arrived, number in masks]
    assert np.median(ages) < 0.3
    assert max(ages) < 0.8  # a queue of the 150 frames would be seconds old


def test_new_words_under_flow_drop_and_mix_nothing(spawn, peer):
    """Each mask has the number of classes of the label_info before it; masks flow while words are encoded for 1 s."""
    spawn("node", QUICK, delay=0.01, encode_delay=1.0)
    events: list[tuple[str, int, float]] = []
    masks: list[int] = []

    def on_mask(mask) -> None:
        masks.append(int(mask.header.frame_id))
        events.append(("mask", bytes(mask.data[-1:])[0] + 1, time.monotonic()))

    def on_info(info) -> None:
        events.append(("info", len(info.class_map), time.monotonic()))

    peer.node.create_subscription(ros.Image, "/ovseg/mask", on_mask, 10)
    peer.node.create_subscription(ros.LabelInfo, "/ovseg/label_info", on_info, peer.latched())
    until(lambda: peer.node.count_publishers("/ovseg/mask"))
    camera = spawn("camera", rate=20, frames=1000, settle=1.5, size=[120, 160])
    until(lambda: len(masks) > 10)
    begun, delays = len(events), []
    for count in (3, 20, 5):
        started = time.monotonic()
        assert peer.set_words(*[f"word {i}" for i in range(count)]).success
        until(lambda n=count: events[-1][:2] == ("mask", n))
        first = next(at for kind, n, at in events if kind == "mask" and n == count)
        delays.append(first - started)
    camera.process.kill()
    assert masks == sorted(set(masks))
    times = [at for kind, _, at in events[begun:] if kind == "mask"]
    assert max(np.diff(times)) < 0.8  # the encoder never held a frame up
    in_force = None
    for kind, count, _ in events:
        if kind == "info":
            in_force = count
        assert count == in_force
    assert min(delays) < 1.5  # the encoder's 1 s, one frame of 50 ms, the engine's 10 ms, the client's own discovery


@pytest.mark.parametrize(
    ("wish", "camera"), [("auto", "reliable"), ("auto", "best_effort"), ("reliable", "best_effort")]
)
def test_every_camera_is_heard(spawn, peer, wish, camera):
    node = spawn("node", [*QUICK, "-p", f"image_reliability:={wish}"])
    masks = peer.record(ros.Image, "/ovseg/mask")
    until(lambda: peer.node.count_publishers("/ovseg/mask"))
    spawn("camera", reliability=camera, rate=20, frames=300, size=[48, 64])
    until(lambda: len(masks) > 5)
    said = "can't hear; subscribing best effort" in node.text
    assert said == (wish == "reliable" and camera == "best_effort")
    assert "Traceback" not in node.text


def test_compressed_where_nothing_else_is_published(spawn, peer):
    spawn("node", [*QUICK, "-r", "image:=/front/image_raw"])
    masks = peer.record(ros.Image, "/ovseg/mask")
    images = peer.node.create_publisher(ros.CompressedImage, "/front/image_raw/compressed", 5)
    data = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
    end = time.monotonic() + 60
    while len(masks) < 3:
        assert time.monotonic() < end
        message = ros.CompressedImage(format="rgb8; jpeg compressed bgr8")
        message.data, message.header.frame_id = data, "squeezed"
        images.publish(message)
        time.sleep(0.05)
    assert (masks[-1].height, masks[-1].width, masks[-1].header.frame_id) == (48, 64, "squeezed")


def test_two_nodes_of_one_name_are_told(spawn):
    first, second = spawn("node", QUICK), spawn("node", QUICK)
    until(lambda: "2 nodes are called /ovseg" in first.text and "2 nodes are called /ovseg" in second.text)
    assert first.end(signal.SIGINT) == 0
    assert second.end(signal.SIGINT) == 0


def test_a_wrong_topic_gets_a_hint(spawn, peer):
    node = spawn("node", [*QUICK, "-r", "image:=/camera"])
    peer.node.create_publisher(ros.Image, "/front/image_raw", 5)
    peer.node.create_publisher(ros.LabelInfo, "/other", 5)
    until(lambda: "no image for" in node.text)
    assert "on /camera: no publisher; is the camera running (there are images on" in node.text
    assert "/front/image_raw" in node.text
    wrong = spawn("node", [*QUICK, "-r", "image:=/other", "-r", "__node:=wrong"])
    until(lambda: "sends vision_msgs/msg/LabelInfo, not sensor_msgs/msg/Image" in wrong.text)


def resident(child) -> float:
    """MiB of memory that a process holds."""
    fields = Path(f"/proc/{child.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in fields if line.startswith("VmRSS")) / 1024


def test_memory_is_steady_and_dying_subscribers_change_nothing(spawn, peer):
    node = spawn("node", QUICK)
    masks = peer.record(ros.Image, "/ovseg/mask")
    detected = peer.record(ros.DetectedClasses, "/ovseg/detected_classes")
    peer.connect()
    pixels = np.zeros((240, 320, 3), np.uint8)

    def run(frames: int) -> None:
        target = len(masks) + frames
        while len(masks) < target:
            peer.send(pixels)
            time.sleep(0.004)

    run(150)
    before = resident(node)
    for index in range(2):
        dying = spawn("subscriber")
        while "hears" not in dying.text:
            run(2)
        dying.process.send_signal(signal.SIGKILL)
        peer.set_words(*[f"w {index} {i}" for i in range(50)])
        run(150)
    assert detected
    assert resident(node) - before < 8  # each frame is 0.25 MiB; 300 leaked would be 75
    assert node.process.poll() is None
    assert node.end(signal.SIGTERM) == 0

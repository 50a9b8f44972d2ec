"""What the demo watches with: a node that pairs images, truths and masks by their stamps, scores and draws them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros import ros
from ovseg_ros.cli.services import wait_for_node
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.metrics import Confusion
from ovseg_ros.palette import overlay
from ovseg_ros.ros.messages import to_rgb
from ovseg_ros.segmentation import Segmentation
from ovseg_ros.vocabulary import Vocabulary

Stamp = tuple[int, int]
PARTS = ("image", "truth", "mask", "classes")
SHEET_TILES = 12


class Monitor:
    """Subscribes to a camera and a node, and keeps the score.

    Args:
        namespace: of node and camera.
        first, second: words for the truth's classes, before and after the change.
        out: folder for video and contact sheet.
        fps: of the video.
    """

    def __init__(self, namespace: str, first: Sequence[str], second: Sequence[str], out: Path, fps: float) -> None:
        self._vocabularies = (Vocabulary.parse(first), Vocabulary.parse(second))
        self._scores = (Confusion(len(first)), Confusion(len(first)))
        self._out, self._fps = out, fps
        self._writer: cv2.VideoWriter | None = None
        self._tiles: list[NDArray[np.uint8]] = []
        self._waiting: dict[Stamp, dict[str, Any]] = {}
        self._latencies: list[float] = []
        self._arrivals: list[float] = []
        self._first_version: int | None = None
        self._refusal = ""
        self.finished = 0
        self.changed = False
        self.change_ms = float("nan")
        self.node = ros.Node("demo_monitor")
        qos = ros.QoSProfile(depth=50)
        topics = {
            "image": (ros.Image, f"{namespace}/camera/image_raw"),
            "truth": (ros.Image, f"{namespace}/camera/truth"),
            "mask": (ros.Image, f"{namespace}/ovseg/mask"),
            "classes": (ros.DetectedClasses, f"{namespace}/ovseg/detected_classes"),
        }
        for part, (kind, topic) in topics.items():
            self.node.create_subscription(kind, topic, lambda m, part=part: self._take(part, m), qos)
        self._set_words = self.node.create_client(ros.SetVocabulary, f"{namespace}/set_vocabulary")
        self._get_words = self.node.create_client(ros.GetVocabulary, f"{namespace}/get_vocabulary")
        self._executor = ros.SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def spin_once(self) -> None:
        """Take what has come.

        Raises:
            OvsegError: when the node has refused the second words.
        """
        self._executor.spin_once(timeout_sec=0.2)
        if self._refusal:
            raise OvsegError(self._refusal)

    def wait_for_node(self, seconds: float, process: subprocess.Popen[bytes]) -> None:
        """Wait until the node has its words; see `services.wait_for_node`."""
        wait_for_node(self._executor, self._get_words, seconds, process)

    def change_words(self) -> None:
        """Ask for the second words; frames go on meanwhile."""
        start = time.perf_counter()
        self.changed = True
        future = self._set_words.call_async(ros.SetVocabulary.Request(classes=list(self._vocabularies[1].entries)))

        def answered(done: Any) -> None:
            self.change_ms = (time.perf_counter() - start) * 1e3
            if not done.result().success:
                self._refusal = f"the node refused the second words: {done.result().message}"

        future.add_done_callback(answered)

    def line(self) -> str:
        """Frames a second and both scores, for the progress bar."""
        scores = [f"{score.miou():.2f}" for score in self._scores if score.matrix.any()]
        return f"{self._rate():.1f} fps, mIoU {' -> '.join(scores)}"

    def report(self, frames: int) -> dict[str, Any]:
        """The demo's report; times in milliseconds."""
        latencies = np.array(self._latencies or [float("nan")]) * 1e3
        return {
            "frames": frames,
            "received": self.finished,
            "dropped": frames - self.finished,
            "fps": round(self._rate(), 2),
            "latency_p50_ms": round(float(np.percentile(latencies, 50)), 1),
            "latency_p95_ms": round(float(np.percentile(latencies, 95)), 1),
            "miou_first_words": round(self._scores[0].miou(), 4),
            "miou_second_words": round(self._scores[1].miou(), 4),
            "change_of_words_ms": round(self.change_ms, 1),
            "first_words": list(self._vocabularies[0].entries),
            "second_words": list(self._vocabularies[1].entries),
        }

    def close(self) -> None:
        """Finish the video and write the contact sheet."""
        if self._writer is not None:
            self._writer.release()
        if self._tiles:
            tiles = [self._tiles[i] for i in np.linspace(0, len(self._tiles) - 1, SHEET_TILES).astype(int)]
            rows = [np.hstack(tiles[i : i + 3]) for i in range(0, SHEET_TILES, 3)]
            cv2.imwrite(str(self._out / "contact_sheet.png"), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))

    def _take(self, part: str, message: Any) -> None:
        stamp = message.header.stamp
        key = (stamp.sec, stamp.nanosec)
        if part == "mask":
            now = self.node.get_clock().now().nanoseconds
            self._latencies.append((now - (stamp.sec * 1_000_000_000 + stamp.nanosec)) / 1e9)
            self._arrivals.append(time.monotonic())
        parts = self._waiting.setdefault(key, {})
        parts[part] = message
        if len(parts) == len(PARTS):
            del self._waiting[key]
            self._score(**parts)
        while len(self._waiting) > 64:  # frames that the node dropped never get their mask
            del self._waiting[min(self._waiting)]

    def _score(self, image: Any, truth: Any, mask: Any, classes: Any) -> None:
        if self._first_version is None:
            self._first_version = classes.vocabulary_version
        phase = int(classes.vocabulary_version > self._first_version)
        shape = (mask.height, mask.width)
        labels = np.frombuffer(mask.data, np.uint8).reshape(shape)
        self._scores[phase].add(np.frombuffer(truth.data, np.uint8).reshape(shape), labels)
        vocabulary = self._vocabularies[phase]
        segmentation = Segmentation(labels, np.full(shape, 255, np.uint8), vocabulary)
        self._draw(overlay(to_rgb(image), segmentation, 0.55))
        self.finished += 1

    def _draw(self, picture: NDArray[np.uint8]) -> None:
        if self._writer is None:
            size = (picture.shape[1], picture.shape[0])
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._out / "overlay.mp4"), code, self._fps, size)
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        if self.finished % 5 == 0:
            small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            self._tiles.append(small.astype(np.uint8))

    def _rate(self) -> float:
        recent = self._arrivals
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0

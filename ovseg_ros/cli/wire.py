"""`ovseg bench --wire`: the node on the wire, from camera stamp to mask in another process."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ovseg_ros.cli import camera
from ovseg_ros.cli.children import start_node, stop
from ovseg_ros.errors import OvsegError

NAMESPACE = "/bench"
FIRST_WORDS = ("floor", "wall", "chair", "table", "box", "person", "door", "window", "plant", "lamp")
CHANGED_WORDS = (
    "ground", "cup", "bottle", "bowl", "plate", "apple", "banana", "book", "laptop", "clock", "shelf", "pallet",
    "forklift", "barrel", "ladder", "crate", "bed", "sofa", "ceiling", "picture",
)  # fmt: skip
WARM_UP = 30  # frames before anything is counted


def configure(parser: argparse._ArgumentGroup) -> None:
    """Declare the drive."""
    parser.add_argument("--wire", action="store_true", help="time the node with a camera of its own instead")
    parser.add_argument("--frames", type=int, default=600, help="frames to send, %(default)s by default")
    parser.add_argument("--fps", type=float, default=30.0, help="of the camera")


@dataclass(frozen=True)
class Drive:
    """What to measure: a model, and the camera's images (pixels) and their rate."""

    model: str
    height: int
    width: int
    frames: int
    fps: float


def run(drive: Drive, *, as_json: bool) -> int:
    """Start node and replayed camera, measure, change 20 words half way, print."""
    if drive.frames < 4 * WARM_UP:
        raise OvsegError(f"--frames {drive.frames} is too few; at least {4 * WARM_UP}")
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    from ovseg_ros import ros

    arguments = ["--topic", f"{NAMESPACE}/image", "--frames", str(drive.frames), "--fps", str(drive.fps)]
    arguments += ["--width", str(drive.width), "--height", str(drive.height), "--replay", "24"]
    children: list[subprocess.Popen[bytes]] = []
    ros.rclpy.init(args=[])
    try:
        probe = Probe(drive)
        children.append(start_node(NAMESPACE, f"{NAMESPACE}/image", FIRST_WORDS, model=drive.model))
        probe.wait_for_node(90.0, children[0])
        children.append(subprocess.Popen(camera.command([*arguments, "--subscribers", "1", "--wait", "60"])))
        probe.watch(children[0], children[1], quiet=as_json)
    finally:
        for child in children:
            stop(child)
        ros.rclpy.try_shutdown()
    report = probe.report()
    print(json.dumps(report, indent=2) if as_json else "\n".join(f"{k:28s}{v}" for k, v in report.items()))
    return 0


class Probe:
    """Subscribes to the node's masks, counts, and times them."""

    def __init__(self, drive: Drive) -> None:
        from ovseg_ros import ros

        self._drive = drive
        self._latencies: list[float] = []
        self._arrivals: list[float] = []
        self._stamps: list[float] = []
        self._announced = False
        self._diagnostics: list[dict[str, str]] = []
        self._memory_mb: list[float] = []
        self._asked = self._in_force = float("nan")
        self._node = ros.Node("bench_probe")
        self._executor = ros.SingleThreadedExecutor()
        self._executor.add_node(self._node)
        base = f"{NAMESPACE}/ovseg"
        self._node.create_subscription(ros.Image, f"{base}/mask", self._on_mask, ros.QoSProfile(depth=50))
        qos = ros.QoSProfile(depth=50)
        self._node.create_subscription(ros.LabelInfo, f"{base}/label_info", self._on_label_info, qos)
        self._node.create_subscription(ros.DiagnosticArray, "/diagnostics", self._on_diagnostics, qos)
        self._set_words = self._node.create_client(ros.SetVocabulary, f"{NAMESPACE}/set_vocabulary")
        self._get_words = self._node.create_client(ros.GetVocabulary, f"{NAMESPACE}/get_vocabulary")

    def wait_for_node(self, seconds: float, process: subprocess.Popen[bytes]) -> None:
        """Wait until the model is loaded; see `services.wait_for_node`."""
        from ovseg_ros.cli.services import wait_for_node

        wait_for_node(self._executor, self._get_words, seconds, process)

    def watch(self, node: subprocess.Popen[bytes], source: subprocess.Popen[bytes], *, quiet: bool) -> None:
        """Take masks until the camera is done."""
        from ovseg_ros import ros

        half = self._drive.frames // 2
        with tqdm(total=self._drive.frames, unit="frame", disable=quiet) as bar:
            while source.poll() is None:
                self._executor.spin_once(timeout_sec=0.2)
                bar.update(len(self._arrivals) - bar.n)
                if len(self._arrivals) >= half and np.isnan(self._asked):
                    self._asked = time.monotonic()
                    self._set_words.call_async(ros.SetVocabulary.Request(classes=list(CHANGED_WORDS)))
                if len(self._arrivals) >= len(self._memory_mb) * 50 + WARM_UP:
                    self._memory_mb.append(resident_mb(node.pid))

    def report(self) -> dict[str, Any]:
        """Everything measured, times in milliseconds."""
        sent, got = self._drive.frames, len(self._arrivals)
        latencies = np.array(self._latencies[WARM_UP:]) * 1e3
        seconds = self._arrivals[-1] - self._arrivals[WARM_UP]
        busy = [d for d in self._diagnostics if d.get("engine ms", "n/a") != "n/a"]
        engine, total = ([float(d[key]) for d in busy] for key in ("engine ms", "total ms"))
        return {
            "model": self._drive.model,
            "size": f"{self._drive.width}x{self._drive.height}",
            "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
            "camera_fps": self._drive.fps,
            "fps": round((got - WARM_UP - 1) / seconds, 2),
            "frames": sent,
            "masks": got,
            "missing": sent - got,
            "missing_after_warm_up": int(np.rint(np.diff(self._stamps[WARM_UP:]) * self._drive.fps - 1).clip(0).sum()),
            "latency_p50_ms": round(float(np.percentile(latencies, 50)), 2),
            "latency_p95_ms": round(float(np.percentile(latencies, 95)), 2),
            "latency_p99_ms": round(float(np.percentile(latencies, 99)), 2),
            "engine_ms": round(float(np.median(engine)), 2) if engine else None,
            "outside_engine_share": round(1 - float(np.median(engine) / np.median(total)), 3) if engine else None,
            "words_in_force_ms": round((self._in_force - self._asked) * 1e3, 1),
            "node_memory_mb": [round(m, 1) for m in (self._memory_mb[0], max(self._memory_mb), self._memory_mb[-1])],
        }

    def _on_mask(self, message: Any) -> None:
        now = self._node.get_clock().now().nanoseconds
        stamp = message.header.stamp
        self._latencies.append((now - stamp.sec * 1_000_000_000 - stamp.nanosec) / 1e9)
        self._stamps.append(stamp.sec + stamp.nanosec * 1e-9)
        self._arrivals.append(time.monotonic())
        if self._announced and np.isnan(self._in_force):
            self._in_force = self._arrivals[-1]

    def _on_label_info(self, message: Any) -> None:
        # it comes before the first mask that uses the words
        self._announced = [c.class_name for c in message.class_map] == list(CHANGED_WORDS)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            self._diagnostics.append({item.key: item.value for item in status.values})


def resident_mb(pid: int) -> float:
    """Resident memory of a process, MB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")

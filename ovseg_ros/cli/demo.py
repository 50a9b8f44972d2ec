"""`ovseg demo`: camera and node as two processes that talk over DDS, watched and scored by a third."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ovseg_ros.cli import camera
from ovseg_ros.cli.children import start_node, stop
from ovseg_ros.errors import OvsegError

READY_SECONDS = 90.0  # for the node to load its model, the first time with building the engine
STALL_SECONDS = 20.0  # without a mask before the demo gives up
NAMESPACE = "/demo"


class DemoError(OvsegError):
    """The demo could not run."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--frames", type=int, default=240, help="frames of the drive")
    parser.add_argument("--fps", type=float, default=8.0, help="frames a second")
    parser.add_argument("--seed", type=int, default=camera.DEFAULT_SEED, help="of the first scene")
    parser.add_argument("--scene-seconds", type=float, default=6.0, help="change to the next scene this often")
    parser.add_argument("--model", default="mini", help="model name (see `ovseg models`)")
    parser.add_argument("--threshold", type=float, default=0.0, help="confidence under which pixels stay unlabelled")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Start both processes, watch, change the words half way, write video, contact sheet and report."""
    if options.frames < 4 or options.fps <= 0:
        raise DemoError("--frames must be at least 4 and --fps above 0")
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    from ovseg_ros import ros
    from ovseg_ros.cli.monitor import Monitor
    from ovseg_ros.sim import KINDS

    first = list(KINDS)
    second = [(kind.held_out_synonyms or (name,))[0] for name, kind in KINDS.items()]
    options.out.mkdir(parents=True, exist_ok=True)
    processes: list[subprocess.Popen[bytes]] = []
    ros.rclpy.init(args=[])
    try:
        monitor = Monitor(NAMESPACE, first, second, options.out, options.fps)
        print(f"node: model {options.model}, {len(first)} words; camera: {options.frames} frames", file=sys.stderr)
        image = f"{NAMESPACE}/camera/image_raw"
        settings = {"model": options.model, "threshold": options.threshold}
        processes.append(start_node(NAMESPACE, image, first, **settings))
        monitor.wait_for_node(READY_SECONDS, processes[0])
        processes.append(_start_camera(options))
        _watch(monitor, options, processes)
        codes = [stop(process) for process in processes]
        report = monitor.report(options.frames) | {"model": options.model, "exit_codes": codes}
        monitor.close()
    finally:
        for process in processes:
            stop(process)
        ros.rclpy.try_shutdown()
    (options.out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2) if options.json else _summary(report, options.out))
    return 0 if report["received"] and not any(codes) else 1


def _watch(monitor: Any, options: argparse.Namespace, processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Spin until the last frame's mask is in, or nothing comes any more."""
    half, last, since = options.frames // 2, 0, time.monotonic()
    with tqdm(total=options.frames, unit="frame", disable=options.json, desc="masks") as bar:
        while monitor.finished < options.frames:
            monitor.spin_once()
            if monitor.finished >= half and not monitor.changed:
                monitor.change_words()
            if monitor.finished > last:
                bar.update(monitor.finished - last)
                bar.set_postfix_str(monitor.line(), refresh=False)
                last, since = monitor.finished, time.monotonic()
            elif time.monotonic() - since > (STALL_SECONDS if last == 0 else 3.0) and processes[1].poll() is not None:
                break  # the camera is done; what has not come by now was dropped
            elif time.monotonic() - since > STALL_SECONDS:
                raise DemoError(f"no mask for {STALL_SECONDS:g} s after {last} of {options.frames} frames")
            for what, process in zip(("node", "camera"), processes, strict=True):
                if process.poll() not in (None, 0) or (what == "node" and process.poll() == 0):
                    raise DemoError(f"the {what} ended with exit code {process.returncode}")
    if not monitor.finished:
        raise DemoError("not one mask came; `ovseg doctor` may tell why")


def _start_camera(options: argparse.Namespace) -> subprocess.Popen[bytes]:
    arguments = ["--topic", f"{NAMESPACE}/camera/image_raw", "--frames", str(options.frames), "--fps", str(options.fps)]
    arguments += ["--seed", str(options.seed), "--scene-seconds", str(options.scene_seconds)]
    return subprocess.Popen(camera.command([*arguments, "--subscribers", "2", "--wait", "20"]))


def _summary(report: dict[str, Any], folder: Path) -> str:
    return (
        f"{report['received']} of {report['frames']} frames, {report['fps']:.1f} fps, latency p50 "
        f"{report['latency_p50_ms']:.0f} ms, p95 {report['latency_p95_ms']:.0f} ms\n"
        f"mIoU {report['miou_first_words']:.3f} with the trained words, {report['miou_second_words']:.3f} after the "
        f"change to words never trained on\n{folder}/overlay.mp4, {folder}/contact_sheet.png, {folder}/report.json"
    )

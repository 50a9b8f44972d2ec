"""`ovseg doctor`: what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass

from ovseg_ros.engine.cache import cache_root, engine_root
from ovseg_ros.errors import OvsegError

PACKAGES = ("numpy", "opencv-python-headless", "openvino", "tokenizers", "cyclonedds", "rosbags", "mujoco", "torch")


@dataclass(frozen=True)
class Finding:
    """One line of the report; `good` is None for what is merely not there and not needed."""

    what: str
    good: bool | None
    detail: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print a list of findings")


def run(options: argparse.Namespace) -> int:
    """Check everything the node and the demo need; 1 where something needed is missing."""
    findings = [_machine(), *(_package(name) for name in PACKAGES)]
    checks: tuple[tuple[str, Callable[[], tuple[bool | None, str]]], ...] = (
        ("graph", _graph),
        ("simulator", _simulator),
        ("models", _models),
        ("engine", _engine),
        ("engine folder", _folder),
    )
    for what, check in checks:
        try:
            good, detail = check()
        except (OvsegError, OSError, ImportError) as error:
            good, detail = False, str(error)
        findings.append(Finding(what, good, detail))
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            mark = {True: "ok", False: "MISSING", None: "-"}[finding.good]
            print(f"{mark:8s}{finding.what:24s}{finding.detail}")
    return 1 if any(finding.good is False for finding in findings) else 0


def _machine() -> Finding:
    flags = _cpu_flags()
    fast = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    detail = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return Finding("machine", True, f"{detail}, {' '.join(fast) or 'no AVX2: slow'}")


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return set(next((line for line in file if line.startswith(("flags", "Features"))), "").split())
    except OSError:
        return set()


def _package(name: str) -> Finding:
    optional = {"mujoco": "the simulator: pip install 'ovseg_ros[sim]'", "torch": "training: 'ovseg_ros[train]'"}
    try:
        return Finding(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        if name == "opencv-python-headless" and importlib.util.find_spec("cv2"):
            return Finding("opencv", True, "another distribution of cv2")
        if name in optional:
            return Finding(name, None, f"not installed; for {optional[name]}")
        if name in ("cyclonedds", "rosbags") and importlib.util.find_spec("rclpy"):
            return Finding(name, None, "not installed; not needed beside rclpy")
        return Finding(name, False, f"pip install {name}")


def _graph() -> tuple[bool, str]:
    from ovseg_ros import ros

    kind = ros.backend()
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    return True, f"{'ROS 2 (rclpy)' if kind == 'rclpy' else 'built in (Cyclone DDS, no ROS 2 found)'}, domain {domain}"


def _simulator() -> tuple[bool | None, str]:
    try:
        from ovseg_ros.sim import EVALUATION_SEEDS, NoOpenGL, Simulator
    except ImportError as error:
        return None, f"{error.name} is not installed; the demo plays its recorded drive"
    try:
        with Simulator(EVALUATION_SEEDS, width=64, height=48) as simulator:
            simulator.render(0.0)
    except NoOpenGL as error:
        return None, f"{error}; the demo plays its recorded drive"
    return True, f"renders with MUJOCO_GL={os.environ.get('MUJOCO_GL', '(default)')}"


def _models() -> tuple[bool, str]:
    from ovseg_ros.text import open_text_encoder
    from ovseg_ros.weights import known_models, open_weights

    names = known_models()
    for name in names:
        weights = open_weights(name)
        weights.graph(open_text_encoder(weights.text_folder))
    return bool(names), ", ".join(names) + " (hashes match)"


def _engine() -> tuple[bool, str]:
    from ovseg_ros.engine import openvino

    return True, f"OpenVINO {openvino.version().split('-')[0]} on {openvino.device_name('cpu')}"


def _folder() -> tuple[bool, str]:
    root = engine_root()
    nearest = next(parent for parent in (root, *root.parents) if parent.exists())
    return os.access(nearest, os.W_OK), f"{root}, text tables in {cache_root() / 'text'}"

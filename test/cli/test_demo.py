"""The demo and the camera as a user runs them: real processes, real DDS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

pytest.importorskip("mujoco")


def ovseg(*arguments: str, domain: int, timeout: float = 150) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    environment["OVSEG_ROS"] = "standalone"
    command = [sys.executable, "-m", "ovseg_ros.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, check=False)


def test_demo_reports_masks_scores_and_the_change_of_words(tmp_path: Path) -> None:
    done = ovseg("demo", "--frames", "16", "--fps", "4", "--out", str(tmp_path), "--json", domain=91)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert json.loads(done.stdout) == report
    assert report["frames"] == 16
    assert report["received"] + report["dropped"] == 16
    assert report["received"] >= 12
    assert 0 < report["latency_p50_ms"] <= report["latency_p95_ms"]
    # far from chance (about 0.01 with as many kinds), in both halves: ids and words do belong together
    assert report["miou_first_words"] > 0.2
    assert report["miou_second_words"] > 0.08
    assert report["exit_codes"] == [0, 0]
    video = cv2.VideoCapture(str(tmp_path / "overlay.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == report["received"]
    sheet = cv2.imread(str(tmp_path / "contact_sheet.png"))
    assert sheet is not None
    assert sheet.std() > 20


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("demo", "--frames", "1"), "--frames"),
        (("camera", "--fps", "0"), "--fps"),
        (("camera", "--width", "8"), "8x480"),
        (("bench", "--wire", "--frames", "3"), "--frames"),
        (("demo", "--model", "minni", "--frames", "8"), "node ended"),
    ],
)
def test_bad_options_are_one_sentence_and_exit_code_2(options: tuple[str, ...], word: str, tmp_path: Path) -> None:
    done = ovseg(*options, *(("--out", str(tmp_path)) if options[0] == "demo" else ()), domain=92)
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_camera_without_anybody_listening_ends_by_itself() -> None:
    done = ovseg("camera", "--frames", "3", "--fps", "20", "--width", "64", "--height", "48", domain=93)
    assert done.returncode == 0, done.stderr
    assert "3 frames published on /camera/image_raw" in done.stderr

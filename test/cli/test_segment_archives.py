"""`ovseg segment` over many sources: the same files by any number of workers, through kills and resumed runs."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin
from test_frames import record

from ovseg_ros.cli import main, segment, segment_work
from ovseg_ros.jobs import journal
from ovseg_ros.palette import overlay
from ovseg_ros.segmenter import Segmenter

WORDS = ["sky", "road", "grey", "car", "tree"]
FRAMES = 9  # of the recording
ALPHA = 0.5


@pytest.fixture
def archive(tmp_path: Path, picture: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures, a video, and a recording that is long for the command."""
    monkeypatch.setattr(segment, "STRETCH", 4)
    folder = tmp_path / "archive"
    folder.mkdir()
    for seed in range(6):
        cv2.imwrite(str(folder / f"picture{seed}.png"), picture(seed))
    record(folder / "drive", StoragePlugin.MCAP, {"/camera": [picture(seed) for seed in range(FRAMES)]})
    writer = cv2.VideoWriter(str(folder / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    for seed in range(3):
        writer.write(picture(seed))
    writer.release()
    return folder


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Callable[..., int]:
    """Runs `ovseg segment` on the tiny model into a folder of tmp_path."""

    def run(out: str, *arguments: object) -> int:
        options = ["--model", tiny_model, "--out", tmp_path / out, "--classes", ", ".join(WORDS), "--json"]
        return main(["segment", *map(str, [*arguments, *options])])

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """The visible files of a folder."""
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*")}


def without_times(text: str) -> list[dict[str, Any]]:
    results = json.loads(text)
    for result in results:
        result["overlay"] = Path(result["overlay"]).name
        for key in ("engine_ms", "fps", "mask"):
            result.pop(key, None)
    return list(results)


def expected(tiny_model: Path, out: Path, picture: Callable[..., np.ndarray]) -> dict[str, bytes]:
    """The files of `archive`'s pictures and recording, by a plain loop."""
    out.mkdir()
    segmenter = Segmenter.load(str(tiny_model), WORDS)
    for seed in range(6):
        rgb = np.ascontiguousarray(picture(seed)[..., ::-1])  # what was saved as BGR
        result = segmenter.segment(rgb)
        cv2.imwrite(str(out / f"picture{seed}_mask.png"), result.labels)
        cv2.imwrite(str(out / f"picture{seed}_overlay.png"), overlay(rgb, result, ALPHA)[..., ::-1])
    fps = FRAMES / ((FRAMES - 1) * 0.1 + 1e-9)
    writer = cv2.VideoWriter(str(out / "drive_overlay.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), fps, (160, 120))
    for seed in range(FRAMES):
        rgb = picture(seed)
        writer.write(np.ascontiguousarray(overlay(rgb, segmenter.segment(rgb), ALPHA)[..., ::-1]))
    writer.release()
    return contents(out)


def test_workers_write_what_a_plain_loop_writes(
    archive: Path,
    run: Callable[..., int],
    tmp_path: Path,
    tiny_model: Path,
    picture: Callable[..., np.ndarray],
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = []
    for out, workers in (("serial", 1), ("spread", 2)):
        assert run(out, archive, "--workers", workers) == 0
        told.append(without_times(capsys.readouterr().out))
    assert told[0] == told[1]
    assert [result["overlay"] for result in told[0]] == [
        "clip_overlay.mp4", "drive_overlay.mp4", *(f"picture{i}_overlay.png" for i in range(6)),
    ]  # fmt: skip
    assert [result["frames"] for result in told[0][:2]] == [3, FRAMES]
    serial, spread = contents(tmp_path / "serial"), contents(tmp_path / "spread")
    assert serial == spread
    assert len(serial) == 2 + 2 * 6
    loop = expected(tiny_model, tmp_path / "loop", picture)
    assert {name: serial[name] for name in loop} == loop


def test_a_killed_worker_changes_nothing(
    archive: Path, run: Callable[..., int], tmp_path: Path, picture: Callable[..., np.ndarray]
) -> None:
    for seed in range(6, 60):
        cv2.imwrite(str(archive / f"picture{seed}.png"), picture(seed))
    assert run("serial", archive) == 0
    killed: list[int] = []

    def kill() -> None:
        for count in (3, 12):
            while len(list((tmp_path / "spread").glob("*_mask.png"))) < count:
                time.sleep(0.005)
            for child in multiprocessing.active_children()[:1]:
                child.kill()
                killed.append(child.pid or 0)

    killer = threading.Thread(target=kill)
    killer.start()
    assert run("spread", archive, "--workers", 2) == 0
    killer.join()
    assert len(killed) == 2
    assert contents(tmp_path / "serial") == contents(tmp_path / "spread")


def test_a_killed_run_is_resumed(
    archive: Path, run: Callable[..., int], tmp_path: Path, tiny_model: Path, picture: Callable[..., np.ndarray]
) -> None:
    for seed in range(6, 80):
        cv2.imwrite(str(archive / f"picture{seed}.png"), picture(seed))
    assert run("serial", archive) == 0
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "ovseg_ros.cli", "segment", archive, "--model", tiny_model, "--out", out]
    with subprocess.Popen(
        [*map(str, command), "--workers", "2", "--classes", ", ".join(WORDS)], stderr=subprocess.DEVNULL
    ) as process:
        while len(list(out.glob("*_mask.png"))) < 8:
            time.sleep(0.005)
            assert process.poll() is None
        process.kill()
    time.sleep(0.5)  # the workers end with it
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("*_mask.png")}
    assert 8 <= len(done) < 80
    assert run("killed", archive, "--resume") == 0
    again = [name for name, changed in done.items() if (out / name).stat().st_mtime_ns != changed]
    assert len(again) <= 4  # written, but not yet in the journal: one a worker, and what waited in their pipes
    assert contents(tmp_path / "serial") == contents(out)
    assert not list((out / ".ovseg" / "labels").iterdir())


@pytest.fixture
def segmented(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the sources that are segmented, as it happens."""
    names: list[str] = []
    real = segment_work.SegmentWork._segment

    def spy(self: Any, segmenter: Any, source: Any) -> Any:
        names.append(source.name)
        return real(self, segmenter, source)

    monkeypatch.setattr(segment_work.SegmentWork, "_segment", spy)
    yield names
    names.clear()


def test_resuming_does_what_is_new_changed_or_gone(
    archive: Path,
    run: Callable[..., int],
    tmp_path: Path,
    segmented: list[str],
    picture: Callable[..., np.ndarray],
    capfd: pytest.CaptureFixture[str],
) -> None:
    (archive / "broken.png").write_bytes(b"no picture")
    assert run("out", archive, "--resume") == 2
    assert segmented == ["broken", "clip", *["drive"] * 3, *(f"picture{i}" for i in range(6))]
    segmented.clear()
    before = contents(tmp_path / "out")
    capfd.readouterr()
    assert run("out", archive, "--resume") == 2
    out, err = capfd.readouterr()
    assert segmented == ["broken"]
    assert len(json.loads(out)) == 8  # results of earlier runs are told as well
    assert err.splitlines() == [f"ovseg segment: {archive}/broken.png is no readable image"]
    assert contents(tmp_path / "out") == before
    segmented.clear()
    cv2.imwrite(str(archive / "broken.png"), picture(10))  # mended
    cv2.imwrite(str(archive / "picture1.png"), picture(11, 40, 60))  # changed
    cv2.imwrite(str(archive / "picture9.png"), picture(12))  # new
    (tmp_path / "out" / "picture2_mask.png").unlink()
    (tmp_path / "out" / "drive_overlay.mp4").unlink()
    assert run("out", archive, "--resume") == 0
    assert segmented == ["broken", *["drive"] * 3, "picture1", "picture2", "picture9"]
    after = contents(tmp_path / "out")
    assert {name for name in before if after[name] != before[name]} == {"picture1_mask.png", "picture1_overlay.png"}
    segmented.clear()
    assert run("out", archive) == 0  # from the beginning
    assert len(segmented) == 12


def test_other_settings_are_no_continuation(
    archive: Path, run: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("out", archive) == 0
    before = contents(tmp_path / "out")
    capfd.readouterr()
    assert run("out", archive, "--resume", "--threshold", 0.5, "--alpha", 0.7) == 2
    (sentence,) = capfd.readouterr().err.splitlines()
    assert "holds the results of a run with other settings (they differ in: threshold, alpha)" in sentence
    assert contents(tmp_path / "out") == before


def test_a_folder_takes_one_run_at_a_time(
    archive: Path, run: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    with segment._state(tmp_path / "out", resume=False, kept=True):
        assert run("out", archive) == 2
    assert f"another run is writing to {tmp_path}/out" in capfd.readouterr().err
    assert run("out", archive) == 0


def test_one_image_leaves_nothing_but_its_results(archive: Path, run: Callable[..., int], tmp_path: Path) -> None:
    assert run("out", archive / "picture1.png") == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["picture1_mask.png", "picture1_overlay.png"]


def test_a_full_disk_is_told(
    archive: Path, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert run("out", archive / "picture1.png", archive / "picture2.png") == 2
    err = capfd.readouterr().err.splitlines()
    assert len(err) == 2
    assert all("cannot write" in line and "No space left on device" in line for line in err)


def test_ctrl_c_ends_a_webcam_and_keeps_its_video(
    run: Callable[..., int],
    tmp_path: Path,
    picture: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Camera:
        """Four frames, then the user has enough."""

        def __init__(self, number: int) -> None:
            self.frames = iter([picture(seed + number) for seed in range(4)])

        def read(self) -> tuple[bool, np.ndarray]:
            frame = next(self.frames, None)
            if frame is None:
                raise KeyboardInterrupt
            return True, frame

        def get(self, _: int) -> float:
            return 10.0

    monkeypatch.setattr("ovseg_ros.cli.frames.cv2.VideoCapture", Camera)
    assert run("out", "webcam:2", "--workers", 2) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert (result["source"], result["frames"]) == ("webcam:2", 4)
    monkeypatch.undo()
    capture = cv2.VideoCapture(result["overlay"])
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 4


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--workers", "-1"], "workers (-1)"),
        (["--cluster", "nowhere"], "'nowhere' is no address of a Ray cluster"),
    ],
)
def test_workers_that_cannot_be_are_refused(
    arguments: list[str],
    complaint: str,
    archive: Path,
    run: Callable[..., int],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if "--cluster" in arguments:
        pytest.importorskip("ray")
    assert run("out", archive, *arguments) == 2
    assert complaint in capfd.readouterr().err
    assert contents(tmp_path / "out") == {}


@pytest.mark.slow
def test_a_cluster_writes_what_one_process_writes(
    archive: Path,
    run: Callable[..., int],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("ray")
    assert run("serial", archive) == 0
    serial = without_times(capfd.readouterr().out)
    assert run("spread", archive, "--workers", 2, "--cluster", "local") == 0
    out, err = capfd.readouterr()
    assert without_times(out) == serial
    assert err == ""
    assert contents(tmp_path / "serial") == contents(tmp_path / "spread")
    # the journals are the same kind, so that one goes on where the other was
    assert (tmp_path / "spread" / ".ovseg" / "segment" / journal.NAME).is_file()
    assert run("spread", archive, "--resume") == 0

"""`ovseg evaluate`: published data sets, protocols, results that outlive a run, and reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ovseg_ros.cli import main
from ovseg_ros.evaluation.datasets import CAMVID_CLASSES, camvid
from ovseg_ros.segmenter import Segmenter


@pytest.fixture
def arguments(tiny_model: Path, camvid_like: Path) -> list[str]:
    """What to type, but for the options."""
    return ["evaluate", str(tiny_model), "--dataset", "camvid", "--root", str(camvid_like)]


def reported(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The JSON that a run prints."""
    assert main([*arguments, "--json"]) == 0
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def test_every_number_says_what_it_depends_on(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    report = reported(capsys, *arguments, "--prompts", "P14")
    assert report["prompt_set"] == "P14"
    assert len(report["prompts"]) == 14
    assert report["protocol"].startswith("native: whole image, resized to 64x96 inside the graph")
    assert "class list camvid/canonical" in report["protocol"]
    assert report["dataset"] == "camvid val"
    assert len(report["classes"]) == 11
    assert report["tolerance"] == 0.0075
    for share in ("miou", "fwiou", "macc", "pacc", "boundary_f", "trimap_miou"):
        assert 0 <= report[share] <= 1, share
    assert report["hiou"] is None
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    plain = reported(capsys, *arguments, "--boundary", "0")
    assert plain["boundary_f"] is None
    assert plain["miou"] == pytest.approx(float(printed.partition("mIoU ")[2].split()[0]))
    for fact in (plain["classes_hash"], plain["weights_hash"][:16], plain["backend"], "list camvid", "prompts P0"):
        assert fact in printed


def test_the_same_command_goes_on_in_its_folder(
    capsys: pytest.CaptureFixture[str], arguments: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = reported(capsys, *arguments, "--out", str(out))
    again = reported(capsys, *arguments, "--out", str(out))
    assert json.loads((out / "report.json").read_text())["miou"] == first["miou"]
    assert again["engine_ms"] == first["engine_ms"]  # measured once, and kept
    assert (out / "images.csv").read_text().splitlines()[0] == "image,miou"
    assert "question" in refused(capsys, *arguments, "--prompts", "P1", "--out", str(out), "--json")


def test_a_stretch_of_the_images_is_measured(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    whole = reported(capsys, *arguments)
    parts = [reported(capsys, *arguments, "--part", part) for part in ("0,0.5", "0.5,1")]
    assert sum(part["images"] for part in parts) == whole["images"] >= 2
    assert parts[0]["dataset"] == f"camvid val, images 1 to {parts[0]['images']}"


def test_one_precision_is_measured_against_another(
    capsys: pytest.CaptureFixture[str], arguments: list[str], camvid_like: Path, tiny_model: Path
) -> None:
    same = reported(capsys, *arguments, "--precision", "fp32", "--against", "fp32")
    assert (same["pacc"], same["miou"]) == (1.0, 1.0)
    assert same["dataset"].startswith("camvid val, labels of openvino")
    other = reported(capsys, *arguments, "--precision", "bf16", "--against", "openvino:fp32")
    equal, asked = [], list(CAMVID_CLASSES)
    forms = [Segmenter.load(str(tiny_model), asked, precision=precision) for precision in ("bf16", "fp32")]
    for sample in camvid(camvid_like, "val"):
        found, truth = (form.segment(sample.rgb).labels for form in forms)
        equal.append((found == truth).mean())
    assert other["pacc"] == pytest.approx(np.mean(equal), abs=1e-4)
    again = reported(capsys, *arguments, "--precision", "bf16", "--against", "fp32", "--workers", "2")
    assert again["pacc"] == other["pacc"]


def test_reports_are_written(capsys: pytest.CaptureFixture[str], arguments: list[str], tmp_path: Path) -> None:
    assert main([*arguments, "--report", str(tmp_path / "r.html"), "--show", "1"]) == 0
    assert (tmp_path / "r.html").read_text().count("<img") == 6  # the worst and the best of two images
    assert f"report: {tmp_path / 'r.html'}" in capsys.readouterr().out
    assert main([*arguments, "--report", str(tmp_path / "r.png"), "--json"]) == 0
    assert cv2.imread(str(tmp_path / "r.png")) is not None


def test_classes_of_a_published_list_merge(
    capsys: pytest.CaptureFixture[str], tiny_model: Path, tmp_path: Path
) -> None:
    home = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / folder).mkdir(parents=True)
    (home / "ImageSets/Segmentation/val.txt").write_text("one\n")
    rng = np.random.default_rng(0)
    cv2.imwrite(str(home / "JPEGImages/one.jpg"), rng.integers(0, 255, (40, 60, 3)).astype(np.uint8))
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:40] = 7
    cv2.imwrite(str(home / "SegmentationClass/one.png"), mask)
    words = [str(tiny_model), "--dataset", "voc20b", "--root", str(tmp_path)]
    assert "knows no part of the word" in refused(capsys, "evaluate", *words)  # the tiny encoder has few words
    said = refused(capsys, "evaluate", *words, "--names", "mine")
    assert "no variant 'mine'; expected canonical" in said


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--protocol", "catseg"], "averages scores over windows"),
        (["--protocol", "single640"], "to 640x853, and this engine works at 64x96"),
        (["--protocol", "best"], "no protocol 'best'"),
        (["--network"], "has no torch network"),
        (["--weights", "x.pt"], "--weights goes with --network"),
        (["--prompts", "P2"], "no prompt set 'P2'"),
        (["--names", "mine"], "no variant 'mine'"),
        (["--names", "canonical", "--words", "held-out"], "go with --words names"),
        (["--words", "held-out-pairs"], "camvid has no colour-thing pairs"),
        (["--trained-on", "imagenet"], "the training 'imagenet' is unknown"),
        (["--threshold", "2"], "--threshold 2.0 is out of range"),
        (["--boundary", "1.5"], "--boundary 1.5 is out of range"),
        (["--report", "r.pdf"], "neither HTML nor PNG"),
        (["--report", "/nowhere/r.html"], "no folder /nowhere"),
        (["--workers", "-1"], "count from 0"),
        (["--against", "fp64"], "fp64"),
        (["--against", "onnx:fp32"], "onnx"),
        (["--part", "0.8"], "--part '0.8' is no stretch of the images"),
        (["--part", "1,0"], "--part '1,0' is no stretch of the images"),
        (["--part", "0,0.01"], "the part 0 to 0.01 of"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value),
)
def test_what_cannot_be_is_refused(
    options: list[str], complaint: str, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    pytest.importorskip("torch")
    assert complaint in refused(capsys, *arguments, *options, "--json")

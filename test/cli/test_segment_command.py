"""`ovseg segment`: what it writes, and how it goes on past what it cannot read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from ovseg_ros.cli import main
from ovseg_ros.segmenter import Segmenter

WORDS = "sky; road, grey; car; tree"


@pytest.fixture
def pictures(tmp_path: Path, picture: Callable[..., np.ndarray]) -> Path:
    """A folder with two pictures and a text."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, seed in (("a.png", 1), ("b.jpg", 2)):
        cv2.imwrite(str(folder / name), cv2.cvtColor(picture(seed), cv2.COLOR_RGB2BGR))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def segment(tiny_model: Path, tmp_path: Path) -> Callable[..., int]:
    """Runs `ovseg segment` on the tiny model into tmp_path/out."""

    def run(*arguments: object) -> int:
        options = ["--model", str(tiny_model), "--out", str(tmp_path / "out")]
        return main(["segment", *map(str, arguments), *options])

    return run


def test_a_folder_gives_an_overlay_and_a_mask_an_image(
    segment: Callable[..., int], pictures: Path, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(pictures, "--classes", WORDS, "--json") == 0
    results = json.loads(capsys.readouterr().out)
    assert [Path(r["source"]).name for r in results] == ["a.png", "b.jpg"]
    expected = Segmenter.load(str(tiny_model), [entry.strip() for entry in WORDS.split(";")])
    for result in results:
        rgb = cv2.cvtColor(cv2.imread(result["source"]), cv2.COLOR_BGR2RGB)
        labels = expected.segment(rgb).labels
        np.testing.assert_array_equal(cv2.imread(result["mask"], cv2.IMREAD_UNCHANGED), labels)
        assert cv2.imread(result["overlay"]).shape == rgb.shape
        assert result["engine_ms"] > 0
        shares = {c["name"]: c["area"] for c in result["classes"]}
        for i, name in enumerate(["sky", "road", "car", "tree"]):
            assert shares.get(name, 0.0) == pytest.approx((labels == i).mean(), abs=1e-4)


def test_the_models_own_words_are_the_default(
    segment: Callable[..., int], pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(pictures / "a.png") == 0
    out = capsys.readouterr().out
    assert "1 of 1 written to" in out
    assert any(word in out for word in ("sky", "road", "car", "tree"))


def test_a_broken_image_among_good_ones_is_named_and_the_others_are_written(
    segment: Callable[..., int], pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (pictures / "aa.png").write_bytes(b"no picture")
    (pictures / "empty.jpg").write_bytes(b"")
    assert segment(pictures, "--classes", WORDS, "--json") == 2
    out, err = capfd.readouterr()
    assert [Path(r["source"]).name for r in json.loads(out)] == ["a.png", "b.jpg"]
    assert [line for line in err.splitlines() if line.startswith("ovseg")] == [
        f"ovseg segment: {pictures}/aa.png is no readable image",
        f"ovseg segment: {pictures}/empty.jpg is no readable image",
    ]
    assert "Traceback" not in err
    assert sorted(p.name for p in (tmp_path / "out").glob("[!.]*")) == [
        "a_mask.png",
        "a_overlay.png",
        "b_mask.png",
        "b_overlay.png",
    ]


def test_images_of_one_name_do_not_overwrite_each_other(
    segment: Callable[..., int], pictures: Path, picture: Callable[..., np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(pictures / "a.jpg"), picture(3))
    assert segment(pictures, "--classes", WORDS, "--json") == 0
    results = json.loads(capsys.readouterr().out)
    assert len({r["mask"] for r in results}) == len(results) == 3


def test_a_threshold_leaves_pixels_unlabelled(
    segment: Callable[..., int], pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(pictures / "a.png", "--classes", WORDS, "--threshold", 1, "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)
    mask = cv2.imread(result["mask"], cv2.IMREAD_UNCHANGED)
    assert (mask == 255).mean() > 0.9


def test_a_video_gives_an_overlay_video(
    segment: Callable[..., int], tmp_path: Path, picture: Callable[..., np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    for seed in range(5):
        writer.write(picture(seed))
    writer.release()
    assert segment(path, "--classes", WORDS, "--frames", 3, "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["frames"] == 3
    capture = cv2.VideoCapture(result["overlay"])
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert capture.read()[1].shape == (120, 160, 3)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.png"], "no file or folder nowhere.png"),
        (["PICTURES/notes.txt"], "notes.txt is neither"),
        (["EMPTY"], "holds no image"),
        (["webcam:front"], "'webcam:front' is no webcam"),
        (["PICTURES", "--classes", " ,; "], "no words are given"),
        (["PICTURES", "--classes", "car; CAR"], "occurs twice"),
        (["PICTURES", "--classes", "x" * 10_000], "10000 characters is too long"),
        (["PICTURES", "--classes", "car, " + "y z " * 2_500], "characters is too long"),
        (["PICTURES", "--classes", ";".join(f"w{i}" for i in range(5000))], "5000 classes are too many"),
        (["PICTURES", "--classes", "a\x07b"], "control character U+0007"),
        (["PICTURES", "--classes", "nowhere.yaml"], "cannot read the vocabulary file nowhere.yaml"),
        (["PICTURES", "--classes", "zeppelin"], "knows no part of the word 'zeppelin'"),
        (["PICTURES", "--threshold", "1.5"], "--threshold 1.5 is out of range"),
        (["PICTURES", "--threshold", "nan"], "--threshold nan is out of range"),
        (["PICTURES", "--alpha", "-1"], "--alpha -1.0 is out of range"),
        (["PICTURES", "--device", "tpu"], "no backend for the device 'tpu'"),
        (["PICTURES", "--model", "stret"], "did you mean 'street'"),
        (["PICTURES", "--out", "PICTURES/notes.txt"], "notes.txt"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value)[:40].encode("unicode_escape").decode(),
)
def test_bad_input_is_refused_in_one_sentence(
    arguments: list[str],
    complaint: str,
    pictures: Path,
    tmp_path: Path,
    tiny_model: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    given = [a.replace("PICTURES", str(pictures)).replace("EMPTY", str(tmp_path / "empty")) for a in arguments]
    assert main(["segment", "--model", str(tiny_model), "--out", str(tmp_path / "out"), *given]) == 2
    out, err = capfd.readouterr()
    sentences = [line for line in err.splitlines() if line.startswith("ovseg segment: ")]
    assert sentences == err.splitlines()[-1:]
    assert complaint in sentences[0]
    assert "Traceback" not in out + err

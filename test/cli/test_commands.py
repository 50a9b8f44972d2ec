"""The `ovseg` command: exit codes, and what it says when it is asked for nonsense."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from ovseg_ros.cli import COMMANDS, main
from ovseg_ros.resources import find
from ovseg_ros.vocabulary import Vocabulary

Shell = subprocess.CompletedProcess[str]


def shell(*arguments: str) -> Shell:
    """Run `ovseg` in a process of its own."""
    code = "import sys; from ovseg_ros.cli import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)


def refusal(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence on stderr with which `ovseg` refuses; nothing on stdout, exit code 2."""
    assert main(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    assert err.startswith(f"ovseg {arguments[0]}: ")
    return err


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("segment", "models", "evaluate", "train", "doctor", "vocabulary"):
        assert command in COMMANDS
        with pytest.raises(SystemExit) as left:
            main([command, "--help"])
        assert left.value.code == 0
        assert "usage: ovseg " + command in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["dance"], ["segment"], ["evaluate", "street"], ["models", "--colour"]])
def test_wrong_usage_ends_with_2_and_says_how_to_use_it(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage: ovseg" in capsys.readouterr().err


def test_bad_input_ends_a_real_process_with_2_and_one_sentence() -> None:
    done = shell("segment", "/nowhere.png", "--classes", "car")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ovseg segment: there is no file or folder /nowhere.png\n"


def test_models_lists_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    listed = {model["name"]: model for model in json.loads(capsys.readouterr().out)}
    assert {"mini", "street"} <= set(listed)
    assert listed["naclip-vit-l-14"] | {"state": "can be built", "size": [378, 518]} == listed["naclip-vit-l-14"]
    for name, model in listed.items():
        assert model["licence"]
        if model["state"] != "embedded":
            continue
        assert model["megabytes"] == pytest.approx(find(f"weights/{name}/model.onnx").stat().st_size / 1e6, abs=0.06)
        assert all(0 <= score <= 1 for score in model["scores"].values())
        assert Vocabulary.parse(model["classes"])
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert all(f"{name} " in out for name in listed)


def test_doctor_reports_findings_as_json() -> None:
    done = shell("doctor", "--json")
    assert "Traceback" not in done.stderr
    findings = json.loads(done.stdout)
    assert all(set(finding) == {"what", "good", "detail"} for finding in findings)
    found = {finding["what"]: finding for finding in findings}
    assert found["numpy"] == {"what": "numpy", "good": True, "detail": np.__version__}
    assert found["engine"]["detail"].startswith("OpenVINO")
    assert found["models"]["good"] is True
    assert done.returncode == (1 if any(finding["good"] is False for finding in findings) else 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["stret"], "no recipe 'stret'; known: clip-mini, "),
        (["street"], "--root is missing"),
        (["street", "--steps", "-1"], "--steps -1"),
        (["street", "--root", "/nowhere"], "no folder /nowhere"),
        (["nowhere.yaml"], "cannot read the recipe nowhere.yaml"),
    ],
)
def test_train_refuses(arguments: list[str], complaint: str, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    assert complaint in refusal(capfd, "train", *arguments, "--out", str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["street", "--dataset", "camvid"], "--root is missing"),
        (["street", "--dataset", "camvid", "--root", "/nowhere"], "no folder /nowhere"),
        (["stret", "--dataset", "camvid", "--root", "CAMVID"], "did you mean 'street'"),
        (["tiny", "--dataset", "camvid", "--root", "CAMVID", "--split", "dev"], "no split 'dev'"),
        (["tiny", "--dataset", "folder", "--root", "CAMVID"], "or classes.yaml"),
        (["tiny", "--dataset", "folder", "--root", "LATIN"], "cannot read the classes"),
        (["tiny", "--dataset", "camvid", "--root", "CAMVID", "--words", "sky, road"], "2 words for the 11 classes"),
        (["tiny", "--dataset", "camvid", "--root", "CAMVID", "--device", "tpu"], "no backend for the device 'tpu'"),
        (["tiny", "--dataset", "camvid", "--root", "CAMVID", "--precision", "int1"], "unknown precision 'int1'"),
        (["street", "--dataset", "simulator", "--scenes", "0"], "--scenes and --frames must be at least 1"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value),
)
def test_evaluate_refuses(
    arguments: list[str],
    complaint: str,
    capfd: pytest.CaptureFixture[str],
    tiny_model: Path,
    camvid_like: Path,
    tmp_path: Path,
) -> None:
    if "simulator" in arguments:
        pytest.importorskip("mujoco")
    (tmp_path / "latin" / "images").mkdir(parents=True)
    (tmp_path / "latin" / "classes.txt").write_bytes("Fußgänger".encode("latin-1"))
    places = {"tiny": str(tiny_model), "CAMVID": str(camvid_like), "LATIN": str(tmp_path / "latin")}
    assert complaint in refusal(capfd, "evaluate", *(places.get(a, a) for a in arguments))


def test_evaluate_names_the_first_thing_that_a_wrong_layout_lacks(
    capfd: pytest.CaptureFixture[str], camvid_like: Path, tiny_model: Path
) -> None:
    (camvid_like / "valannot" / "0.png").unlink()
    said = refusal(capfd, "evaluate", str(tiny_model), "--dataset", "camvid", "--root", str(camvid_like))
    assert "valannot/0.png is missing" in said


def test_evaluate_prints_the_report_of_the_contract(
    capsys: pytest.CaptureFixture[str], tiny_model: Path, tmp_path: Path
) -> None:
    names = ["sky", "road", "car"]
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for i in range(2):
        cv2.imwrite(str(tmp_path / "images" / f"{i}.png"), np.full((40, 60, 3), 60 * i, np.uint8))
        cv2.imwrite(str(tmp_path / "masks" / f"{i}.png"), np.full((40, 60), i, np.uint8))
    (tmp_path / "classes.txt").write_text("\n".join(names))
    arguments = ["evaluate", str(tiny_model), "--dataset", "folder", "--root", str(tmp_path)]
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    keys = {"miou", "per_class", "images", "protocol", "prompts", "classes_hash", "weights_hash", "backend"}
    assert set(report) >= keys
    assert report["images"] == 2
    assert set(report["per_class"]) == {"sky", "road"}  # those that occur
    assert report["miou"] == pytest.approx(np.mean(list(report["per_class"].values())), abs=1e-3)
    assert main(arguments) == 0
    assert f"mIoU {report['miou']:.4f} over 2 images" in capsys.readouterr().out

"""`ovseg train`, from a folder of one's own images to a model that is measured."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
pytest.importorskip("onnxscript")

import ovseg_ros
from ovseg_ros.cli import main
from ovseg_ros.segmenter import Segmenter

RECIPE = """
name: warehouse
deploy_size: [48, 64]
sources:
  - {kind: folder, part: [0.0, 0.8]}
model: {name: pixeltext, widths: [8, 8, 16, 16], depths: [1, 1, 1], features: 16}
crop: [48, 64]
batch: 2
steps: 4
save_every: 2
words: {absent: 4}
licence: "my own"
"""


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    """Five pictures of two kinds, and pixels that nobody labelled."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number in range(5):
        mask = rng.integers(0, 2, (6, 8)).repeat(12, axis=0).repeat(12, axis=1).astype(np.uint8)
        image = np.where(mask[..., None] == 0, (40, 90, 200), (60, 200, 60)).astype(np.uint8)
        mask[:3] = 255
        cv2.imwrite(str(tmp_path / "data" / "images" / f"{number}.png"), image)
        cv2.imwrite(str(tmp_path / "data" / "masks" / f"{number}.png"), mask)
    (tmp_path / "data" / "classes.txt").write_text("pallet, skid\nperson, worker, human\n")
    return tmp_path / "data"


def train(*arguments: str) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter warns of itself
        return main(["train", *arguments, "--accelerator", "cpu", "--workers", "0"])


def test_own_data_become_a_model(own_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, run = tmp_path / "warehouse.yaml", tmp_path / "run"
    recipe.write_text(RECIPE)
    assert train(str(recipe), "--root", str(own_data), "--out", str(run)) == 0
    said = capsys.readouterr().out
    assert "waited for data" in said
    assert "over 1 images" in said  # the fifth, which was kept apart
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert {"loss", "scale", "learning_rate", "wait"} <= set(rows[0])
    assert sorted(path.name for path in (run / "pictures").iterdir()) == ["000002.png", "000004.png"]

    model = run / "weights" / "warehouse"
    segmenter = Segmenter.load(str(model))
    assert segmenter.vocabulary.classes == (("pallet", "skid"), ("person", "worker", "human"))
    image = cv2.cvtColor(cv2.imread(str(own_data / "images" / "0.png")), cv2.COLOR_BGR2RGB)
    assert segmenter.segment(image).labels.shape == (72, 96)
    manifest = json.loads((model / "manifest.json").read_text())
    assert manifest["licence"] == "my own"
    assert list(manifest["scores"]) == ["folder, images 5 to 5"]
    assert "ovseg evaluate warehouse --dataset folder" in (model / "README.md").read_text()

    # a finished run is only exported and measured anew; renamed sources and roots are told apart
    graph = (model / "model.onnx").read_bytes()
    written = (run / "checkpoint.pt").stat().st_mtime_ns
    assert train(str(recipe), "--root", f"folder={own_data}", "--out", str(run)) == 0
    assert (run / "checkpoint.pt").stat().st_mtime_ns == written
    assert (model / "model.onnx").read_bytes() == graph
    assert "waited" not in capsys.readouterr().out


def test_the_help_names_every_recipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # names are not broken at their hyphens
    with pytest.raises(SystemExit) as ended:
        main(["train", "--help"])
    assert ended.value.code == 0
    said = set(re.split(r"[\s,]+", capsys.readouterr().out))
    folder = Path(ovseg_ros.__file__).parent / "training" / "recipes"
    assert {"clip-mini", "text"} | {path.stem for path in folder.iterdir() if path.suffix == ".yaml"} <= said


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--root", "DATA", "--workers", "-1"], "--workers -1; expected at least 0"),
        (["--root", "DATA", "--devices", "3"], "a batch of 2 cannot be shared equally by 3 devices"),
        (["--root", "DATA", "--precision", "fp8"], "--precision fp8; expected one of auto"),
        (["--root", "DATA", "--accelerator", "npu"], "--accelerator npu; expected one of auto"),
        (["--root", "DATA", "--root", "DATA"], "a folder without a name is given twice"),
        (["--root", "city=DATA"], "no source 'city', only folder"),
        (["--root", "DATA/images"], "classes"),
        ([], "--root is missing: the folder that holds folder"),
    ],
    ids=" ".join,
)
def test_bad_options_are_told_in_one_sentence(
    arguments: list[str], complaint: str, own_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "warehouse.yaml"
    recipe.write_text(RECIPE)
    given = [argument.replace("DATA", str(own_data)) for argument in arguments]
    assert main(["train", str(recipe), "--out", str(tmp_path / "run"), *given]) == 2
    said = capsys.readouterr().err.strip()
    assert complaint in said
    assert said.count("\n") == 0
    assert not (tmp_path / "run" / "checkpoint.pt").exists()

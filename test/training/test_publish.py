"""From a run to a checkpoint's folder and its card."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.evaluation.datasets import CAMVID_CLASSES  # noqa: E402
from ovseg_ros.segmenter import Segmenter  # noqa: E402
from ovseg_ros.training import publish as publishing  # noqa: E402
from ovseg_ros.training.recipe import Recipe  # noqa: E402
from ovseg_ros.vocabulary import Vocabulary  # noqa: E402
from ovseg_ros.weights import open_weights  # noqa: E402

RECIPE = Recipe("toy", "camvid", (64, 96), steps=3, licence="MIT", data_note="toys")
WORDS = Vocabulary.parse(["car, box", "road"])


@pytest.fixture
def checkpoint(tiny_net: Any, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's checkpoint; its export is that of `tiny_model`. Held-out words are words of the tiny encoder."""
    path = tmp_path / "run" / "checkpoint.pt"
    path.parent.mkdir()
    torch.save({"config": tiny_net.config, "average": tiny_net.state_dict(), "step": 3}, path)

    def export(model: Any, target: Path, width: int) -> None:
        assert all(torch.equal(a, b) for a, b in zip(model.net.parameters(), tiny_net.parameters(), strict=True))
        assert (model.size, width) == ((64, 96), 16)
        shutil.copy(tiny_model / "model.onnx", target)

    monkeypatch.setattr(publishing, "export_onnx", export)
    held_out = ["red", "green", "blue", "yellow", "grey", "table", "chair", "lamp", "mug", "box", "shelf"]
    monkeypatch.setattr(publishing, "CAMVID_HELD_OUT", dict(zip(CAMVID_CLASSES, held_out, strict=True)))
    return path


def test_a_published_run_opens_as_a_model_and_its_card_tells_what_was_measured(
    checkpoint: Path, tiny_text: Path, tmp_path: Path, camvid_like: Path
) -> None:
    shutil.copytree(tiny_text, tmp_path / "weights" / "text")
    folder = tmp_path / "weights" / "toy"
    reports = publishing.publish(checkpoint, RECIPE, tmp_path / "weights" / "text", WORDS, folder, camvid_like)
    weights = open_weights(str(folder))
    assert weights.hash == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert (weights.name, weights.size, weights.licence) == ("toy", (64, 96), "MIT")
    assert weights.scores == {name: report.miou for name, report in reports.items()}
    assert Segmenter.load(str(folder)).vocabulary.classes == WORDS.classes
    card = (folder / "README.md").read_text()
    for report in reports.values():
        assert f"{report.miou:.4f}" in card
        assert report.backend in card
    for fact in ("MIT", "toys", weights.hash, "ovseg evaluate toy --dataset camvid"):
        assert fact in card
    assert json.loads((folder / "manifest.json").read_text())["steps"] == 3


def test_a_run_may_be_published_where_no_text_encoder_lies(
    checkpoint: Path, tiny_text: Path, tmp_path: Path, camvid_like: Path
) -> None:
    folder = tmp_path / "run" / "weights" / "toy"
    publishing.publish(checkpoint, RECIPE, tiny_text, WORDS, folder, camvid_like)
    assert Segmenter.load(str(folder)).vocabulary.classes == WORDS.classes

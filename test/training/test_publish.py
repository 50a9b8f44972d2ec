"""From a run to a checkpoint's folder and its card."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.evaluation.datasets import CAMVID_CLASSES  # noqa: E402
from ovseg_ros.segmenter import Segmenter  # noqa: E402
from ovseg_ros.training import measure  # noqa: E402
from ovseg_ros.training import publish as publishing  # noqa: E402
from ovseg_ros.training.card import card  # noqa: E402
from ovseg_ros.training.ingredients import open_mix  # noqa: E402
from ovseg_ros.training.measure import measurements  # noqa: E402
from ovseg_ros.training.recipe import Recipe  # noqa: E402
from ovseg_ros.training.sources import DatasetSource  # noqa: E402
from ovseg_ros.vocabulary import Vocabulary  # noqa: E402
from ovseg_ros.weights import open_weights  # noqa: E402

SIZES = {"name": "pixeltext", "widths": [8, 8, 16, 16], "depths": [1, 1, 1], "features": 16}
RECIPE = Recipe("toy", "camvid", (64, 96), steps=3, model=SIZES, licence="MIT", data_note="toys")
WORDS = Vocabulary.parse(["car, box", "road"])


@pytest.fixture(params=["now", "0.1.0"])
def checkpoint(
    request: pytest.FixtureRequest, tiny_net: Any, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A run's checkpoint, as it is written and as 0.1.0 wrote it; its export is that of `tiny_model`.

    Held-out words are words of the tiny encoder.
    """
    path = tmp_path / "run" / "checkpoint.pt"
    path.parent.mkdir()
    config = SIZES if request.param == "now" else tiny_net.config
    torch.save({"config": config, "average": tiny_net.state_dict(), "step": 3}, path)

    def export(model: Any, target: Path, width: int) -> None:
        assert all(torch.equal(a, b) for a, b in zip(model.net.parameters(), tiny_net.parameters(), strict=True))
        assert (model.size, width) == ((64, 96), 16)
        shutil.copy(tiny_model / "model.onnx", target)

    monkeypatch.setattr(publishing, "export_onnx", export)
    held_out = ["red", "green", "blue", "yellow", "grey", "table", "chair", "lamp", "mug", "box", "shelf"]
    monkeypatch.setattr(measure, "CAMVID_HELD_OUT", dict(zip(CAMVID_CLASSES, held_out, strict=True)))
    return path


def test_a_published_run_opens_as_a_model_and_its_card_tells_what_was_measured(
    checkpoint: Path, tiny_text: Path, tmp_path: Path, camvid_like: Path
) -> None:
    shutil.copytree(tiny_text, tmp_path / "weights" / "text")
    folder = tmp_path / "weights" / "toy"
    reports = publishing.publish(checkpoint, RECIPE, tmp_path / "weights" / "text", WORDS, folder, {"": camvid_like})
    weights = open_weights(str(folder))
    assert weights.hash == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert (weights.name, weights.size, weights.licence) == ("toy", (64, 96), "MIT")
    assert weights.scores == {name: report.miou for name, report in reports.items()}
    assert Segmenter.load(str(folder)).vocabulary.classes == WORDS.classes
    card = (folder / "README.md").read_text()
    for report in reports.values():
        assert f"{report.miou:.4f}" in card
        assert report.backend in card
    assert list(reports) == ["camvid val", "camvid val, held-out synonyms"]
    for fact in ("MIT", "toys", weights.hash, "ovseg evaluate toy --dataset camvid --root ROOT --split val"):
        assert fact in card
    assert json.loads((folder / "manifest.json").read_text())["steps"] == 3


def test_a_run_may_be_published_where_no_text_encoder_lies(
    checkpoint: Path, tiny_text: Path, tmp_path: Path, camvid_like: Path
) -> None:
    folder = tmp_path / "run" / "weights" / "toy"
    publishing.publish(checkpoint, RECIPE, tiny_text, WORDS, folder, {"": camvid_like})
    assert Segmenter.load(str(folder)).vocabulary.classes == WORDS.classes


def test_a_checkpoint_of_another_network_is_refused(
    tiny_net: Any, tiny_text: Path, tmp_path: Path, camvid_like: Path
) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"config": {**SIZES, "features": 20}, "average": tiny_net.state_dict(), "step": 3}, path)
    with pytest.raises(ModelError, match=r"checkpoint\.pt are of another network"):
        publishing.publish(path, RECIPE, tiny_text, WORDS, tmp_path / "weights" / "toy", {"": camvid_like})
    with pytest.raises(ModelError, match=r"nowhere\.pt"):
        publishing.publish(tmp_path / "nowhere.pt", RECIPE, tiny_text, WORDS, tmp_path / "toy", {"": camvid_like})


def test_mixed_measures_what_it_was_not_trained_on(camvid_root: Path) -> None:
    """CamVid's val, and the last fifth of coco100, whose images the mix never draws."""
    coco = camvid_root.parent / "coco100"
    recipe = Recipe.load("mixed")
    recipe = replace(recipe, measure=recipe.measure[1:], sources=recipe.sources[1:])  # without the simulator
    roots = {"camvid": camvid_root, "coco100": coco}
    found = {m.title: m for m in measurements(recipe, roots)}
    assert [len(m.data) for m in found.values()] == [101, 101, 20]
    part = found["coco100, images 81 to 100"]
    assert part.question.words.names[:2] == ("person", "bicycle")
    assert part.question.words.classes[1] == ("bicycle", "bicycles", "bike", "bikes")
    assert len(part.question.words) == len(part.data.classes) == 133
    stems = sorted(path.stem for path in (coco / "images").iterdir())
    assert {part.data[i].name for i in range(20)} == set(stems[80:])

    mix = open_mix(recipe, roots, camvid_root)
    assert [len(one.source) for one in mix.ingredients] == [367, 80]
    assert [one.complete for one in mix.ingredients] == [True, False]
    seen = mix.ingredients[1].source
    assert isinstance(seen, DatasetSource)
    assert not {seen._data[seen._indices[i]].name for i in range(80)} & set(stems[80:])


def test_a_card_says_how_far_goals_are_and_what_other_models_reach(
    checkpoint: Path, tiny_text: Path, tiny_model: Path, tmp_path: Path, camvid_like: Path
) -> None:
    goals = {"camvid val": 0.0, "camvid val, held-out synonyms": 1.0}
    recipe = replace(RECIPE, goals=goals, tried="More steps.", beside=(str(tiny_model),))
    folder = tmp_path / "run" / "weights" / "toy"
    reports = publishing.publish(checkpoint, recipe, tiny_text, WORDS, folder, {"": camvid_like})
    lines = (folder / "README.md").read_text().splitlines()
    head, _, own, held_out = [line.split(" | ") for line in lines if line.startswith("| ")][:4]
    assert head[2:4] == ["goal", f"`{tiny_model}`"]
    assert own[2] == "0.00, reached"
    far = 1 - reports["camvid val, held-out synonyms"].miou
    assert held_out[2] == f"1.00, {far:.4f} short of it"
    assert own[3] == own[1] == f"{reports['camvid val'].miou:.4f}"  # the export is that of the other model
    assert "More steps." in lines


def test_a_card_without_measurements_says_so() -> None:
    manifest = {
        "name": "toy", "architecture": "PixelText", "parameters": 10, "size": [64, 96], "text_encoder": "../text",
        "licence": "MIT", "data": "toys", "steps": 3, "recipe": {"batch": 2, "seed": 0}, "classes": ["a", "b"],
        "weights_hash": "0",
    }  # fmt: skip
    assert "keeps no images apart" in card(manifest, {}, {})

"""Checkpoint folders: found by name or path, and refused in one sentence when they are not whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ovseg_ros.errors import ModelError
from ovseg_ros.resources import find, roots
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.weights import known_models, open_weights


@pytest.fixture
def checkpoint(tiny_text: Path, tmp_path: Path) -> Path:
    """A checkpoint's folder whose graph is no graph."""
    shutil.copytree(tiny_text, tmp_path / "text")
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"0123456789")
    manifest = {
        "name": "toy",
        "text_encoder": "../text",
        "text_identity": StaticTextEncoder(tmp_path / "text").identity,
        "weights_hash": "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882",  # sha256sum
        "size": [64, 96],
        "classes": ["car, van", "road"],
        "licence": "MIT",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def encoder_of(folder: Path) -> StaticTextEncoder:
    return StaticTextEncoder(folder.parent / "text")


def test_the_shipped_models_are_whole() -> None:
    assert {"mini", "street"} <= set(known_models())
    assert "text" not in known_models()
    for name in known_models():
        weights = open_weights(name)
        graph = weights.graph(StaticTextEncoder(weights.text_folder))
        assert graph.model == name
        assert len(weights.classes) > 1
        assert all(side % 16 == 0 for side in weights.size)
        assert (weights.folder / "README.md").is_file()
        assert (weights.folder / "model.onnx").stat().st_size <= (8e6 if name in ("mini", "street") else 16e6)
    assert sum(path.stat().st_size for path in find("weights/text").iterdir()) <= 11e6


def test_a_folder_opens_as_a_model(checkpoint: Path) -> None:
    weights = open_weights(str(checkpoint))
    assert (weights.name, weights.size, weights.classes) == ("toy", (64, 96), ("car, van", "road"))
    graph = weights.graph(encoder_of(checkpoint))
    assert graph.path == checkpoint / "model.onnx"
    assert graph.text_width == 16


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("stret", "did you mean 'street'"),
        ("minni", "did you mean 'mini'"),
        ("text", "there is no model 'text'"),
        ("", "known: clip-mini, .*, mini, .*street"),
        ("segment-anything", "known: clip-mini, .*, mini, .*street"),
        ("x" * 10_000, "known: clip-mini, .*, mini, .*street"),
        ("/nowhere/at/all", "known: clip-mini, .*, mini, .*street"),
        ("..", "known: clip-mini, .*, mini, .*street"),
        ("a\x00b", "known: clip-mini, .*, mini, .*street"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_an_unknown_model_is_refused_with_what_there_is(name: str, hint: str) -> None:
    with pytest.raises(ModelError, match=hint):
        open_weights(name)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"name": "toy"}', '{"name": "toy", "size": 5}'])
def test_a_damaged_manifest_is_a_model_error(checkpoint: Path, content: str) -> None:
    (checkpoint / "manifest.json").write_text(content)
    with pytest.raises(ModelError, match="damaged"):
        open_weights(str(checkpoint))


@pytest.mark.parametrize("content", [b"", b"01234", b"0123456780", b"0123456789\n"])
def test_a_truncated_or_changed_graph_is_a_model_error(checkpoint: Path, content: bytes) -> None:
    (checkpoint / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="truncated or changed"):
        open_weights(str(checkpoint)).graph(encoder_of(checkpoint))


def test_a_missing_graph_is_a_model_error_with_the_remedy(checkpoint: Path) -> None:
    (checkpoint / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"missing; .*ovseg train toy"):
        open_weights(str(checkpoint)).graph(encoder_of(checkpoint))


def test_resources_are_looked_for_in_the_source_tree_first() -> None:
    assert (roots()[0] / "package.xml").is_file()
    assert find("config/segment.yaml").is_file()
    with pytest.raises(FileNotFoundError, match="no/such/thing is not in"):
        find("no/such/thing")

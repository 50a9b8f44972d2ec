"""The embedded text encoder, against model2vec and plain loops."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from ovseg_ros.errors import ModelError
from ovseg_ros.resources import find
from ovseg_ros.text import StaticTextEncoder, open_text_encoder

PROMPTS = ["car", "red box", "a photo of a forklift", "Ökostrom", "fire-extinguisher", "車", "x" * 200, "3 mugs"]


def test_embeddings_are_those_of_model2vec(tmp_path: Path) -> None:
    model2vec = pytest.importorskip("model2vec")
    folder = Path(shutil.copytree(find("weights/text"), tmp_path / "text"))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"head_weight": 1.0}))  # the peer knows no heads
    rows = np.load(folder / "embeddings.npy").astype(np.float32)
    scales = np.load(folder / "scales.npy").astype(np.float32)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the peer
        peer = model2vec.StaticModel(rows * scales[:, None], tokenizer, normalize=True)
        expected = peer.encode(PROMPTS)
    np.testing.assert_allclose(StaticTextEncoder(folder).encode(PROMPTS), expected, atol=1e-5)


def test_a_prompt_is_the_mean_of_its_tokens(tiny_text: Path, tiny_encoder: StaticTextEncoder) -> None:
    names = list(json.loads((tiny_text / "tokenizer.json").read_text())["model"]["vocab"])
    rows = np.load(tiny_text / "embeddings.npy") * np.load(tiny_text / "scales.npy").astype(np.float32)[:, None]
    mean = (rows[names.index("red")] + rows[names.index("box")] + rows[names.index("box")]) / 3
    np.testing.assert_allclose(tiny_encoder.encode(["red box box"])[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_unknown_tokens_do_not_count(tiny_encoder: StaticTextEncoder) -> None:
    known, mixed, unknown = tiny_encoder.encode(["car", "car zeppelin", "zeppelin"])
    np.testing.assert_array_equal(known, mixed)
    assert not unknown.any()
    assert tiny_encoder.encode([]).shape == (0, tiny_encoder.width)


def test_near_words_are_nearer_than_far_ones(shipped_encoder: StaticTextEncoder) -> None:
    car, automobile, mug, cup = shipped_encoder.encode(["car", "automobile", "mug", "cup"])
    assert car @ automobile > 0.6 > 0.3 > car @ mug
    assert mug @ cup > 0.35 > 0.3 > car @ cup


@pytest.mark.parametrize("name", ["tokenizer.json", "embeddings.npy", "scales.npy", "manifest.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "changed"])
def test_a_damaged_encoder_is_a_model_error(tiny_text: Path, tmp_path: Path, name: str, damage: str) -> None:
    folder = Path(shutil.copytree(tiny_text, tmp_path / "text"))
    content = (folder / name).read_bytes()
    if damage == "missing":
        (folder / name).unlink()
    else:
        bad = {"truncated": content[: len(content) // 2], "empty": b"", "changed": b"{}" + content[2:]}
        (folder / name).write_bytes(bad[damage])
    with pytest.raises(ModelError, match="text"):
        StaticTextEncoder(folder)


def test_a_manifest_without_identity_is_a_model_error(tiny_text: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(tiny_text, tmp_path / "text")) / "manifest.json"
    content = json.loads(path.read_text())
    del content["identity"]
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="identity"):
        StaticTextEncoder(path.parent)


def test_words_without_a_known_token_are_unknown(tiny_encoder: StaticTextEncoder) -> None:
    assert tiny_encoder.unknown(["car", "zeppelin", "red zeppelin", "stranger"]) == ["zeppelin", "stranger"]


def test_a_folder_opens_as_the_kind_that_its_manifest_names(tiny_text: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_text, tmp_path / "text"))
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["kind"]  # encoders of the first release have none
    (folder / "manifest.json").write_text(json.dumps(manifest))
    encoder = open_text_encoder(folder)
    assert isinstance(encoder, StaticTextEncoder)
    assert encoder.identity == manifest["identity"]
    (folder / "manifest.json").write_text(json.dumps(manifest | {"kind": "quantum"}))
    with pytest.raises(ModelError, match="'quantum'; known: static, clip"):
        open_text_encoder(folder)
    with pytest.raises(ModelError, match="no usable text encoder"):
        open_text_encoder(tmp_path)

"""The text encoder and the text table, against model2vec and plain loops."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from ovseg_ros.errors import ModelError, VocabularyError
from ovseg_ros.resources import find
from ovseg_ros.text import StaticTextEncoder, text_table
from ovseg_ros.vocabulary import Vocabulary

PROMPTS = ["car", "red box", "a photo of a forklift", "Ökostrom", "fire-extinguisher", "車", "x" * 200, "3 mugs"]


class CountingEncoder:
    """Vectors by a word's letters; counts how often it is asked, knows nothing of words with a Q."""

    def __init__(self, identity: str = "letters") -> None:
        self.identity, self.width, self.asked = identity, 26, 0

    def encode(self, prompts: Sequence[str]) -> np.ndarray:
        self.asked += 1
        table = np.array([[p.lower().count(chr(97 + i)) for i in range(26)] for p in prompts], np.float32)
        table[["Q" in p for p in prompts]] = 0
        return table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9)


def test_embeddings_are_those_of_model2vec(shipped_encoder: StaticTextEncoder) -> None:
    model2vec = pytest.importorskip("model2vec")
    folder = find("weights/text")
    rows = np.load(folder / "embeddings.npy").astype(np.float32)
    scales = np.load(folder / "scales.npy").astype(np.float32)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the peer
        peer = model2vec.StaticModel(rows * scales[:, None], tokenizer, normalize=True)
        expected = peer.encode(PROMPTS)
    np.testing.assert_allclose(shipped_encoder.encode(PROMPTS), expected, atol=1e-5)


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
    assert mug @ cup > 0.4 > 0.3 > car @ cup


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


def test_the_table_is_the_normalised_mean_over_the_templates() -> None:
    encoder = CountingEncoder()
    templates = ["a {}", "photo of one {} here", "{}"]
    vocabulary = Vocabulary.parse(["car, van", "road"], templates=templates)
    table = text_table(vocabulary, encoder)
    assert table.shape == (2, 2, 26)
    assert table.dtype == np.float32
    for row, word in ((table[0, 0], "car"), (table[0, 1], "van"), (table[1, 0], "road"), (table[1, 1], "road")):
        mean = np.mean([encoder.encode([template.format(word)])[0] for template in templates], axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6)


def test_a_word_the_encoder_cannot_represent_is_named() -> None:
    vocabulary = Vocabulary.parse(["car", "road, QQ"], templates=["a photo of a {}"])
    with pytest.raises(VocabularyError, match="no part of the word 'QQ'"):
        text_table(vocabulary, CountingEncoder())


@pytest.mark.parametrize("word", ["人", "машина", "سيارة", "कार", "자동차", "βάρκα", "ꙮꙮ", "fjällräv", "ᚠᚢᚦ"])
def test_a_word_of_any_script_works_or_is_refused_clearly(shipped_encoder: StaticTextEncoder, word: str) -> None:
    vocabulary = Vocabulary.parse([word])
    if shipped_encoder.encode([word]).any():
        np.testing.assert_allclose(np.linalg.norm(text_table(vocabulary, shipped_encoder), axis=2), 1, atol=1e-5)
    else:
        with pytest.raises(VocabularyError, match=word):
            text_table(vocabulary, shipped_encoder)


def test_a_cached_table_is_not_encoded_again(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    first = text_table(Vocabulary.parse(["car", "road"]), encoder, tmp_path / "text")
    asked = encoder.asked
    again = text_table(Vocabulary.parse(["car", "road"], thresholds=[0.5, None], version=9), encoder, tmp_path / "text")
    assert encoder.asked == asked
    np.testing.assert_array_equal(first, again)


def test_words_templates_and_encoder_each_have_a_table_of_their_own(tmp_path: Path) -> None:
    base = Vocabulary.parse(["car", "road"])
    for vocabulary, identity in (
        (base, "letters"),
        (Vocabulary.parse(["road", "car"]), "letters"),
        (Vocabulary.parse(["car, road"]), "letters"),
        (Vocabulary.parse(["car", "road"], templates=["a {}"]), "letters"),
        (base, "other"),
    ):
        encoder = CountingEncoder(identity)
        table = text_table(vocabulary, encoder, tmp_path)
        assert encoder.asked
        np.testing.assert_array_equal(table, text_table(vocabulary, encoder))
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"garbage", None])
def test_a_damaged_table_is_made_anew(tmp_path: Path, content: bytes | None) -> None:
    vocabulary, encoder = Vocabulary.parse(["car", "road"]), CountingEncoder()
    table = text_table(vocabulary, encoder, tmp_path)
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(entry.read_bytes()[:-8] if content is None else content)
    np.testing.assert_array_equal(text_table(vocabulary, encoder, tmp_path), table)
    np.testing.assert_array_equal(np.load(entry), table)


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    vocabulary, encoder = Vocabulary.parse(["car"]), CountingEncoder()
    table = text_table(vocabulary, encoder, tmp_path / "file" / "text")
    np.testing.assert_array_equal(table, text_table(vocabulary, encoder))

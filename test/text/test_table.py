"""The text table and its cache, against plain loops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ovseg_ros.errors import VocabularyError
from ovseg_ros.text import StaticTextEncoder, text_table
from ovseg_ros.vocabulary import Vocabulary


class CountingEncoder:
    """Vectors by a word's letters; counts how often it is asked, knows nothing of words with a Q."""

    def __init__(self, identity: str = "letters") -> None:
        self.identity, self.variant, self.width, self.asked = identity, "", 26, 0
        self.default_templates: tuple[str, ...] = ("{}",)

    def unknown(self, words: Sequence[str]) -> list[str]:
        return [word for word in words if "Q" in word]

    def encode(self, prompts: Sequence[str]) -> np.ndarray:
        self.asked += 1
        table = np.array([[p.lower().count(chr(97 + i)) for i in range(26)] for p in prompts], np.float32)
        table[["Q" in p for p in prompts]] = 0
        return table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9)


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


def test_a_vocabulary_without_templates_gets_those_of_the_encoder(tmp_path: Path) -> None:
    encoder, templates = CountingEncoder(), ("a {}", "photo of one {}")
    encoder.default_templates = templates
    own = text_table(Vocabulary.parse(["car", "road"]), encoder, tmp_path)
    np.testing.assert_array_equal(own, text_table(Vocabulary.parse(["car", "road"], templates=templates), encoder))
    bare = text_table(Vocabulary.parse(["car", "road"], templates=["{}"]), encoder, tmp_path)
    np.testing.assert_allclose(bare[:, 0], encoder.encode(["car", "road"]), atol=1e-6)
    assert np.abs(own - bare).max() > 0.1
    assert len(list(tmp_path.iterdir())) == 2


def test_a_less_exact_variant_has_a_table_of_its_own(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    text_table(Vocabulary.parse(["car"]), encoder, tmp_path)
    encoder.variant = "bf16"
    text_table(Vocabulary.parse(["car"]), encoder, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2

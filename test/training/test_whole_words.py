"""Words that get a token of their own, against a linear world where the right answer is known."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tokenizers import Tokenizer

from ovseg_ros.training.whole_words import add_words, wordnet_words

TOKENS = ["[UNK]", "##tee", "##ain", "set", "plant", *(f"word{chr(97 + i)}" for i in range(26))]


def lemma(name: str, count: int = 0) -> SimpleNamespace:
    return SimpleNamespace(name=lambda: name, count=lambda: count)


def synset(lexname: str, *lemmas: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(lexname=lambda: lexname, lemmas=lambda: list(lemmas))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import BertPreTokenizer

    tokenizer = Tokenizer(WordPiece({t: i for i, t in enumerate(TOKENS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_words_of_artefacts_are_taken_and_rare_plants_are_not() -> None:
    synsets = [
        synset("noun.artifact", lemma("settee"), lemma("Chesterfield"), lemma("hand_barrow")),
        synset("noun.plant", lemma("plantain", 2), lemma("rareweed")),
        synset("noun.artifact", lemma("set"), lemma("x-ray"), lemma("tote_bag", 1)),
    ]
    assert wordnet_words(synsets, TOKENS) == ["bag", "plantain", "settee", "tote"]


def test_a_new_word_lies_where_the_linear_map_puts_it(folder: Path) -> None:
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0].astype(np.float32)
    meaning = {word: rng.normal(size=6).astype(np.float32) for word in [*TOKENS, "settee", "plantain"]}
    meaning = {word: v / np.linalg.norm(v) for word, v in meaning.items()}
    length = rng.uniform(2, 4, len(TOKENS)).astype(np.float32)
    vectors = np.stack([length[i] * (turn @ meaning[t]) for i, t in enumerate(TOKENS)])
    out = add_words(folder, vectors, ["plantain", "settee"], lambda texts: np.stack([meaning[t] for t in texts]))
    np.testing.assert_array_equal(out[: len(TOKENS)], vectors)
    for row, word in zip(out[len(TOKENS) :], ["plantain", "settee"], strict=True):
        assert row / np.linalg.norm(row) @ (turn @ meaning[word]) > 0.98
        assert 2 < np.linalg.norm(row) < 4


def test_the_tokenizer_reads_the_word_as_one(folder: Path) -> None:
    before = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("settee plant")
    assert before.tokens == ["set", "##tee", "plant"]
    rng = np.random.default_rng(0)
    add_words(
        folder, rng.normal(size=(len(TOKENS), 4)).astype(np.float32), ["settee"], lambda t: rng.normal(size=(len(t), 4))
    )
    after = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("settee plant")
    assert after.tokens == ["settee", "plant"]
    assert after.ids[0] == len(TOKENS) == len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]) - 1

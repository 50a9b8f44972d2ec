"""Teaching synonyms to a static text encoder: pairs, the mask of related pairs, and what is learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.text.static import weighted_tokens
from ovseg_ros.training.teaching import Lesson, StaticTable, Synsets, draw_pairs, plural, related, teach
from ovseg_ros.training.text import write_encoder

WORDS = ["car", "automobile", "box", "carton", "red", "mug", "cup", "container", "of", "machine", "street", "light"]
PLURALS = {
    "car": "cars", "automobile": "automobiles", "box": "boxes", "carton": "cartons", "mug": "mugs", "cup": "cups",
    "container": "containers",
}  # fmt: skip
SYNSETS = Synsets(
    names=[["car", "automobile"], ["box", "carton"], ["mug", "cup"], ["container"]],
    likely=[np.full(2, 0.5, np.float32)] * 3 + [np.ones(1, np.float32)],
    glosses=["machine", "container of paper", "container for tea", "machine"],
    above=[[], [3], [3], []],
    share=[1.0, 1.0, 1.0, 1.0],
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import BertPreTokenizer

    tokenizer = Tokenizer(WordPiece({t: i for i, t in enumerate(["[UNK]", *WORDS])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(WORDS) + 1, 16)).astype(np.float32)


def test_the_table_encodes_as_the_encoder_does(folder: Path, vectors: np.ndarray) -> None:
    write_encoder(folder, vectors, head_weight=2.0)
    encoder = StaticTextEncoder(folder)
    rows = np.load(folder / "embeddings.npy") * np.load(folder / "scales.npy").astype(np.float32)[:, None]
    texts = ["car", "street light", "red mug of car light", "red box"]
    unit, used = StaticTable(folder, rows, 2.0)(texts)
    np.testing.assert_allclose(unit.detach().numpy(), encoder.encode(texts), atol=1e-6)
    assert used.tolist() == sorted({WORDS.index(w) + 1 for t in texts for w in t.split()})


@pytest.mark.parametrize(
    ("text", "heads"),
    [
        ("street light", {"light"}),
        ("mug of red light", {"mug"}),
        ("car", {"car"}),
        ("of car", {"car"}),  # a link in front has nothing to link
        ("street light.", {"light"}),
        ("car, box", {"box"}),
    ],
)
def test_the_head_noun_weighs_twice(folder: Path, vectors: np.ndarray, text: str, heads: set[str]) -> None:
    encoding = StaticTable(folder, vectors, 2.0)._tokenizer.encode(text, add_special_tokens=False)
    ids, weights = weighted_tokens(encoding, 0, 2.0)
    assert {WORDS[i - 1] for i, weight in zip(ids, weights, strict=True) if weight == 2.0} == heads


def test_related_pairs_are_those_that_share_a_synset() -> None:
    first, second = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 3, 3, 1])
    expected = torch.zeros(4, 4, dtype=torch.bool)
    for i in range(4):
        for j in range(4):
            shared = {int(first[i]), int(second[i])} & {int(first[j]), int(second[j])}
            expected[i, j] = i != j and bool(shared)
    assert torch.equal(related(first, second), expected)


def test_pairs_say_what_wordnet_says() -> None:
    batch = next(draw_pairs(SYNSETS, Lesson(batch=800, described=0.0), np.random.default_rng(0)))
    allowed = {
        (name, other, i, i)
        for i in range(4)
        for name in SYNSETS.names[i]
        for other in [*(n for n in SYNSETS.names[i] if n != name), SYNSETS.glosses[i], PLURALS[name]]
    } | {(name, "container", i, 3) for i in (1, 2) for name in SYNSETS.names[i]}
    assert set(batch) == allowed


@pytest.mark.parametrize(
    ("noun", "many"),
    [("bench", "benches"), ("lorry", "lorries"), ("tray", "trays"), ("glass", "glasses"), ("y", "ies")],
)
def test_regular_plurals(noun: str, many: str) -> None:
    assert plural(noun) == many


def test_an_adjective_stands_on_both_sides() -> None:
    batch = next(draw_pairs(SYNSETS, Lesson(batch=50, described=1.0), np.random.default_rng(0)))
    assert all(left.split()[0] == right.split()[0] for left, right, *_ in batch)


def test_synonyms_meet_and_the_rest_stays(folder: Path, vectors: np.ndarray) -> None:
    lesson = Lesson(steps=60, batch=32, learning_rate=0.05, described=0.0)
    taught = teach(folder, vectors, SYNSETS, lesson)
    unit = taught / np.linalg.norm(taught, axis=1, keepdims=True)
    place = {w: i + 1 for i, w in enumerate(WORDS)}
    for a, b in (("car", "automobile"), ("mug", "cup"), ("box", "carton")):
        others = [w for w in ("car", "mug", "box") if w != a]
        assert unit[place[a]] @ unit[place[b]] > max(unit[place[b]] @ unit[place[w]] for w in others) + 0.3
    assert np.array_equal(taught[place["street"]], vectors[place["street"]])  # in no synset
    again = teach(folder, vectors, SYNSETS, lesson)
    np.testing.assert_array_equal(taught, again)
    held = teach(folder, vectors, SYNSETS, replace(lesson, keep=1e4))
    assert np.abs(held - vectors).mean() < 0.2 * np.abs(taught - vectors).mean()

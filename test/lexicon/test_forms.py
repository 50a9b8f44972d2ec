"""Spelling: number and heads, against nltk's morphy and by hand."""

from __future__ import annotations

from typing import Any

import pytest

from ovseg_ros.lexicon import Lexicon
from ovseg_ros.lexicon.forms import key, parts, plurals, singulars, spellings, split_head, with_head


@pytest.mark.parametrize(
    ("phrase", "pieces"),
    [
        ("truck", ("", "truck", "")),
        ("old hand truck", ("old hand", "truck", "")),
        ("person on foot", ("", "person", "on foot")),
        ("young man in a red coat", ("young", "man", "in a red coat")),
        ("of", ("", "of", "")),
    ],
)
def test_heads(phrase: str, pieces: tuple[str, str, str]) -> None:
    assert split_head(phrase) == pieces
    assert with_head(phrase, pieces[1]) == phrase
    assert with_head(phrase, "thing").split() == [w if w != pieces[1] else "thing" for w in phrase.split()]


def test_spellings() -> None:
    assert key("  Traffic_LIGHT ") == "traffic light"
    assert spellings("Traffic light") == ("traffic_light", "traffic-light", "trafficlight")
    assert spellings("car") == ("car",)
    assert parts("chest_of_drawers, the Dresser") == ("chest", "drawers", "dresser")


PLURALS = {
    "car": "cars", "bus": "buses", "box": "boxes", "leaf": "leaves", "roof": "roofs", "knife": "knives",
    "man": "men", "mouse": "mice", "child": "children", "foot": "feet", "goose": "geese", "lorry": "lorries",
    "toy": "toys", "brother": "brothers", "cow": "cows", "bench": "benches", "glass": "glasses", "person": "people",
    "traffic light": "traffic lights", "person on foot": "people on foot", "scissors": "scissors",
}  # fmt: skip


@pytest.mark.parametrize("word", PLURALS)
def test_number(word: str, lexicon: Lexicon) -> None:
    assert lexicon.forms(word)[-1] == PLURALS[word]
    own = ("glasses", "people", "cows", "people on foot")  # spectacles, a nation, cattle: entries of their own
    assert lexicon.forms(PLURALS[word])[0] == (PLURALS[word] if PLURALS[word] in own else word)


def test_forms_of_strange_words() -> None:
    assert plurals("quiz", {"quiz": ["quizzes"]}) == ("quizzes", "quizes")
    assert singulars("glass", {}) == ()
    assert singulars("s", {}) == ()


def test_singulars_are_those_of_morphy(lexicon: Lexicon, reader: Any) -> None:
    words = "cars leaves buses men geese boxes churches knives lorries people glasses pants trees axes"
    for word in words.split():
        ours = lexicon.wordnet.entry(word)
        theirs = reader.morphy(word, "n")  # the word itself where it is an entry, or else its likeliest singular
        assert theirs == (word if ours.senses else ours.singulars[0])

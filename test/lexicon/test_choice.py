"""Which synonyms a word gets: by facts of WordNet, on the names of ADE20K's classes, and what never may happen."""

from __future__ import annotations

import random

import pytest

from ovseg_ros.lexicon import Lexicon
from ovseg_ros.lexicon.forms import key

# read off `wn WORD -synsn`: what the right sense has, less what is rare, a name, or means something else first
SYNONYMS = {
    "car": {"auto", "automobile", "motorcar"},  # not machine
    "automobile": {"car", "auto", "motorcar"},
    "traffic light": {"traffic signal"},
    "sofa": {"couch"},
    "couch": {"sofa"},
    "bucket": {"pail"},
    "rug": {"carpet", "carpeting"},
    "backpack": {"back pack", "knapsack", "rucksack", "haversack"},
    "television set": {"television receiver", "tv set", "telly"},  # not idiot box
    "fire extinguisher": {"extinguisher"},
    "tree": set(),
    "hand truck": set(),  # a truck is something else
    "dog": {"domestic dog"},  # not Canis familiaris
}


@pytest.mark.parametrize("word", SYNONYMS)
def test_synonyms(word: str, lexicon: Lexicon) -> None:
    assert set(lexicon.synonyms(word)) == SYNONYMS[word]
    choice = lexicon.choose(word)
    assert choice.sense is not None
    others = {lemma for lemma in choice.sense.lemmas if key(lemma) != key(word)}
    assert {*choice.kept, *dict(choice.dropped)} == others  # nothing is passed over in silence


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("cars", ("autos", "automobiles", "motorcars")),
        ("Traffic_Lights", ("traffic signals",)),
        ("red car", ("red auto", "red automobile", "red motorcar")),
        ("toy cars", ("toy autos", "toy automobiles", "toy motorcars")),
        ("car on a trailer", ("auto on a trailer", "automobile on a trailer", "motorcar on a trailer")),
        ("two buckets", ("two pails",)),
    ],
)
def test_number_and_head(word: str, expected: tuple[str, ...], lexicon: Lexicon) -> None:
    assert lexicon.synonyms(word) == expected


@pytest.mark.parametrize("word", ["xyzzy", "quickly", "anger", "yesterday", "Paris", "Gabelstapler", "行人", "of", ""])
def test_words_that_are_no_visible_thing(word: str, lexicon: Lexicon) -> None:
    choice = lexicon.choose(word)
    assert (choice.sense, choice.kept, choice.dropped) == (None, (), ())
    assert choice.note.startswith("WordNet knows no ")
    assert all(chance == 0 for _, chance in choice.senses)


def test_reasons(lexicon: Lexicon) -> None:
    def reason(word: str, lemma: str) -> str:
        return dict(lexicon.choose(word).dropped)[lemma]

    assert "means something else" in reason("car", "machine")
    assert "rare" in reason("television set", "idiot box")
    assert "name" in reason("dog", "Canis familiaris")
    assert "offensive" in reason("common raccoon", "coon")


def test_words_of_other_classes_are_left_to_them(lexicon: Lexicon) -> None:
    assert "automobile" in lexicon.synonyms("car")
    for other in ("automobile", "Automobiles", "AUTOMOBILE"):
        choice = lexicon.choose("car", context=["road", other])
        assert "automobile" not in choice.kept
        assert dict(choice.dropped)["automobile"] == "it belongs to another class"
    assert lexicon.synonyms("red car", taken=["red auto"]) == ("red automobile", "red motorcar")
    assert lexicon.synonyms("cars", context=["cars", "car"]) == lexicon.synonyms("cars")  # itself is no other class


def test_synonyms_are_those_that_people_gave_ade20ks_classes(lexicon: Lexicon, ade_names: list[list[str]]) -> None:
    """ADE20K's authors chose a sense of WordNet by sight, and list its lemmas: ours must be among them."""
    classes = [names for names in ade_names if len(names) > 1]
    rng = random.Random(0)
    right, offered, classes_with = 0, 0, 0
    for names in rng.sample(classes, 200):
        context = [other[0] for other in rng.sample(classes, 15) if other is not names]
        lemmas = {lemma for sense in lexicon.senses(names[0]) for lemma in map(key, sense.lemmas)}
        if not set(map(key, names)) <= lemmas:  # names from several senses, or from elsewhere
            continue
        kept = {key(synonym) for synonym in lexicon.synonyms(names[0], context=context)}
        right += len(kept & set(map(key, names)))
        offered += len(kept)
        classes_with += bool(kept)
    print(f"{offered} synonyms for {classes_with} classes, {right / offered:.1%} of them also ADE20K's")
    assert offered >= 60
    assert right / offered >= 0.95


def test_related_are_those_of_nltks_tree(lexicon: Lexicon) -> None:
    reader = lexicon.wordnet._reader
    related = lexicon.related("sofa", depth=2)
    sofa = reader.synset("sofa.n.01")
    up = {lemma for s in sofa.closure(lambda s: s.hypernyms(), depth=2) for lemma in s.lemma_names()}
    down = {lemma for s in sofa.closure(lambda s: s.hyponyms(), depth=2) for lemma in s.lemma_names()}
    for relation, expected in (("hypernym", up), ("hyponym", down)):
        ours = {one.word.replace(" ", "_") for one in related if one.relation == relation}
        assert ours == expected
    assert {one.word for one in related if one.relation == "sibling"} >= {"bench", "chair", "stool", "ottoman"}
    assert next((one.word, one.depth) for one in related if one.relation == "hypernym") == ("seat", 1)
    assert lexicon.related("plant") == ()  # nobody knows which

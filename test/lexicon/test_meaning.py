"""The choice of a sense: its similarity against nltk's, its probability against a loop, its result against facts."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from ovseg_ros.lexicon import Choosing, Lexicon, Sense
from ovseg_ros.lexicon.meaning import similarity, weigh

THINGS = ("car", "truck", "sofa", "chair", "apple", "dog", "cat", "crane", "mouse", "keyboard", "tree", "road")


def test_similarity_is_that_of_nltk(lexicon: Lexicon, reader: Any) -> None:
    senses = [sense for word in THINGS for sense in lexicon.senses(word) if not sense.proper]
    # with several ways up, nltk's distances may go down again; there the loop below is the judge
    straight = [sense for sense in senses if len(reader.synset(sense.name).hypernym_paths()) == 1]
    assert len(straight) > 20
    for a, b in itertools.combinations(straight, 2):
        expected = reader.synset(a.name).wup_similarity(reader.synset(b.name))
        assert similarity(a, b) == similarity(b, a) == pytest.approx(expected)
    for a, b in itertools.combinations(senses, 2):
        ways = [reader.synset(sense.name).hypernym_paths() for sense in (a, b)]
        best = 0.0
        for up, down in itertools.product(*ways):
            for shared in set(up) & set(down):
                steps = len(up) - up.index(shared) + len(down) - down.index(shared) - 2
                depth = max(map(len, shared.hypernym_paths()))
                best = max(best, 2 * depth / (steps + 2 * depth))
        assert similarity(a, b) == pytest.approx(best)
        assert similarity(a, a) == 1.0


def make(name: str, frequency: int, rank: int, parent: str, lexname: str = "noun.artifact") -> Sense:
    ancestors = {name: (0, 3), parent: (1, 2), "entity": (2, 1)}
    return Sense(name, (), "", lexname, name, frequency, rank, True, False, "", (), ancestors, ())


def test_probabilities_follow_the_formula() -> None:
    senses = [make("a", 3, 1, "tool"), make("b", 0, 2, "food", "noun.plant"), make("c", 1, 3, "tool", "noun.person")]
    company = [[make("x", 9, 1, "food")], [], [make("y", 0, 1, "tool"), make("z", 0, 2, "food")]]
    choosing = Choosing(smoothing=1.5, company=2.0)
    # Wu and Palmer by hand: 2 * 2 / (3 + 3) below the same parent, 2 * 1 / (3 + 3) otherwise
    fit = {"a": (1 / 3 + 2 / 3) / 2, "b": 2 / 3, "c": (1 / 3 + 2 / 3) / 2}
    weights = [
        (3 + 1.5) * math.exp(2 * fit["a"]),
        (0 + 1.5 / 2) * 0.5 * math.exp(2 * fit["b"]),
        (1 + 1.5 / 3) * 0.3 * math.exp(2 * fit["c"]),
    ]
    assert weigh(senses, company, choosing) == pytest.approx([w / sum(weights) for w in weights])
    alone = weigh(senses, [], choosing)
    assert alone == pytest.approx([w / (4.5 + 0.375 + 0.45) for w in (4.5, 0.375, 0.45)])
    with_rivals = weigh(senses, [], choosing, rivals=[2, 0])
    assert with_rivals == pytest.approx([w / (4.5 + 0.375 + 0.45 + 3.5 + 0.75) for w in (4.5, 0.375, 0.45)])


# words of several visible senses, in company that leaves no doubt to a reader
COMPANY = [
    ("crane", "bird, duck, swan", "crane.n.05"),
    ("crane", "truck, building, road", "crane.n.04"),
    ("plant", "tree, grass, flower", "plant.n.02"),
    ("plant", "warehouse, factory, power station", "plant.n.01"),
    ("jaguar", "lion, tiger, leopard", "jaguar.n.01"),
    ("stool", "chair, table, bench", "stool.n.01"),
    ("ram", "sheep, goat, cow", "ram.n.05"),
    ("train", "bus, car, tram", "train.n.01"),
    ("table", "chair, sofa, lamp", "table.n.02"),
]


@pytest.mark.parametrize(("word", "company", "sense"), COMPANY)
def test_company_decides(word: str, company: str, sense: str, lexicon: Lexicon) -> None:
    choice = lexicon.choose(word, context=company.split(", "))
    best = max(choice.senses, key=lambda pair: pair[1])[0]
    assert best.name == sense


def test_without_company_an_ambiguous_word_has_no_sense(lexicon: Lexicon) -> None:
    choice = lexicon.choose("plant")
    assert (choice.sense, choice.kept) == (None, ())
    assert "several likely meanings" in choice.note
    assert sum(chance for _, chance in choice.senses) == pytest.approx(1.0)

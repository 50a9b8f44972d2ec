"""Text diversification: which synonyms may be drawn, and the lists of classes that follow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.training.diversification import (  # noqa: E402
    NameList,
    all_names,
    draw_names,
    likely,
    name_table,
    synonym_probabilities,
)

PLAIN = ("person", "car", "road")


class Scripted:
    """A source of chance that says what it is told, in turn."""

    def __init__(self, *draws: int) -> None:
        self.draws = list(draws)

    def integers(self, count: int) -> int:
        draw = self.draws.pop(0)
        assert 0 <= draw < count
        return draw


def draw(classes: Sequence[int], choices: Sequence[Sequence[str]], *draws: int) -> NameList:
    chance: Any = Scripted(*draws)
    found = draw_names(PLAIN, classes, choices, chance)
    assert not chance.draws
    return found


def test_probabilities_are_clips_softmax_among_the_synonyms_of_a_class() -> None:
    regions = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    synonyms = torch.tensor([[0.5, 0.0], [0.0, 3.0]])
    found = synonym_probabilities(regions, synonyms, scale=2.0)
    assert torch.allclose(found[0], torch.tensor([math.exp(2), 1.0]) / (math.exp(2) + 1))
    assert torch.allclose(found[1], torch.tensor([0.5, 0.5]))


def test_what_is_likely_may_be_drawn_and_something_always_may() -> None:
    names = ("person", "woman", "skier")
    assert likely(names, (0.1, 0.3, 0.6)) == ("woman", "skier")
    assert likely(names, torch.tensor([0.05, 0.05, 0.9]).tolist()) == ("skier",)
    many = [f"name {i}" for i in range(20)]
    assert likely(many, [0.05] * 7 + [0.06] + [0.05] * 12) == ("name 7",)
    for bad in ((), (0.5,)):
        with pytest.raises(ValueError, match=f"with {len(bad)} probabilities"):
            likely(names, bad)
    with pytest.raises(ValueError, match="0 synonyms"):
        likely((), ())


@pytest.mark.parametrize(
    ("draws", "names", "labels"),
    [
        ((0, 0, 0), ("person", "car", "road"), (0, 0, 1)),  # the plain names
        ((1, 1, 1), ("woman", "auto", "road"), (0, 0, 1)),  # one synonym takes the class's place
        ((1, 2, 0), ("woman", "car", "road", "skier"), (0, 3, 1)),  # a second one is appended
        ((0, 1, 0), ("person", "car", "road", "woman"), (0, 3, 1)),  # so it is after the plain name
        ((1, 0, 0), ("woman", "car", "road", "person"), (0, 3, 1)),  # and so is the plain name after another
    ],
)
def test_an_images_list_by_hand(draws: tuple[int, ...], names: tuple[str, ...], labels: tuple[int, ...]) -> None:
    person = ("person", "woman", "skier")
    assert draw((0, 0, 1), (person, person, ("car", "auto")), *draws) == NameList(names, labels)


def test_a_name_is_appended_once() -> None:
    person = ("person", "woman", "skier")
    found = draw((0, 0, 0, 0), (person,) * 4, 1, 2, 2, 1)
    assert found == NameList(("woman", "car", "road", "skier"), (0, 3, 3, 0))
    assert draw((), ()) == NameList(PLAIN, ())


def test_any_list_says_of_every_segment_the_name_it_drew() -> None:
    rng = np.random.default_rng(0)
    words = {0: ("person", "woman", "skier"), 1: ("car", "auto"), 2: ("road",)}
    seen = set()
    for _ in range(200):
        classes = rng.integers(0, 3, size=int(rng.integers(0, 7))).tolist()
        found = draw_names(PLAIN, classes, [words[k] for k in classes], rng)
        assert len(found.labels) == len(classes)
        for k, label in zip(classes, found.labels, strict=True):
            assert found.names[label] in words[k]
            assert label == k or label >= len(PLAIN)
            seen.add(found.names[label])
        for k in range(3):
            assert found.names[k] == PLAIN[k] or (k in classes and found.names[k] in words[k])
        assert len(set(found.names)) == len(found.names)
        assert set(range(len(PLAIN), len(found.names))) <= set(found.labels)  # nothing is appended that nobody drew
    assert seen == {name for names in words.values() for name in names}


def test_segments_that_cannot_be_named_are_an_error() -> None:
    rng = np.random.default_rng(0)
    for classes, choices in (((3,), (("a",),)), ((-1,), (("a",),)), ((0,), ((),))):
        with pytest.raises(ValueError, match=rf"class {classes[0]} with {len(choices[0])} names"):
            draw_names(PLAIN, classes, choices, rng)
    with pytest.raises(ValueError, match="2 segments with choices of names for 1"):
        draw_names(PLAIN, (0, 1), (("a",),), rng)


def test_a_batch_embeds_each_name_once_and_says_what_only_fills_up() -> None:
    asked = []

    def embed(names: Sequence[str]) -> Any:
        asked.append(list(names))
        return torch.tensor([[len(name), ord(name[0])] for name in names], dtype=torch.float32)

    lists = [NameList(("woman", "car", "skier"), (0, 2)), NameList(("woman", "auto"), ())]
    found = name_table(lists, embed)
    assert asked == [["woman", "car", "skier", "auto"]]
    expected = [[[5, ord("w")], [3, ord("c")], [5, ord("s")]], [[5, ord("w")], [4, ord("a")], [0, 0]]]
    assert found.names.tolist() == expected
    assert found.real.tolist() == [[True, True, True], [True, True, False]]
    assert [own.tolist() for own in found.labels] == [[0, 2], []]
    assert {own.dtype for own in found.labels} == {torch.int64}
    with pytest.raises(ValueError, match="no lists of names"):
        name_table([], embed)


def test_all_names_know_their_class() -> None:
    names, owner = all_names((("person", "woman"), ("car",)))
    assert (names, owner.tolist()) == (["person", "woman", "car"], [0, 0, 1])
    with pytest.raises(ValueError, match="class 1 has no name"):
        all_names((("a",), ()))

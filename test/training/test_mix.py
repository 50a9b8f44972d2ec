"""Several sources as one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("torch")

from ovseg_ros.training.mix import PERIOD, Ingredient, Mix
from ovseg_ros.training.sources import Picture
from ovseg_ros.training.words import Region
from ovseg_ros.vocabulary import Vocabulary


class Numbered:
    """`count` pictures whose pixels are their numbers; one kind on the left, another on the right."""

    colours = ()

    def __init__(self, count: int, kinds: dict[str, tuple[str, ...]], pixels: int = 1) -> None:
        self.count, self.kinds, self.pixels = count, kinds, pixels

    def __len__(self) -> int:
        return self.count

    def load(self, index: int) -> Picture:
        ids = np.array([[0, 1], [0, 255]], np.uint8)
        return Picture(
            np.full((2, 2, 3), index, np.uint8), ids, tuple(Region(kind, words) for kind, words in self.kinds.items())
        )

    def pixel_counts(self) -> dict[str, int]:
        return dict.fromkeys(self.kinds, self.pixels)


ROOM = {"wall": ("wall", "partition"), "person": ("person", "human")}
STREET = {"building": ("building", "wall", "house"), "pedestrian": ("pedestrian", "person")}


def mix(*weights: float, counts: tuple[int, ...] = (30, 7, 11), seed: int = 0) -> Mix:
    names = "abc"[: len(weights)]
    return Mix(
        [Ingredient(n, Numbered(c, ROOM), w) for n, c, w in zip(names, counts, weights, strict=False)], seed=seed
    )


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 0.3, 0.2), (98.0, 1.0, 1.0), (1.0, 1e-6)])
def test_weights_decide_the_share_of_draws(weights: tuple[float, ...]) -> None:
    drawn = Counter(mix(*weights).pick(draw)[0] for draw in range(2 * PERIOD))
    for number, weight in enumerate(weights):
        assert drawn[number] == pytest.approx(2 * PERIOD * weight / sum(weights), abs=2.01)
        assert drawn[number] > 0


def test_every_source_shows_all_its_pictures_before_any_of_them_again() -> None:
    mixed = mix(0.5, 0.3, 0.2)
    for number, count in enumerate((30, 7, 11)):
        shown = [index for draw in range(3 * PERIOD) for n, index in [mixed.pick(draw)] if n == number]
        epochs = [shown[i : i + count] for i in range(0, len(shown) - count, count)]
        assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_draw_depends_on_seed_and_number_alone() -> None:
    assert [mix(0.5, 0.5).pick(d) for d in (5, 2500, 7)] == [mix(0.5, 0.5).pick(d) for d in (5, 2500, 7)]
    assert [mix(0.5, 0.5).pick(d) for d in range(50)] != [mix(0.5, 0.5, seed=1).pick(d) for d in range(50)]


def test_one_source_keeps_its_kinds_names_and_several_tell_theirs_apart() -> None:
    assert Mix.of(Numbered(3, ROOM)).kinds == ROOM
    both = Mix([Ingredient("room", Numbered(3, ROOM)), Ingredient("street", Numbered(3, STREET))])
    assert both.kinds == {
        "room: wall": ("wall", "partition"),
        "room: person": ("person", "human"),
        "street: building": ("building", "wall", "house"),
        "street: pedestrian": ("pedestrian", "person"),
    }
    picture = both.load(1, 2)
    assert [(r.kind, r.words) for r in picture.regions] == [(k, both.kinds[k]) for k in list(both.kinds)[2:]]
    assert picture.rgb.max() == 2
    assert [both.knows(1, kind) for kind in both.kinds] == [False, False, True, True]


def test_forbidden_words_are_never_asked_and_a_kind_without_words_has_no_truth() -> None:
    mixed = Mix([Ingredient("room", Numbered(3, ROOM))], forbidden={"wall", "partition", "human"})
    assert mixed.kinds == {"person": ("person",)}
    picture = mixed.load(0, 0)
    assert [r.kind for r in picture.regions] == ["person"]
    assert picture.ids.tolist() == [[255, 0], [255, 255]]
    assert set(mixed.pixel_counts()) == {"person"}


def test_pixels_count_by_the_share_of_their_source() -> None:
    sources = [
        Ingredient("a", Numbered(3, ROOM, pixels=10**9), weight=3),
        Ingredient("b", Numbered(3, STREET, pixels=5), weight=1),
    ]
    counts = Mix(sources).pixel_counts()
    assert counts["a: wall"] / counts["b: building"] == pytest.approx(3)
    assert Mix(sources[:1]).pixel_counts()["wall"] == 10**9


def test_the_starting_vocabulary_names_no_word_twice() -> None:
    both = Mix([Ingredient("room", Numbered(3, ROOM)), Ingredient("street", Numbered(3, STREET))])
    vocabulary = Vocabulary.parse(both.entries())  # refuses words that occur twice
    assert vocabulary.classes == (("wall", "partition"), ("person", "human"), ("building", "house"), ("pedestrian",))
    assert Vocabulary.parse(Mix.of(Numbered(3, STREET)).entries()).classes == tuple(STREET.values())

"""Which words a batch is asked about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ovseg_ros.errors import ModelError
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.words import OTHER, Question, Region, WordMix, WordSampler, balanced_weights

KINDS = {
    "car": ("car", "vehicle", "van"),
    "road": ("road", "asphalt"),
    "person": ("person", "human"),
    "tree": ("tree",),
    "box": ("box", "crate"),
}
COLOURS = ("red", "blue", "green")
REGIONS = [
    Region("car", KINDS["car"], "red"),
    Region("box", KINDS["box"], "red"),
    Region("box", KINDS["box"], "blue"),
    Region("road", KINDS["road"]),
]


def draws(encoder: StaticTextEncoder, count: int = 60, regions: list[Region] = REGIONS, **mix: Any) -> list[Question]:
    sampler = WordSampler(KINDS, COLOURS, {"car": 2.0, "road": 0.5}, encoder, WordMix(**mix))
    return [sampler.draw(regions, np.random.default_rng(seed)) for seed in range(count)]


def plain(words: tuple[str, ...] | list[str]) -> list[str]:
    """The words among these that name no kind of ours, with or without a colour."""
    known = {word for kind in KINDS.values() for word in kind}
    return [w for w in words if w not in known and w.partition(" ")[2] not in known]


def test_every_region_is_asked_for_by_one_of_its_words(shipped_encoder: StaticTextEncoder) -> None:
    seen = set()
    for question in draws(shipped_encoder, leave_out=0.0):
        for region in REGIONS:
            word = question.words[question.target[question.key(region)]]
            assert word in KINDS[region.kind]
            seen.add(word)
    assert seen == {*KINDS["car"], *KINDS["box"], *KINDS["road"]}


def test_words_are_asked_once(shipped_encoder: StaticTextEncoder) -> None:
    for question in draws(shipped_encoder, coloured=0.5):
        assert len(set(question.words)) == len(question.words)
        assert len(question.text) == len(question.weights) == len(question.words)


def test_no_stranger_is_close_to_a_word_that_is_asked(shipped_encoder: StaticTextEncoder) -> None:
    strangers = 0
    for question in draws(shipped_encoder, coloured=0.5):
        asked = [question.words[i] for i in question.target.values() if i != OTHER]
        odd = plain(question.words)
        strangers += len(odd)
        if odd:
            assert (shipped_encoder.encode(odd) @ shipped_encoder.encode(asked).T).max() < 0.35
    assert strangers > 100


def test_no_stranger_names_a_thing_whose_word_was_left_out(shipped_encoder: StaticTextEncoder) -> None:
    """Its pixels are taught to be "none of these words"; a word for them would be taught the contrary."""
    for question in draws(shipped_encoder, count=200, leave_out=1.0, left_out=0.5):
        left = [kind for (_, kind), i in question.target.items() if i == OTHER]
        odd = plain(question.words)
        if left and odd:
            assert (shipped_encoder.encode(odd) @ shipped_encoder.encode(left).T).max() < 0.35


def test_left_out_words_map_to_other_and_are_not_asked(shipped_encoder: StaticTextEncoder) -> None:
    left = 0
    for question in draws(shipped_encoder, leave_out=1.0, left_out=0.5):
        for (colour, kind), place in question.target.items():
            assert colour is None
            if place == OTHER:
                left += 1
                assert not set(KINDS[kind]) & set(question.words)
        assert any(place != OTHER for place in question.target.values())
    assert left > 20


def test_nothing_is_left_out_where_the_mix_says_so(shipped_encoder: StaticTextEncoder) -> None:
    assert all(OTHER not in q.target.values() for q in draws(shipped_encoder, leave_out=0.0, left_out=1.0))


def test_coloured_questions_tell_things_of_one_kind_apart(shipped_encoder: StaticTextEncoder) -> None:
    wrong_colours = 0
    for question in draws(shipped_encoder, coloured=1.0, leave_out=0.0):
        assert question.coloured
        places = [question.target[question.key(region)] for region in REGIONS]
        assert len(set(places)) == 4
        words = [question.words[place] for place in places]
        assert words[0] in {f"red {word}" for word in KINDS["car"]}
        assert words[1] in {f"red {word}" for word in KINDS["box"]}
        assert words[2] in {f"blue {word}" for word in KINDS["box"]}
        assert words[3] in KINDS["road"]
        absent = [word.partition(" ") for word in question.words[4:]]
        for colour, _, thing in absent:
            assert (colour, thing) not in {("red", w) for w in (*KINDS["car"], *KINDS["box"])}
            assert (colour, thing) not in {("blue", w) for w in KINDS["box"]}
        wrong_colours += sum(colour in COLOURS for colour, _, _ in absent)
    assert wrong_colours > 60


def test_plain_questions_put_all_colours_together(shipped_encoder: StaticTextEncoder) -> None:
    for question in draws(shipped_encoder, coloured=0.0):
        assert not question.coloured
        assert question.key(REGIONS[1]) == question.key(REGIONS[2])


def test_a_batch_without_colours_is_never_asked_for_them(shipped_encoder: StaticTextEncoder) -> None:
    assert not any(q.coloured for q in draws(shipped_encoder, regions=[Region("road", KINDS["road"])], coloured=1.0))


def test_absent_words_fill_up_to_the_number_asked_for(shipped_encoder: StaticTextEncoder) -> None:
    for question in draws(shipped_encoder, absent=12, leave_out=0.0):
        assert 8 <= len(question.words) - 3 <= 12


def test_vectors_are_those_of_the_words_but_for_the_noise(shipped_encoder: StaticTextEncoder) -> None:
    for noise, least in ((0.0, 0.9999), (0.15, 0.97)):
        for question in draws(shipped_encoder, count=5, noise=noise):
            np.testing.assert_allclose(np.linalg.norm(question.text, axis=1), 1, atol=1e-5)
            cosines = (question.text * shipped_encoder.encode(question.words)).sum(axis=1)
            assert least <= cosines.min()
            assert noise == 0 or cosines.max() < 0.9999


def test_weights_are_those_of_the_kinds(shipped_encoder: StaticTextEncoder) -> None:
    for question in draws(shipped_encoder, leave_out=0.0):
        expected = {"car": 2.0, "road": 0.5, "box": 1.0}
        for (_, kind), place in question.target.items():
            assert question.weights[place] == expected[kind]
        assert (question.weights[3:] == 1).all()


def test_a_draw_is_a_function_of_its_seed(shipped_encoder: StaticTextEncoder) -> None:
    one, two = (draws(shipped_encoder, count=3, coloured=0.5) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert (a.words, a.target) == (b.words, b.target)
        np.testing.assert_array_equal(a.text, b.text)


def test_every_word_tells_what_it_stands_for(shipped_encoder: StaticTextEncoder) -> None:
    strangers = 0
    for question in draws(shipped_encoder, coloured=0.5):
        assert len(question.keys) == len(question.words)
        assert all(question.keys[place] == key for key, place in question.target.items() if place != OTHER)
        for word, key in zip(question.words, question.keys, strict=True):
            if key is None:
                strangers += 1
                assert plain([word]) == [word]
            else:
                assert word.removeprefix(f"{key[0]} ") in KINDS[key[1]]
    assert strangers > 100


def test_lexicon_synonyms_are_drawn_as_often_as_asked(shipped_encoder: StaticTextEncoder) -> None:
    lexicon = {"car": ("motorcar", "auto")}
    for share, least, most in ((0.0, 0, 0), (0.5, 50, 100), (1.0, 150, 150)):
        sampler = WordSampler(KINDS, (), {}, shipped_encoder, WordMix(lexicon=share, leave_out=0.0, absent=0), lexicon)
        asked = [sampler.draw(REGIONS, np.random.default_rng(seed)).words for seed in range(150)]
        assert all(words[0] in (*KINDS["car"], *lexicon["car"]) for words in asked)
        assert all(words[1] in KINDS["box"] for words in asked)  # has no entry
        assert least <= sum(words[0] in lexicon["car"] for words in asked) <= most


def test_a_held_out_word_is_not_even_asked_where_it_fits_nothing(shipped_encoder: StaticTextEncoder) -> None:
    def strangers(forbidden: set[str]) -> set[str]:
        mix = WordMix(absent=200, leave_out=0.0)
        sampler = WordSampler(KINDS, (), {}, shipped_encoder, mix, forbidden=forbidden)
        asked = [sampler.draw(REGIONS, np.random.default_rng(seed)).words for seed in range(40)]
        return set(plain([word for words in asked for word in words]))

    some = set(sorted(strangers(set()))[::3])
    assert len(some) > 500
    assert not strangers(some) & some


def test_a_word_that_the_encoder_cannot_read_is_refused(tiny_encoder: StaticTextEncoder) -> None:
    with pytest.raises(ModelError, match="no part of the word 'zeppelin'"):
        WordSampler({"red": ("red", "zeppelin")}, (), {}, tiny_encoder, WordMix())


def test_balanced_weights_favour_rare_kinds_within_bounds() -> None:
    pixels = {"rare": 1, "some": 50, "usual": 100, "many": 200, "most": 10**9, "never": 0}
    weights = balanced_weights(pixels, 0.5)
    assert weights["usual"] == 1.0
    assert weights["some"] == pytest.approx(2**0.5)
    assert weights["many"] == pytest.approx(0.5**0.5)
    assert (weights["rare"], weights["most"], weights["never"]) == (4.0, 0.25, 4.0)
    assert set(balanced_weights(pixels, 0.0).values()) == {1.0}

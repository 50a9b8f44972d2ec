"""Captions: no held-out word, nothing that is not there, and which of them are wrong of which image."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from ovseg_ros.errors import ModelError
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.contrastive_batches import strangers
from ovseg_ros.training.contrastive_captions import CaptionWriter, Judge, listed, support, with_article
from ovseg_ros.training.mix import Ingredient, Mix
from ovseg_ros.training.regions import Crop
from ovseg_ros.training.words import Region, WordMix


class Kinds:
    """A source of words alone."""

    def __init__(self, kinds: dict[str, tuple[str, ...]], colours: tuple[str, ...] = ()) -> None:
        self.kinds, self.colours = kinds, colours

    def __len__(self) -> int:
        return 1

    def load(self, index: int) -> Any:
        raise NotImplementedError

    def pixel_counts(self) -> dict[str, int]:
        return dict.fromkeys(self.kinds, 1)


def crop_of(ids: np.ndarray, regions: tuple[Region, ...], subject: int | None = None) -> Crop:
    return Crop(np.zeros((*ids.shape, 3), np.uint8), ids.astype(np.uint8), regions, subject)


def test_no_caption_holds_a_word_that_is_held_out(shipped_encoder: StaticTextEncoder) -> None:
    """Even where a source brings such words along, and WordNet is asked for more."""
    pytest.importorskip("mujoco")
    pytest.importorskip("nltk")
    from ovseg_ros.lexicon import LexiconError
    from ovseg_ros.sim import COLOURS, KINDS
    from ovseg_ros.training.lexicon import lexicon_words

    held_out = {word for kind in KINDS.values() for word in kind.held_out_synonyms}
    kinds = {name: (name, *kind.synonyms, *kind.held_out_synonyms) for name, kind in KINDS.items()}
    mix = Mix([Ingredient("all", Kinds(kinds))], forbidden=held_out)
    try:
        more = lexicon_words(mix.kinds, mix.forbidden)
    except LexiconError as error:
        pytest.skip(str(error))
    writer = CaptionWriter(mix.kinds, WordMix(coloured=0.5, name=0.2, lexicon=0.3), more)
    rng, colours = np.random.default_rng(0), list(COLOURS)
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, held_out))})\b")
    used = set()
    for _ in range(400):
        names = rng.choice(list(mix.kinds), 6, replace=False)
        regions = tuple(
            Region(n, mix.kinds[n], str(rng.choice(colours)) if KINDS[n].colourable else None) for n in names
        )
        ids = rng.integers(0, 6, (3, 3)).repeat(4, axis=0).repeat(4, axis=1)
        for subject in (None, int(ids[0, 0])):
            caption = writer.caption(crop_of(ids, regions, subject), rng)
            assert not pattern.search(caption.text), caption.text
            used |= set(caption.text.split())
        assert not pattern.search(writer.word(regions[0], rng).text)
    assert {"cup", "coffee", "red", "on", "and"} <= used  # there is something to be wrong about
    assert not held_out & set(strangers(shipped_encoder, held_out))


def test_a_caption_claims_and_names_only_what_is_shown() -> None:
    rng, names = np.random.default_rng(1), ("table", "mug", "wall", "box")
    colours = ("red", None, None, "blue")
    regions = tuple(Region(n, (n,), c) for n, c in zip(names, colours, strict=True))
    writer = CaptionWriter({n: (n,) for n in names}, WordMix(coloured=0.5, name=1.0))
    counts = set()
    for _ in range(200):
        ids = rng.choice([0, 1, 2, 3, 255], size=(4, 4)).repeat(4, axis=0).repeat(4, axis=1)
        ids[-1] = rng.integers(4)
        crop = crop_of(ids, regions)
        shown = {regions[i] for i in np.unique(ids) if i < 4}
        caption = writer.caption(crop, rng)
        said = [word for word in re.findall(r"\w+", caption.text) if word in names]
        assert sorted(said) == sorted(kind for _, kind in caption.claims)
        assert set(said) <= {region.kind for region in shown}
        for colour, kind in caption.claims:
            assert colour is None or Region(kind, (kind,), colour) in shown
            assert (colour is None) == (f"{colour} {kind}" not in caption.text)
        counts.add(len(said))
    assert {1, 2, 3} <= counts <= {1, 2, 3, 4}  # up to three, and what they are on


def test_things_are_on_what_lies_below_all_of_them() -> None:
    regions = tuple(Region(n, (n,)) for n in ("wall", "table", "mug"))
    ids = np.zeros((12, 12), int)
    ids[8:] = 1
    ids[5:8, 3:6] = 2
    assert support(crop_of(ids, regions), 2) == 1
    assert support(crop_of(ids, regions), 0) is None  # it may go on outside the crop
    assert support(crop_of(ids, regions), 1) is None
    ids[5:7, 6:11] = 2  # now most of its lower edge hangs before the wall
    assert support(crop_of(ids, regions), 2) == 0
    mug = crop_of(ids, regions, subject=2)
    writer = CaptionWriter({"wall": ("wall",), "table": ("table",), "mug": ("mug",)}, WordMix())
    texts = {writer.caption(mug, np.random.default_rng(i)).text for i in range(20)}
    assert texts == {"mug", "a mug"}
    texts = {writer.caption(crop_of(ids, regions), np.random.default_rng(i)).text for i in range(60)}
    assert {"a mug on a wall", "a wall", "a table"} <= texts
    assert not any(text.startswith(("a wall on", "a table on")) for text in texts)


def test_english() -> None:
    words = ("mug", "orange box", "sky", "scissors", "glass", "apple")
    articles = [with_article(word) for word in words]
    assert articles == ["a mug", "an orange box", "sky", "scissors", "a glass", "an apple"]
    assert [listed(articles[:n]) for n in (1, 2, 3)] == [
        "a mug",
        "a mug and an orange box",
        "a mug, an orange box and sky",
    ]


RED, BLUE, PLAIN = Region("mug", ("mug",), "red"), Region("mug", ("mug",), "blue"), Region("mug", ("mug",))
PLATE = Region("plate", ("plate",), "red")


@pytest.mark.parametrize(
    ("seen", "claims", "wrong"),
    [
        ((RED,), {(None, "mug")}, False),
        ((RED,), {("red", "mug")}, False),
        ((BLUE,), {("red", "mug")}, True),
        ((BLUE, RED), {("red", "mug")}, False),
        ((PLAIN,), {("red", "mug")}, False),  # its colour is not known
        ((RED,), {("red", "plate")}, True),
        ((RED, PLATE), {("red", "plate"), (None, "mug")}, False),
        ((RED,), {(None, "mug"), (None, "plate")}, True),  # one wrong claim is enough
    ],
)
def test_what_is_wrong_of_an_image(
    shipped_encoder: StaticTextEncoder, seen: tuple[Region, ...], claims: set[Any], wrong: bool
) -> None:
    mix = Mix([Ingredient("only", Kinds({"mug": ("mug",), "plate": ("plate",)}))])
    assert Judge(mix, shipped_encoder).wrong(0, seen, frozenset(claims)) is wrong


def test_what_a_source_does_not_know_is_wrong_only_where_that_is_sure(shipped_encoder: StaticTextEncoder) -> None:
    room = Kinds({"mug": ("mug", "cup"), "sofa": ("sofa",)})
    photo = Kinds({"couch": ("couch",), "road": ("road",)})
    mix = Mix([Ingredient("room", room), Ingredient("photo", photo, complete=False)])
    judge = Judge(mix, shipped_encoder)
    sofa, mug, road = (Region(kind, ()) for kind in ("room: sofa", "room: mug", "photo: road"))
    cosines = shipped_encoder.encode(["sofa"]) @ shipped_encoder.encode(["couch", "road"]).T
    assert cosines[0, 0] >= 0.35 > cosines[0, 1]
    assert judge.wrong(0, (sofa,), frozenset({(None, "photo: road")}))  # complete: a sofa is no road
    assert not judge.wrong(0, (sofa,), frozenset({(None, "photo: couch")}))  # it may well be a couch
    assert judge.wrong(0, (mug,), frozenset({(None, "photo: couch")}))
    assert not judge.wrong(1, (road,), frozenset({(None, "room: mug")}))  # a photograph may show one unlabelled
    assert judge.wrong(1, (road,), frozenset({(None, "photo: couch")}))
    words = judge.to_kinds(shipped_encoder.encode(["settee", "cup", "lorry"]))
    assert judge.strange(0, (mug,), words).tolist() == [True, False, True]
    assert not judge.strange(1, (road,), words).any()


def test_a_kind_that_the_encoder_cannot_read_is_an_error(shipped_encoder: StaticTextEncoder) -> None:
    with pytest.raises(ModelError, match=r"no part of the word '☃☃'"):
        Judge(Mix([Ingredient("only", Kinds({"snowman": ("☃☃",)}))]), shipped_encoder)

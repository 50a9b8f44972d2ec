"""Kinds, colours, the words for them, and the split between training and evaluation."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from ovseg_ros.sim import COLOURS, EVALUATION_SEEDS, HELD_OUT_PAIRS, KINDS, Scene, scene, stage
from ovseg_ros.sim.colours import paint
from ovseg_ros.sim.families.common import TABLEWARE
from ovseg_ros.sim.mesh import box
from ovseg_ros.sim.models import MODELS
from ovseg_ros.sim.parts import Material, Model, Part, Style


def test_words_are_plain_and_belong_to_one_kind_alone() -> None:
    owners: Counter[str] = Counter()
    for name, kind in KINDS.items():
        assert name == kind.name
        assert kind.synonyms
        assert kind.held_out_synonyms
        words = {name, *kind.synonyms, *kind.held_out_synonyms}
        assert len(words) == 1 + len(kind.synonyms) + len(kind.held_out_synonyms), name
        assert all(word == word.lower().strip() and word.replace(" ", "").isalpha() for word in words)
        owners.update(words)
    assert owners.most_common(1)[0][1] == 1
    assert not set(COLOURS) & set(owners)
    assert len(KINDS) >= 34


def test_held_out_pairs_are_a_tenth_spread_over_colours_and_kinds() -> None:
    colourable = [name for name, kind in KINDS.items() if kind.colourable]
    assert 0.10 <= len(HELD_OUT_PAIRS) / (len(COLOURS) * len(colourable)) <= 0.15
    assert all(colour in COLOURS and kind in colourable for colour, kind in HELD_OUT_PAIRS)
    assert {colour for colour, _ in HELD_OUT_PAIRS} == set(COLOURS)
    assert {kind for _, kind in HELD_OUT_PAIRS} == set(colourable)
    assert max(Counter(kind for _, kind in HELD_OUT_PAIRS).values()) <= 2
    assert max(Counter(colour for colour, _ in HELD_OUT_PAIRS).values()) <= 4


@pytest.mark.parametrize("colour", sorted(COLOURS))
def test_a_jittered_colour_is_nearest_to_its_own_name_in_hue(colour: str) -> None:
    rng = np.random.default_rng(0)
    hues = {"red": 0, "orange": 26, "yellow": 51, "green": 130, "blue": 224, "purple": 276, "pink": 336}
    for _ in range(200):
        h, s, v = colorsys.rgb_to_hsv(*paint(colour, rng))
        if colour in ("black", "white"):
            assert s < 0.2
            assert v < 0.2 if colour == "black" else v > 0.8
        elif colour == "brown":
            assert 15 < h * 360 < 40
            assert v < 0.55
        else:
            apart = {name: abs((h * 360 - hue + 180) % 360 - 180) for name, hue in hues.items()}
            assert min(apart, key=apart.__getitem__) == colour


def plain_models() -> dict[str, Callable[[Style], Model]]:
    """A box for every kind, so that many scenes can be laid out fast; colours are drawn before models are built."""

    def make(w: float, d: float, h: float) -> Callable[[Style], Model]:
        return lambda style: [Part(box(w, d, h), Material())]

    models = {kind: make(0.4, 0.4, 0.4) for kind in MODELS}
    return {**models, **{kind: make(0.1, 0.1, 0.1) for kind in TABLEWARE}, "table": make(1.2, 0.8, 0.7)}


def lay_out_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build scenes without what costs time and draws no colours: models, textures."""
    monkeypatch.setattr(stage, "MODELS", plain_models())
    monkeypatch.setattr(scene, "close", lambda stage, industrial: [])


def coloured(seed: int) -> list[tuple[str, str]]:
    return [(item.colour, item.kind) for item in Scene.build(seed).objects if item.colour is not None]


def test_training_scenes_never_hold_a_held_out_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    real = [item for seed in range(12) for item in coloured(seed)]
    lay_out_only(monkeypatch)
    training = [item for seed in range(200) for item in coloured(seed * 4999)]
    assert not HELD_OUT_PAIRS & {*real, *training}
    assert len({kind for _, kind in training}) == sum(kind.colourable for kind in KINDS.values())


def test_evaluation_scenes_often_hold_a_held_out_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    real = [item for seed in range(4) for item in coloured(EVALUATION_SEEDS + seed)]
    lay_out_only(monkeypatch)
    evaluation = real + [item for seed in range(40) for item in coloured(EVALUATION_SEEDS + seed)]
    assert 0.2 < np.mean([item in HELD_OUT_PAIRS for item in evaluation]) < 0.5
    assert len(HELD_OUT_PAIRS & set(evaluation)) > 0.7 * len(HELD_OUT_PAIRS)


def test_every_object_is_of_a_known_kind_and_coloured_if_its_kind_is() -> None:
    for seed in range(6):
        scene = Scene.build(seed)
        assert {"wall", "floor", "ceiling", "door"} <= {item.kind for item in scene.objects}
        for item in scene.objects:
            assert (item.colour is not None) == KINDS[item.kind].colourable
            assert all(
                low < high or item.kind in ("floor", "wall") for low, high in zip(item.low, item.high, strict=True)
            )


@pytest.mark.parametrize("seed", [-1, 1.5, "7", None, True])
def test_a_bad_seed_is_named(seed: object) -> None:
    with pytest.raises(ValueError, match=r"The seed .* whole number"):
        Scene.build(seed)  # type: ignore[arg-type]


def test_a_bad_family_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"garden.*room, table, warehouse"):
        Scene.build(1, "garden")

"""Recipes: the shipped ones, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovseg_ros.errors import ModelError
from ovseg_ros.training.recipe import Recipe, SourceSpec

GOOD = "name: toy\nsource: camvid\ndeploy_size: [64, 96]\nwords: {absent: 4}\n"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "training.md"


def load(tmp_path: Path, content: str) -> Recipe:
    path = tmp_path / "toy.yaml"
    path.write_text(content)
    return Recipe.load(str(path))


@pytest.mark.parametrize("name", ["mini", "street", "mixed"])
def test_the_shipped_recipes_load(name: str) -> None:
    recipe = Recipe.load(name)
    assert recipe.name == name
    assert recipe.ingredients
    assert recipe.measured
    for spec in recipe.measured:  # nothing is measured on what was trained on
        for trained in recipe.ingredients:
            if trained.kind == spec.kind and spec.kind != "simulator":
                apart = spec.part[0] >= trained.part[1]
                assert apart or (spec.split or "val") != (trained.split or "train")


def test_a_file_is_a_recipe_and_options_overrule_it(tmp_path: Path) -> None:
    recipe = load(tmp_path, GOOD)
    assert (recipe.name, recipe.deploy_size, recipe.words.absent, recipe.steps) == ("toy", (64, 96), 4, 2000)
    assert Recipe.load(str(tmp_path / "toy.yaml"), steps=5, seed=None).steps == 5


def test_a_source_in_short_is_the_only_entry_of_sources(tmp_path: Path) -> None:
    short = load(tmp_path, "name: toy\nsource: simulator\nscenes: 3\nframes: 2\n")
    long = load(tmp_path, "name: toy\nsources:\n  - {kind: simulator, scenes: 3, frames: 2}\n")
    assert short.ingredients == long.ingredients == (SourceSpec("simulator", scenes=3, frames=2),)


def test_a_data_set_is_measured_on_the_part_that_is_kept_apart(tmp_path: Path) -> None:
    content = "name: toy\nsources:\n  - {kind: folder, name: mine, part: [0, 0.8]}\n  - {kind: camvid}\n"
    measured = load(tmp_path, content).measured
    assert [(m.kind, m.name, m.part) for m in measured] == [
        ("folder", "mine", (0.8, 1.0)),
        ("camvid", "camvid", (0.0, 1.0)),
    ]
    assert load(tmp_path, "name: toy\nsource: folder\n").measured == ()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "no mapping"),
        (b"5", "no mapping"),
        (b"- a", "no mapping"),
        (b"a: [", "cannot be read"),
        (b"\xff\xfe", "utf-8"),
        (b"source: camvid", "key 'name' is missing"),
        (b"name: toy", "neither of `source` and `sources`"),
        (GOOD.encode() + b"sources: [{kind: camvid}]", "both of `source` and `sources`"),
        (GOOD.encode() + b"colour: red\n", "no key 'colour'"),
        (GOOD.replace("{absent: 4}", "5").encode(), "words holds 5"),
        (GOOD.replace("absent", "present").encode(), "no key 'present' of words"),
        (GOOD.replace("{absent: 4}", "{name: 2}").encode(), "words: name is 2"),
        (GOOD.encode() + b"steps: 0", "steps is 0; expected at least 1, or a `start` whose weights"),
        (GOOD.encode() + b"steps: many", "steps is 'many'"),
        (GOOD.encode() + b"crop: [100, 256]", r"crop is \(100, 256\); expected .*multiples of 16"),
        (GOOD.encode() + b"zoom: [1.0, 0.5]", "zoom is"),
        (GOOD.encode() + b"ema: 1.5", "ema is 1.5; expected a number in 0..1"),
        (GOOD.encode() + b"learning_rate: .nan", "learning_rate is nan"),
        (GOOD.encode() + b"schedule: linear", "schedule is 'linear'; expected one of cosine, poly, step, constant"),
        (GOOD.encode() + b"optimizer: lamb", "optimizer is 'lamb'"),
        (GOOD.encode() + b"milestones: [0.5, 2]", "milestones is"),
        (GOOD.encode() + b"multipliers: {stem: fast}", "multipliers is"),
        (GOOD.encode() + b"model: {widths: [1, 2]}", "model is"),
        (GOOD.encode() + b"measure: camvid", "measure is 'camvid'; expected a list"),
        (b"name: toy\nsources: [camvid]", "sources holds 'camvid'"),
        (b"name: toy\nsources: [{kind: camvid, wait: 2}]", "no key 'wait' of sources"),
        (b"name: toy\nsources: [{kind: camvid, weight: 0}]", "weight is 0; expected a number above 0"),
        (b"name: toy\nsources: [{kind: camvid, part: [0.5, 0.5]}]", "part is"),
        (b"name: toy\nsources: [{kind: camvid, complete: 3}]", "complete is 3"),
        (b"name: toy\nsources: [{kind: camvid}, {kind: camvid}]", "two sources are called 'camvid'"),
    ],
    ids=repr,
)
def test_a_bad_file_is_a_model_error_that_names_the_key(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "toy.yaml"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"(?s)toy\.yaml.*{complaint}"):
        Recipe.load(str(path))


def test_an_unknown_recipe_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'stret'; known: .*mini.*, mixed, street"):
        Recipe.load("stret")
    with pytest.raises(ModelError, match="nowhere"):
        Recipe.load(str(tmp_path / "nowhere.yaml"))


def test_settings_change_keys_of_the_recipe_and_inside_its_mappings(tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(GOOD)
    recipe = Recipe.load(str(path), ["seed=3", "model.depths=[1, 1, 1]", "words.noise=0.25", "crop=[32, 64]"])
    assert (recipe.seed, recipe.model["depths"], recipe.words.noise, recipe.crop) == (3, [1, 1, 1], 0.25, (32, 64))
    assert recipe.model["name"] == "pixeltext"
    for wrong in ("seed", "=3", "seed=", "seed=[", "model.=2"):
        with pytest.raises(ModelError, match="is not KEY=VALUE"):
            Recipe.load(str(path), [wrong])
    with pytest.raises(ModelError, match="no key 'sead'"):
        Recipe.load(str(path), ["sead=3"])


def test_recipes_differ_in_what_weights_depend_on(tmp_path: Path) -> None:
    recipe = load(tmp_path, GOOD)
    again = load(tmp_path, GOOD + "licence: MIT\nsave_every: 7\n")
    other = load(tmp_path, GOOD + "steps: 9\nseed: 4\nfocus: 0.5\n")
    assert recipe.differences(again.plain()) == []
    assert sorted(recipe.differences(other.plain())) == ["focus", "seed", "steps"]


def test_every_key_is_documented() -> None:
    from dataclasses import fields

    from ovseg_ros.training.words import WordMix

    text = DOCS.read_text(encoding="utf-8")
    keys = {f.name for kind in (Recipe, SourceSpec, WordMix) for f in fields(kind)}
    assert {key for key in keys if f"`{key}`" not in text} == set()

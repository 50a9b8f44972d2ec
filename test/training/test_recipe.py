"""Recipes: the shipped ones, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovseg_ros.errors import ModelError
from ovseg_ros.training.recipe import Recipe

GOOD = "name: toy\nsource: camvid\ndeploy_size: [64, 96]\nwords: {absent: 4}\n"


@pytest.mark.parametrize("name", ["mini", "street"])
def test_the_shipped_recipes_load(name: str) -> None:
    recipe = Recipe.load(name)
    assert recipe.name == name
    assert all(side % 16 == 0 for side in (*recipe.deploy_size, *recipe.crop))


def test_a_file_is_a_recipe_and_options_overrule_it(tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(GOOD)
    recipe = Recipe.load(str(path))
    assert (recipe.name, recipe.deploy_size, recipe.words.absent, recipe.steps) == ("toy", (64, 96), 4, 2000)
    assert Recipe.load(str(path), steps=5, seed=None).steps == 5


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"5",
        b"- a",
        b"a: [",
        b"\xff\xfe",
        b"name: toy",
        GOOD.encode() + b"colour: red\n",
        GOOD.replace("{absent: 4}", "5").encode(),
        GOOD.replace("absent", "present").encode(),
    ],
    ids=repr,
)
def test_a_bad_file_is_a_model_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "toy.yaml"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"toy\.yaml"):
        Recipe.load(str(path))


def test_an_unknown_recipe_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'stret'; known: mini.*, street"):
        Recipe.load("stret")
    with pytest.raises(ModelError, match="nowhere"):
        Recipe.load(str(tmp_path / "nowhere.yaml"))

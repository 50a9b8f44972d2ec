"""From recipes and folders to a mix; words that are held out stay out, also of what WordNet adds."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from ovseg_ros.errors import DatasetError, ModelError
from ovseg_ros.evaluation.synonyms import CAMVID_HELD_OUT
from ovseg_ros.training.ingredients import check_roots, held_out_words, open_mix
from ovseg_ros.training.recipe import Recipe, SourceSpec

STREET = Recipe("toy", "camvid")
TWO = Recipe("toy", sources=(SourceSpec("camvid"), SourceSpec("folder", name="mine")))
SIMULATED = Recipe("toy", "simulator", scenes=2, frames=1)


@pytest.mark.parametrize(
    ("recipe", "roots", "complaint"),
    [
        (STREET, {}, "--root is missing: the folder that holds camvid; give --root DIR"),
        (TWO, {"camvid": "x"}, "--root is missing: the folder that holds mine; give --root mine=DIR"),
        (TWO, {}, "holds camvid and mine; give --root camvid=DIR --root mine=DIR|holds mine and camvid"),
        (TWO, {"": "x"}, "--root without a name, but toy has several sources"),
        (STREET, {"city": "x"}, "--root city=...: toy has no source 'city', only camvid"),
        (SIMULATED, {"": "x"}, "--root without a name"),
    ],
)
def test_roots_that_do_not_fit_are_refused(recipe: Recipe, roots: dict[str, str], complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        check_roots(recipe, {name: Path(root) for name, root in roots.items()})


def test_a_single_root_serves_the_only_data_set() -> None:
    check_roots(STREET, {"": Path()})
    check_roots(STREET, {"camvid": Path()})
    check_roots(SIMULATED, {})
    check_roots(SIMULATED, {"simulator": Path()})


def test_sources_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the source 'kitti' is unknown; expected one of ade150, .*simulator"):
        open_mix(Recipe("toy", "kitti", measure=(SourceSpec("simulator"),)), {"": tmp_path}, tmp_path)
    with pytest.raises(DatasetError, match="ade150"):
        open_mix(Recipe("toy", "ade150"), {"": tmp_path}, tmp_path)
    pytest.importorskip("mujoco")
    with pytest.raises(ModelError, match="the source simulator of toy needs `scenes` and `frames`"):
        open_mix(Recipe("toy", "simulator"), {}, tmp_path)


def test_no_source_of_mixed_asks_for_a_held_out_word(camvid_root: Path, tmp_path: Path) -> None:
    """CamVid trains on "foliage" and "pedestrian" by itself; beside the simulator, which holds them out, it may not."""
    kinds = pytest.importorskip("ovseg_ros.sim").KINDS
    roots = {"camvid": camvid_root, "coco100": camvid_root.parent / "coco100"}
    mix = open_mix(Recipe.load("mixed"), roots, tmp_path, render=False)
    held = {word for kind in kinds.values() for word in kind.held_out_synonyms} | set(CAMVID_HELD_OUT.values())
    assert held_out_words(Recipe.load("mixed")) == held
    assert not {word for words in mix.kinds.values() for word in words} & held
    alone = open_mix(STREET, {"": camvid_root}, tmp_path)
    assert "foliage" in alone.kinds["tree"]
    assert "foliage" not in mix.kinds["camvid: tree"]
    assert mix.kinds["camvid: pedestrian"][0] == "person"
    assert "coco100: tree-merged" in mix.kinds
    assert "trees" not in mix.kinds["coco100: tree-merged"]


def test_the_lexicon_adds_no_held_out_word_and_none_of_another_kind() -> None:
    from ovseg_ros.lexicon import Lexicon, LexiconError
    from ovseg_ros.training.lexicon import lexicon_words

    kinds = {"car": ("car", "auto"), "pavement": ("pavement",), "sofa": ("sofa",), "road": ("road",)}
    try:
        every = {kind: set(Lexicon.open().synonyms(kind, context=[k for k in kinds if k != kind])) for kind in kinds}
    except LexiconError as error:
        pytest.skip(str(error))
    assert {"automobile", "motorcar"} <= every["car"]
    assert "couch" in every["sofa"]
    found = lexicon_words(kinds, {"Automobiles", "couch"})
    assert "motorcar" in found["car"]
    assert not {"auto", "automobile", "car"} & set(found["car"])
    assert "couch" not in found.get("sofa", ())
    for kind, words in found.items():
        assert set(words) <= every[kind]

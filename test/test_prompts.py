"""The prompt sets, against those that open_clip carries and what was published."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovseg_ros.errors import VocabularyError
from ovseg_ros.prompts import P1, P14, P80, PROMPT_SETS, prompt_set
from ovseg_ros.vocabulary import Vocabulary


def test_the_eighty_are_those_of_openai() -> None:
    pytest.importorskip("open_clip")
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    assert len(P80) == 80
    assert {template.format("word") for template in P80} == {form("word") for form in OPENAI_IMAGENET_TEMPLATES}


def test_the_fourteen_are_five_and_three_times_three() -> None:
    assert (len(P1), len(P14), len(set(P14))) == (1, 14, 14)
    assert [template.endswith(".") for template in P14] == [True] + 4 * [False] + 9 * [True]
    assert sum(any(size in template for size in ("small", "medium", "large")) for template in P14) == 9


@pytest.mark.parametrize("name", sorted(PROMPT_SETS))
def test_a_set_may_be_named_where_templates_are_given(name: str, tmp_path: Path) -> None:
    expected = PROMPT_SETS[name]
    assert prompt_set(name) == expected
    assert Vocabulary.parse(["car"], templates=name).templates == expected
    assert Vocabulary.parse(["car"], templates=[name]).templates == expected
    assert Vocabulary.parse(["car"], templates=["my {}", name]).templates == ("my {}", *expected)
    (tmp_path / "words.yaml").write_text(f"classes: [car]\ntemplates: {name}\n")
    assert Vocabulary.load(tmp_path / "words.yaml").templates == expected


@pytest.mark.parametrize("templates", ["P2", "p14", "", "x" * 10_000, ["P2"], ["P14", "P2"]], ids=lambda v: str(v)[:9])
def test_an_unknown_set_is_refused_with_what_there_is(templates: object) -> None:
    with pytest.raises(VocabularyError, match=r"P0, P1, P14, P80") as caught:
        Vocabulary.parse(["car"], templates=templates)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 250


def test_a_vocabulary_without_templates_has_none() -> None:
    for nothing in (None, [], ()):
        assert Vocabulary.parse(["car"], templates=nothing).templates == ()

"""Synonyms for whole vocabularies."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovseg_ros.lexicon import Lexicon, diversify
from ovseg_ros.resources import find
from ovseg_ros.vocabulary import Vocabulary


def test_only_classes_without_synonyms_get_some(lexicon: Lexicon) -> None:
    before = Vocabulary.parse(
        ["road", "car", "sofa, divan", "xyzzy"],
        templates=["a {}."],
        thresholds=[0.1, 0.2, 0.3, None],
        background="xyzzy",
    )
    after = diversify(before, lexicon)
    assert after.classes == (("road",), ("car", "auto", "automobile", "motorcar"), ("sofa", "divan"), ("xyzzy",))
    assert (after.templates, after.thresholds, after.background) == (before.templates, before.thresholds, 3)
    assert diversify(after, lexicon) == after


def test_a_synonym_that_fits_two_classes_goes_to_neither(lexicon: Lexicon) -> None:
    assert "automobile" in lexicon.synonyms("auto", context=["car"])
    after = diversify(Vocabulary.parse(["auto", "motorcar", "bucket", "pails"]), lexicon)
    assert after.classes == (("auto",), ("motorcar",), ("bucket",), ("pails",))


@pytest.mark.parametrize("path", sorted(find("config/vocabularies").glob("*.yaml")), ids=lambda path: path.stem)
def test_vocabularies_that_ship_stay_usable(path: Path, lexicon: Lexicon) -> None:
    """No word twice, none empty: `Vocabulary` refuses those; and the names stay."""
    whole = Vocabulary.load(path)
    bare = Vocabulary.parse(whole.names)
    after = diversify(bare, lexicon)
    assert after.names == bare.names
    assert Vocabulary.parse(after.entries).classes == after.classes
    # a class's synonyms as its author gave them never end up with another class
    owners = {word: names[0] for names in whole.classes for word in names}
    for words in after.classes:
        assert {owners.get(word, words[0]) for word in words} == {words[0]}

"""Senses against WordNet's own program `wn`, on the names of ADE20K's classes."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from ovseg_ros.lexicon import Lexicon

OVERVIEW = re.compile(r"^\d+\. (?:\((\d+)\) )?(.+?) -- \((.*)\)$", re.MULTILINE)
WORDS = 250  # words of the class list that are compared; `wn` takes some milliseconds each


def overview(word: str) -> list[tuple[int, list[str], str]]:
    """What `wn` prints of a noun: count, lemmas and gloss a sense, in order."""
    out = subprocess.run(["wn", word, "-over"], capture_output=True, text=True).stdout
    found = re.search(r"Overview of noun (.+?)\n(.*?)(?=\nOverview of |\Z)", out, re.DOTALL)
    if found is None or found[1].replace("_", " ").lower() != word.lower():
        return []  # none, or that of the singular
    return [(int(count or 0), lemmas.split(", "), gloss) for count, lemmas, gloss in OVERVIEW.findall(found[2])]


@pytest.mark.skipif(shutil.which("wn") is None, reason="Debian's package `wordnet` is not installed")
def test_senses_are_those_that_wn_prints(lexicon: Lexicon, ade_names: list[list[str]]) -> None:
    compared = 0
    for names in ade_names:
        word = names[0]
        ours = lexicon.wordnet.entry(word).senses
        theirs = overview(word)
        if not theirs:
            continue
        assert [sense.frequency for sense in ours] == [count for count, _, _ in theirs], word
        assert [list(sense.lemmas) for sense in ours] == [lemmas for _, lemmas, _ in theirs], word
        assert all(gloss.startswith(sense.gloss[:25]) for sense, (_, _, gloss) in zip(ours, theirs, strict=True)), word
        compared += 1
        if compared == WORDS:
            return
    pytest.fail(f"only {compared} words were compared")


@pytest.mark.skipif(shutil.which("wn") is None, reason="Debian's package `wordnet` is not installed")
@pytest.mark.parametrize("word", ["car", "sofa", "traffic light", "pavement", "mouse", "crane", "apple"])
def test_ancestors_are_those_that_wn_prints(word: str, lexicon: Lexicon) -> None:
    out = subprocess.run(["wn", word, "-hypen"], capture_output=True, text=True).stdout
    blocks = re.split(r"^Sense \d+\n", out, flags=re.MULTILINE)[1:]
    senses = lexicon.wordnet.entry(word).senses
    assert len(blocks) == len(senses) > 0
    for block, sense in zip(blocks, senses, strict=True):
        # every line is a hypernym, its indent the distance; `wn` repeats those that two paths reach
        lines = re.findall(r"^( +)(?:INSTANCE OF)?=> (.+)$", block, re.MULTILINE)
        theirs = {lemmas for _, lemmas in lines}
        by_name = {name: lexicon.wordnet.lemmas(name) for name in sense.ancestors if name != sense.name}
        assert {", ".join(lemmas) for lemmas in by_name.values()} == theirs
        nearest = {", ".join(by_name[name]) for name, (distance, _) in sense.ancestors.items() if distance == 1}
        assert nearest == {lemmas for indent, lemmas in lines if len(indent) == min(len(i) for i, _ in lines)}


# read off `wn WORD -over` and the glosses: what a camera sees of each word, by rank
VISIBLE = {
    "car": [1, 2, 3, 4, 5],
    "traffic light": [1],
    "table": [2, 3, 4, 5, 6],  # not the data
    "tree": [1],  # not the diagram, nor Sir Herbert Beerbohm Tree
    "fire": [1, 3, 4, 5, 7],  # not that of guns, critics and lovers
    "crane": [4, 5],
    "coin": [1],
    "anger": [],
    "paris": [],  # towns, a prince and a genus of herbs
    "week": [],
}


@pytest.mark.parametrize("word", VISIBLE)
def test_visible_are_the_senses_that_a_camera_sees(word: str, lexicon: Lexicon) -> None:
    senses = lexicon.wordnet.entry(word).senses
    assert senses
    visible = [sense.rank for sense in senses if sense.visible]
    assert visible == VISIBLE[word], [(sense.rank, sense.lexname, sense.gloss) for sense in senses]


def test_marks_of_senses_nobody_should_be_offered(lexicon: Lexicon) -> None:
    # read off `wn WORD -over`: the second sense of coon and the fourth of boy are ethnic slurs, the third is an animal
    assert [sense.mark for sense in lexicon.wordnet.entry("coon").senses] == ["", "offensive", ""]
    assert [sense.mark for sense in lexicon.wordnet.entry("boy").senses] == ["", "", "", "offensive"]
    assert {sense.mark for word in ("car", "sofa", "apple") for sense in lexicon.senses(word)} == {""}

"""Where WordNet is looked for, what is said where it is missing or damaged, and what is kept on disk."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ovseg_ros.lexicon import Lexicon, LexiconError, find_wordnet
from ovseg_ros.lexicon.data import CATEGORIES, NEEDED, identity


def pretend(folder: Path) -> Path:
    """A folder that looks like WordNet."""
    folder.mkdir(parents=True)
    for name in NEEDED:
        (folder / name).write_text("  1 nothing\n")
    return folder


def reopen(lexicon: Lexicon, cache: Path) -> Lexicon:
    """The same WordNet with another cache; its reader is not loaded again, as that takes seconds."""
    again = Lexicon.open(lexicon.wordnet.place, cache=cache)
    for name in ("_reader", "_definitions"):
        again.wordnet.__dict__[name] = getattr(lexicon.wordnet, name)
    return again


def test_what_the_user_names_comes_first(tmp_path: Path) -> None:
    named, home, corpora = (tmp_path / name for name in ("named", "home", "corpora"))
    pretend(named / "dict")
    pretend(home / "nltk_data" / "corpora" / "wordnet")
    pretend(corpora / "corpora" / "wordnet")
    everything = {
        "WNSEARCHDIR": str(named / "dict"),
        "WNHOME": str(named),
        "NLTK_DATA": f"/nowhere:{corpora}",
        "HOME": str(home),
    }
    order = [
        named / "dict",
        named / "dict",
        corpora / "corpora" / "wordnet",
        home / "nltk_data" / "corpora" / "wordnet",
    ]
    for name, expected in zip(everything, order, strict=True):
        rest = dict(list(everything.items())[list(everything).index(name) :])
        assert find_wordnet(rest) == expected, name


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LexiconError, match=r"WNSEARCHDIR names .*/none, but there is no such folder .*apt install"):
        find_wordnet({"WNSEARCHDIR": str(tmp_path / "none")})
    half = pretend(tmp_path / "half")
    (half / "data.noun").unlink()
    with pytest.raises(LexiconError, match=r"there is no data\.noun in it"):
        Lexicon.open(half)
    (tmp_path / "wordnet.zip").write_text("no zip")
    with pytest.raises(LexiconError, match="no readable zip file"):
        Lexicon.open(tmp_path / "wordnet.zip")
    monkeypatch.setattr("ovseg_ros.lexicon.data.SYSTEM", ())
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    if not any(Path(f"/usr/{place}/nltk_data/corpora").exists() for place in ("share", "local/share", "lib")):
        with pytest.raises(LexiconError, match=r"there is no WordNet here.*apt install wordnet-base"):
            find_wordnet({"HOME": str(tmp_path)})


def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    pytest.importorskip("nltk")
    folder = pretend(tmp_path / "damaged")
    (folder / "index.noun").write_text("car n not a number\n")
    lexicon = Lexicon.open(folder, cache=tmp_path / "words")
    with pytest.raises(LexiconError, match=f"the WordNet in {folder} can't be read"):
        lexicon.choose("car")


def test_without_nltk_words_that_are_kept_still_work(
    wordnet_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lexicon: Lexicon
) -> None:
    first = reopen(lexicon, tmp_path)
    before = first.choose("couch", context=["table"])
    assert before.kept
    monkeypatch.setitem(sys.modules, "nltk", None)
    monkeypatch.setitem(sys.modules, "nltk.data", None)
    again = Lexicon.open(wordnet_place, cache=tmp_path)
    assert again.choose("couch", context=["table"]) == before
    with pytest.raises(LexiconError, match=r"need nltk.*pip install 'ovseg_ros\[words\]'"):
        again.choose("bench")


def test_what_is_kept_can_be_read_and_is_repaired(wordnet_place: Path, tmp_path: Path, lexicon: Lexicon) -> None:
    expected = lexicon.choose("traffic light")
    first = reopen(lexicon, tmp_path)
    assert first.choose("traffic light") == expected
    (folder,) = tmp_path.iterdir()
    assert folder.name == identity(wordnet_place)
    path = folder / "traffic_light.json"
    content = json.loads(path.read_text("utf-8"))
    assert content["senses"][0]["gloss"] == "a visual signal to control the flow of traffic at intersections"
    for damage in ("", "[1]", json.dumps(content)[:500], json.dumps({**content, "senses": [{}]}), '{"format": 0}'):
        path.write_text(damage)
        second = reopen(lexicon, tmp_path)
        assert second.choose("traffic light") == expected
        assert json.loads(path.read_text("utf-8")) == content


def test_words_that_are_no_file_names(lexicon: Lexicon) -> None:
    for word in ("../../etc/passwd", "", " ", "a" * 300, "con/../x", "車", "¡hola!", "\x00"):
        choice = lexicon.choose(word)
        assert (choice.sense, choice.kept) == (None, ())
        assert choice.note


def test_nltks_zip_serves_as_well(wordnet_place: Path, tmp_path: Path, lexicon: Lexicon) -> None:
    if wordnet_place.suffix == ".zip":
        pytest.skip("it is a zip that all tests use")
    archive = tmp_path / "corpora" / "wordnet.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for path in sorted(wordnet_place.iterdir()):
            if path.is_file():
                file.write(path, f"wordnet/{path.name}")
    assert find_wordnet({"NLTK_DATA": str(tmp_path)}) == archive
    assert identity(archive) == identity(wordnet_place)
    zipped = Lexicon.open(archive, cache=tmp_path / "words")
    for word in ("sofa", "traffic lights"):
        assert zipped.choose(word) == lexicon.choose(word)


def test_without_counts_ranks_decide(wordnet_place: Path, tmp_path: Path) -> None:
    if wordnet_place.suffix == ".zip":
        pytest.skip("the files are in a zip")
    folder = tmp_path / "wordnet"
    shutil.copytree(wordnet_place, folder, ignore=shutil.ignore_patterns("cntlist.rev", "*.exc", "lexnames"))
    sense = Lexicon.open(folder, cache=tmp_path / "words").senses("traffic light")[0]
    assert (sense.frequency, sense.rank, sense.lexname) == (0, 1, "noun.communication")


def test_categories_are_those_of_nltks_data() -> None:
    names = CATEGORIES.split()
    # lexnames(5WN): 45 files; the first are adjectives and adverbs, 03 to 28 nouns, 29 to 43 verbs
    assert len(names) == 45
    assert [i for i, name in enumerate(names) if name.startswith("noun.")] == list(range(3, 29))
    assert [i for i, name in enumerate(names) if name.startswith("verb.")] == list(range(29, 44))
    assert (names[6], names[18], names[20], names[44]) == ("noun.artifact", "noun.person", "noun.plant", "adj.ppl")


def test_the_reader_needs_no_data_of_nltk(reader: Any) -> None:
    assert [s.lexname() for s in reader.synsets("car", "n")] == ["noun.artifact"] * 5

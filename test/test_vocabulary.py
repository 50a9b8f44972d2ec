"""Vocabularies: what parses, what is refused, and in which words."""

from __future__ import annotations

import contextlib
import dataclasses
import unicodedata
from pathlib import Path

import pytest

from ovseg_ros.errors import VocabularyError
from ovseg_ros.resources import find
from ovseg_ros.vocabulary import Vocabulary

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

LETTERS = "abcxyzABCXYZ019éÉßΩ車дñ-"
words = (
    st.text(LETTERS + " ", min_size=1, max_size=12)
    .map(lambda w: " ".join(w.split()))
    .filter(lambda w: any(c.isalnum() for c in w))
)


def fold(word: str) -> str:
    """What makes two words the same: letter case, white space and Unicode form left out."""
    return "".join(unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", word).casefold()).split(" "))


vocabularies = st.lists(words, min_size=1, max_size=8, unique_by=fold).flatmap(
    lambda flat: st.lists(st.booleans(), min_size=len(flat), max_size=len(flat)).map(
        lambda starts: group(flat, starts),
    )
)


def group(flat: list[str], starts: list[bool]) -> list[list[str]]:
    """Cut a list of words into classes."""
    classes: list[list[str]] = []
    for word, start in zip(flat, starts, strict=True):
        if start or not classes:
            classes.append([])
        classes[-1].append(word)
    return classes


@hypothesis.given(vocabularies, st.sampled_from([",", ", ", " ,  "]))
def test_parsing_undoes_joining(classes: list[list[str]], comma: str) -> None:
    vocabulary = Vocabulary.parse([comma.join(c) for c in classes])
    assert [list(c) for c in vocabulary.classes] == classes
    assert list(vocabulary.names) == [c[0] for c in classes]
    assert len(vocabulary) == len(classes)


@hypothesis.given(vocabularies)
def test_entries_are_what_parse_takes(classes: list[list[str]]) -> None:
    vocabulary = Vocabulary.parse([",".join(c) for c in classes])
    assert Vocabulary.parse(vocabulary.entries).classes == vocabulary.classes


DISGUISES = {
    "as it is": lambda w: w,
    "upper case": str.upper,
    "wider spaces": lambda w: f"  {w.replace(' ', '   ')} ",
    "decomposed": lambda w: unicodedata.normalize("NFD", w),
    "full width": lambda w: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in w),
    "no-break space before it": lambda w: f"\u00a0{w}",
}


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=list(DISGUISES))
@hypothesis.given(vocabularies, st.data())
@hypothesis.settings(max_examples=30)
def test_a_word_given_twice_is_refused_in_any_disguise(disguise, classes: list[list[str]], data) -> None:
    again = disguise(data.draw(st.sampled_from([word for c in classes for word in c])))
    place = data.draw(st.integers(0, len(classes)))
    entries = [",".join(c) for c in classes]
    if place == len(classes):
        entries.append(again)
    else:
        entries[place] += f", {again}"
    with pytest.raises(VocabularyError, match="occurs twice"):
        Vocabulary.parse(entries)


def test_the_refusal_of_a_duplicate_names_both_classes() -> None:
    with pytest.raises(VocabularyError, match=r"'Human' occurs twice \(in 'person' and 'worker'\)"):
        Vocabulary.parse(["person, human", "worker, Human"])


@hypothesis.given(st.lists(st.text(max_size=20), max_size=5))
def test_any_text_either_parses_or_is_refused(entries: list[str]) -> None:
    with contextlib.suppress(VocabularyError):
        flat = [word for c in Vocabulary.parse(entries).classes for word in c]
        assert len(set(map(fold, flat))) == len(flat)
        assert not any(unicodedata.category(c) == "Cc" for word in flat for c in word)


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([], "vocabulary is empty"),
        ([""], "empty word"),
        (["car", "   "], "empty word"),
        (["car,"], "empty word"),
        (["car,, van"], "empty word"),
        ([f"word {i}" for i in range(5000)], "5000 classes are too many; an engine holds at most 1024"),
        (["car"] * 5000, "5000 classes are too many"),
        ([", ".join(f"word {i}" for i in range(33))], "33 words; at most 32"),
        (["x" * 10_000], "10000 characters is too long"),
        (["car, " + "é" * 10_000], "10000 characters is too long"),
        (["a\tb"], r"control character U\+0009"),
        (["a\nb"], r"control character U\+000A"),
        (["car", "a\x00"], r"control character U\+0000"),
        (["a\x1b[31m"], r"control character U\+001B"),
        (["a\x85"], r"control character U\+0085"),
        (["\ud800"], r"control character U\+D800"),
        (["a\ue000"], r"control character U\+E000"),
        (["..."], "no letter or digit"),
        (["🚗"], "no letter or digit"),
        ([1], "must be a text"),
        ([None], "must be a text"),
        ([["car"]], "must be a text"),
        ("car", "a list of words"),
    ],
)
def test_unusable_words_are_refused(entries: list[str], complaint: str) -> None:
    with pytest.raises(VocabularyError, match=complaint) as caught:
        Vocabulary.parse(entries)
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


def test_as_many_classes_and_synonyms_as_an_engine_holds_are_taken() -> None:
    vocabulary = Vocabulary.parse([", ".join(f"word {i} {j}" for j in range(32)) for i in range(1024)])
    assert len(vocabulary) == 1024
    assert {len(c) for c in vocabulary.classes} == {32}


def test_words_of_any_script_parse() -> None:
    names = ("人", "машина", "سيارة", "कार", "자동차", "βάρκα", "fjällräv")
    assert Vocabulary.parse(names).names == names


def test_thresholds_come_as_a_list_or_by_name() -> None:
    nan = float("nan")
    assert Vocabulary.parse(["car", "road"]).thresholds == (None, None)
    assert Vocabulary.parse(["car", "road"], thresholds=[0.25, nan]).thresholds == (0.25, None)
    assert Vocabulary.parse(["car", "road"], thresholds=[None, 1]).thresholds == (None, 1.0)
    assert Vocabulary.parse(["car, van", "road"], thresholds={"car": 0.5}).thresholds == (0.5, None)


@pytest.mark.parametrize(
    ("thresholds", "complaint"),
    [
        ([0.5], "1 thresholds for 2 classes"),
        ([0.5, 1.5], "threshold 1.5 is out of range"),
        ([-0.1, None], "threshold -0.1 is out of range"),
        ([float("inf"), None], "threshold inf is out of range"),
        ({"van": 0.5}, "'van', which is no class"),
        (["high", None], "high"),
        ({"car": "high"}, "high"),
        ("0.5", "thresholds come as a list"),
    ],
)
def test_unusable_thresholds_are_refused(thresholds: object, complaint: str) -> None:
    with pytest.raises(VocabularyError, match=complaint):
        Vocabulary.parse(["car, van2", "road"], thresholds=thresholds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "templates", [["a photo"], ["{} and {}"], ["{"], [5], ["{}" + "x" * 10_000], "a {}", 5], ids=repr
)
def test_unusable_templates_are_refused(templates: object) -> None:
    with pytest.raises(VocabularyError, match="template"):
        Vocabulary.parse(["car"], templates=templates)  # type: ignore[arg-type]


def test_a_vocabulary_cannot_be_changed_in_place() -> None:
    vocabulary = Vocabulary.parse(["car"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        vocabulary.version = 3  # type: ignore[misc]


def test_a_file_holds_a_list_or_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("- car, van\n- 人\n", encoding="utf-8")
    assert Vocabulary.load(path).classes == (("car", "van"), ("人",))
    path.write_text("classes: [car, road]\ntemplates: ['a {}']\nthresholds: {road: 0.5}\n", encoding="utf-8")
    assert Vocabulary.load(path) == Vocabulary.parse(["car", "road"], templates=["a {}"], thresholds=[None, 0.5])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"5",
        b"classes: 5",
        b"words: [car]",
        b"classes: [car]\ncolour: red",
        b"classes: [car]\n3: 4\nb: 5",
        b"classes: []",
        b"classes: [[car, van]]",
        b"classes: [car]\nthresholds: {car: high}",
        b"classes: [car]\nthresholds: {1: 0.5, b: 0.5}",
        b"classes: [car]\nthresholds: high",
        b"classes: [car]\ntemplates: 5",
        b"- yes",
        b"- 1",
        b"a: [",
        b"\t- car",
        b"\x00",
        b"\xff\xfe\xfa",
        b"!!python/object/apply:os.getcwd []",
    ],
    ids=repr,
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "words.yaml"
    path.write_bytes(content)
    with pytest.raises(VocabularyError) as caught:
        Vocabulary.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=r"nowhere\.yaml"):
        Vocabulary.load(tmp_path / "nowhere.yaml")
    with pytest.raises(VocabularyError, match="cannot read"):
        Vocabulary.load(tmp_path)


def test_the_shipped_vocabularies_load() -> None:
    files = sorted(find("config/vocabularies").glob("*.yaml"))
    assert {"household", "outdoor", "street", "warehouse"} <= {path.stem for path in files}
    for path in files:
        assert len(Vocabulary.load(path)) >= 5


def test_one_threshold_may_stand_for_all_and_a_background_by_name(tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text("classes: [cat, 'rest, sky', dog]\nthresholds: 0.25\nbackground: rest\n")
    vocabulary = Vocabulary.load(tmp_path / "words.yaml")
    assert vocabulary.thresholds == (0.25,) * 3
    assert vocabulary.background == 1
    assert Vocabulary.parse(["cat"]).background is None
    with pytest.raises(VocabularyError, match="background 'sky' is no class"):
        Vocabulary.parse(["cat", "rest, sky"], background="sky")


def test_voc21_is_the_protocols() -> None:
    vocabulary = Vocabulary.load(find("config/vocabularies/voc21.yaml"))
    assert (len(vocabulary), vocabulary.background, set(vocabulary.thresholds)) == (21, 0, {0.1})
    assert len(vocabulary.classes[0]) == 27

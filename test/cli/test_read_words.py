"""Words on a command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovseg_ros.cli.words import read_words, shipped
from ovseg_ros.errors import VocabularyError
from ovseg_ros.vocabulary import Vocabulary


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("car", (("car",),)),
        ("car, road", (("car",), ("road",))),
        ("car; person, human; road", (("car",), ("person", "human"), ("road",))),
        ("person, human;", (("person", "human"),)),
        ("car,,road,", (("car",), ("road",))),
        ("  traffic  light ;; road ", (("traffic light",), ("road",))),
        ("人; машина", (("人",), ("машина",))),
    ],
)
def test_semicolons_part_classes_and_commas_synonyms(text: str, classes: tuple[tuple[str, ...], ...]) -> None:
    assert read_words(text).classes == classes


def test_a_file_or_the_name_of_a_shipped_one_will_do(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("- car, van\n")
    assert read_words(str(path)).classes == (("car", "van"),)
    assert shipped()
    for file in shipped():
        assert read_words(file.stem) == Vocabulary.load(file)


@pytest.mark.parametrize("text", ["", " ", ";", ",", " ; , ", "x" * 10_000, "car; car", "missing.yaml"])
def test_unusable_words_are_a_vocabulary_error(text: str) -> None:
    with pytest.raises(VocabularyError):
        read_words(text)

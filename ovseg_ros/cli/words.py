"""How commands take words: a list, or a vocabulary file."""

from __future__ import annotations

from pathlib import Path

from ovseg_ros.errors import VocabularyError
from ovseg_ros.resources import find
from ovseg_ros.vocabulary import Vocabulary

SYNTAX = "words: 'car; person, human; road' or 'car, road' (no synonyms), a YAML file, or a shipped vocabulary's name"


def read_words(text: str) -> Vocabulary:
    """Words from a command line.

    A semicolon parts classes whose synonyms are parted by commas; without any semicolon a comma parts classes.

    Raises:
        VocabularyError: when nothing usable is given.
    """
    if text.endswith((".yaml", ".yml")):
        return Vocabulary.load(text)
    if text.isidentifier():
        try:
            return Vocabulary.load(find(f"config/vocabularies/{text}.yaml"))
        except OSError:  # there is none, or the text is too long for a name
            pass
    if not text.strip(" ,;"):
        raise VocabularyError("no words are given; for example --classes 'car; person, human; road'")
    return Vocabulary.parse([part for part in text.split(";" if ";" in text else ",") if part.strip()])


def shipped() -> list[Path]:
    """The vocabulary files that come with the package."""
    return sorted(find("config/vocabularies").glob("*.yaml"))

"""WordNet where it is there: Debian's wordnet-base, or wherever `find_wordnet` finds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ovseg_ros.lexicon import Lexicon, LexiconError, find_wordnet
from ovseg_ros.resources import find


@pytest.fixture(scope="session")
def wordnet_place() -> Path:
    """WordNet's folder."""
    pytest.importorskip("nltk")
    try:
        return find_wordnet()
    except LexiconError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def lexicon(wordnet_place: Path, tmp_path_factory: pytest.TempPathFactory) -> Lexicon:
    """A lexicon with an empty cache."""
    return Lexicon.open(wordnet_place, cache=tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="session")
def reader(lexicon: Lexicon) -> Any:
    """nltk's own reader."""
    return lexicon.wordnet._reader


@pytest.fixture(scope="session")
def ade_names() -> list[list[str]]:
    """The names of each of ADE20K's 847 classes, the first one first."""
    content = yaml.safe_load(find("ovseg_ros/evaluation/classes/ade847.yaml").read_text("utf-8"))
    return [[name.strip() for name in names.split(",")] for names in content["names"]]

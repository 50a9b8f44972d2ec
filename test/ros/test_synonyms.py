"""The parameter `synonyms`: words that come without synonyms get those of WordNet, and the services show them."""

from __future__ import annotations

from typing import Any

import pytest

from ovseg_ros import ros
from ovseg_ros.lexicon import LexiconError, find_wordnet

from .conftest import until


def words_in_force(peer: Any) -> list[str]:
    return list(peer.call(ros.GetVocabulary, "get_vocabulary", ros.GetVocabulary.Request()).classes)


def test_classes_without_synonyms_get_some(peer, spawn):
    pytest.importorskip("nltk")
    try:
        find_wordnet()
    except LexiconError as error:
        pytest.skip(str(error))
    spawn("node", ["--ros-args", "-p", "synonyms:=wordnet"], words=["road", "car"])
    # a busy machine may take longer to read WordNet than a call waits
    assert until(lambda: words_in_force(peer), 120) == ["road", "car, auto, automobile, motorcar"]
    reply = peer.set_words("couch", "bucket, basket", "Gabelstapler", thresholds=[0.5, 0.25, 0.0])
    assert reply.success
    assert list(reply.classes) == ["couch, sofa", "bucket, basket", "Gabelstapler"] == words_in_force(peer)
    refused = peer.set_words("couch", "Couch")
    assert not refused.success
    assert words_in_force(peer) == list(reply.classes)


def test_without_the_parameter_words_stay_as_they_are(peer, spawn):
    spawn("node", words=["road", "car"])
    assert words_in_force(peer) == ["road", "car"]
    assert list(peer.set_words("couch").classes) == ["couch"]


def test_without_wordnet_the_node_says_how_to_get_it(spawn, monkeypatch):
    monkeypatch.setenv("WNSEARCHDIR", "/nowhere")
    child = spawn("node", ["--ros-args", "-p", "synonyms:=wordnet"])
    assert child.process.wait(60) == 2
    assert "WNSEARCHDIR names /nowhere, but there is no such folder" in child.text
    assert "apt install wordnet-base" in child.text


def test_an_unknown_source_is_refused(spawn):
    child = spawn("node", ["--ros-args", "-p", "synonyms:=thesaurus"])
    assert child.process.wait(60) == 2
    assert "parameter synonyms must be none or wordnet, not 'thesaurus'" in child.text

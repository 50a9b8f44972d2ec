"""Synonyms for a whole vocabulary, each for one class only."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ovseg_ros.lexicon.forms import key
from ovseg_ros.lexicon.lexicon import Lexicon
from ovseg_ros.vocabulary import MAX_SYNONYMS, Vocabulary


def diversify(vocabulary: Vocabulary, lexicon: Lexicon) -> Vocabulary:
    """The vocabulary with synonyms for every class that has none of its own.

    The other classes' words decide which sense a word has, and none of them becomes a synonym; a synonym that fits two
    classes goes to neither. Names, ids, templates, thresholds and the background stay as they are.

    Raises:
        LexiconError: WordNet can't be read.
    """
    everything = [word for words in vocabulary.classes for word in words]
    found = []
    for words in vocabulary.classes:
        context = [word for word in everything if word not in words]
        found.append(lexicon.synonyms(words[0], context=context) if len(words) == 1 else ())
    claims = Counter(key(synonym) for synonyms in found for synonym in synonyms)
    classes = tuple(
        (*words, *[synonym for synonym in synonyms if claims[key(synonym)] == 1][: MAX_SYNONYMS - 1])
        for words, synonyms in zip(vocabulary.classes, found, strict=True)
    )
    return replace(vocabulary, classes=classes)

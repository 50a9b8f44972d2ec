"""Whole words for a static text encoder: what its tokenizer would cut into pieces that mean something else.

A mean over pieces reads "plantain" as plant and "settee" as set. Words that name visible things get a token of their
own, with the vector that the sentence encoder gives them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.text.base import TOKENIZER_FILE

FloatArray = NDArray[np.float32]
COMMON_ALWAYS = frozenset(("noun.artifact", "noun.food", "noun.object"))  # their rare words matter to a robot as well
RIDGE = 0.1  # of the map between the two spaces, against a design matrix of unit rows
LENGTH = 0.75  # a new word is as long as this quantile of the old ones: rare words weigh more


def wordnet_words(synsets: Iterable[Any], known: Sequence[str]) -> list[str]:
    """Single words that name visible things and that the tokenizer does not know, in alphabetical order.

    Args:
        synsets: nltk synsets of visible things.
        known: the tokenizer's tokens.
    """
    have, found = set(known), set[str]()
    for synset in synsets:
        for lemma in synset.lemmas():
            name = lemma.name()
            if lemma.count() or (synset.lexname() in COMMON_ALWAYS and "_" not in name):
                found.update(part for part in name.split("_") if _plain(part))
    return sorted(found - have)


def add_words(
    folder: Path, vectors: FloatArray, words: Sequence[str], sentence: Callable[[Sequence[str]], FloatArray]
) -> FloatArray:
    """Give words tokens of their own.

    The vectors of whole words that the encoder has already are, but for their length, a linear map of what the
    sentence encoder says of them (cosine 0.9997 on words left out of the fit); the same map places the new ones.

    Args:
        folder: holds `tokenizer.json`, a WordPiece model, which is rewritten.
        vectors: (V, D), one row a token.
        words: lower-case, none of them a token yet.
        sentence: the sentence encoder, texts to (n, E) unit vectors.

    Returns:
        (V + len(words), D).
    """
    path = folder / TOKENIZER_FILE
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    whole = [token for token in vocabulary if _plain(token)]
    known = vectors[[vocabulary[token] for token in whole]]
    lengths = np.linalg.norm(known, axis=1, keepdims=True)
    seen = sentence(whole)
    centre = seen.mean(axis=0)
    design = np.c_[seen - centre, np.ones(len(seen))].astype(np.float64)
    gram = design.T @ design + RIDGE * np.eye(design.shape[1])
    linear = np.linalg.solve(gram, design.T @ (known / lengths))
    new = np.c_[sentence(words) - centre, np.ones(len(words))] @ linear
    new *= np.quantile(lengths, LENGTH) / np.linalg.norm(new, axis=1, keepdims=True)
    for word in words:
        vocabulary[word] = len(vocabulary)
    path.write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    return np.concatenate([vectors, new]).astype(np.float32)


def _plain(word: str) -> bool:
    return len(word) > 2 and word.isascii() and word.isalpha() and word.islower()

"""From words to the text table that an engine takes, and the table's cache on disk."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from ovseg_ros.errors import VocabularyError
from ovseg_ros.text.base import FloatArray, TextEncoder
from ovseg_ros.vocabulary import Vocabulary


def text_table(vocabulary: Vocabulary, encoder: TextEncoder, cache: Path | None = None) -> FloatArray:
    """The text table of a vocabulary.

    A word's embedding is the mean over the templates, normalised; a class with fewer synonyms than the widest one is
    padded by repeating its first.

    Args:
        vocabulary: K classes of up to S words; without templates of its own it gets the encoder's.
        encoder: the engine's text encoder.
        cache: a folder for tables, keyed by a hash of encoder, templates and words; None caches nothing.

    Returns:
        (K, S, D) float32 unit vectors.

    Raises:
        VocabularyError: when the encoder knows no part of a word.
    """
    templates = vocabulary.templates or encoder.default_templates
    entry = None if cache is None else cache / f"{_table_key(vocabulary, templates, encoder)}.npy"
    if entry is not None and (table := _read_table(entry, vocabulary, encoder)) is not None:
        return table
    widest = max(len(words) for words in vocabulary.classes)
    padded = [words + words[:1] * (widest - len(words)) for words in vocabulary.classes]
    flat = [word for words in padded for word in words]
    unique = list(dict.fromkeys(flat))
    # the word must be known by itself: a template's own words would hide that it is not
    if lost := encoder.unknown(unique):
        raise VocabularyError(f"the text encoder knows no part of the word {lost[0]!r}; try an English word")
    # template by template: prompts that begin alike stand together
    prompts = [template.replace("{}", word) for template in templates for word in unique]
    vectors = encoder.encode(prompts).reshape(len(templates), len(unique), -1)  # (T, U, D)
    mean = vectors.mean(axis=0)
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    row_of = {word: i for i, word in enumerate(unique)}
    result: FloatArray = mean[[row_of[word] for word in flat]].reshape(len(vocabulary), widest, -1)
    if entry is not None:
        _write_table(entry, result)
    return result


def _table_key(vocabulary: Vocabulary, templates: tuple[str, ...], encoder: TextEncoder) -> str:
    source = [encoder.identity, encoder.variant] if encoder.variant else [encoder.identity]
    content = json.dumps([*source, templates, vocabulary.classes])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _read_table(path: Path, vocabulary: Vocabulary, encoder: TextEncoder) -> FloatArray | None:
    """A cached table, or None where there is none or it is damaged (it is then written anew)."""
    try:
        table: FloatArray = np.load(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    widest = max(len(words) for words in vocabulary.classes)
    return table if table.shape == (len(vocabulary), widest, encoder.width) else None


def _write_table(path: Path, table: FloatArray) -> None:
    """Write atomically; a cache that cannot be written is no reason to fail."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            np.save(file, table)
        os.replace(file.name, path)
    except OSError:
        return

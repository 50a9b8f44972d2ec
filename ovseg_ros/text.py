"""From words to the text table that an engine takes: the embedded text encoder and the table's cache on disk."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ovseg_ros.errors import ModelError, VocabularyError
from ovseg_ros.hashing import file_hash
from ovseg_ros.vocabulary import DEFAULT_TEMPLATES, Vocabulary

FloatArray = NDArray[np.float32]


class TextEncoder(Protocol):
    """What turns prompts into unit vectors."""

    @property
    def identity(self) -> str:
        """A hash that changes whenever an embedding could."""

    @property
    def width(self) -> int:
        """D, the length of an embedding."""

    def encode(self, prompts: Sequence[str]) -> FloatArray:
        """(n, D) unit vectors; a prompt that the encoder cannot represent gives a row of zeros."""


class StaticTextEncoder:
    """A static embedding: one vector a token, a prompt is their mean.

    Distilled from a sentence encoder with model2vec (`ovseg train text`), stored as int8 with a scale a row.
    Encoding a word takes microseconds and needs no torch.

    Args:
        folder: holds `tokenizer.json`, `embeddings.npy` (V, D) int8, `scales.npy` (V,) float16 and `manifest.json`.

    Raises:
        ModelError: when a file is missing, truncated or not what the manifest says.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            self._identity: str = manifest["identity"]
            for name, digest in manifest["files"].items():
                if file_hash(folder / name) != digest:
                    raise ModelError(f"the text encoder file {folder / name} is damaged; restore it or retrain")
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._rows = np.load(folder / "embeddings.npy", mmap_mode="r")
            self._scales = np.load(folder / "scales.npy").astype(np.float32)
        except ModelError:
            raise
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelError(f"no usable text encoder in {folder}: {error}") from error
        self._unknown: int | None = self._tokenizer.token_to_id("[UNK]")
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @property
    def identity(self) -> str:
        """SHA-256 over the encoder's files."""
        return self._identity

    @property
    def width(self) -> int:
        """D, the length of an embedding."""
        return int(self._rows.shape[1])

    def tokens(self) -> list[str]:
        """Every token the encoder has a vector for."""
        return list(self._tokenizer.get_vocab())

    def encode(self, prompts: Sequence[str]) -> FloatArray:
        """(n, D) float32 unit vectors; a prompt without any known token gives a row of zeros."""
        table = np.zeros((len(prompts), self.width), np.float32)
        encodings = self._tokenizer.encode_batch(list(prompts), add_special_tokens=False)
        for row, encoding in zip(table, encodings, strict=True):
            ids = [i for i in encoding.ids if i != self._unknown]
            if ids:
                row[:] = (self._rows[ids] * self._scales[ids, None]).mean(axis=0)
        norms = np.linalg.norm(table, axis=1, keepdims=True)
        result: FloatArray = (table / np.where(norms > 0, norms, 1)).astype(np.float32)
        return result


def text_table(vocabulary: Vocabulary, encoder: TextEncoder, cache: Path | None = None) -> FloatArray:
    """The text table of a vocabulary.

    A word's embedding is the mean over the templates, normalised; a class with fewer synonyms than the widest one is
    padded by repeating its first.

    Args:
        vocabulary: K classes of up to S words.
        encoder: the engine's text encoder.
        cache: a folder for tables, keyed by a hash of encoder, templates and words; None caches nothing.

    Returns:
        (K, S, D) float32 unit vectors.

    Raises:
        VocabularyError: when the encoder knows no part of a word.
    """
    entry = None if cache is None else cache / f"{_table_key(vocabulary, encoder)}.npy"
    if entry is not None and (table := _read_table(entry, vocabulary, encoder)) is not None:
        return table
    widest = max(len(words) for words in vocabulary.classes)
    padded = [words + words[:1] * (widest - len(words)) for words in vocabulary.classes]
    flat = [word for words in padded for word in words]
    unique = list(dict.fromkeys(flat))
    prompts = [template.replace("{}", word) for template in vocabulary.templates for word in unique]
    vectors = encoder.encode(prompts).reshape(len(vocabulary.templates), len(unique), -1)
    # the word must be known by itself: a template's own words would hide that it is not
    alone = vectors[0] if vocabulary.templates == DEFAULT_TEMPLATES else encoder.encode(unique)
    lost = next((word for word, row in zip(unique, alone, strict=True) if not row.any()), None)
    if lost is not None:
        raise VocabularyError(f"the text encoder knows no part of the word {lost!r}; try an English word")
    mean = vectors.mean(axis=0)
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    row_of = {word: i for i, word in enumerate(unique)}
    result: FloatArray = mean[[row_of[word] for word in flat]].reshape(len(vocabulary), widest, -1)
    if entry is not None:
        _write_table(entry, result)
    return result


def _table_key(vocabulary: Vocabulary, encoder: TextEncoder) -> str:
    content = json.dumps([encoder.identity, vocabulary.templates, vocabulary.classes])
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

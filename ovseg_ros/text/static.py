"""The embedded text encoder: a vector a token, and a prompt is their mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ovseg_ros.errors import ModelError
from ovseg_ros.text.base import TOKENIZER_FILE, FloatArray, check_files, read_manifest


class StaticTextEncoder:
    """A static embedding: one vector a token, a prompt is their mean.

    Distilled from a sentence encoder with model2vec (`ovseg train text`), stored as int8 with a scale a row.
    Encoding a word takes microseconds and needs no torch.

    Args:
        folder: holds `tokenizer.json`, `embeddings.npy` (V, D) int8, `scales.npy` (V,) float16 and `manifest.json`.

    Raises:
        ModelError: when a file is missing, truncated or not what the manifest says.
    """

    variant = ""
    default_templates = ("{}",)  # a mean over tokens gains nothing from words that every class shares

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        manifest = read_manifest(folder)
        check_files(folder, manifest)
        self._identity: str = manifest["identity"]
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
            self._rows = np.load(folder / "embeddings.npy", mmap_mode="r")
            self._scales = np.load(folder / "scales.npy").astype(np.float32)
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

    def unknown(self, words: Sequence[str]) -> list[str]:
        """The words without any known token."""
        return [word for word, row in zip(words, self.encode(words), strict=True) if not row.any()]

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

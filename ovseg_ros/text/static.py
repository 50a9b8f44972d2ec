"""The embedded text encoder: a vector a token, and a prompt is their mean, in which the head noun weighs most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Encoding, Tokenizer

from ovseg_ros.errors import ModelError
from ovseg_ros.text.base import TOKENIZER_FILE, FloatArray, check_files, read_manifest

LINKS = frozenset({  # what follows one of these only describes the noun before it
    "of", "on", "in", "for", "with", "without", "at", "to", "from", "by", "under", "over", "behind", "near", "that",
    "which", "who", "whose", "where", "used", "having", "made",
})  # fmt: skip


class StaticTextEncoder:
    """A static embedding: one vector a token, a prompt is their weighted mean.

    Distilled from a sentence encoder with model2vec and taught the synonyms of WordNet (`ovseg train text`), stored as
    int8 with a scale a row. Encoding a word takes microseconds and needs no torch.

    In an English noun phrase the last word names the thing and those before it describe it: a "street light" is no
    street. So the head's tokens weigh `head_weight` (in the manifest; 1 where it says nothing), all others 1.

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
        self._head_weight = float(manifest.get("head_weight", 1.0))
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
            ids, weights = weighted_tokens(encoding, self._unknown, self._head_weight)
            if ids:
                row[:] = weights @ (self._rows[ids] * self._scales[ids, None])
        norms = np.linalg.norm(table, axis=1, keepdims=True)
        result: FloatArray = (table / np.where(norms > 0, norms, 1)).astype(np.float32)
        return result


def weighted_tokens(encoding: Encoding, unknown: int | None, head_weight: float) -> tuple[list[int], FloatArray]:
    """A prompt's known tokens and what each weighs.

    Args:
        encoding: of one prompt, without special tokens.
        unknown: the id of the token that stands for what the encoder does not know.
        head_weight: of the tokens of the head noun; the others weigh 1.

    Returns:
        ids, and (len(ids),) float32 weights.
    """
    head = _head(encoding)
    known = [(i, head_weight if word == head else 1.0) for i, word in zip(encoding.ids, encoding.word_ids, strict=True)
             if i != unknown]  # fmt: skip
    return [i for i, _ in known], np.array([weight for _, weight in known], np.float32)


def _head(encoding: Encoding) -> int | None:
    """Which word names the thing: the last one, or the last before the first of `LINKS`; None for no word at all."""
    head = None
    words: dict[int, str] = {}
    for token, word in zip(encoding.tokens, encoding.word_ids, strict=True):
        if word is not None:
            words[word] = words.get(word, "") + token.removeprefix("##")
    for word, letters in words.items():
        if head is not None and letters in LINKS:
            break
        if letters[:1].isalnum():
            head = word
    return head

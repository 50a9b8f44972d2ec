"""What every text encoder offers, and the folder that each is read from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import ModelError
from ovseg_ros.hashing import file_hash

FloatArray = NDArray[np.float32]
MANIFEST_FILE = "manifest.json"
TOKENIZER_FILE = "tokenizer.json"


class TextEncoder(Protocol):
    """What turns prompts into unit vectors. Every method may be called from any thread."""

    @property
    def identity(self) -> str:
        """A hash over the encoder's files: two encoders of one identity have one text space."""

    @property
    def variant(self) -> str:
        """What embeddings depend on besides the files, such as a precision; empty for exact ones."""

    @property
    def width(self) -> int:
        """D, the length of an embedding."""

    @property
    def default_templates(self) -> tuple[str, ...]:
        """The prompt templates for vocabularies that bring none."""

    def unknown(self, words: Sequence[str]) -> list[str]:
        """Those of the words of which no part would reach the embedding."""

    def encode(self, prompts: Sequence[str]) -> FloatArray:
        """(n, D) float32 unit vectors; a prompt that the encoder cannot represent gives a row of zeros."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a text encoder's folder.

    Raises:
        ModelError: when it is missing or damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        for key, kind in (("identity", str), ("files", dict)):
            if not isinstance(manifest[key], kind):
                raise ValueError(f"{key!r} is {manifest[key]!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"no usable text encoder in {folder}: {error}") from error
    return dict(manifest)


def check_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Compare a folder's files with its manifest; reads all of them.

    Raises:
        ModelError: when a file is missing or damaged.
    """
    for name, digest in manifest["files"].items():
        try:
            good = file_hash(folder / name) == digest
        except OSError as error:
            raise ModelError(f"no usable text encoder in {folder}: {error}") from error
        if not good:
            raise ModelError(f"the text encoder file {folder / name} is damaged; restore it or make it anew")

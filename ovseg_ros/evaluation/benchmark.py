"""Times of models side by side: interleaved in one run, so that a busy machine slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from ovseg_ros.engine import Engine
from ovseg_ros.segmenter import Segmenter
from ovseg_ros.vocabulary import Vocabulary

WARM_UP = 3  # runs of each case before anything is counted
PEAK_SIZE = 2048  # rows and columns of the matrices that the machine's peak is measured with


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        engine: what runs.
        height, width: of the camera's image, pixels.
        classes: K.
        batch: images a call.
        gflop: of one call, multiply and add counted as two.
        memory_mb: what loading the engine added to the process, MB.
    """

    engine: Engine
    height: int
    width: int
    classes: int
    batch: int
    gflop: float
    memory_mb: float


@dataclass
class Times:
    """Milliseconds of each call, by stage."""

    preprocess: list[float] = field(default_factory=list)
    engine: list[float] = field(default_factory=list)
    post: list[float] = field(default_factory=list)


class RandomWords:
    """A text encoder that gives every prompt a unit vector of its own: for timing, meaning costs nothing."""

    identity, variant = "random", ""
    default_templates = ("{}",)

    def __init__(self, width: int) -> None:
        self.width = width

    def encode(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """(n, D) unit vectors, the same for the same number of prompts."""
        vectors = np.random.default_rng(0).normal(size=(len(prompts), self.width)).astype(np.float32)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def unknown(self, words: Sequence[str]) -> list[str]:
        """None of them is."""
        return []


def measure(cases: Sequence[Case], repeats: int, tick: Callable[[], object] = lambda: None) -> list[Times]:
    """Time every case `repeats` times, one after the other in turns.

    Args:
        cases: what to time.
        repeats: calls of each that count.
        tick: called after every call.
    """
    runners = [_runner(case) for case in cases]
    times = [Times() for _ in cases]
    for turn in range(WARM_UP + repeats):
        for runner, kept in zip(runners, times, strict=True):
            sample = next(runner)
            if turn >= WARM_UP:
                kept.preprocess.append(sample[0])
                kept.engine.append(sample[1])
                kept.post.append(sample[2])
            tick()
    return times


def row(case: Case, times: Times, peak_gflops: float | None) -> dict[str, object]:
    """A case's row of the report; times in ms."""
    total = np.sum([times.preprocess, times.engine, times.post], axis=0)
    p50, p95, p99 = (float(np.percentile(total, p)) for p in (50, 95, 99))
    engine = float(np.median(times.engine))
    manifest = case.engine.manifest
    return {
        "model": manifest.model,
        "backend": manifest.backend,
        "precision": manifest.precision,
        "height": case.height,
        "width": case.width,
        "network": list(manifest.size),
        "classes": case.classes,
        "batch": case.batch,
        "p50_ms": round(p50, 3),
        "p95_ms": round(p95, 3),
        "p99_ms": round(p99, 3),
        "preprocess_ms": round(float(np.median(times.preprocess)), 3),
        "engine_ms": round(engine, 3),
        "post_ms": round(float(np.median(times.post)), 3),
        "fps": round(1e3 * case.batch / p50, 2),
        "gflop": round(case.gflop, 3),
        "peak_share": None if peak_gflops is None else round(case.gflop / (engine * 1e-3) / peak_gflops, 4),
        "memory_mb": round(case.memory_mb, 1),
    }


def graph_gflop(graph: Path, height: int, width: int, classes: int, text_width: int) -> float:
    """GFLOP of one image through an ONNX graph: its convolutions and matrix products, an addition and a multiplication
    counted as two.
    """
    model = ov.Core().read_model(graph)
    model.reshape({"image": [1, height, width, 3], "text": [classes, 1, text_width]})
    return sum(_flop(op) for op in model.get_ops()) / 1e9


def matmul_peak(precision: str, seconds: float = 0.5) -> float:
    """GFLOP/s of one large matrix product on this CPU through OpenVINO: what "all of the machine" means here.

    Args:
        precision: fp32, bf16 or fp16.
        seconds: for how long; the fastest run counts.
    """
    n = PEAK_SIZE
    a = ops.parameter([n, n], np.float32)
    b = ops.constant(np.random.default_rng(0).normal(size=(n, n)).astype(np.float32))
    model = ov.Model([ops.matmul(a, b, False, False)], [a])
    hint = {"fp32": "f32", "fp16": "f16"}.get(precision, precision)
    compiled = ov.Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint})
    request = compiled.create_infer_request()
    request.set_input_tensor(ov.Tensor(np.ones((n, n), np.float32)))
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        request.infer()
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best / 1e9


def _runner(case: Case) -> Iterator[tuple[float, float, float]]:
    """Milliseconds of preprocessing, engine and postprocessing, call after call."""
    rng = np.random.default_rng(0)
    frames = [_scene(rng, case.height, case.width) for _ in range(case.batch)]
    width = case.engine.manifest.text_width
    words = Vocabulary.parse([f"word {i}" for i in range(case.classes)])
    segmenter = Segmenter(case.engine, RandomWords(width), words)
    table = RandomWords(width).encode(words.names).reshape(case.classes, 1, width)
    while True:
        start = time.perf_counter()
        images = [cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) for frame in frames]
        ready = time.perf_counter()
        if case.batch == 1:
            engine_ms = segmenter.segment(images[0].astype(np.uint8, copy=False)).engine_ms
        else:
            case.engine.run(np.stack(images).astype(np.uint8, copy=False), table)
            engine_ms = (time.perf_counter() - ready) * 1e3
        end = time.perf_counter()
        yield (ready - start) * 1e3, engine_ms, max(0.0, (end - ready) * 1e3 - engine_ms)


def _scene(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """An image with regions, (height, width, 3) uint8: noise would make every pixel a border."""
    coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def _flop(op: ov.Node) -> float:
    kind = op.get_type_name()
    if kind not in ("Convolution", "GroupConvolution", "MatMul"):
        return 0.0
    out = float(np.prod(list(op.get_output_shape(0))))
    inside = list(op.get_input_shape(0))
    if kind == "MatMul":
        transposed = op.get_attributes().get("transpose_a", False)
        return 2 * out * float(inside[-2] if transposed else inside[-1])
    kernel = list(op.get_input_shape(1))  # ([groups,] out, in, kh, kw)
    return 2 * out * float(np.prod(kernel[2:] if kind == "GroupConvolution" else kernel[1:]))

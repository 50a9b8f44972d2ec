"""Times side by side: what is counted, and the arithmetic of the table."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from ovseg_ros.engine import open_engine
from ovseg_ros.evaluation.benchmark import Case, RandomWords, Times, graph_gflop, matmul_peak, measure, row

torch = pytest.importorskip("torch")


class Sleeper:
    """An engine that takes a known time."""

    def __init__(self, engine: Any, seconds: float) -> None:
        self.manifest, self._seconds = engine.manifest, seconds
        self.calls: list[tuple[int, ...]] = []

    def run(self, image: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        time.sleep(self._seconds)
        self.calls.append((*image.shape[:3], *text.shape[:2]))
        return np.zeros(image.shape[:3], np.int32), np.zeros(image.shape[:3], np.uint8)

    def prepare(self, image_shape: tuple[int, ...], text_shape: tuple[int, ...]) -> None:
        """Nothing to prepare."""


def test_cases_take_turns_and_their_times_are_their_own(tiny_graph: Any, tmp_path: Any) -> None:
    engine = open_engine(tiny_graph, precision="fp32", root=tmp_path)
    fast, slow = Sleeper(engine, 0.001), Sleeper(engine, 0.02)
    cases = [Case(fast, 48, 64, 3, 1, 1.0, 0.0), Case(slow, 48, 64, 200, 2, 2.0, 0.0)]
    ticks = []
    times = measure(cases, 5, lambda: ticks.append(len(fast.calls) - len(slow.calls)))
    assert [len(t.engine) for t in times] == [5, 5]
    assert set(ticks) == {0, 1}  # in turns
    assert set(fast.calls) == {(1, 48, 64, 3, 1)}
    assert set(slow.calls) == {(2, 48, 64, 200, 1)}
    assert np.median(times[0].engine) < 15 < 20 <= np.median(times[1].engine)


def test_a_row_is_percentiles_rates_and_shares(tiny_graph: Any, tmp_path: Any) -> None:
    engine = open_engine(tiny_graph, precision="fp32", root=tmp_path)
    times = Times([1.0] * 100, [float(i) for i in range(1, 101)], [2.0] * 100)
    found = row(Case(engine, 480, 640, 10, 2, 3.0, 7.0), times, peak_gflops=1000.0)
    assert (found["p50_ms"], found["engine_ms"]) == (53.5, 50.5)
    assert found["p95_ms"] == pytest.approx(3 + np.percentile(range(1, 101), 95))
    assert found["fps"] == pytest.approx(2 * 1000 / 53.5, abs=0.01)
    assert found["peak_share"] == pytest.approx(3.0 / 0.0505 / 1000, abs=1e-4)
    assert {
        "model",
        "backend",
        "precision",
        "height",
        "width",
        "classes",
        "batch",
        "p99_ms",
        "gflop",
        "memory_mb",
    } < set(found)
    assert row(Case(engine, 480, 640, 10, 2, 3.0, 7.0), times, None)["peak_share"] is None


def test_gflop_is_that_of_torchs_own_counter(tiny_graph: Any, tiny_net: Any) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    from ovseg_ros.models.onepass import OnePass

    model = OnePass(tiny_net, tiny_graph.size)
    text = torch.nn.functional.normalize(torch.randn(50, 1, 16), dim=-1)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 90, 120, 3, dtype=torch.uint8), text)
    expected = counter.get_total_flops() / 1e9
    # the map into the text space meets the words or the weights in another order once the graph is folded
    assert graph_gflop(tiny_graph.path, 90, 120, 50, 16) == pytest.approx(expected, rel=0.02)


def test_the_peak_is_within_what_a_cpu_can_do() -> None:
    assert 1 < matmul_peak("fp32", 0.1) < 1e5


def test_random_words_are_unit_vectors_that_repeat() -> None:
    encoder = RandomWords(32)
    table = encoder.encode(["a"] * 7)
    assert table.shape == (7, 32)
    assert np.allclose(np.linalg.norm(table, axis=1), 1)
    assert np.array_equal(table, RandomWords(32).encode(["b"] * 7))

"""Every model at the size that users build it at: run by OpenVINO, compiled by TensorRT-RTX for GPUs elsewhere.

`make test-engines` runs this, for some hours on two cores; `make test` takes tiny models of the same kinds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("open_clip")

from ovseg_ros.engine import Graph, build_engine, open_engine
from ovseg_ros.models.build import build_model, build_system
from ovseg_ros.models.systems import SystemSpec, listed_systems
from ovseg_ros.models.zoo import ModelSpec, listed_models
from ovseg_ros.resources import find
from ovseg_ros.text import open_text_encoder
from ovseg_ros.weights import GRAPH_FILE, open_weights

SHIPPED = sorted(path.parent.name for path in find("weights").glob(f"*/{GRAPH_FILE}"))
CAPABILITIES = ("7.5", "8.6", "8.9", "12.0")

pytestmark = [pytest.mark.engines, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("spec", listed_models(), ids=lambda spec: spec.name)
def test_training_free_methods(spec: ModelSpec, tmp_path: Path) -> None:
    build_model(spec, "random", tmp_path / "model")
    compiles(tmp_path / "model", tmp_path)


@pytest.mark.parametrize("spec", listed_systems(), ids=lambda spec: spec.name)
def test_systems_of_the_papers(spec: SystemSpec, tmp_path: Path) -> None:
    build_system(spec, "random", tmp_path / "model")
    compiles(tmp_path / "model", tmp_path)


@pytest.mark.parametrize("model", SHIPPED)
def test_shipped_checkpoints(model: str, tmp_path: Path) -> None:
    compiles(find("weights") / model, tmp_path)


def compiles(model: Path, folder: Path) -> None:
    """OpenVINO labels noise with some of the words, and TensorRT-RTX writes a plan for every capability."""
    weights = open_weights(str(model))
    graph = weights.graph(open_text_encoder(weights.text_folder, "fp32"))
    runs(graph, folder / "engines")
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    for capability in CAPABILITIES:
        made = build_engine(graph, "tensorrt-rtx", "fp16", capability, root=folder / "engines")
        assert (made / "image.plan").stat().st_size > 1_000_000, capability


def runs(graph: Graph, root: Path) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, 60, 80, 3), np.uint8)
    words = rng.standard_normal((7, 2, graph.text_width)).astype(np.float32)
    words /= np.linalg.norm(words, axis=-1, keepdims=True)
    labels, confidence = open_engine(graph, precision="fp32", root=root).run(image, words)
    assert labels.shape == confidence.shape == (1, 60, 80)
    assert set(np.unique(labels)) <= set(range(7))

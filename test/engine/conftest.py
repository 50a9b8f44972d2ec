"""What the backends' tests share: the tiny model as a graph with its torch program, and what torch says of it."""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovseg_ros.engine import Graph
from ovseg_ros.hashing import file_hash


@pytest.fixture(scope="session")
def tiny_onepass(tiny_net: Any, tiny_graph: Graph) -> Any:
    """The deployed tiny model in torch."""
    from ovseg_ros.models.onepass import OnePass

    return OnePass(tiny_net, tiny_graph.size).eval()


@pytest.fixture(scope="session")
def program_graph(tiny_graph: Graph, tiny_onepass: Any, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """`tiny_graph` with the same model's torch program beside it."""
    from ovseg_ros.models.export import export_onnx

    path = tmp_path_factory.mktemp("program") / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of itself
        export_onnx(tiny_onepass, path, tiny_graph.text_width, lossless=True, program=True)
    return dataclasses.replace(tiny_graph, path=path, hash=file_hash(path), max_batch=2)


@pytest.fixture(scope="session")
def torch_answer(tiny_onepass: Any) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Labels and confidence of (image, text) by the tiny model itself."""
    import torch

    def answer(image: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            labels, confidence = tiny_onepass(torch.from_numpy(image.copy()), torch.from_numpy(text.copy()))
        return labels.numpy(), confidence.numpy()

    return answer


@pytest.fixture(scope="session")
def make_table(tiny_graph: Graph) -> Callable[..., np.ndarray]:
    """Random text tables, (classes, synonyms, D) float32.

    As in life, a picture shows few of many classes: from the tenth on, vectors are short, so that they hardly ever win.
    """

    def table(classes: int, synonyms: int = 1, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng([seed, classes])
        vectors = rng.normal(size=(classes, synonyms, tiny_graph.text_width))
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        vectors[9:] *= 0.1
        return vectors.astype(np.float32)

    return table


@pytest.fixture
def other_graph(program_graph: Graph, tmp_path: Path) -> Graph:
    """A copy of `program_graph`, to damage."""
    for path in program_graph.path.parent.iterdir():
        shutil.copy(path, tmp_path)
    return dataclasses.replace(program_graph, path=tmp_path / "model.onnx")

"""The exported file: its axes, its numbers in OpenVINO, and what it tells about the machine that made it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from ovseg_ros.models.export import halve_weights, strip_traces  # noqa: E402
from ovseg_ros.models.onepass import OnePass  # noqa: E402
from ovseg_ros.resources import find  # noqa: E402


def axes(value: Any) -> list[str | int]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


@pytest.fixture(scope="module")
def proto(tiny_model: Path) -> Any:
    return onnx.load(str(tiny_model / "model.onnx"))


def test_names_types_and_dynamic_axes_are_those_of_the_contract(proto: Any) -> None:
    found = {v.name: (v.type.tensor_type.elem_type, axes(v)) for v in (*proto.graph.input, *proto.graph.output)}
    assert found == {
        "image": (TensorProto.UINT8, ["batch", "height", "width", 3]),
        "text": (TensorProto.FLOAT, ["classes", "synonyms", 16]),
        "labels": (TensorProto.INT32, ["batch", "height", "width"]),
        "confidence": (TensorProto.UINT8, ["batch", "height", "width"]),
    }


@pytest.mark.parametrize(
    ("batch", "size", "classes", "synonyms"),
    [(1, (120, 144), 5, 3), (1, (64, 96), 1, 1), (2, (50, 70), 32, 2), (3, (31, 200), 2, 1), (1, (1, 1), 7, 4)],
)
def test_openvino_gives_torchs_labels_at_any_size(
    tiny_model: Path,
    tiny_net: Any,
    picture: Callable[..., np.ndarray],
    batch: int,
    size: tuple[int, int],
    classes: int,
    synonyms: int,
) -> None:
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(str(tiny_model / "model.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    image = np.stack([picture(seed, max(size[0], 32), max(size[1], 32))[: size[0], : size[1]] for seed in range(batch)])
    generator = torch.Generator().manual_seed(classes)
    text = torch.nn.functional.normalize(torch.randn(classes, synonyms, 16, generator=generator), dim=-1)
    expected = OnePass(tiny_net, (64, 96))(torch.from_numpy(image), text)
    result = compiled([image, text.numpy()])
    assert result["labels"].shape == (batch, *size)
    assert (result["labels"] == expected[0].numpy()).mean() >= 0.995
    assert np.abs(result["confidence"].astype(int) - expected[1].numpy()).mean() < 1


@pytest.mark.parametrize("model", ["tiny", "street", "mini"])
def test_the_file_tells_nothing_of_the_machine_that_made_it(tiny_model: Path, model: str) -> None:
    path = tiny_model / "model.onnx" if model == "tiny" else find(f"weights/{model}/model.onnx")
    content = path.read_bytes()
    for trace in (b"site-packages", b".py", b"Traceback", b"stack_trace", sys.prefix.encode()):
        assert trace not in content


def test_large_weights_take_sixteen_bits(proto: Any) -> None:
    large = [t for t in proto.graph.initializer if np.prod(t.dims) >= 1024]
    assert large
    assert {t.data_type for t in large} == {TensorProto.FLOAT16}


def dense(weight: np.ndarray) -> Any:
    """A graph y = x @ weight."""
    rows, columns = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], doc_string="made in /home/someone/model.py")],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", columns])],
        [numpy_helper.from_array(weight, "w")],
        doc_string="/home/someone",
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def run(model: Any, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model)
    result: np.ndarray = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})[0]
    return result


def test_halving_rounds_weights_to_float16_and_nothing_else() -> None:
    pytest.importorskip("onnx.reference")
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(64, 64)).astype(np.float32), rng.normal(size=(3, 64)).astype(np.float32)
    model = dense(weight)
    size = len(model.SerializeToString())
    halve_weights(model)
    assert len(model.SerializeToString()) < 0.6 * size
    np.testing.assert_allclose(run(model, x), x @ weight.astype(np.float16).astype(np.float32), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "weight", [np.ones((4, 4), np.float32), np.full((64, 64), 1e6, np.float32)], ids=["few", "huge"]
)
def test_few_weights_and_those_past_float16_stay_as_they_are(weight: np.ndarray) -> None:
    model = dense(weight)
    halve_weights(model)
    assert model == dense(weight)


def test_stripping_removes_notes_and_keeps_the_function() -> None:
    pytest.importorskip("onnx.reference")
    weight = np.eye(4, dtype=np.float32)
    model = dense(weight)
    strip_traces(model)
    assert b"someone" not in model.SerializeToString()
    np.testing.assert_array_equal(run(model, 2 * weight), 2 * weight)

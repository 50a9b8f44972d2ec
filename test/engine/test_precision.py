"""Half-precision copies of graphs: what is half, what is not, and that labels stay the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovseg_ros.engine import Graph
from ovseg_ros.engine.precision import half_graph
from ovseg_ros.errors import EngineError

onnx = pytest.importorskip("onnx")

FLOAT, HALF, BFLOAT = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16


def types_of(model: Any) -> dict[str, int]:
    """Element types of all tensors, by ONNX's own inference."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    return types


def ancestors(model: Any, names: set[str]) -> Iterator[Any]:
    """The nodes that tensors depend on, last first."""
    names = set(names)
    for node in reversed(model.graph.node):
        if names & set(node.output):
            names |= set(node.input)
            yield node


@pytest.mark.parametrize(("precision", "half"), [("fp16", HALF), ("bf16", BFLOAT)])
def test_the_copy_is_a_valid_graph_with_half_products_and_exact_scores(
    program_graph: Graph, tmp_path: Path, precision: str, half: int
) -> None:
    half_graph(program_graph.path, tmp_path / "half.onnx", precision)
    model = onnx.load(tmp_path / "half.onnx")
    onnx.checker.check_model(model, full_check=True)
    types = types_of(model)
    before = onnx.load(program_graph.path)
    for kind in ("input", "output"):
        old, new = (list(getattr(m.graph, kind)) for m in (before, model))
        assert [(v.name, v.type.tensor_type.elem_type) for v in old] == [
            (v.name, v.type.tensor_type.elem_type) for v in new
        ]
    words = {"text"}  # what depends on the words
    for node in model.graph.node:
        dependent = bool(words & set(node.input))
        if dependent:
            words |= set(node.output)
        if node.op_type == "Conv":
            assert types[node.output[0]] == half
        if dependent or node.op_type in ("ReduceMean", "ReduceSum", "Softmax", "Exp", "Sqrt", "Resize"):
            assert half not in {types[name] for name in node.output}, node.name
    assert len([n for n in model.graph.node if n.op_type == "Conv"]) > 10


def test_with_all_products_half_no_product_is_left_in_float32(program_graph: Graph, tmp_path: Path) -> None:
    half_graph(program_graph.path, tmp_path / "half.onnx", "fp16", all_products=True)
    model = onnx.load(tmp_path / "half.onnx")
    onnx.checker.check_model(model, full_check=True)
    types = types_of(model)
    products = [node for node in model.graph.node if node.op_type in ("Conv", "MatMul", "Gemm")]
    assert {types[name] for node in products for name in node.input} == {HALF}
    after = [n for n in model.graph.node if set(n.input) & {name for p in products for name in p.output}]
    assert any(node.op_type == "Cast" for node in after)


def test_labels_stay_those_of_torch(
    program_graph: Graph,
    tmp_path: Path,
    reference_run: Callable[..., tuple[np.ndarray, np.ndarray]],
    torch_answer: Callable[..., tuple[np.ndarray, np.ndarray]],
    make_table: Callable[..., np.ndarray],
    picture: Callable[..., np.ndarray],
) -> None:
    """ONNX's own evaluator computes each node in the types that the graph says."""
    image, table = picture(1), make_table(9)
    expected, expected_confidence = torch_answer(image[None], table)
    for options in ({}, {"all_products": True}):
        half_graph(program_graph.path, tmp_path / "half.onnx", "fp16", **options)
        labels, confidence = reference_run(tmp_path / "half.onnx", image, table)
        assert (labels == expected[0]).mean() >= 0.98
        assert np.abs(confidence.astype(int) - expected_confidence[0]).max() > 0  # something was rounded


def small_graph(*nodes: Any, outputs: list[Any] | None = None, constants: dict[str, np.ndarray] | None = None) -> Any:
    helper = onnx.helper
    inputs = [helper.make_tensor_value_info(name, FLOAT, [2, 2]) for name in ("x", "text")]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    outputs = outputs or [helper.make_tensor_value_info("y", FLOAT, [2, 2])]
    graph = helper.make_graph(list(nodes), "small", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def test_a_float_output_stays_float(tmp_path: Path) -> None:
    weight = np.array([[1, 2], [3, 4]], np.float32) / 3
    node = onnx.helper.make_node
    model = small_graph(
        node("MatMul", ["x", "w"], ["y"]),
        node("Relu", ["y"], ["z"]),
        constants={"w": weight},
        outputs=[onnx.helper.make_tensor_value_info(name, FLOAT, [2, 2]) for name in ("y", "z")],
    )
    onnx.save(model, tmp_path / "model.onnx")
    half_graph(tmp_path / "model.onnx", tmp_path / "half.onnx", "fp16")
    session = onnx.reference.ReferenceEvaluator(str(tmp_path / "half.onnx"))
    x = np.array([[1, -2], [0.1, 5]], np.float32)
    y, z = session.run(None, {"x": x, "text": x})
    assert y.dtype == z.dtype == np.float32
    np.testing.assert_allclose(y, x @ weight, rtol=2e-3)
    np.testing.assert_array_equal(z, np.maximum(y, 0))
    assert (y != x @ weight).any()


def test_constants_beyond_float16_stay_finite_and_infinities_stay(tmp_path: Path) -> None:
    node = onnx.helper.make_node
    constant = np.array([[1e9, -1e9], [np.inf, 1]], np.float32)
    model = small_graph(
        node("MatMul", ["x", "w"], ["m"]),
        node("Min", ["m", "c"], ["y"]),
        constants={"w": np.eye(2, dtype=np.float32), "c": constant},
    )
    onnx.save(model, tmp_path / "model.onnx")
    half_graph(tmp_path / "model.onnx", tmp_path / "half.onnx", "fp16")
    (y,) = onnx.reference.ReferenceEvaluator(str(tmp_path / "half.onnx")).run(
        None, {"x": np.full((2, 2), 7, np.float32), "text": np.zeros((2, 2), np.float32)}
    )
    np.testing.assert_array_equal(y, [[7, -65504], [7, 1]])


def test_control_flow_and_files_that_are_no_graph_are_engine_errors(tmp_path: Path) -> None:
    helper = onnx.helper
    out = helper.make_tensor_value_info("o", FLOAT, [2, 2])
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["o"])], "branch", [], [out])
    condition = onnx.numpy_helper.from_array(np.array(True), "c")
    model = small_graph(helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch))
    model.graph.initializer.append(condition)
    onnx.save(model, tmp_path / "if.onnx")
    (tmp_path / "none.onnx").write_bytes(b"no graph")
    for name, complaint in (("if", r"control flow \(If\)"), ("none", r"none\.onnx cannot be read")):
        with pytest.raises(EngineError, match=complaint):
            half_graph(tmp_path / f"{name}.onnx", tmp_path / "half.onnx", "fp16")
        assert not (tmp_path / "half.onnx").exists()

"""A copy of an ONNX graph that computes in float16 or bfloat16, for compilers that take every type from the graph.

What runs in half precision is what fills the matrix units and what lies between such operations: convolutions and
matrix products of the image, with activations, sums and moves in between. Everything that a small error would change
much stays in float32: norms, softmax, exponentials, means, the pixels on their way in, and all that the text table
takes part in, so class scores and confidence.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ovseg_ros.errors import EngineError

if TYPE_CHECKING:
    import onnx

# products, which sum in float32 on every GPU whatever their inputs are
HEAVY = frozenset(["Conv", "ConvTranspose", "Gemm", "MatMul"])
# element by element without a growing error, or moving values only: these follow their inputs
LIGHT = frozenset([
    "Abs", "Add", "Clip", "Concat", "Div", "Erf", "Expand", "Flatten", "Gather", "Gelu", "HardSigmoid", "Identity",
    "LeakyRelu", "Max", "MaxPool", "Min", "Mul", "Neg", "PRelu", "Pad", "Relu", "Reshape", "Sigmoid", "Slice", "Split",
    "Squeeze", "Sub", "Tanh", "Tile", "Transpose", "Unsqueeze", "Where",
])  # fmt: skip
FOLDED = frozenset(["Cast", "MatMul", "Transpose"])
FIRST_BFLOAT16_OPSET = 22  # before it, ONNX has no convolution in bfloat16


def half_graph(
    source: Path, target: Path, precision: str, keep: Iterable[str] = ("text",), all_products: bool = False
) -> None:
    """Write a copy of a float32 graph whose types say fp16 or bf16; inputs and outputs keep theirs.

    Args:
        source: the ONNX file; weights may be stored as float16 with a Cast, as `export_onnx` does.
        target: the file to write.
        precision: fp16 or bf16.
        keep: names of inputs; all that depends on one of them stays in float32.
        all_products: products of what is kept take half inputs all the same, for devices that have no others.

    Raises:
        EngineError: when the file cannot be read, or holds control flow.
        OSError: when the target cannot be written.
    """
    try:
        import onnx
    except ImportError as error:
        raise EngineError(
            f"{precision} engines need onnx, which is not installed; pip install onnx, or build with --precision fp32"
        ) from error
    try:
        model = onnx.load(source)
        model = onnx.shape_inference.infer_shapes(model)
    except Exception as error:  # protobuf and onnx raise types of their own
        raise EngineError(f"{source} cannot be read as an ONNX graph: {str(error).partition(chr(10))[0]}") from error
    half = onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.BFLOAT16
    _Halving(model, half, frozenset(keep), all_products).run()
    if half == onnx.TensorProto.BFLOAT16:
        for opset in model.opset_import:
            if opset.domain == "":
                opset.version = max(opset.version, FIRST_BFLOAT16_OPSET)
    target.write_bytes(model.SerializeToString())


class _Halving:
    """One pass over a graph's nodes, in their order, which knows of every tensor whether it is half by now."""

    def __init__(self, model: onnx.ModelProto, half: int, keep: frozenset[str], all_products: bool) -> None:
        self.graph, self.half, self.all_products = model.graph, half, all_products
        self.constants = _fold_constants(model.graph)
        self.floats = _float_tensors(model.graph) | set(self.constants)
        self.kept = set(keep)  # tensors that depend on an input to keep
        self.halves: set[str] = set()  # tensors whose type is `half` now
        self.nodes: list[onnx.NodeProto] = []
        self.casts: dict[str, str] = {}  # a half tensor's or a constant's name to that of its other form

    def run(self) -> None:
        """Rewrite the graph in place."""
        for node in self.graph.node:
            if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
                raise EngineError(f"the graph has control flow ({node.op_type}), which has no half-precision copy")
            self._rewrite(node)
        outputs = {value.name for value in self.graph.output}
        for name in outputs & self.halves:
            self._rename_and_cast(name)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        del self.graph.value_info[:]  # their types changed
        self._drop_unused_constants()

    def _rewrite(self, node: onnx.NodeProto) -> None:
        floats = [name for name in node.input if name in self.floats]
        kept = any(name in self.kept for name in node.input)
        if kept:
            self.kept.update(node.output)
        if self._product_in_half(node, kept) or (not kept and self._follows(node, floats)):
            self._replace_inputs(node, {name: self._in_half(name) for name in floats})
            self.halves.update(name for name in node.output if name in self.floats)
        elif node.op_type != "Shape":  # which takes every type
            self._replace_inputs(node, {name: self._in_single(name) for name in floats if name in self.halves})
        self.nodes.append(node)

    def _product_in_half(self, node: onnx.NodeProto, kept: bool) -> bool:
        return node.op_type in HEAVY and (not kept or self.all_products)

    def _follows(self, node: onnx.NodeProto, floats: list[str]) -> bool:
        changing = [name for name in floats if name not in self.constants]
        return node.op_type in LIGHT and bool(changing) and all(name in self.halves for name in changing)

    def _in_half(self, name: str) -> str:
        """The name of a tensor's half form, made on first use."""
        if name in self.halves:
            return name
        if name not in self.casts:
            self.casts[name] = f"{name}.as_half"
            if name in self.constants:
                self.graph.initializer.append(_half_constant(self.constants[name], self.casts[name], self.half))
            else:
                self._cast(name, self.casts[name], self.half)
        return self.casts[name]

    def _in_single(self, name: str) -> str:
        """The name of a half tensor's float32 form, made on first use."""
        if name not in self.casts:
            self.casts[name] = f"{name}.as_single"
            self._cast(name, self.casts[name])
        return self.casts[name]

    def _rename_and_cast(self, output: str) -> None:
        """Let a graph's output be float32 again."""
        inner = f"{output}.inner"
        for node in self.nodes:
            self._replace_inputs(node, {output: inner})
            node.output[:] = [inner if name == output else name for name in node.output]
        self._cast(inner, output)

    def _cast(self, source: str, target: str, to: int | None = None) -> None:
        from onnx import TensorProto, helper

        self.nodes.append(helper.make_node("Cast", [source], [target], f"{target}.cast", to=to or TensorProto.FLOAT))

    @staticmethod
    def _replace_inputs(node: onnx.NodeProto, names: dict[str, str]) -> None:
        node.input[:] = [names.get(name, name) for name in node.input]

    def _drop_unused_constants(self) -> None:
        used = {name for node in self.nodes for name in node.input}
        tensors = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(tensors)


def _fold_constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Make initialisers of Constant nodes and of FOLDED ones with constant inputs.

    Weights stored as float16 with a Cast become float32 again, and a product of weights is rounded once, not thrice.
    (TensorRT-RTX 1.7 also fails on compute capability 7.5 where such a product meets one with the text table.)

    Returns:
        the float32 initialisers by name.
    """
    from onnx import TensorProto, numpy_helper
    from onnx.reference import ReferenceEvaluator

    stored = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            values: Any = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type in FOLDED and all(name in stored for name in node.input):
            inputs = {name: numpy_helper.to_array(stored[name]) for name in node.input}
            (values,) = ReferenceEvaluator(node).run(None, inputs)
        else:
            nodes.append(node)
            continue
        stored[node.output[0]] = graph.initializer.add()
        stored[node.output[0]].CopyFrom(numpy_helper.from_array(np.asarray(values), node.output[0]))
    del graph.node[:]
    graph.node.extend(nodes)
    return {name: tensor for name, tensor in stored.items() if tensor.data_type == TensorProto.FLOAT}


def _float_tensors(graph: onnx.GraphProto) -> set[str]:
    """Names of the tensors that are float32."""
    from onnx import TensorProto

    values = [*graph.input, *graph.value_info, *graph.output]
    return {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}


def _half_constant(tensor: onnx.TensorProto, name: str, half: int) -> onnx.TensorProto:
    """A float32 constant in half precision; what is finite stays finite."""
    import onnx
    from onnx import helper, numpy_helper

    values = numpy_helper.to_array(tensor)
    if half == onnx.TensorProto.FLOAT16:
        most = np.finfo(np.float16).max
        values = np.where(np.isfinite(values), values.clip(-most, most), values)
    low = values.astype(helper.tensor_dtype_to_np_dtype(half))
    return numpy_helper.from_array(low, name)

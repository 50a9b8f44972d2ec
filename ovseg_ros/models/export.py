"""From a torch model to the one ONNX graph that every backend runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from ovseg_ros.models.onepass import OnePass

OPSET = 20


def export_onnx(model: OnePass, path: Path, text_width: int, *, lossless: bool = False, program: bool = False) -> None:
    """Write the deployed graph with the contract's names and dynamic axes.

    Inputs `image` (batch, height, width, 3) uint8 and `text` (classes, synonyms, D) float32; outputs `labels` int32
    and `confidence` uint8, both (batch, height, width). Weights are stored as float16, half the file, and cast back
    by the graph itself, so that the runtime decides its precision.

    Args:
        model: in evaluation mode, float32, on the CPU.
        path: the file to write, replaced whole.
        text_width: D.
        lossless: keep float32 for weights that float16 would change.
        program: write `model.pt2` beside it as well, the same program for torch itself.
    """
    model = model.eval()
    # sizes that differ from one another and from 1, so that the tracer keeps every axis dynamic
    image = torch.zeros(2, 120, 144, 3, dtype=torch.uint8)
    text = torch.nn.functional.normalize(torch.randn(5, 3, text_width), dim=-1)
    dim = torch.export.Dim
    exported = trace(
        model,
        (image, text),
        ["image", "text"],
        ["labels", "confidence"],
        {
            "image": {0: dim("batch"), 1: dim("height", min=2), 2: dim("width", min=2)},
            "text": {0: dim("classes"), 1: dim("synonyms")},
        },
    )
    if program:
        torch.export.save(exported.exported_program, path.with_suffix(".pt2"))
    proto = exported.model_proto
    halve_weights(proto, lossless=lossless)
    finish(proto)
    scratch = path.with_suffix(".tmp")
    scratch.write_bytes(proto.SerializeToString())
    scratch.replace(path)


def trace(
    model: nn.Module, example: tuple[Tensor, ...], inputs: list[str], outputs: list[str], shapes: dict[str, Any]
) -> Any:
    """torch's ONNX program of a model, by names of inputs and outputs and the inputs' dynamic axes.

    Returns:
        a `torch.onnx.ONNXProgram`, with `model_proto` and `exported_program`.
    """
    program = torch.onnx.export(
        model,
        example,
        dynamo=True,
        opset_version=OPSET,
        input_names=inputs,
        output_names=outputs,
        dynamic_shapes=shapes,
        verbose=False,
    )
    if program is None or program.exported_program is None:  # only without dynamo
        raise RuntimeError("torch.onnx.export returned no program")
    return program


def finish(model: onnx.ModelProto) -> None:
    """Drop the tracer's notes and check the graph, the last thing before it is written."""
    strip_traces(model)
    onnx.checker.check_model(model)


def halve_weights(model: onnx.ModelProto, at_least: int = 1024, *, lossless: bool = False) -> None:
    """Store large float32 initialisers as float16 followed by a Cast, in place.

    Compilers fold the casts away. A tensor with values beyond float16's range stays as it is; with `lossless`, so does
    one with any value that float16 does not hold exactly (OpenAI's checkpoints are float16 to begin with).
    """
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < at_least:
            continue
        name = tensor.name
        with np.errstate(over="ignore"):
            exact = numpy_helper.to_array(tensor)
            values = exact.astype(np.float16)
        if not np.isfinite(values).all() or (lossless and not np.array_equal(values.astype(np.float32), exact)):
            continue
        tensor.CopyFrom(numpy_helper.from_array(values, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], f"{name}.cast", to=TensorProto.FLOAT))
    for i, node in enumerate(casts):
        graph.node.insert(i, node)


def strip_traces(model: onnx.ModelProto) -> None:
    """Drop the tracer's notes: file paths and stack traces of the machine that exported, in place."""
    model.graph.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    for tensor in model.graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]

"""TensorRT-RTX compiles the exported graph, on a machine without a GPU as well."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_the_exported_graph_builds_for_compute_capability_8_6(tiny_model: Path) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse((tiny_model / "model.onnx").read_bytes())
    assert parsed, [parser.get_error(i).desc() for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    profile = builder.create_optimization_profile()
    profile.set_shape("image", (1, 48, 64, 3), (1, 480, 640, 3), (1, 1080, 1920, 3))
    profile.set_shape("text", (1, 1, 16), (20, 2, 16), (1024, 8, 16))
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    assert engine is not None
    assert engine.nbytes > 10_000

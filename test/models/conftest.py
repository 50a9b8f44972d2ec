"""Shared by the tests of the networks: outputs of the published code, and weights that hide no mistake."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

GOLDEN = Path(__file__).parents[2] / ".." / "shared" / "golden"


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, Any]]:
    """Reads a golden file as tensors by key; its weights stand under "w", a state dict."""
    torch = pytest.importorskip("torch")

    def read(name: str, weights: str = "w/") -> dict[str, Any]:
        path = GOLDEN / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"the published code's outputs are not here ({path.name} in ../shared/golden)")
        with np.load(path) as arrays:
            tensors: dict[str, Any] = {
                key: torch.from_numpy(arrays[key]) for key in arrays.files if arrays[key].dtype.kind in "fi"
            }
        state = {key.removeprefix(weights): tensors.pop(key) for key in list(tensors) if key.startswith(weights)}
        return {**tensors, "w": state}

    return read


@pytest.fixture(scope="session")
def far() -> Callable[[Any, Any], float]:
    """Largest difference of two tensors, relative to the second's largest value."""

    def relative(found: Any, expected: Any) -> float:
        assert found.shape == expected.shape
        return float((found - expected).detach().abs().max() / expected.detach().abs().max())

    return relative


@pytest.fixture(scope="session")
def stirred() -> Callable[[Any], Any]:
    """Adds noise to every weight in place, so that no norm, scale or bias is at its trivial start."""
    torch = pytest.importorskip("torch")

    def stir(model: Any, seed: int = 0) -> Any:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for tensor in model.state_dict().values():
                if tensor.is_floating_point():
                    noise = torch.randn(tensor.shape, generator=generator)
                    tensor += 0.1 * noise.abs() if tensor.dim() == 1 else 0.02 * noise
        return model.eval().requires_grad_(False)

    return stir


@pytest.fixture(scope="session")
def exported() -> Callable[..., set[str]]:
    """Writes a model as ONNX; the names of the operators in it."""
    torch = pytest.importorskip("torch")

    def export(model: Any, inputs: tuple[Any, ...], path: Path, **options: Any) -> set[str]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's exporter warns of itself
            program = torch.onnx.export(model, inputs, dynamo=True, opset_version=20, verbose=False, **options)
        program.save(str(path))
        return {node.op_type for node in program.model_proto.graph.node}

    return export


@pytest.fixture(scope="session")
def by_openvino() -> Callable[..., Any]:
    """Runs an ONNX file in float32: its first output."""
    torch = pytest.importorskip("torch")
    openvino = pytest.importorskip("openvino")

    def run(path: Path, *inputs: Any) -> Any:
        compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return torch.from_numpy(compiled([tensor.numpy() for tensor in inputs])[0])

    return run

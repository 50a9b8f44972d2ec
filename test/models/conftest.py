"""Shared by the tests of the networks: outputs of the published code, and weights that hide no mistake."""

from __future__ import annotations

import json
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
def name_list() -> Callable[[str], dict[str, tuple[list[int], bool]]]:
    """Reads the list of an official model's tensors, such as "ebseg_base": shape by name, and whether it is trained."""

    def read(name: str) -> dict[str, tuple[list[int], bool]]:
        path = GOLDEN / "keys" / f"{name}.txt"
        if not path.is_file():
            pytest.skip(f"the list of official names is not here (keys/{path.name} in ../shared/golden)")
        rows = [line.split("\t") for line in path.read_text().splitlines() if line and not line.startswith("#")]
        return {key: (json.loads(shape), mark == "T") for key, shape, _, mark in rows}

    return read


@pytest.fixture(scope="session")
def trained(name_list: Callable[[str], dict[str, tuple[list[int], bool]]]) -> Callable[[str], set[str]]:
    """Names of what an official model trains, by the name of its list."""
    return lambda name: {key for key, (_, learns) in name_list(name).items() if learns}


@pytest.fixture(scope="session")
def hollow(name_list: Callable[[str], dict[str, tuple[list[int], bool]]]) -> Callable[[str], dict[str, Any]]:
    """An official model's state of zeros that take no memory, by the name of its list."""
    torch = pytest.importorskip("torch")

    def make(name: str) -> dict[str, Any]:
        return {key: torch.zeros(()).expand(shape) for key, (shape, _) in name_list(name).items()}

    return make


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
def words_apart() -> Callable[[Any, Any, int], Any]:
    """Words for an EBSeg as far apart as its proposals are: random ones all lie on one side of random weights."""
    torch = pytest.importorskip("torch")
    unit = torch.nn.functional.normalize

    def words(model: Any, pixels: Any, count: int) -> Any:
        """(N, 3, H, W) normalised -> (count, 2, D)."""
        d = model.config.clip.embed_dim
        with torch.no_grad():
            embeddings = model.features(pixels, torch.zeros(1, 1, d)).embeddings[0]
        terms = unit(embeddings.reshape(-1, 3, d), dim=-1)  # (Q, 3, D)
        common = torch.linalg.qr(terms.mean(dim=0).t())[0]  # (D, 3), what all proposals share
        own = terms.sum(dim=1)
        own = own - (own @ common) @ common.t()
        return unit(own, dim=-1)[: 2 * count].reshape(count, 2, d)

    return words


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


@pytest.fixture(scope="module")
def clip() -> Any:
    """An open_clip model with a tiny text tower and the real vocabulary, its prompts far apart."""
    torch = pytest.importorskip("torch")
    open_clip = pytest.importorskip("open_clip")
    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
    model = open_clip.model.CLIP(24, vision, text, quick_gelu=True).eval().requires_grad_(False)
    torch.nn.init.normal_(model.token_embedding.weight, std=0.5)  # as small as CLIP's own, all prompts look alike
    return model

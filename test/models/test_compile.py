"""Every model of the zoo compiles: with OpenVINO here, and with TensorRT-RTX for GPUs that are elsewhere.

Tiny trunks; full sizes are in `test_full_size.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from ovseg_ros.engine import Graph, build_engine, open_engine  # noqa: E402
from ovseg_ros.hashing import file_hash  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.clip_segmenter import ClipSegmenter, Windows  # noqa: E402
from ovseg_ros.models.export import export_onnx  # noqa: E402
from ovseg_ros.models.onepass import OnePass  # noqa: E402
from ovseg_ros.models.training_free import training_free  # noqa: E402
from ovseg_ros.models.zoo import METHODS  # noqa: E402

TINY = ClipVisionConfig(image_size=64, patch=16, width=64, layers=6, heads=2, mlp=128, embed_dim=32)
SIZE = (256, 272)  # 272 patches: past 255, indices change their types


def segmenter(method: str, config: ClipVisionConfig, size: tuple[int, int], windows: Windows | None = None) -> Any:
    torch.manual_seed(0)
    trunk = training_free(method, config).eval()
    height, width = (windows.crop, windows.crop) if windows else size
    trunk.bake((height // config.patch, width // config.patch))
    return OnePass(ClipSegmenter(trunk, 40.0, windows), size).eval()


def graph_of(model: Any, name: str, folder: Path, config: ClipVisionConfig, size: tuple[int, int]) -> Graph:
    path = folder / f"{name}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of itself
        export_onnx(model, path, config.embed_dim, lossless=True)
    return Graph(name, path, file_hash(path), "random", config.embed_dim, size, "none")


def words_for(model: Any, image: Any, count: int) -> Any:
    """(count, 2, D) words that differ as patches of the image do: random ones all point away from a random trunk."""
    x = torch.nn.functional.interpolate(image.permute(0, 3, 1, 2).float(), size=SIZE, mode="bilinear")
    any_words = torch.eye(TINY.embed_dim)[:, None]
    patches = model.net.features((x - model.mean) / model.std, any_words)[0].flatten(1).t()  # (h w, D)
    patches = patches - patches.mean(dim=0)
    rows = torch.linspace(0, len(patches) - 1, 2 * count).long()
    return torch.nn.functional.normalize(patches[rows].reshape(count, 2, -1), dim=-1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Graph]]:
    """A tiny model of a method and its graph, exported once."""
    folder = tmp_path_factory.mktemp("graphs")
    made: dict[str, tuple[Any, Graph]] = {}

    def make(name: str) -> tuple[Any, Graph]:
        if name not in made:
            windows = Windows(64, 32) if name == "windows" else None
            model = segmenter("naclip" if windows else name, TINY, SIZE, windows)
            made[name] = model, graph_of(model, name, folder, TINY, SIZE)
        return made[name]

    return make


@torch.no_grad()
@pytest.mark.parametrize("method", [*METHODS, "windows"])
def test_openvino_gives_the_labels_of_torch(
    tiny: Callable[[str], tuple[Any, Graph]], method: str, tmp_path: Path, picture: Callable[..., np.ndarray]
) -> None:
    model, graph = tiny(method)
    image = picture(4, 90, 130)[None]
    text = words_for(model, torch.from_numpy(image), 7)
    expected = model(torch.from_numpy(image), text)[0].numpy()
    assert len(np.unique(expected)) > 3
    for precision, least in (("fp32", 0.995), ("bf16", 0.9)):
        labels, _ = open_engine(graph, precision=precision, root=tmp_path).run(image, text.numpy())
        assert (labels == expected).mean() >= least, precision


@pytest.mark.parametrize("method", [*METHODS, "windows"])
def test_tensorrt_rtx_compiles_every_method(
    tiny: Callable[[str], tuple[Any, Graph]], method: str, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    folder = build_engine(tiny(method)[1], "tensorrt-rtx", "fp16", "8.6", root=tmp_path)
    assert (folder / "image.plan").stat().st_size > 10_000

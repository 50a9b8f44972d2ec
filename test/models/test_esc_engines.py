"""ESC-Net's deployed graph: exported, run by OpenVINO, compiled by TensorRT-RTX for a GPU that is elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
F = torch.nn.functional

from ovseg_ros.engine import Graph, build_engine, open_engine  # noqa: E402
from ovseg_ros.hashing import file_hash  # noqa: E402
from ovseg_ros.models.catseg_config import AggregatorConfig  # noqa: E402
from ovseg_ros.models.catseg_pass import ShortlistPass  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.esc_config import EscConfig  # noqa: E402
from ovseg_ros.models.esc_net import EscNet  # noqa: E402
from ovseg_ros.models.export import export_onnx  # noqa: E402
from ovseg_ros.models.sam.config import SamDecoderConfig  # noqa: E402

SIZE = (64, 96)  # 4 x 6 cells, of which windows of 3 divide one side
TINY = EscConfig(
    ClipVisionConfig(64, 16, 32, 2, 2, 64, 24, quick_gelu=True),
    AggregatorConfig(16, 8, 4, 2, 3, 1, 2, 8, (1, 2), (12, 8), (4, 4), (16, 16)),
    SamDecoderConfig(width=32, mask_channels=8, heads=4, mlp=32, depth=1),
    regions=3,
    iterations=2,
    budget=6,
)


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, stirred: Callable[..., EscNet]
) -> tuple[ShortlistPass, Graph, Any, Any]:
    """A small model, its graph, a picture, and words as far apart as the picture's cells; exported once."""
    torch.manual_seed(0)
    net = stirred(EscNet(TINY))
    model = ShortlistPass(net, SIZE).eval()
    rng = np.random.default_rng(0)
    small = torch.from_numpy(rng.integers(0, 256, (1, 3, 5, 7)).astype(np.float32))
    image = F.interpolate(small, size=(50, 70), mode="bilinear").permute(0, 2, 3, 1).to(torch.uint8)
    x = F.interpolate(image.permute(0, 3, 1, 2).float(), size=SIZE, mode="bilinear")
    cells = net.trunk((x - model.mean) / model.std)[0][0].flatten(1).t()
    own = cells - cells.mean(dim=0)
    text = F.normalize(own[torch.arange(20) % len(own)].reshape(10, 2, -1), dim=-1)
    net.bake(SIZE)
    path = tmp_path_factory.mktemp("graphs") / "esc.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of itself
        export_onnx(model, path, TINY.clip.embed_dim, lossless=True)
    return model, Graph("esc", path, file_hash(path), "random", TINY.clip.embed_dim, SIZE, "none"), image, text


@torch.no_grad()
def test_openvino_gives_the_labels_of_torch(made: tuple[ShortlistPass, Graph, Any, Any], tmp_path: Path) -> None:
    model, graph, image, text = made
    engine = open_engine(graph, precision="fp32", root=tmp_path)
    seen = set()
    for words in (text, text[:1], text[:4, :1], text.repeat(3, 1, 1)):  # the words are no part of the graph
        labels, confidence = engine.run(image.numpy(), words.numpy())
        expected, sure = model(image, words)
        same = labels % 10 == expected.numpy() % 10
        assert same.mean() >= 0.995
        assert np.abs(confidence.astype(int) - sure.numpy().astype(int))[same].max() <= 2
        seen |= set(expected.unique().tolist())
    assert len(seen) > 2


def test_tensorrt_rtx_compiles(made: tuple[ShortlistPass, Graph, Any, Any], tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    folder = build_engine(made[1], "tensorrt-rtx", "fp16", "8.6", root=tmp_path)
    assert (folder / "image.plan").stat().st_size > 10_000

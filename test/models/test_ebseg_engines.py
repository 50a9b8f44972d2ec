"""EBSeg's deployed graph: exported, run by OpenVINO, compiled by TensorRT-RTX for a GPU that is elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
F = torch.nn.functional

from ovseg_ros.engine import Graph, build_engine, open_engine  # noqa: E402
from ovseg_ros.hashing import file_hash  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.ebseg import Ebseg  # noqa: E402
from ovseg_ros.models.ebseg_config import EbsegConfig  # noqa: E402
from ovseg_ros.models.export import export_onnx  # noqa: E402
from ovseg_ros.models.onepass import OnePass  # noqa: E402
from ovseg_ros.models.sam.config import SamEncoderConfig  # noqa: E402

# as EBSeg-B has it, and as EBSeg-L: patches of 14, seven tenths of the image, a grid that does not divide stride 4
TINY = EbsegConfig(
    clip=ClipVisionConfig(128, 16, 48, 3, 3, 96, 32),
    second_from=1,
    recognise_from=2,
    fused=(1, 2, 2),
    sam=SamEncoderConfig(128, 16, 32, 3, 2, 64, window=3, global_blocks=(1,), neck=0),
    sam_taps=(1, 2, 2, 3),
    width=32,
    heads=4,
    queries=12,
    pixel_layers=1,
    pixel_mlp=64,
    layers=2,
    mlp=64,
)
KINDS = {
    "half": (TINY, (128, 160)),
    "seven-tenths": (replace(TINY, clip=replace(TINY.clip, image_size=112, patch=14), clip_scale=0.7), (128, 192)),
}


def varied(config: EbsegConfig) -> Ebseg:
    """Random weights under which proposals differ, and some words count as seen."""
    torch.manual_seed(0)
    model = Ebseg(config).eval().requires_grad_(False)
    for name, tensor in model.named_parameters():
        if tensor.dim() == 1:
            tensor += 0.2 * torch.randn(tensor.shape)
        elif "rel_pos" in name or "sampling_offsets" in name:
            tensor.normal_(std=0.3)
        elif name.startswith(("decoder.query", "decoder.mask_embed", "decoder.attn_proj")):
            tensor.mul_(2.0)
    return model


@pytest.fixture(scope="module")
def made(
    words_apart: Callable[[Any, Any, int], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[OnePass, Graph, Any, Any]]:
    """A small model, its graph, a picture and words; exported once."""
    folder = tmp_path_factory.mktemp("graphs")
    known: dict[str, tuple[OnePass, Graph, Any, Any]] = {}

    def make(name: str) -> tuple[OnePass, Graph, Any, Any]:
        if name not in known:
            config, size = KINDS[name]
            net = varied(config)
            model = OnePass(net, size).eval()
            rng = np.random.default_rng(0)
            small = torch.from_numpy(rng.integers(0, 256, (1, 3, 9, 12)).astype(np.float32))
            image = F.interpolate(small, size=(90, 130), mode="bilinear").permute(0, 2, 3, 1).to(torch.uint8)
            x = F.interpolate(image.permute(0, 3, 1, 2).float(), size=size, mode="bilinear")
            text = words_apart(net, (x - model.mean) / model.std, 6)
            net.seen.remember(text[:2, 1])
            net.bake(size)
            path = folder / f"{name}.onnx"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's exporter warns of itself
                export_onnx(model, path, config.clip.embed_dim, lossless=True)
            graph = Graph(name, path, file_hash(path), "random", config.clip.embed_dim, size, "none")
            known[name] = model, graph, image, text
        return known[name]

    return make


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_openvino_gives_the_labels_of_torch(made: Callable[[str], Any], kind: str, tmp_path: Path) -> None:
    model, graph, image, text = made(kind)
    expected = model(image, text)[0].numpy()
    assert len(np.unique(expected)) > 2
    # rounding random weights to bfloat16 changes one label in nine in torch already, so that says little here
    for precision, least in (("fp32", 0.995), ("bf16", 0.5)):
        labels, _ = open_engine(graph, precision=precision, root=tmp_path).run(image.numpy(), text.numpy())
        assert (labels == expected).mean() >= least, precision
    engine = open_engine(graph, precision="fp32", root=tmp_path)
    for words in (text[:1], text[:, :1], text.repeat(5, 1, 1)):  # the words are no part of the graph
        labels, _ = engine.run(image.numpy(), words.numpy())
        assert (labels % 6 == model(image, words)[0].numpy() % 6).mean() >= 0.995


@pytest.mark.parametrize("kind", KINDS)
def test_tensorrt_rtx_compiles(made: Callable[[str], Any], kind: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    folder = build_engine(made(kind)[1], "tensorrt-rtx", "fp16", "8.6", root=tmp_path)
    assert (folder / "image.plan").stat().st_size > 10_000

"""Pixel decoder and transformer decoder against the published code's tensors, in full and without waste."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
F = torch.nn.functional

from ovseg_ros.engine import Graph, build_engine, open_engine  # noqa: E402
from ovseg_ros.hashing import file_hash  # noqa: E402
from ovseg_ros.models.export import export_onnx  # noqa: E402
from ovseg_ros.models.mask2former import (  # noqa: E402
    DecoderConfig,
    MaskedDecoder,
    MultiheadAttention,
    PixelDecoder,
    PixelDecoderConfig,
    sine_positions,
)
from ovseg_ros.models.mask2former.transformer_decoder import attention_bias  # noqa: E402
from ovseg_ros.models.mask_read_out import Proposals, name_logits, with_no_object  # noqa: E402
from ovseg_ros.models.onepass import OnePass  # noqa: E402

Far = Callable[[Any, Any], float]
GOLDEN = Path(__file__).parents[2] / ".." / "shared" / "golden"
MAPS = ("in/ms0_res5", "in/ms1_res4", "in/ms2_res3")


def below(state: dict[str, Any], prefix: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes below a prefix."""
    shapes = {key.removeprefix(prefix): tuple(x.shape) for key, x in state.items() if key.startswith(prefix)}
    assert shapes
    return shapes


def shapes_of(module: Any) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}


def test_the_published_pixel_decoder(golden: Callable[..., dict[str, Any]], far: Far) -> None:
    data = golden("m2f_pixel_decoder")
    model = PixelDecoder(PixelDecoderConfig((12, 16, 20, 24), 64, 48, 2, 8, 4, 96)).requires_grad_(False)
    model.load_state_dict(data["w"])
    for name in ("res3", "res4", "res5"):
        positions = data[f"mid/pos_{name}"]
        grid = positions.shape[2:]
        assert far(sine_positions(grid, 64, positions).t().reshape(64, *grid), positions[0]) < 1e-6
    features, levels = model([data[f"in/res{i}"] for i in (2, 3, 4, 5)])
    assert far(torch.cat([x.flatten(2).transpose(1, 2) for x in levels], dim=1), data["mid/encoder_memory"]) < 1e-5
    assert far(features, data["out/mask_features"]) < 1e-5
    for found, name in zip(levels, ("ms0_res5", "ms1_res4", "ms2_res3"), strict=True):
        assert far(found, data[f"out/{name}"]) < 1e-5


@pytest.mark.parametrize(
    ("name", "channels"), [("gkc_r50", (256, 512, 1024, 2048)), ("ebseg_base", (768, 768, 768, 768))]
)
def test_names_and_shapes_are_the_official_models(
    name: str, channels: tuple[int, int, int, int], hollow: Callable[[str], dict[str, Any]]
) -> None:
    state = hollow(name)
    pixel = PixelDecoder(PixelDecoderConfig(channels))
    assert shapes_of(pixel) == below(state, "sem_seg_head.pixel_decoder.")
    theirs = below(state, "sem_seg_head.predictor.")
    ours = shapes_of(MaskedDecoder())
    assert ours.items() <= theirs.items()
    heads = {key.split(".")[0] for key in theirs if key not in ours}  # classifiers, which each system adds
    assert not heads & {key.split(".")[0] for key in ours}


def ebseg_decoder(data: dict[str, Any]) -> MaskedDecoder:
    model = MaskedDecoder(DecoderConfig(32, 32, 10, 4, 8, 64, 32)).requires_grad_(False)
    missing, extra = model.load_state_dict(data["w"], strict=False)
    assert not missing
    adaptive = ("pool_proj", "mask_embed1", "attn_proj", "bias_scaling", "logit_scale")  # AdaB's own heads
    assert {key.split(".")[0] for key in extra} == set(adaptive)
    return model


@pytest.mark.parametrize("name", ["ebseg_adab_decoder", "ebseg_adab_decoder_blockedrows"])
def test_every_state_is_the_published_decoders(golden: Callable[..., dict[str, Any]], far: Far, name: str) -> None:
    data = golden(name)
    model = ebseg_decoder(data)
    states = model.states([data[key] for key in MAPS], data["in/mask_features"])
    assert len(states) == 5
    for i, state in enumerate(states):
        assert far(state.masks, data[f"out/state{i}_pred_masks"]) < 1e-5
        expected = model.decoder_norm(data[f"mid/state{i}_query"]).transpose(0, 1)
        assert far(state.query, expected.expand_as(state.query)) < 1e-5


@pytest.mark.parametrize("name", ["ebseg_adab_decoder", "ebseg_adab_decoder_blockedrows", "gkc_decoder"])
def test_the_last_state_alone_is_the_same(golden: Callable[..., dict[str, Any]], far: Far, name: str) -> None:
    data = golden(name)
    model = gkc_decoder(data)[0] if name == "gkc_decoder" else ebseg_decoder(data)
    maps = [data[key] for key in MAPS]
    last, every = model.last_state(maps, data["in/mask_features"]), model.states(maps, data["in/mask_features"])
    for a, b in zip(last, every[-1], strict=True):
        assert far(a, b) < 1e-5


def gkc_decoder(data: dict[str, Any]) -> tuple[MaskedDecoder, Any]:
    model = MaskedDecoder(DecoderConfig(32, 32, 9, 3, 8, 64, 48)).requires_grad_(False)
    missing, extra = model.load_state_dict(data["w"], strict=False)
    assert not missing
    assert set(extra) == {"class_embed.weight", "class_embed.bias"}
    return model, (data["w"]["class_embed.weight"], data["w"]["class_embed.bias"])


def test_gkc_has_the_same_decoder(golden: Callable[..., dict[str, Any]], far: Far) -> None:
    data = golden("gkc_decoder")
    model, class_embed = gkc_decoder(data)
    states = model.states([data[key] for key in MAPS], data["in/mask_features"])
    for state, name in zip(states, ("state0", "state1", "state2", "last"), strict=True):
        assert far(state.masks, data[f"out/masks_{name}"]) < 1e-5
        assert far(F.linear(state.query, *class_embed), data[f"out/f_query_{name}"]) < 1e-5


def test_a_query_sees_its_mask_or_everything(golden: Callable[..., dict[str, Any]]) -> None:
    data = golden("ebseg_adab_decoder_blockedrows")
    blocked_rows = np.load(GOLDEN / "ebseg_adab_decoder_blockedrows.npz")  # `golden` reads numbers only
    for i, key in enumerate(MAPS):
        masks = data[f"out/state{i}_pred_masks"]
        small = F.interpolate(masks, size=data[key].shape[2:], mode="bilinear")
        blocked = attention_bias(small)[0, 0] < 0
        official = torch.from_numpy(blocked_rows[f"mid/state{i}_attn_mask_before_unblock"])[0]  # a head's
        assert official.all(dim=1).any()
        assert torch.equal(blocked, official & ~official.all(dim=1, keepdim=True))


def test_attention_is_torchs_own(far: Far) -> None:
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(24, 4, batch_first=True)
    torch.nn.init.normal_(theirs.in_proj_bias)
    ours = MultiheadAttention(24, 4)
    ours.load_state_dict(theirs.state_dict())
    query, memory = torch.randn(2, 5, 24), torch.randn(2, 7, 24)
    bias = torch.randn(2, 1, 5, 7)
    expected = theirs(query, memory + 1, memory, attn_mask=bias.expand(2, 4, 5, 7).flatten(0, 1))[0]
    assert far(ours(query, memory + 1, memory, bias), expected) < 1e-5
    dropped = MultiheadAttention(24, 4, dropout=0.5)
    dropped.load_state_dict(theirs.state_dict())
    assert far(dropped(query, memory, memory), ours(query, memory, memory)) > 1e-3
    assert far(dropped.eval()(query, memory, memory), ours(query, memory, memory)) < 1e-6


@pytest.mark.parametrize("mask", [-300.0, 300.0])
def test_masks_that_are_empty_or_full_give_no_nan(mask: float, far: Far) -> None:
    torch.manual_seed(0)
    model = MaskedDecoder(DecoderConfig(16, 32, 5, 3, 4, 32, 8)).eval().requires_grad_(False)
    maps = [torch.randn(1, 16, h, w) for h, w in ((1, 1), (2, 3), (3, 5))]  # sizes that do not divide each other
    features = torch.full((1, 8, 5, 7), mask)
    states = model.states(maps, features)
    assert all(torch.isfinite(x).all() for state in states for x in state)
    assert far(model.last_state(maps, features).masks, states[-1].masks) < 1e-5


def test_gradients_reach_every_weight() -> None:
    torch.manual_seed(0)
    pixel = PixelDecoder(PixelDecoderConfig((4, 4, 4, 4), 32, 8, 1, 4, 2, 16))
    decoder = MaskedDecoder(DecoderConfig(32, 32, 5, 3, 4, 32, 8))
    features, levels = pixel([torch.randn(1, 4, 16 // 2**i, 24 // 2**i) for i in range(4)])
    states = decoder.states(levels, features)
    sum((state.masks.square().mean() + state.query.sum() for state in states), torch.zeros(())).backward()
    for model in (pixel, decoder):
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="width is 48; expected a multiple of 32"):
        PixelDecoderConfig(width=48)


class Segmenter(torch.nn.Module):
    """Both decoders on a backbone of one convolution, as a mask model whose proposals keep their own embeddings."""

    pixel_mean = pixel_std = (0.5, 0.5, 0.5)
    stride, multiple, coarse, fine = 4, 32, 1, False

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torch.nn.Conv2d(3, 8, 4, 4)
        self.pixel = PixelDecoder(PixelDecoderConfig((8, 8, 8, 8), 32, 16, 1, 4, 2, 16))
        self.decoder = MaskedDecoder(DecoderConfig(32, 32, 6, 3, 4, 32, 16))

    def features(self, pixels: Any, text: Any) -> Proposals:
        first = self.backbone(pixels)
        maps = [first, *(F.avg_pool2d(first, 2**i) for i in (1, 2, 3))]
        features, levels = self.pixel(maps)
        state = self.decoder.last_state(levels, features)
        return Proposals(20 * (state.masks - state.masks.mean(dim=(2, 3), keepdim=True)), state.query)

    def classes(self, embeddings: Any, text: Any) -> Any:
        logits = name_logits(embeddings, text)
        return with_no_object(logits, torch.full_like(logits[..., :1], -1.0))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, stirred: Callable[..., Any]) -> tuple[OnePass, Graph]:
    """A whole mask model in torch, its offsets far from their start, and its graph."""
    torch.manual_seed(0)
    model = stirred(Segmenter())
    offsets = model.pixel.transformer.encoder.layers[0].self_attn.sampling_offsets
    torch.nn.init.normal_(offsets.weight, std=0.3)
    whole = OnePass(model, (64, 96)).eval()
    path = tmp_path_factory.mktemp("mask2former") / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of itself
        export_onnx(whole, path, 32, lossless=True)
    return whole, Graph("mask2former", path, file_hash(path), "random", 32, (64, 96), "none")


@torch.no_grad()
@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.99), ("bf16", 0.8)])
def test_openvino_gives_the_labels_of_torch(
    compiled: tuple[OnePass, Graph], precision: str, least: float, tmp_path: Path, picture: Callable[..., np.ndarray]
) -> None:
    whole, graph = compiled
    operators = {node.op_type for node in onnx.load(graph.path).graph.node}
    assert "GridSample" not in operators
    image = torch.from_numpy(picture(4, 50, 70))[None]
    words = F.normalize(torch.randn(9, 2, 32, generator=torch.Generator().manual_seed(0)), dim=-1)
    expected, _ = whole(image, words)
    assert len(expected.unique()) > 1
    labels, _ = open_engine(graph, precision=precision, root=tmp_path).run(image.numpy(), words.numpy())
    assert (labels == expected.numpy()).mean() > least


def test_tensorrt_rtx_compiles_it(compiled: tuple[OnePass, Graph], tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    folder = build_engine(compiled[1], "tensorrt-rtx", "fp16", "8.6", root=tmp_path)
    assert (folder / "image.plan").stat().st_size > 10_000

"""GKC as it is deployed: what must hold of it at any size, and its graph in the engines."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.engine import Graph, build_engine, open_engine  # noqa: E402
from ovseg_ros.hashing import file_hash  # noqa: E402
from ovseg_ros.models.clip_config import ClipResNetConfig, ClipVisionConfig  # noqa: E402
from ovseg_ros.models.export import export_onnx  # noqa: E402
from ovseg_ros.models.gkc import MEAN, STD, Gkc  # noqa: E402
from ovseg_ros.models.gkc_config import GkcConfig  # noqa: E402
from ovseg_ros.models.gkc_trunk import ViTTrunk  # noqa: E402
from ovseg_ros.models.mask_read_out import Proposals  # noqa: E402
from ovseg_ros.models.onepass import OnePass  # noqa: E402

Far = Callable[[Any, Any], float]
TINY_RESNET = ClipResNetConfig(image_size=64, layers=(1, 1, 1, 1), width=8, heads=4, embed_dim=24)
TINY_VIT = ClipVisionConfig(64, 16, 32, 3, 2, 64, 24, quick_gelu=True)
SIZES = {"width": 64, "heads": 4, "queries": 6, "pixel_layers": 1, "pixel_mlp": 32, "layers": 2, "mlp": 32}
TINY = GkcConfig(TINY_RESNET, (1, 1, 2, 3), 20, **SIZES)
TRUNKS = {"resnet": TINY, "vit": dataclasses.replace(TINY, clip=TINY_VIT)}


def make(config: GkcConfig = TINY, seed: int = 0) -> Gkc:
    torch.manual_seed(seed)
    return Gkc(config).eval().requires_grad_(False)


def random_words(k: int, s: int = 1, seed: int = 0) -> Any:
    return F.normalize(torch.randn(k, s, 24, generator=torch.Generator().manual_seed(seed)), dim=-1)


def normalised(image: Any) -> Any:
    """(N, H, W, 3) uint8 -> (N, 3, H, W)."""
    mean, std = (torch.tensor(x).reshape(3, 1, 1) for x in (MEAN, STD))
    return (image.permute(0, 3, 1, 2) / 255 - mean) / std


@pytest.mark.parametrize("trunk", TRUNKS)
def test_what_is_deployed_is_the_last_state_that_trains(trunk: str, far: Far) -> None:
    model = make(TRUNKS[trunk])
    pixels = torch.randn(2, 3, 64, 96)
    states = model(pixels)
    assert len(states) == 3
    assert {tuple(state.masks.shape) for state in states} == {(2, 6, 16, 24)}
    assert {tuple(state.embeddings.shape) for state in states} == {(2, 6, 24)}
    assert {tuple(state.students.shape) for state in states} == {(2, 6, 20)}
    masks, embeddings = model.features(pixels, random_words(1))
    assert far(masks, states[-1].masks) < 1e-4
    assert far(embeddings, F.normalize(states[-1].embeddings, dim=-1)) < 1e-4
    assert make(dataclasses.replace(TRUNKS[trunk], teacher=None))(pixels)[0].students is None


def test_deployed_labels_are_those_of_the_full_form() -> None:
    """At the network's own size, so that resizing and padding play no part."""
    coarse = torch.randint(0, 256, (1, 3, 3, 4), generator=torch.Generator().manual_seed(0)).float()
    image = F.interpolate(coarse, size=(128, 192), mode="bilinear").permute(0, 2, 3, 1).to(torch.uint8)
    model, words = telling(make(), normalised(image), 40)
    expected = model.class_map(normalised(image), words, (128, 192)).argmax(dim=1)
    assert len(expected.unique()) > 4
    labels, _ = OnePass(model, (128, 192))(image, words)
    # sigmoid and interpolation change places: borders move a little, and a random net's masks have many
    assert (labels == expected).float().mean() > 0.9
    model.fine = True
    labels, _ = OnePass(model, (128, 192))(image, words)
    assert (labels == expected).float().mean() > 0.999


def telling(model: Gkc, pixels: Any, k: int) -> tuple[Gkc, Any]:
    """A random model whose masks differ from place to place, and (k, 2, D) words of which several win.

    Masks of a random net are flat, and random words lie on one side of its queries: mask features are centred and
    stretched for these pixels, and words are taken from what the image's own proposals do not share.
    """
    last = model.pixel_decoder.mask_features
    features, _ = model.pixel_decoder(model.backbone.maps(pixels))
    last.bias -= features.mean(dim=(0, 2, 3))
    stretch = 5 / model.features(pixels, random_words(1)).masks.std()
    last.weight *= stretch
    last.bias *= stretch
    embeddings = model.features(pixels, random_words(1)).embeddings[0]  # (Q, D)
    own = embeddings - embeddings.mean(dim=0)
    model.no_object.copy_(-embeddings.mean(dim=0))
    near = own[torch.arange(2 * k) % len(own)]
    noise = 0.3 * near.std() * torch.randn(near.shape, generator=torch.Generator().manual_seed(0))
    return model, F.normalize((near + noise).reshape(k, 2, -1), dim=-1)


def test_words_are_any_number_and_a_class_is_its_best_synonym(far: Far) -> None:
    model = make()
    _, embeddings = model.features(torch.randn(1, 3, 64, 64), random_words(1))
    for k in (1, 2, 300):
        assert model.classes(embeddings, random_words(k, 2)).shape == (1, 6, k)
    words, scale = random_words(5, 3), float(model.logit_scale.exp())
    assert abs(scale - 1 / 0.07) < 1e-4
    by_hand = torch.stack([(embeddings[0] @ word.T).amax(dim=1) for word in words], dim=1)  # (Q, K)
    none = embeddings[0] @ F.normalize(model.no_object[0], dim=0)
    expected = torch.cat([by_hand, none[:, None]], dim=1) * scale
    assert far(model.logits(embeddings, words)[0], expected) < 1e-5
    assert far(model.classes(embeddings, words)[0], expected.softmax(dim=1)[:, :-1]) < 1e-5
    with pytest.raises(ValueError, match="have 16 numbers each, the model's text space 24"):
        model.classes(embeddings, torch.zeros(3, 1, 16))


@pytest.mark.parametrize("mask", [-500.0, 500.0])
def test_masks_that_are_empty_or_full_and_no_proposals_give_no_nan(mask: float) -> None:
    class Flat(Gkc):
        def features(self, pixels: Any, text: Any) -> Proposals:
            found = super().features(pixels, text)
            kept = Proposals(torch.full_like(found.masks, mask), found.embeddings)
            return Proposals(*(x[:, : self.kept] for x in kept))

    model = Flat(TINY).eval().requires_grad_(False)
    for model.kept in (6, 0):
        maps = model.class_map(torch.randn(1, 3, 40, 50), random_words(4), (40, 50))
        labels, confidence = OnePass(model, (64, 64))(torch.zeros(1, 40, 50, 3, dtype=torch.uint8), random_words(4))
        assert maps.isfinite().all()
        assert labels.max() < 4
        assert (confidence > 0).any() == (mask > 0 and model.kept > 0)


def test_an_image_of_zeros_and_the_decoders_own_empty_masks_give_no_nan() -> None:
    model = make()
    model.pixel_decoder.mask_features.weight.zero_()
    model.decoder.mask_embed.layers[-1].weight.zero_()
    model.pixel_decoder.mask_features.bias.fill_(10.0)
    model.decoder.mask_embed.layers[-1].bias.fill_(-10.0)  # every mask of every state is empty
    for state in model(torch.zeros(1, 3, 32, 32)):
        assert state.masks.max() < 0
        assert state.embeddings.isfinite().all()


@pytest.mark.parametrize("trunk", TRUNKS)
def test_sizes_that_do_not_divide_are_refused_or_padded(trunk: str) -> None:
    model = make(TRUNKS[trunk])
    with pytest.raises(ValueError, match="multiples of"):
        model(torch.zeros(1, 3, 60, 70))
    with pytest.raises(ValueError, match="no multiple of 32"):
        OnePass(model, (64, 80))
    for size in ((33, 100), (1, 1), (64, 64)):
        found = model.class_map(torch.randn(1, 3, *size), random_words(4), (size[0] + 3, 2 * size[1]))
        assert found.shape == (1, 4, size[0] + 3, 2 * size[1])
        assert found.isfinite().all()


def test_padding_does_not_show_in_the_size_that_needs_none(far: Far) -> None:
    """A picture in the corner of a larger one of the mean colour: what the padded form sees, by hand."""
    model, words = make(), random_words(4)
    pixels = torch.randn(1, 3, 40, 70)
    larger = torch.zeros(1, 3, 64, 96)
    larger[:, :, :40, :70] = pixels
    whole = model.class_map(larger, words, (64, 96))
    assert far(model.class_map(pixels, words, (40, 70)), whole[:, :, :40, :70]) < 1e-5


def test_a_vits_pyramid_has_the_strides_of_a_resnet() -> None:
    for patch in (8, 16):
        trunk = ViTTrunk(dataclasses.replace(TINY_VIT, patch=patch), (1, 1, 2, 3)).requires_grad_(False)
        shapes = [tuple(x.shape[2:]) for x in trunk.maps(torch.randn(2, 3, 64, 96))]
        assert shapes == [(16, 24), (8, 12), (4, 6), (2, 3)]
    trunk.bake((64, 96))
    with pytest.raises(ValueError, match="baked for a grid"):
        trunk.maps(torch.randn(1, 3, 64, 64))
    with pytest.raises(ValueError, match="patch is 14 pixels; expected 8 or 16"):
        ViTTrunk(dataclasses.replace(TINY_VIT, patch=14), (1, 1, 2, 3))


def test_configs_that_cannot_be_are_named() -> None:
    with pytest.raises(ValueError, match="queries are 0 and layers 9"):
        GkcConfig(queries=0)
    with pytest.raises(ValueError, match="scale of logits is 0"):
        GkcConfig(scale=0)
    for taps in ((1, 2, 3, 4), (0, 1, 2, 3), (2, 1, 3, 3)):
        with pytest.raises(ValueError, match="of 3 blocks; expected four counts of blocks, ascending"):
            dataclasses.replace(TRUNKS["vit"], taps=taps)


def test_the_constant_scale_is_not_learned() -> None:
    model = Gkc(dataclasses.replace(TINY, scale=10.0, learn_scale=False))
    assert not model.logit_scale.requires_grad
    assert abs(float(model.logit_scale.exp()) - 10) < 1e-5


@pytest.mark.parametrize(
    "clip", [None, ClipVisionConfig(image_size=128, patch=16, width=192, layers=6, heads=3, mlp=768, embed_dim=256)]
)
def test_the_mini_models_are_small_and_whole(clip: ClipVisionConfig | None) -> None:
    model = make(GkcConfig.mini() if clip is None else GkcConfig.mini(clip))
    assert sum(parameter.numel() for parameter in model.parameters()) < 6e6
    masks, embeddings = model.features(torch.randn(1, 3, 64, 96), torch.zeros(1, 1, 256))
    assert (masks.shape, embeddings.shape) == ((1, 32, 16, 24), (1, 32, 256))


def graph_of(model: OnePass, folder: Path, width: int) -> Graph:
    pytest.importorskip("onnxscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of itself
        export_onnx(model, folder / "gkc.onnx", width, lossless=True)
    path = folder / "gkc.onnx"
    return Graph("gkc", path, file_hash(path), "random", width, model.size, "none")


@pytest.fixture(scope="module")
def compiled_from(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[OnePass, Graph, Any, Any]]:
    """A model of a trunk, its graph, a picture and words; exported once."""
    known: dict[str, tuple[OnePass, Graph, Any, Any]] = {}

    def make_graph(trunk: str) -> tuple[OnePass, Graph, Any, Any]:
        if trunk not in known:
            size = (64, 96)
            coarse = torch.randint(0, 256, (1, 3, 3, 4), generator=torch.Generator().manual_seed(0)).float()
            image = F.interpolate(coarse, size=(50, 70), mode="bilinear").permute(0, 2, 3, 1).to(torch.uint8)
            net = make(TRUNKS[trunk])
            for layer in net.pixel_decoder.transformer.encoder.layers:
                layer.self_attn.sampling_offsets.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
            net.bake(size)
            resized = F.interpolate(image.permute(0, 3, 1, 2).float(), size=size, mode="bilinear").permute(0, 2, 3, 1)
            net, text = telling(net, normalised(resized), 3)
            model = OnePass(net, size).eval()
            graph = graph_of(model, tmp_path_factory.mktemp(trunk), 24)
            known[trunk] = model, graph, image, text
        return known[trunk]

    return make_graph


@pytest.mark.timeout(900)
@pytest.mark.parametrize("trunk", TRUNKS)
def test_openvino_gives_the_labels_of_torch(
    trunk: str, compiled_from: Callable[[str], tuple[OnePass, Graph, Any, Any]], tmp_path: Path
) -> None:
    model, graph, image, text = compiled_from(trunk)
    assert len(model(image, text)[0].unique()) > 1
    for precision, least, asked in (("fp32", 0.995, (text, text.repeat(13, 1, 1)[:, :1])), ("bf16", 0.9, (text,))):
        engine = open_engine(graph, precision=precision, root=tmp_path)
        for words in asked:  # the words are no part of the graph; a class that stands there twice is itself
            labels, _ = engine.run(image.numpy(), words.numpy())
            assert (labels % 3 == model(image, words)[0].numpy() % 3).mean() >= least, precision


@pytest.mark.parametrize("trunk", TRUNKS)
def test_tensorrt_rtx_compiles(
    trunk: str, compiled_from: Callable[[str], tuple[OnePass, Graph, Any, Any]], tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    folder = build_engine(compiled_from(trunk)[1], "tensorrt-rtx", "fp16", "8.6", root=tmp_path)
    assert (folder / "image.plan").stat().st_size > 10_000

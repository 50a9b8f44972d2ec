"""DeOP whole against the published code's tensors, and what must hold of it at any size."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.engine import Graph, build_engine, open_engine  # noqa: E402
from ovseg_ros.hashing import file_hash  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.converting import read_checkpoint  # noqa: E402
from ovseg_ros.models.deop import MEAN, STD, Deop, DeopConfig  # noqa: E402
from ovseg_ros.models.deop_prompt import PromptedText  # noqa: E402
from ovseg_ros.models.deop_weights import load_deop  # noqa: E402
from ovseg_ros.models.export import export_onnx  # noqa: E402
from ovseg_ros.models.maskformer import MaskFormerConfig  # noqa: E402
from ovseg_ros.models.onepass import OnePass  # noqa: E402
from ovseg_ros.models.resnet import ResNetConfig  # noqa: E402

GOLDEN_FILE = Path(__file__).parents[2] / ".." / "shared" / "golden" / "deop_e2e.npz"
Far = Callable[[Any, Any], float]
GOLDEN = DeopConfig(
    MaskFormerConfig(ResNetConfig((3, 4, 6, 3), 8, 4, 8), 32, 32, 100, 2, 8, 48, 0.1, 24, 16),
    ClipVisionConfig(64, 16, 128, 4, 2, 512, 64, quick_gelu=True),
    (6, (1, 2)),
    anchor_hidden=96,
)
TINY = DeopConfig(
    MaskFormerConfig(ResNetConfig((1, 1, 1, 1), 8, 4, 8, (), "batch"), 64, 16, 6, 2, 4, 32, 0.1, 16, 24),
    ClipVisionConfig(64, 16, 48, 3, 4, 96, 24, quick_gelu=True),
    (4, (1,)),
    anchor_heads=4,
    anchor_hidden=32,
)


def make(config: DeopConfig = TINY, seed: int = 0) -> Deop:
    torch.manual_seed(seed)
    return Deop(config).eval().requires_grad_(False)


def random_words(k: int, s: int = 1, seed: int = 0) -> Any:
    return F.normalize(torch.randn(k, s, 24, generator=torch.Generator().manual_seed(seed)), dim=-1)


def telling(pixels: Any, k: int) -> tuple[Deop, Any]:
    """A random model whose masks differ from place to place, and (k, 2, D) words of which several win.

    Masks of a random net are flat, and random words all lie far from a random trunk: mask features are centred and
    stretched for these pixels, words are taken from the image's own proposals, and "no object" points away from them.
    """
    model = make()
    features, _ = model.proposer.maps(pixels)
    last = model.proposer.sem_seg_head.pixel_decoder.mask_features
    last.bias -= features.mean(dim=(0, 2, 3))
    stretch = 5 / model.proposer.propose(pixels).std()
    last.weight *= stretch
    last.bias *= stretch
    embeddings = model.features(pixels, random_words(1)).embeddings[0]  # (Q, D)
    middle = F.normalize(embeddings.mean(dim=0), dim=0)
    model.no_object.copy_(-middle)
    near = embeddings[torch.arange(2 * k) % len(embeddings)]
    near = near + 0.1 * near.std() * torch.randn(near.shape, generator=torch.Generator().manual_seed(0))
    own = near - (near @ middle)[:, None] * middle  # what all proposals share tells no word from another
    return model, F.normalize(own.reshape(k, 2, -1), dim=-1)


def normalised(image: Any) -> Any:
    """(3, H, W) uint8 -> (1, 3, H, W)."""
    mean, std = (torch.tensor(x).reshape(3, 1, 1) for x in (MEAN, STD))
    return ((image / 255 - mean) / std)[None]


@pytest.fixture(scope="module")
def published(golden: Callable[[str], dict[str, Any]]) -> tuple[dict[str, Any], Deop, PromptedText]:
    data = golden("deop_e2e")
    data["in/image_uint8"] = torch.from_numpy(np.load(GOLDEN_FILE)["in/image_uint8"])  # `golden` reads no bytes
    model, text = make(GOLDEN), PromptedText(64, 2, 64, tokens=0).requires_grad_(False)
    aside = load_deop(model, data["w"], text)
    assert {key.split(".")[-2] for key in aside} == {"criterion", "norm", "clip_model"}
    return data, model, text


def test_every_tensor_is_the_published_codes(published: tuple[dict[str, Any], Deop, PromptedText], far: Far) -> None:
    data, model, text = published
    names = [data[f"in/noun_embedding_{i}"] for i in range(7)]
    embedded, ends = text.assemble(names)
    assert far(embedded, data["mid/prompt_assembled_embeddings"]) < 1e-5
    assert [int(end) for end in ends] == [16 + len(name) + 2 for name in names]
    words = text(names)
    assert far(words, data["mid/text_features_with_non_object"][:-1]) < 1e-5
    assert far(F.normalize(model.no_object, dim=-1), data["mid/text_features_with_non_object"][-1:]) < 1e-6

    pixels = F.pad(normalised(data["in/image_uint8"]), (0, 8, 0, 6))
    assert far(pixels, data["mid/input_normalised"]) < 1e-5
    masks, embeddings = model.features(pixels, words[:, None])
    assert far(masks, data["mid/mask_logits"]) < 1e-5
    assert far(embeddings[0], data["mid/cal_stack"][-1][:, 0]) < 1e-4
    assert far(model.logits(embeddings, words[:, None])[0], data["mid/pred_logits"]) < 1e-4
    assert far(model(pixels, words[:, None]).logits[0], data["mid/pred_logits"]) < 1e-4
    found = model.class_map(normalised(data["in/image_uint8"]), words[:, None], tuple(data["in/out_hw"].tolist()))
    assert far(found[0], data["out/sem_seg"]) < 1e-4


def test_a_checkpoint_loads_from_detectron2s_file(
    published: tuple[dict[str, Any], Deop, PromptedText], tmp_path: Path
) -> None:
    state = published[0]["w"]
    torch.save({"model": state, "iteration": 59_999}, tmp_path / "model_final.pth")
    model = make(GOLDEN)
    aside = load_deop(model, read_checkpoint(tmp_path / "model_final.pth"))
    projection = state["decoder.outlayer.multihead_attn_my.in_proj_weight"]
    assert torch.equal(torch.cat([model.anchors.last.query.weight, model.anchors.last.key.weight]), projection[:128])
    assert aside["context"].startswith("belongs to the text side")
    model = make(GOLDEN, 1)
    load_deop(model, {"model": {key: value.numpy() for key, value in state.items()}})
    assert torch.equal(model.no_object, state["clip_adapter.non_object_embedding"])


def test_deployed_labels_are_those_of_the_full_form(picture: Callable[..., np.ndarray]) -> None:
    """At the network's own size, so that resizing and padding play no part."""
    image = torch.from_numpy(picture(4, 96, 128))
    pixels = normalised(image.permute(2, 0, 1))
    model, words = telling(pixels, 40)
    expected = model.class_map(pixels, words, (96, 128)).argmax(dim=1)
    assert len(expected.unique()) > 1
    deployed = OnePass(model, (96, 128))
    labels, _ = deployed(image[None], words)
    assert (labels == expected).float().mean() > 0.9  # sigmoid and interpolation change places: borders move a little
    model.fine = True
    labels, _ = deployed(image[None], words)
    assert (labels == expected).float().mean() > 0.999


@pytest.mark.parametrize("severance", ["none", "generalised", "weighted", "mask-guided"])
@pytest.mark.parametrize("classifier", ["anchors", "pooling"])
def test_all_forms_give_unit_embeddings(severance: Any, classifier: Any) -> None:
    model = make(dataclasses.replace(TINY, severance=severance, classifier=classifier))
    masks, embeddings = model.features(torch.randn(2, 3, 64, 96), random_words(3))
    assert masks.shape == (2, 6, 16, 24)
    assert torch.allclose(embeddings.norm(dim=-1), torch.ones(2, 6), atol=1e-5)


def test_words_are_any_number_and_a_class_is_its_best_synonym(far: Far) -> None:
    model = make()
    _, embeddings = model.features(torch.randn(1, 3, 64, 64), random_words(1))
    for k in (1, 2, 300):
        classes = model.classes(embeddings, random_words(k, 2))
        logits = model.logits(embeddings, random_words(k, 2))
        assert classes.shape == (1, 6, k)
        assert far(classes, logits.softmax(dim=-1)[..., :-1]) < 1e-6
    each = [model.logits(embeddings, random_words(5, 2)[:, s : s + 1]) for s in range(2)]
    assert far(model.logits(embeddings, random_words(5, 2)), torch.maximum(*each)) < 1e-6


@pytest.mark.parametrize("mask", [-500.0, 500.0])
def test_empty_and_full_proposals_give_no_nan(mask: float) -> None:
    for severance in ("generalised", "weighted", "mask-guided"):
        for classifier in ("anchors", "pooling"):
            model = make(dataclasses.replace(TINY, severance=severance, classifier=classifier))
            masks = torch.full((1, 6, 16, 16), mask)
            embeddings = model.embed(torch.randn(1, 3, 64, 64), masks)
            assert torch.isfinite(embeddings).all()
            assert torch.isfinite(model.classes(embeddings, random_words(4))).all()


def test_proposals_from_elsewhere_are_pooled_and_none_is_no_error() -> None:
    pooling = make(dataclasses.replace(TINY, classifier="pooling"))
    pixels = torch.randn(1, 3, 64, 64)
    assert pooling.embed(pixels, torch.randn(1, 9, 16, 16)).shape == (1, 9, 24)
    assert pooling.embed(pixels, torch.zeros(1, 0, 16, 16)).shape == (1, 0, 24)
    with pytest.raises(ValueError, match="got 9 proposals for 6 anchor queries"):
        make().embed(pixels, torch.randn(1, 9, 16, 16))


@pytest.mark.parametrize("size", [(33, 100), (1, 1), (64, 64)])
def test_the_full_form_takes_any_size(size: tuple[int, int]) -> None:
    found = make().class_map(torch.randn(1, 3, *size), random_words(4), (size[0] + 3, 2 * size[1]))
    assert found.shape == (1, 4, size[0] + 3, 2 * size[1])
    assert torch.isfinite(found).all()
    assert found.min() >= 0


def test_each_stage_trains_its_parts_alone() -> None:
    model = make()
    words = random_words(3).requires_grad_()
    pixels = torch.randn(2, 3, 64, 64)
    model.learn("anchors")
    model.train()
    statistics = model.proposer.backbone.stem.conv1.norm.running_mean.clone()
    out = model(pixels, words)
    assert out.logits.shape == (2, 6, 4)
    out.logits.softmax(dim=-1)[..., 0].sum().backward()
    learned = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learned == {"anchors", "trunk", "no_object"}
    moved = {
        name for name, parameter in model.named_parameters() if name.startswith("trunk") and parameter.grad is not None
    }
    assert moved == {"trunk.extra_positions.input.table", "trunk.extra_positions.1.table"}
    assert words.grad.abs().max() > 0  # prompts learn with them
    assert torch.equal(model.proposer.backbone.stem.conv1.norm.running_mean, statistics)

    model.zero_grad()
    model.learn("masks")
    model.train()
    states = model.mask_states(pixels, words)
    assert len(states) == 2
    sum((x.masks.sum() + x.logits.square().sum() for x in states), torch.zeros(())).backward()
    learned = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learned == {"proposer", "no_object"}
    assert all(parameter.grad is not None for parameter in model.proposer.parameters())
    assert not torch.equal(model.proposer.backbone.stem.conv1.norm.running_mean, statistics)


def test_all_that_learns_has_a_gradient_in_the_third_stage() -> None:
    model = make()
    learning = model.learn("anchors")
    model(torch.randn(1, 3, 64, 64), random_words(3)).logits.square().sum().backward()
    assert learning
    assert all(parameter.grad is not None for parameter in learning)


def test_the_severed_block_projects_values_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    asked = []
    layer = model.trunk.attention(2)
    project = layer.project
    monkeypatch.setattr(layer, "project", lambda x, uses="qkv": (asked.append(uses), project(x, uses))[1])
    model.features(torch.randn(1, 3, 64, 64), random_words(1))
    assert asked == ["v"]


def test_choices_that_do_not_exist_are_named() -> None:
    with pytest.raises(
        ValueError, match="severance is 'some'; expected one of none, generalised, weighted, mask-guided"
    ):
        Deop(dataclasses.replace(TINY, severance="some"))
    with pytest.raises(ValueError, match="classifier is 'best'; expected anchors or pooling"):
        Deop(dataclasses.replace(TINY, classifier="best"))


def test_the_mini_model_is_small_and_whole() -> None:
    clip = ClipVisionConfig(image_size=128, patch=16, width=192, layers=6, heads=3, mlp=768, embed_dim=256)
    model = Deop(DeopConfig.mini(clip)).eval().requires_grad_(False)
    assert sum(parameter.numel() for parameter in model.parameters()) < 12e6
    masks, embeddings = model.features(torch.randn(1, 3, 64, 96), torch.zeros(1, 1, 256))
    assert (masks.shape, embeddings.shape) == ((1, 32, 16, 24), (1, 32, 256))


@pytest.fixture(scope="module")
def compiled(
    tmp_path_factory: pytest.TempPathFactory, picture: Callable[..., np.ndarray]
) -> tuple[Any, Graph, Any, Any]:
    """The deployed model in torch and as a graph, an image, and words."""
    image = torch.from_numpy(picture(4, 50, 70))[None]
    model, words = telling(F.interpolate(normalised(image[0].permute(2, 0, 1)), size=(64, 96), mode="bilinear"), 40)
    model.bake((64, 96))
    whole = OnePass(model, (64, 96)).eval()
    path = tmp_path_factory.mktemp("deop") / "deop.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of itself
        export_onnx(whole, path, 24, lossless=True)
    return whole, Graph("deop", path, file_hash(path), "random", 24, (64, 96), "none"), image, words


@torch.no_grad()
def test_openvino_gives_the_labels_of_torch(compiled: tuple[Any, Graph, Any, Any], tmp_path: Path) -> None:
    whole, graph, image, words = compiled
    engine = open_engine(graph, precision="fp32", root=tmp_path)
    for text in (words, words[:5, :1]):
        expected, confidence = whole(image, text)
        assert len(expected.unique()) > 1
        labels, sure = engine.run(image.numpy(), text.numpy())
        assert (labels == expected.numpy()).mean() > 0.99
        assert np.abs(sure.astype(float) - confidence.numpy()).mean() < 1


def test_tensorrt_rtx_compiles_it(compiled: tuple[Any, Graph, Any, Any], tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    folder = build_engine(compiled[1], "tensorrt-rtx", "fp16", "8.6", root=tmp_path)
    assert (folder / "image.plan").stat().st_size > 10_000

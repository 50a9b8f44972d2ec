"""The training-free methods against outputs of their published code, and the two-pass ones against their formulas."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.attention import (  # noqa: E402
    KK,
    KK_WINDOW,
    QK,
    QQ,
    QQ_KK,
    Identity,
    Neighbourhood,
    Policy,
    gaussian_window,
)
from ovseg_ros.models.clip import BlockRule, VisionTransformer  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.clip_weights import load_clip  # noqa: E402
from ovseg_ros.models.outliers import local_outliers, mend  # noqa: E402
from ovseg_ros.models.training_free import METHODS, in_depth, training_free  # noqa: E402

Far = Callable[[Any, Any], float]
PUBLISHED = ClipVisionConfig(64, 16, 64, 4, 4, 256, 40, quick_gelu=True)
DEEP = ClipVisionConfig(64, 16, 32, 12, 2, 64, 24)

# (key, policy of the last block, residual and FFN) of each output in the golden file
VARIANTS: list[tuple[str, Policy, bool]] = [
    ("SCLIP_csa", QQ_KK, True),
    ("CLIP_vanilla(SCLIP repo)", QK, True),
    *(
        (f"ClearCLIPrepo_{name}_ignore_residual_{not kept}", policy, kept)
        for name, policy in {"ClearCLIP": QQ, "MaskCLIP": Identity(), "SCLIP": QQ_KK, "vanilla": QK}.items()
        for kept in (True, False)
    ),
    *(
        (f"NACLIP_{'vanilla' if kept else 'reduced'}_{name}", policy, kept)
        for name, policy in {"naclip": KK_WINDOW, "nonly": Neighbourhood(), "kk": KK, "vanilla": QK}.items()
        for kept in (True, False)
    ),
    ("NACLIP_vanilla_csa", QQ_KK, True),
]


@pytest.mark.parametrize(("key", "policy", "kept"), VARIANTS, ids=[variant[0] for variant in VARIANTS])
def test_every_published_last_block_is_a_rule(
    golden: Callable[..., dict[str, Any]], far: Far, key: str, policy: Policy, kept: bool
) -> None:
    data = golden("training_free_last_block")
    model = VisionTransformer(PUBLISHED, {-1: BlockRule(policy, float(kept), ffn=kept)}, resize="offset")
    load_clip(model, data["w"])
    expected = data[f"out/{key}"]
    with torch.no_grad():
        tokens = model.project(model.features(data["in/image"][: len(expected)], (4,))[1][0])  # CLS first
    assert far(tokens[:, -expected.shape[1] :], expected) < 1e-5


def test_no_published_output_is_left_out(golden: Callable[..., dict[str, Any]], far: Far) -> None:
    data = golden("training_free_last_block")
    assert {key for key in data if key.startswith("out/")} == {f"out/{key}" for key, _, _ in VARIANTS}
    model = VisionTransformer(PUBLISHED, resize="offset")
    load_clip(model, data["w"])
    assert far(model.positions((5, 7))[None], data["mid/pos_embed_resized"]) < 1e-5
    before = model.features(data["in/image"], (3,))[1][0]
    assert far(before.transpose(0, 1), data["mid/input_of_last_block_LND"]) < 1e-5
    assert far(gaussian_window((5, 7), 5.0, 36, before), data["mid/NACLIP_addition_with_cls"]) < 1e-5


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ("clip", "CLIP_vanilla(SCLIP repo)"),
        ("maskclip", "ClearCLIPrepo_MaskCLIP_ignore_residual_False"),
        ("sclip", "SCLIP_csa"),
        ("clearclip", "ClearCLIPrepo_ClearCLIP_ignore_residual_True"),
        ("naclip", "NACLIP_reduced_naclip"),
    ],
)
def test_a_method_is_its_published_variant(
    golden: Callable[..., dict[str, Any]], far: Far, method: str, key: str
) -> None:
    data = golden("training_free_last_block")
    model = training_free(method, PUBLISHED, resize="offset").requires_grad_(False)
    load_clip(model, data["w"])
    assert far(model(data["in/image"]).flatten(2).transpose(1, 2), data[f"out/{key}"][:, -35:]) < 1e-5


@pytest.fixture(scope="module")
def image() -> Any:
    return torch.randn(2, 3, 64, 80, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def text() -> Any:
    table = torch.randn(5, 2, 24, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.normalize(table, dim=-1)


def deep(method: str, stirred: Callable[[Any], Any], config: ClipVisionConfig = DEEP) -> Any:
    """A method on random weights whose positions matter."""
    torch.manual_seed(0)
    model = stirred(training_free(method, config))
    model.positions.table.copy_(torch.randn_like(model.positions.table))
    return model


def softmax_rows(a: Any, b: Any, extra: Any = 0.0) -> Any:
    """exp(a_i . b_j / sqrt(d) + extra) over its row's sum."""
    powers = (a @ b.transpose(-1, -2) / a.shape[-1] ** 0.5 + extra).exp()
    return powers / powers.sum(dim=-1, keepdim=True)


def heads_of(model: Any, index: int, x: Any) -> list[Any]:
    """q, k and v of a block's heads, (heads, L, d) each, of one image's tokens (L, C)."""
    block = model.blocks[index]
    rows = block.ln_1(x) @ block.attn.in_proj_weight.T + block.attn.in_proj_bias
    d = x.shape[1] // block.attn.heads
    return [torch.stack(part.split(d, dim=1)) for part in rows.split(x.shape[1], dim=1)]


def output(model: Any, index: int, mixed: Any) -> Any:
    """(heads, L, d) through a block's output projection."""
    attn = model.blocks[index].attn
    return torch.cat(list(mixed), dim=1) @ attn.out_proj.weight.T + attn.out_proj.bias


def plain_blocks(model: Any, x: Any) -> tuple[list[Any], list[Any]]:
    """CLIP's own blocks but the last on one image: tokens after each (those before first), QK attention of each."""
    after, attention = [x], []
    for i, block in enumerate(model.blocks[:-1]):
        q, k, v = heads_of(model, i, after[-1])
        attention.append(softmax_rows(q, k))
        x = after[-1] + output(model, i, attention[-1] @ v)
        after.append(x + block.mlp(block.ln_2(x)))
    return after, attention


def resclip_by_formula(model: Any, image: Any, table: Any, passes: int) -> Any:
    """One image, (3, H, W) -> (D, h, w)."""
    x, (h, w) = model.embed(image[None])
    after, attention = plain_blocks(model, x[0])
    borrowed = (attention[5] + attention[6] + attention[7] + attention[8]) / 4  # blocks 6 to 9
    _, k, v = heads_of(model, 11, after[-1])
    window = torch.zeros(1 + h * w, 1 + h * w)
    gate = torch.zeros_like(window)
    for i in range(h * w):
        for j in range(h * w):
            window[1 + i, 1 + j] = -((i // w - j // w) ** 2 + (i % w - j % w) ** 2) / 50.0
    window[1:, 1:] = window[1:, 1:].exp()
    logits = k @ k.transpose(1, 2) / k.shape[-1] ** 0.5
    for number in range(passes):
        if number:
            logits = 2.1 * (0.3 * logits + 0.7 * gate)
        powers = (logits + window).exp()
        own = powers / powers.sum(dim=-1, keepdim=True)
        tokens = output(model, 11, 2.0 * (0.7 * own + 0.3 * borrowed) @ v)
        features = model.ln_post(tokens[1:]) @ model.proj
        unit = features / features.norm(dim=1, keepdim=True)
        scores = torch.stack([(unit @ words.T).max(dim=1).values for words in table])  # (K, h w)
        labels = scores.argmax(dim=0).tolist()
        assert len(set(labels)) > 1
        for i in range(h * w):
            row = [0.0] * (h * w)
            for j in range(h * w):
                if labels[i] == labels[j]:
                    steps = max(abs(i // w - j // w), abs(i % w - j % w))
                    row[j] = 2.718281828459045 ** (-steps / (max(h, w) - 1))
            smooth = [
                sum(2.718281828459045 ** (-((j - m) ** 2) / 50) * row[m] for m in range(h * w) if abs(j - m) <= 15)
                for j in range(h * w)
            ]
            gate[1 + i, 1:] = torch.tensor(smooth) / sum(smooth)
        gate = gate / gate.max()
    return features.T.reshape(-1, h, w)


def test_resclip_is_its_formula(image: Any, text: Any, far: Far, stirred: Callable[[Any], Any]) -> None:
    model = deep("resclip", stirred)
    once, twice = model(image), model(image, text)
    assert far(once, twice) > 1e-3
    for n in range(2):
        assert far(once[n], resclip_by_formula(model, image[n], text, 1)) < 1e-4
        assert far(twice[n], resclip_by_formula(model, image[n], text, 2)) < 1e-4


def scclip_by_formula(model: Any, image: Any) -> Any:
    """One image, (3, H, W) -> (D, h, w); outliers and mending have their own tests."""
    x, (h, w) = model.embed(image[None])
    after, _ = plain_blocks(model, x[0])
    outlying = local_outliers(after[11][None, 1:], 30, 0.05)
    mended = [mend(after[i][None, 1:], outlying, (h, w))[0] for i in (9, 11)]

    def cosines(tokens: Any) -> Any:
        unit = tokens / tokens.norm(dim=1, keepdim=True)
        return unit @ unit.T

    def aggregated(tokens: Any, similar: Any) -> Any:
        rows = []
        for row in similar:
            kept = [float(s) if s >= 0.4 else 0.0 for s in row]
            rows.append(sum(s * token for s, token in zip(kept, tokens, strict=True)) / (sum(kept) + 1e-6))
        return torch.stack(rows)

    middle, early = cosines(mended[0]), cosines(after[4][1:])
    centred = 3 * (middle - middle.mean())
    powers = torch.where(centred >= 0, centred.exp(), torch.zeros(()))
    total = 0
    sums = after[4] + after[5] + after[6] + after[7] + after[8] + after[9] + after[10]
    for patches, cls in ((aggregated(mended[1], middle), after[11][0]), (sums[1:], sums[0])):
        _, k, v = heads_of(model, 11, patches)
        matrix = (softmax_rows(k, k) + powers / powers.sum(dim=1, keepdim=True)) / 2
        total = total + aggregated(output(model, 11, matrix @ v) + 0.3 * cls, early)
    return (model.ln_post(total) @ model.proj).T.reshape(-1, h, w)


def test_scclip_is_its_formula(image: Any, far: Far, stirred: Callable[[Any], Any]) -> None:
    model = deep("sc-clip", stirred)
    found = model(image)
    for n in range(2):
        assert far(found[n], scclip_by_formula(model, image[n])) < 1e-4


def test_every_method_has_the_trunks_interface(image: Any, stirred: Callable[[Any], Any]) -> None:
    outputs = {method: deep(method, stirred)(image) for method in METHODS}
    assert list(outputs) == ["clip", "maskclip", "sclip", "clearclip", "naclip", "resclip", "sc-clip"]
    for method, features in outputs.items():
        assert features.shape == (2, 24, 4, 5)
        assert torch.isfinite(features).all()
        assert all(not torch.allclose(features, other) for name, other in outputs.items() if name != method)
    with pytest.raises(ModelError, match="no training-free method 'denseclip'; expected one of clip, maskclip"):
        training_free("denseclip", DEEP)


@pytest.mark.parametrize("method", ["naclip", "resclip", "sc-clip"])
def test_sixteen_bits_stay_sixteen_bits(
    method: str, image: Any, text: Any, far: Far, stirred: Callable[[Any], Any]
) -> None:
    model = deep(method, stirred, dataclasses.replace(DEEP, layers=4))
    inputs = (image, text) if method == "resclip" else (image,)
    expected = model(*inputs)
    found = model.bfloat16()(*(tensor.bfloat16() for tensor in inputs))
    assert found.dtype == torch.bfloat16
    assert far(found.float(), expected) < 0.25  # as one label or outlier may tip over


def test_blocks_scale_with_the_depth_and_spare_the_last() -> None:
    assert [in_depth(n, 12) for n in (4, 6, 9, 10)] == [4, 6, 9, 10]
    assert [in_depth(n, 24) for n in (4, 6, 9, 10)] == [8, 12, 18, 20]
    assert [in_depth(n, 2) for n in (1, 4, 10)] == [1, 1, 1]


@pytest.mark.parametrize("method", ["resclip", "sc-clip"])
def test_two_pass_methods_export_for_a_baked_grid(
    method: str,
    image: Any,
    text: Any,
    far: Far,
    stirred: Callable[[Any], Any],
    exported: Callable[..., set[str]],
    by_openvino: Callable[..., Any],
    tmp_path: Path,
) -> None:
    model = deep(method, stirred, dataclasses.replace(DEEP, layers=4))
    model.bake((4, 5))
    inputs = (image[:1], text) if method == "resclip" else (image[:1],)
    operators = exported(model, inputs, tmp_path / "model.onnx")
    assert not {"Resize", "GridSample", "NonZero", "If", "Loop"} & operators
    assert far(by_openvino(tmp_path / "model.onnx", *inputs), model(*inputs)) < 1e-3

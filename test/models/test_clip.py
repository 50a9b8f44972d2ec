"""The ViT trunk against open_clip's own towers and against outputs of the published systems built on CLIP."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.attention import QK, VV, Context, Diagonal, Given, Identity, query_bias  # noqa: E402
from ovseg_ros.models.clip import PLAIN, BlockRule, VisionTransformer, to_map  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.clip_weights import load_clip  # noqa: E402

Far = Callable[[Any, Any], float]
TINY = ClipVisionConfig(image_size=64, patch=16, width=48, layers=3, heads=4, mlp=96, embed_dim=20)


@pytest.fixture(scope="module")
def trunk(stirred: Callable[[Any], Any]) -> Any:
    torch.manual_seed(0)
    return stirred(VisionTransformer(TINY))


@pytest.fixture(scope="module")
def image() -> Any:
    return torch.randn(2, 3, 48, 80, generator=torch.Generator().manual_seed(1))


def same(trunk: Any, **options: Any) -> Any:
    """A trunk of the same weights with other options."""
    other = VisionTransformer(trunk.config, **options).eval().requires_grad_(False)
    load_clip(other, {f"visual.{key}": value for key, value in trunk.state_dict().items()})
    return other


@pytest.mark.parametrize(
    ("name", "tag", "layers", "size"),
    [
        ("ViT-B-16", None, 3, 224),
        ("ViT-B-32", None, 2, 224),
        ("ViT-B-16-quickgelu", "dfn2b", 2, 96),
        ("ViT-L-14-336", "openai", 2, 112),
        ("ViT-H-14-378-quickgelu", None, 1, 84),
        ("ViT-B-16", "datacomp_xl_s13b_b90k", 1, 96),
        ("ViT-M-16-alt", None, 2, 96),  # layer scale
    ],
)
def test_features_are_those_of_open_clips_tower(
    name: str, tag: str | None, layers: int, size: int, far: Far, stirred: Callable[[Any], Any]
) -> None:
    """Real widths, heads, patches and activations; fewer blocks and pixels, for time."""
    config = dataclasses.replace(ClipVisionConfig.from_open_clip(name, tag), layers=layers, image_size=size)
    vision = {**open_clip.get_model_config(name)["vision_cfg"], "layers": layers, "image_size": size}
    torch.manual_seed(0)
    tower = open_clip.model._build_vision_tower(config.embed_dim, vision, config.quick_gelu)
    stirred(tower)
    model = VisionTransformer(config).requires_grad_(False)
    load_clip(model, {f"visual.{key}": value for key, value in tower.state_dict().items()})
    image = torch.randn(1, 3, config.image_size, config.image_size)
    dense, taps = model.features(image, range(1, layers + 1))
    expected = tower.forward_intermediates(image)
    last = tower.ln_post(expected["image_intermediates"][-1].permute(0, 2, 3, 1)) @ tower.proj
    assert far(dense, last.permute(0, 3, 1, 2)) < 1e-5
    for tap, theirs in zip(taps, expected["image_intermediates"], strict=True):
        assert far(to_map(tap, dense.shape[2:]), theirs) < 1e-5
    assert far(model.image_features(image), tower(image)) < 1e-5


def test_a_tag_decides_activation_and_statistics() -> None:
    assert ClipVisionConfig.from_open_clip("ViT-B-16").quick_gelu is False
    assert ClipVisionConfig.from_open_clip("ViT-B-16", "openai").quick_gelu is True
    assert ClipVisionConfig.from_open_clip("ViT-L-14-336") == ClipVisionConfig(336, 14, 1024, 24, 16, 4096, 768)


@pytest.mark.parametrize(
    ("name", "tag", "reason"),
    [
        ("ViT-B-15", None, "knows no model 'ViT-B-15'; nearest: ViT-B-1"),
        ("ViT-B-16", "opnai", "no weights 'opnai' for ViT-B-16; nearest: openai"),
        ("ViT-B-16-SigLIP", None, "timm tower 'vit_base_patch16_siglip_224'"),
        ("ViT-L-14-CLIPA", None, "pool_type = 'avg'"),
        ("coca_ViT-B-32", None, "CoCa"),
        ("RN50", None, "is a ResNet"),
    ],
)
def test_names_that_cannot_be_built_say_why(name: str, tag: str | None, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        ClipVisionConfig.from_open_clip(name, tag)


def test_every_open_clip_name_is_built_or_refused_with_a_reason() -> None:
    built, refused = [], {}
    for name in open_clip.list_models():
        try:
            config = ClipVisionConfig.from_open_clip(name)
        except ModelError as error:
            refused[name] = str(error)
            continue
        built.append(name)
        assert config.width % config.heads == 0
    assert len(built) > 40
    assert all(reason.startswith(name) for name, reason in refused.items())
    assert {"ViT-B-16", "ViT-L-14-336", "ViT-bigG-14", "ViT-S-32-alt"} <= set(built)


@pytest.mark.parametrize(("height", "width"), [(48, 81), (47, 80), (8, 16)])
def test_sizes_beside_the_patch_are_named(trunk: Any, height: int, width: int) -> None:
    message = rf"{height} x {width} pixels.*multiples of the patch, 16: resize it, for instance to"
    with pytest.raises(ValueError, match=message):
        trunk(torch.zeros(1, 3, height, width))


def test_taps_and_rules_outside_the_blocks_are_refused(trunk: Any, image: Any) -> None:
    with pytest.raises(ValueError, match=r"taps are \(4,\); expected counts of blocks from 0 to 3"):
        trunk.features(image, (4,))
    with pytest.raises(ValueError, match="a rule is for block 3; expected -3 to 2"):
        VisionTransformer(TINY, {3: PLAIN})


def test_a_bare_identity_block_is_a_map_of_its_values(trunk: Any, image: Any, far: Far) -> None:
    bare = same(trunk, rules={-1: BlockRule(Identity(), residual=0, ffn=False)})
    dense, (before,) = bare.features(image, (2,))
    block = trunk.blocks[-1]
    values = block.ln_1(before) @ block.attn.in_proj_weight[2 * 48 :].T + block.attn.in_proj_bias[2 * 48 :]
    mixed = values @ block.attn.out_proj.weight.T + block.attn.out_proj.bias
    assert far(dense, to_map(trunk.ln_post(mixed) @ trunk.proj, (3, 5))) < 1e-5


def test_rules_leave_the_image_embedding_alone(trunk: Any, image: Any) -> None:
    bare = same(trunk, rules={0: BlockRule(VV), -1: BlockRule(Identity(), residual=0, ffn=False)})
    assert torch.equal(bare.image_features(image), trunk.image_features(image))


def test_prepended_queries_leave_the_patches_as_they_were(trunk: Any, image: Any, far: Far) -> None:
    x, grid = trunk.embed(image)
    y = torch.cat([x[:, :1].expand(-1, 5, -1), x], dim=1)
    bias = query_bias(torch.randn(2, 4, 5, 15, generator=torch.Generator().manual_seed(2)))
    for i in range(3):
        x, y = trunk.step(i, x, Context(grid)), trunk.step(i, y, Context(grid, bias=bias))
    assert far(y[:, 5:], x) < 1e-5
    assert far(y[:, :5], x[:, :1].expand(-1, 5, -1)) > 1e-3  # the queries themselves go elsewhere


def test_catseg_is_a_rule(golden: Callable[..., dict[str, Any]], far: Far) -> None:
    data = golden("catseg_clip_dense")
    config = ClipVisionConfig(64, 16, 128, 3, 2, 512, 40, quick_gelu=True)
    model = VisionTransformer(config, {-1: BlockRule(Identity(), from_cls=True)}).requires_grad_(False)
    load_clip(model, data["w"])
    dense, taps = model.features(data["in/image"], (1, 2))
    assert far(dense.flatten(2).transpose(1, 2), data["out/dense_tokens_with_cls"][:, 1:]) < 1e-5
    for tap, key in zip(taps, ("mid/block0", "mid/block1"), strict=True):
        assert far(tap.transpose(0, 1), data[key]) < 1e-5
    pooled = model.image_features(data["in/image"][:, :, :64, :64])
    assert far(pooled, data["out/cls_normal_of_image_topleft64"]) < 1e-5


def severance(data: dict[str, Any], grid: tuple[int, int]) -> tuple[Any, Any]:
    """DeOP's weights of the last block from mask logits: diagonal (N, L), and mask-guided matrix (N, L, L)."""
    masks = torch.nn.functional.interpolate(data["in/mask_logits"], size=grid, mode="bilinear").sigmoid().flatten(2)
    ones = torch.ones(*masks.shape[:2], 1)
    member = torch.cat([ones, masks], dim=2)
    return member.sum(dim=1), (member.transpose(1, 2) @ member).softmax(dim=-1)


@pytest.mark.parametrize(
    ("name", "grid", "width", "patch", "residual", "out", "kind"),
    [
        ("deop_clip_trunk", (3, 5), 48, 16, 1.0, "weighted", "diagonal"),
        ("deop_clip_trunk", (3, 5), 48, 16, 1.0, "gps_identity", "identity"),
        ("deop_clip_trunk", (3, 5), 48, 16, 1.0, "mps_mask_guided", "given"),
        ("deop_clip_trunk_demo_plain", (3, 5), 24, 16, 0.2, "gps_identity_residual0.2", "identity"),
        ("deop_clip_trunk_demo_plain", (3, 5), 24, 16, 0.2, "mps_residual0.2", "given"),
        ("deop_clip_trunk_vitL", (4, 5), 24, 14, 1.0, "weighted_vitL", "diagonal"),
    ],
)
def test_deop_is_a_rule_and_position_tables(
    golden: Callable[..., dict[str, Any]],
    far: Far,
    name: str,
    grid: tuple[int, int],
    width: int,
    patch: int,
    residual: float,
    out: str,
    kind: str,
) -> None:
    data = golden(name)
    config = ClipVisionConfig(4 * patch, patch, width, 12, 6, 4 * width, 40, quick_gelu=True)
    extra = (6, (1, 2, 3, 4, 5)) if "learned_position" in data["w"] else None
    diagonal, matrix = severance(data, grid)
    policy, weights = {
        "identity": (Identity(), None),
        "diagonal": (Diagonal(), diagonal),
        "given": (Given(), matrix),
    }[kind]
    model = VisionTransformer(config, {-1: BlockRule(policy, residual)}, extra_positions=extra).requires_grad_(False)
    load_clip(model, data["w"])
    dense, taps = model.features(data["in/image"], range(13), weights)
    assert far(dense.permute(0, 2, 3, 1), data[f"out/{out}"]) < 1e-5
    for i in (0, 1, 2, 6, 11):
        if f"mid/block_out_{i}" in data:
            assert far(taps[i].transpose(0, 1), data[f"mid/block_out_{i}"]) < 1e-5


def test_ebseg_is_two_streams_and_queries(golden: Callable[..., dict[str, Any]], far: Far) -> None:
    data = golden("ebseg_clip_surgery", "w_clip_plain/")
    model = VisionTransformer(ClipVisionConfig(64, 16, 48, 12, 12, 192, 40, quick_gelu=True)).requires_grad_(False)
    load_clip(model, data["w"])
    x, grid = model.embed(data["in/image"])
    second, context = x, Context(grid)
    for i in range(12):
        if i == 9:  # the recognition head: seven copies of CLS see the patches through their own bias
            assert far(second.transpose(0, 1), data["out/ext_last_surgery"]) < 1e-5
            pooled = torch.nn.functional.adaptive_max_pool2d(data["in/attn_bias"].flatten(0, 1), grid)
            bias = query_bias(pooled.reshape(2, 12, 7, 15))
            assert far(bias, data["mid/full_bias_matrix"]) < 1e-5
            queries = torch.cat([x[:, :1].expand(-1, 7, -1), x], dim=1)
        if i == 2:
            second = x
        if i >= 2:
            second = second + model.attention(i)(model.normed(i, x), VV, context)
        if i >= 9:
            queries = model.step(i, queries, Context(grid, bias=bias))
        x = model.step(i, x, context)
        if f"out/ext_map_{i + 1}" in data:
            assert far(to_map(x, grid), data[f"out/ext_map_{i + 1}"]) < 1e-5
    unit = torch.nn.functional.normalize
    assert far(unit(model.project(queries[:, :7]), dim=-1), data["out/B"]) < 1e-5
    assert far(unit(to_map(model.project(second), grid), dim=1), data["out/surgery_map_normalised"]) < 1e-5


def test_one_graph_serves_every_grid(
    trunk: Any, far: Far, tmp_path: Path, exported: Callable[..., set[str]], by_openvino: Callable[..., Any]
) -> None:
    rows, columns = torch.export.Dim("rows", min=1, max=64), torch.export.Dim("columns", min=1, max=64)
    axes = {"image": {2: 16 * rows, 3: 16 * columns}}
    operators = exported(trunk, (torch.zeros(1, 3, 48, 80),), tmp_path / "clip.onnx", dynamic_shapes=axes)
    assert "GridSample" not in operators
    for size in ((64, 64), (96, 32)):
        image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(3))
        assert far(by_openvino(tmp_path / "clip.onnx", image), trunk(image)) < 1e-4


def test_qk_is_the_default_of_every_block(trunk: Any) -> None:
    assert [rule.attention for rule in trunk.rules] == [QK] * 3

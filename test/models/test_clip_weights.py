"""Checkpoints of every layout arrive where they belong; those of other architectures are refused by name and shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.clip import VisionTransformer  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.clip_weights import load_clip  # noqa: E402

TINY = ClipVisionConfig(image_size=32, patch=16, width=8, layers=2, heads=2, mlp=16, embed_dim=4)
BLOCK = ("ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias", "attn.in_proj_weight", "attn.in_proj_bias")
BLOCK += ("attn.out_proj.weight", "attn.out_proj.bias", "mlp.c_fc.weight", "mlp.c_fc.bias")
BLOCK += ("mlp.c_proj.weight", "mlp.c_proj.bias")


@pytest.fixture
def state() -> dict[str, Any]:
    """A whole CLIP's state dict under OpenAI's names, random, text tower included."""
    shapes: dict[str, tuple[int, ...]] = {
        "class_embedding": (8,),
        "positional_embedding": (5, 8),
        "proj": (8, 4),
        "conv1.weight": (8, 3, 16, 16),
    }
    shapes |= {f"{norm}.{kind}": (8,) for norm in ("ln_pre", "ln_post") for kind in ("weight", "bias")}
    widths = {"attn.in_proj_weight": (24, 8), "attn.in_proj_bias": (24,), "attn.out_proj.weight": (8, 8)}
    widths |= {"mlp.c_fc.weight": (16, 8), "mlp.c_fc.bias": (16,), "mlp.c_proj.weight": (8, 16)}
    shapes |= {f"transformer.resblocks.{i}.{key}": widths.get(key, (8,)) for i in range(2) for key in BLOCK}
    generator = torch.Generator().manual_seed(0)
    tensors = {f"visual.{key}": torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    tensors |= {"positional_embedding": torch.randn(77, 6), "token_embedding.weight": torch.randn(9, 6)}
    return {**tensors, "logit_scale": torch.tensor(4.6), "transformer.resblocks.0.ln_1.weight": torch.randn(6)}


def loaded(state: dict[str, Any], **options: Any) -> dict[str, Any]:
    model = VisionTransformer(TINY, **options)
    load_clip(model, state)
    return dict(model.state_dict())


def test_every_tensor_lands_in_its_place(state: dict[str, Any]) -> None:
    found = loaded(state)
    assert torch.equal(found["positions.table"], state["visual.positional_embedding"])
    for key in ("class_embedding", "proj", "conv1.weight", "ln_pre.weight", "ln_post.bias"):
        assert torch.equal(found[key], state[f"visual.{key}"])
    for i in range(2):
        for key in BLOCK:
            assert torch.equal(found[f"blocks.{i}.{key}"], state[f"visual.transformer.resblocks.{i}.{key}"])


def split(state: dict[str, Any]) -> dict[str, Any]:
    """CAT-Seg's layout."""
    result = {}
    for key, value in state.items():
        if key.endswith("in_proj_weight"):
            for name, part in zip("qkv", value.chunk(3), strict=True):
                result[key.replace("in_proj_weight", f"{name}_proj_weight")] = part
        else:
            result[key] = value
    return result


def fused(state: dict[str, Any]) -> dict[str, Any]:
    """EBSeg's layout."""
    names = {"attn.in_proj_weight": "attn.qkv.weight", "attn.in_proj_bias": "attn.qkv.bias", "out_proj": "proj"}
    result = {}
    for key, value in state.items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        result[key] = value
    return result


@pytest.mark.parametrize(
    "layout",
    [
        split,
        fused,
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3},
        lambda state: {key.removeprefix("visual."): value for key, value in state.items() if key.startswith("visual.")},
    ],
    ids=["separate q k v", "qkv", "wrapped", "vision tower alone"],
)
def test_other_layouts_give_the_same_weights(state: dict[str, Any], layout: Callable[..., dict[str, Any]]) -> None:
    expected, found = loaded(state), loaded(layout(state))
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_half_precision_becomes_the_models(state: dict[str, Any]) -> None:
    found = loaded({key: value.half() for key, value in state.items()})
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert torch.equal(found["proj"], state["visual.proj"].half().float())


def test_learned_positions_are_taken_or_stay_zero(state: dict[str, Any]) -> None:
    learned = {"visual.learned_position": torch.randn(10, 8)}
    learned["visual.transformer.resblocks.1.learned_position"] = torch.randn(10, 8)
    found = loaded({**state, **learned}, extra_positions=(3, (1,)))
    assert torch.equal(found["extra_positions.input.table"], learned["visual.learned_position"])
    assert torch.equal(found["extra_positions.1.table"], learned["visual.transformer.resblocks.1.learned_position"])
    assert not loaded(state, extra_positions=(3, (1,)))["extra_positions.1.table"].any()
    with pytest.raises(ModelError, match="another architecture"):
        loaded({**state, **learned})


def change(state: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    return {**{k: v for k, v in state.items() if k != key}, **({} if value is None else {key: value})}


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("visual.conv1.weight", (8, 3, 14, 14), r"conv1\.weight is \(8, 3, 14, 14\) in the .* and \(8, 3, 16, 16\) in"),
        ("visual.positional_embedding", (10, 8), r"positions\.table is \(10, 8\) in the checkpoint and \(5, 8\) in"),
        ("visual.transformer.resblocks.1.mlp.c_fc.bias", None, r"lacks blocks\.1\.mlp\.c_fc\.bias \(16,\)"),
        ("visual.transformer.resblocks.2.ln_1.weight", (8,), r"which has no blocks\.2\.ln_1\.weight \(8,\)"),
    ],
)
def test_another_architecture_is_named_by_its_first_difference(
    state: dict[str, Any], key: str, value: tuple[int, ...] | None, reason: str
) -> None:
    changed = change(state, key, None if value is None else torch.zeros(value))
    model = VisionTransformer(TINY)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ModelError, match=f"^clip.pt .*{reason}"):
        load_clip(model, changed, "clip.pt")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_file_without_a_vision_tower_is_refused() -> None:
    with pytest.raises(ModelError, match=r"holds no CLIP vision tower: expected keys such as visual\.conv1\.weight"):
        loaded({"backbone.weight": torch.zeros(3)})
    with pytest.raises(ModelError, match="state_dict is a list"):
        loaded({"state_dict": [1]})

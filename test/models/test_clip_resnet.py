"""The ResNet trunk against open_clip's and against GKC's outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.clip_config import ClipResNetConfig  # noqa: E402
from ovseg_ros.models.clip_resnet import ModifiedResNet  # noqa: E402
from ovseg_ros.models.clip_weights import load_clip  # noqa: E402

Far = Callable[[Any, Any], float]


@pytest.mark.parametrize(("name", "layers"), [("RN50", (2, 1, 1, 1)), ("RN50x4", (1, 1, 2, 1))])
def test_maps_and_embedding_are_those_of_open_clips_tower(
    name: str, layers: tuple[int, int, int, int], far: Far, stirred: Callable[[Any], Any]
) -> None:
    """Real widths and heads; fewer blocks and pixels, for time."""
    config = dataclasses.replace(ClipResNetConfig.from_open_clip(name), layers=layers, image_size=96)
    vision = {**open_clip.get_model_config(name)["vision_cfg"], "layers": list(layers), "image_size": 96}
    torch.manual_seed(0)
    tower = stirred(open_clip.model._build_vision_tower(config.embed_dim, vision))
    model = ModifiedResNet(config).eval().requires_grad_(False)
    load_clip(model, {f"visual.{key}": value for key, value in tower.state_dict().items()})
    image = torch.randn(1, 3, 96, 96)
    expected = tower.forward_intermediates(image)
    for found, theirs in zip(model.stages(image), expected["image_intermediates"][1:], strict=True):
        assert far(found, theirs) < 1e-5
    assert far(model.image_features(image), tower(image)) < 1e-5
    pool, last = tower.attnpool, expected["image_intermediates"][-1]
    dense = model(image)
    for y in range(3):
        for x in range(3):  # MaskCLIP: each position through the value and output projections
            assert far(dense[:, :, y, x], pool.c_proj(pool.v_proj(last[:, :, y, x]))) < 1e-5


def test_gkc_is_its_pool_with_every_position_as_a_query(golden: Callable[..., dict[str, Any]], far: Far) -> None:
    data = golden("gkc_clip_resnet")
    config = ClipResNetConfig(image_size=96, layers=(2, 1, 2, 1), width=8, heads=32, embed_dim=24)
    model = ModifiedResNet(config, dense="qk", resize="bilinear").eval().requires_grad_(False)
    load_clip(model, data["w"])
    for number, found in enumerate(model.stages(data["in/image"]), start=2):
        assert far(found, data[f"out/res{number}"]) < 1e-5
    assert far(model(data["in/image"]), data["out/attn"]) < 1e-5
    assert far(model.image_features(data["in/image"]), data["out/teacher_attn_g"]) < 1e-5
    model.bake((2, 3))
    assert far(model(data["in/image"]), data["out/teacher_attn_l"]) < 1e-5


def test_sizes_and_names_that_do_not_fit_are_named() -> None:
    model = ModifiedResNet(ClipResNetConfig(64, (1, 1, 1, 1), 8, 4, 12)).eval()
    with pytest.raises(ValueError, match=r"64 x 80 pixels.*multiples of 32"):
        model(torch.zeros(1, 3, 64, 80))
    with pytest.raises(ModelError, match="ViT-B-16 is a ViT"):
        ClipResNetConfig.from_open_clip("ViT-B-16")
    assert ClipResNetConfig.from_open_clip("RN50") == ClipResNetConfig()
    assert ClipResNetConfig.from_open_clip("RN50x16").heads == 48

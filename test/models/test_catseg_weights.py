"""Published CAT-Seg checkpoints: every tensor finds its place, and a wrong file is told from a right one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.catseg import CatSeg  # noqa: E402
from ovseg_ros.models.catseg_config import CatSegConfig  # noqa: E402
from ovseg_ros.models.catseg_weights import AGGREGATOR, CLIP, load_catseg, split, text_tower  # noqa: E402
from ovseg_ros.models.converting import unmatched  # noqa: E402

Hollow = Callable[[str], dict[str, Any]]
CONFIGS = {"base": CatSegConfig.base(), "large": CatSegConfig.large()}


def empty(size: str) -> CatSeg:
    """A published model without memory for its weights."""
    with torch.device("meta"):
        return CatSeg(CONFIGS[size])


@pytest.mark.parametrize("size", CONFIGS)
def test_every_published_tensor_has_one_place(size: str, hollow: Hollow) -> None:
    model, state = empty(size), hollow(f"catseg_{size}")
    ours, aside = split(state)
    problems = unmatched(model.state_dict(), ours)
    assert not problems, str(problems)
    text = text_tower(state)
    masks = [key for key in aside if key.endswith("attn_mask")]
    assert len(masks) == 2  # of two layers
    joined = sum(key.endswith(".attn.in_proj_weight") for key in [*ours, *text])
    assert len(ours) + len(text) + len(masks) + 2 * joined == len(state)  # three projections are one tensor of ours
    assert sum(p.numel() for p in model.parameters()) == sum(
        x.numel() for key, x in state.items() if key not in masks and not (key in aside and key.startswith(CLIP))
    )


def test_the_text_tower_is_open_clips(hollow: Hollow) -> None:
    open_clip = pytest.importorskip("open_clip")
    tower = text_tower({"model": hollow("catseg_base")})
    with torch.device("meta"):
        theirs = open_clip.model.CLIP(**open_clip.get_model_config("ViT-B-16")).state_dict()
    expected = {key: tuple(value.shape) for key, value in theirs.items() if not key.startswith("visual.")}
    assert {key: tuple(value.shape) for key, value in tower.items()} == expected


def test_a_wrong_file_is_refused_with_names(hollow: Hollow) -> None:
    with pytest.raises(ModelError, match=r"model_large.pth is no CAT-Seg of the model's sizes: \d+ tensors"):
        load_catseg(empty("base"), hollow("catseg_large"), "model_large.pth")
    with pytest.raises(ModelError, match=r"x.pth holds no CAT-Seg \(it begins with visual.conv1.weight\)"):
        split({"visual.conv1.weight": torch.zeros(1)}, "x.pth")
    with pytest.raises(ModelError, match="it begins with nothing"):
        split({})


def test_every_difference_is_reported(hollow: Hollow) -> None:
    state = hollow("catseg_base")
    del state[f"{AGGREGATOR}conv1.bias"]
    state[f"{AGGREGATOR}layers.2.attention.norm1.bias"] = torch.zeros(128)
    state["upsample1.bias"] = torch.zeros(3)
    state["optimizer"] = torch.zeros(())
    problems = unmatched(empty("base").state_dict(), split(state)[0])
    assert problems.missing == ("aggregator.embedding.conv1.bias",)
    assert set(problems.left) == {"aggregator.layers.2.attention.norm1.bias", "optimizer"}
    assert problems.shapes == (("trunk.upsample1.bias", (3,), (256,)),)
    with pytest.raises(ModelError, match=r"4 tensors do not match: it lacks aggregator.embedding.conv1.bias"):
        load_catseg(empty("base"), state)

"""Published CAT-Seg checkpoints: every tensor finds its place, and a wrong file is told from a right one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.catseg import CatSeg  # noqa: E402
from ovseg_ros.models.catseg_config import CatSegConfig  # noqa: E402
from ovseg_ros.models.catseg_weights import AGGREGATOR, CLIP, load_catseg, split, text_tower, unmatched  # noqa: E402

KEYS = Path(__file__).parents[2] / ".." / "shared" / "golden" / "keys"
CONFIGS = {"base": CatSegConfig.base(), "large": CatSegConfig.large()}


def checkpoint(size: str) -> dict[str, Any]:
    """Tensors that take no memory, under the published names and in the published shapes."""
    path = KEYS / f"catseg_{size}.txt"
    if not path.is_file():
        pytest.skip(f"the list of published names is not here (keys/{path.name} in ../shared/golden)")
    rows = [line.split("\t") for line in path.read_text().splitlines() if line and not line.startswith("#")]
    shapes = {key: tuple(int(n) for n in shape.strip("[]").split(",") if n.strip()) for key, shape, *_ in rows}
    return {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}


@pytest.fixture(scope="module")
def empty() -> Callable[[str], CatSeg]:
    """A published model without memory for its weights."""

    def make(size: str) -> CatSeg:
        with torch.device("meta"):
            return CatSeg(CONFIGS[size])

    return make


@pytest.mark.parametrize("size", CONFIGS)
def test_every_published_tensor_has_one_place(size: str, empty: Callable[[str], CatSeg]) -> None:
    model, state = empty(size), checkpoint(size)
    ours, aside = split(state)
    problems = unmatched(model, ours)
    assert not problems, str(problems)
    text = text_tower(state)
    masks = [key for key in aside if key.endswith("attn_mask")]
    assert len(masks) == 2  # of two layers
    joined = sum(key.endswith(".attn.in_proj_weight") for key in [*ours, *text])
    assert len(ours) + len(text) + len(masks) + 2 * joined == len(state)  # three projections are one tensor of ours
    assert sum(p.numel() for p in model.parameters()) == sum(
        x.numel() for key, x in state.items() if key not in masks and not (key in aside and key.startswith(CLIP))
    )


def test_the_text_tower_is_open_clips() -> None:
    open_clip = pytest.importorskip("open_clip")
    tower = text_tower({"model": checkpoint("base")})
    with torch.device("meta"):
        theirs = open_clip.model.CLIP(**open_clip.get_model_config("ViT-B-16")).state_dict()
    expected = {key: tuple(value.shape) for key, value in theirs.items() if not key.startswith("visual.")}
    assert {key: tuple(value.shape) for key, value in tower.items()} == expected


def test_a_wrong_file_is_refused_with_names(empty: Callable[[str], CatSeg]) -> None:
    with pytest.raises(ModelError, match=r"model_large.pth is no CAT-Seg of the model's sizes: \d+ tensors"):
        load_catseg(empty("base"), checkpoint("large"), "model_large.pth")
    with pytest.raises(ModelError, match=r"x.pth holds no CAT-Seg \(it begins with visual.conv1.weight\)"):
        split({"visual.conv1.weight": torch.zeros(1)}, "x.pth")
    with pytest.raises(ModelError, match="it begins with nothing"):
        split({})


def test_every_difference_is_reported(empty: Callable[[str], CatSeg]) -> None:
    state = checkpoint("base")
    del state[f"{AGGREGATOR}conv1.bias"]
    state[f"{AGGREGATOR}layers.2.attention.norm1.bias"] = torch.zeros(128)
    state["upsample1.bias"] = torch.zeros(3)
    state["optimizer"] = torch.zeros(())
    problems = unmatched(empty("base"), split(state)[0])
    assert problems.missing == ("aggregator.embedding.conv1.bias",)
    assert set(problems.left) == {"aggregator.layers.2.attention.norm1.bias", "optimizer"}
    assert problems.shapes == (("trunk.upsample1.bias", (3,), (256,)),)
    with pytest.raises(ModelError, match=r"4 tensors do not match: it lacks aggregator.embedding.conv1.bias"):
        load_catseg(empty("base"), state)

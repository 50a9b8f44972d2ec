"""Published EBSeg checkpoints: every tensor finds its place, and a wrong file is told from a right one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.converting import read_checkpoint, unmatched  # noqa: E402
from ovseg_ros.models.ebseg import Ebseg  # noqa: E402
from ovseg_ros.models.ebseg_config import EbsegConfig  # noqa: E402
from ovseg_ros.models.ebseg_weights import OURS_ALONE, ebseg_state, load_ebseg, text_tower  # noqa: E402

Hollow = Callable[[str], dict[str, Any]]

CONFIGS = {"base": EbsegConfig.base(), "large": EbsegConfig.large()}


def empty(size: str) -> Ebseg:
    """A model of the paper without memory for its weights."""
    with torch.device("meta"):
        return Ebseg(CONFIGS[size])


@pytest.mark.parametrize("size", CONFIGS)
def test_every_published_tensor_has_one_place(size: str, hollow: Hollow) -> None:
    model, state = empty(size), hollow(f"ebseg_{size}")
    converted = ebseg_state(state)
    problems = unmatched(model.state_dict(), converted, OURS_ALONE)
    assert not problems, str(problems)
    text = text_tower(state)
    twice = [key for key in state if key.startswith("clip_rec_head.") and "resblocks" not in key]
    assert len(twice) == 3
    # what has gone nowhere: three that stand twice, the loss's weights; bg_embed and logit_scale stand on both sides
    assert len(converted) + len(text) - 1 + len(twice) + 1 == len(state)
    assert sum(value.numel() for value in model.parameters()) == sum(
        value.numel() for key, value in converted.items() if key in dict(model.named_parameters())
    )


@pytest.mark.parametrize("size", CONFIGS)
def test_what_is_trained_is_what_the_published_code_trains(
    size: str, hollow: Hollow, trained: Callable[[str], set[str]]
) -> None:
    model = empty(size).freeze()
    state, learning = hollow(f"ebseg_{size}"), trained(f"ebseg_{size}")
    marks = {key: value + float(key in learning) for key, value in state.items()}
    expected = {key for key, value in ebseg_state(marks).items() if value.flatten()[0] == 1}
    assert {name for name, p in model.named_parameters() if p.requires_grad} == expected
    assert (
        sum(p.numel() for p in model.parameters() if p.requires_grad) == {"base": 26_622_403, "large": 27_982_531}[size]
    )


def test_the_text_tower_is_open_clips(hollow: Hollow) -> None:
    open_clip = pytest.importorskip("open_clip")
    tower = text_tower({"model": hollow("ebseg_base")})
    with torch.device("meta"):
        theirs = open_clip.model.CLIP(**open_clip.get_model_config("ViT-B-16")).state_dict()
    expected = {key: tuple(value.shape) for key, value in theirs.items() if not key.startswith("visual.")}
    assert {key: tuple(value.shape) for key, value in tower.items() if key != "attn_mask"} == expected


def test_a_checkpoint_of_other_sizes_is_refused_with_names(hollow: Hollow) -> None:
    with pytest.raises(ModelError, match=r"EBSeg_large.pth is no EBSeg of the model's sizes: \d+ tensors do not match"):
        load_ebseg(empty("base"), hollow("ebseg_large"), "EBSeg_large.pth")


def test_every_difference_is_reported(hollow: Hollow) -> None:
    model, state = empty("base"), hollow("ebseg_base")
    del state["sem_seg_head.predictor.query_feat.weight"]
    state["backbone.neck.0.weight"] = torch.zeros(256, 768, 1, 1)
    state["backbone.pos_embed"] = torch.zeros(1, 14, 14, 768)
    state["optimizer.step"] = torch.zeros(())
    problems = unmatched(model.state_dict(), ebseg_state(state), OURS_ALONE)
    assert problems.missing == ("decoder.query_feat.weight",)
    assert set(problems.left) == {"sam.neck.0.weight", "optimizer.step"}
    assert problems.shapes == (("sam.pos_embed", (1, 14, 14, 768), (1, 64, 64, 768)),)
    with pytest.raises(ModelError, match=r"4 tensors do not match: it lacks decoder.query_feat.weight; sam.pos_embed"):
        load_ebseg(model, state)


def test_what_is_no_ebseg_is_told(hollow: Hollow) -> None:
    with pytest.raises(ModelError, match=r"x.pth holds no EBSeg \(it begins with visual.conv1.weight\)"):
        ebseg_state({"state_dict": {}, "visual.conv1.weight": torch.zeros(1)}, "x.pth")
    with pytest.raises(ModelError, match="it begins with nothing"):
        ebseg_state({})
    state = hollow("ebseg_base")
    state["clip_rec_head.proj"] = torch.ones(768, 512)
    with pytest.raises(ModelError, match="two different proj in clip_visual_extractor and clip_rec_head"):
        ebseg_state(state)


def test_a_file_as_detectron2_writes_it_is_read(tmp_path: Path) -> None:
    content = {"clip_visual_extractor.proj": torch.ones(2, 3), "ov_classifier.ln_final.bias": torch.ones(2)}
    torch.save({"model": content, "iteration": 7}, tmp_path / "model.pth")
    assert text_tower(read_checkpoint(tmp_path / "model.pth")).keys() == {"ln_final.bias"}

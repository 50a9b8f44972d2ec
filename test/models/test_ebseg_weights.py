"""Published EBSeg checkpoints: every tensor finds its place, and a wrong file is told from a right one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.ebseg import Ebseg  # noqa: E402
from ovseg_ros.models.ebseg_config import EbsegConfig  # noqa: E402
from ovseg_ros.models.ebseg_weights import (  # noqa: E402
    ebseg_state,
    load_ebseg,
    read_checkpoint,
    text_tower,
    unmatched,
)

KEYS = Path(__file__).parents[2] / ".." / "shared" / "golden" / "keys"
CONFIGS = {"base": EbsegConfig.base(), "large": EbsegConfig.large()}


def published(size: str) -> tuple[dict[str, tuple[int, ...]], set[str]]:
    """Names and shapes of a published checkpoint, and which of them were trained."""
    path = KEYS / f"ebseg_{size}.txt"
    if not path.is_file():
        pytest.skip(f"the list of published names is not here (keys/{path.name} in ../shared/golden)")
    rows = [line.split("\t") for line in path.read_text().splitlines() if line and not line.startswith("#")]
    shapes = {key: tuple(int(n) for n in shape.strip("[]").split(",") if n.strip()) for key, shape, *_ in rows}
    return shapes, {row[0] for row in rows if row[3] == "T"}


def checkpoint(size: str) -> dict[str, Any]:
    """Tensors that take no memory, under the published names."""
    return {key: torch.zeros(()).expand(shape) for key, shape in published(size)[0].items()}


@pytest.fixture(scope="module")
def empty() -> Callable[[str], Ebseg]:
    """A model of the paper without memory for its weights."""

    def make(size: str) -> Ebseg:
        with torch.device("meta"):
            return Ebseg(CONFIGS[size])

    return make


@pytest.mark.parametrize("size", CONFIGS)
def test_every_published_tensor_has_one_place(size: str, empty: Callable[[str], Ebseg]) -> None:
    model, state = empty(size), checkpoint(size)
    converted = ebseg_state(state)
    problems = unmatched(model, converted)
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
def test_what_is_trained_is_what_the_published_code_trains(size: str, empty: Callable[[str], Ebseg]) -> None:
    shapes, trained = published(size)
    model = empty(size).freeze()
    marks = {key: torch.full((), float(key in trained)).expand(shape) for key, shape in shapes.items()}
    expected = {key for key, value in ebseg_state(marks).items() if value.flatten()[0] == 1}
    assert {name for name, p in model.named_parameters() if p.requires_grad} == expected
    assert (
        sum(p.numel() for p in model.parameters() if p.requires_grad) == {"base": 26_622_403, "large": 27_982_531}[size]
    )


def test_the_text_tower_is_open_clips() -> None:
    open_clip = pytest.importorskip("open_clip")
    tower = text_tower({"model": checkpoint("base")})
    with torch.device("meta"):
        theirs = open_clip.model.CLIP(**open_clip.get_model_config("ViT-B-16")).state_dict()
    expected = {key: tuple(value.shape) for key, value in theirs.items() if not key.startswith("visual.")}
    assert {key: tuple(value.shape) for key, value in tower.items() if key != "attn_mask"} == expected


def test_a_checkpoint_of_other_sizes_is_refused_with_names(empty: Callable[[str], Ebseg]) -> None:
    with pytest.raises(ModelError, match=r"EBSeg_large.pth is no EBSeg of the model's sizes: \d+ tensors do not match"):
        load_ebseg(empty("base"), checkpoint("large"), "EBSeg_large.pth")


def test_every_difference_is_reported(empty: Callable[[str], Ebseg]) -> None:
    model, state = empty("base"), checkpoint("base")
    del state["sem_seg_head.predictor.query_feat.weight"]
    state["backbone.neck.0.weight"] = torch.zeros(256, 768, 1, 1)
    state["backbone.pos_embed"] = torch.zeros(1, 14, 14, 768)
    state["optimizer.step"] = torch.zeros(())
    problems = unmatched(model, ebseg_state(state))
    assert problems.missing == ("decoder.query_feat.weight",)
    assert set(problems.left) == {"sam.neck.0.weight", "optimizer.step"}
    assert problems.shapes == (("sam.pos_embed", (1, 14, 14, 768), (1, 64, 64, 768)),)
    with pytest.raises(ModelError, match=r"4 tensors do not match: it lacks decoder.query_feat.weight; sam.pos_embed"):
        load_ebseg(model, state)


def test_what_is_no_ebseg_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"x.pth holds no EBSeg \(it begins with visual.conv1.weight\)"):
        ebseg_state({"state_dict": {}, "visual.conv1.weight": torch.zeros(1)}, "x.pth")
    with pytest.raises(ModelError, match="it begins with nothing"):
        ebseg_state({})
    state = checkpoint("base")
    state["clip_rec_head.proj"] = torch.ones(768, 512)
    with pytest.raises(ModelError, match="two different proj in clip_visual_extractor and clip_rec_head"):
        ebseg_state(state)
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(ModelError, match=r"cannot read .*broken.pth as a checkpoint"):
        read_checkpoint(broken)
    with pytest.raises(ModelError, match=r"cannot read .*none.pth"):
        read_checkpoint(tmp_path / "none.pth")
    torch.save([1], broken)
    with pytest.raises(ModelError, match="holds a list; expected a dict"):
        read_checkpoint(broken)


def test_a_file_as_detectron2_writes_it_is_read(tmp_path: Path) -> None:
    content = {"clip_visual_extractor.proj": torch.ones(2, 3), "ov_classifier.ln_final.bias": torch.ones(2)}
    torch.save({"model": content, "iteration": 7}, tmp_path / "model.pth")
    assert text_tower(read_checkpoint(tmp_path / "model.pth")).keys() == {"ln_final.bias"}

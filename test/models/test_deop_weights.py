"""The converter against the official model's list of keys, and against files that are something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.deop import Deop  # noqa: E402
from ovseg_ros.models.deop_prompt import PromptedText  # noqa: E402
from ovseg_ros.models.deop_weights import load_deop, read_checkpoint, split  # noqa: E402

KEYS = Path(__file__).parents[2] / ".." / "shared" / "golden" / "keys" / "deop_r101c_vitb16.txt"


@pytest.fixture(scope="module")
def official() -> dict[str, Any]:
    """The published model's state, without numbers."""
    if not KEYS.is_file():
        pytest.skip(f"the official key lists are not here ({KEYS.name} in ../shared/golden/keys)")
    rows = [line.split("\t") for line in KEYS.read_text().splitlines() if not line.startswith("#")]
    shapes = {row[0]: [int(x) for x in row[1].strip("[]").split(",") if x] for row in rows if len(row) == 4}
    assert len(shapes) == 1020
    return {key: torch.zeros(shape, device="meta") for key, shape in shapes.items()}


@pytest.fixture(scope="module")
def models() -> tuple[Deop, PromptedText]:
    with torch.device("meta"):
        return Deop(), PromptedText()


def test_every_official_key_has_its_place(official: dict[str, Any], models: tuple[Deop, PromptedText]) -> None:
    model, text = models
    ours, words, aside = split(official)
    shape = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert {key: tuple(value.shape) for key, value in ours.items()} == shape
    assert {key: tuple(value.shape) for key, value in words.items()} == {
        key: tuple(value.shape) for key, value in text.state_dict().items()
    }
    assert set(aside) == {"criterion.empty_weight", "decoder.norm.weight", "decoder.norm.bias"} | {
        "clip_adapter.clip_model.logit_scale"
    }
    lost = sum(official[key].numel() for key in aside) + 512 * 513  # and the value rows of the anchor projection
    kept = sum(value.numel() for value in (*ours.values(), *words.values()))
    assert kept + lost == sum(value.numel() for value in official.values())


def test_the_parameters_that_learn_are_the_official_ones(models: tuple[Deop, PromptedText]) -> None:
    """In the third stage: 7,713,792 officially, of which decoder.norm and the unused value rows are no part of ours."""
    model, text = models
    learning = sum(parameter.numel() for parameter in model.learn("anchors")) + text.context.numel()
    assert learning == 7_713_792 - 2 * 512 - 512 * 513


def test_a_wrong_file_names_all_that_differs(
    official: dict[str, Any], models: tuple[Deop, PromptedText], tmp_path: Path
) -> None:
    model, text = models
    wrong = {key: value for key, value in official.items() if key != "query_embedding.weight"}
    wrong["sem_seg_head.predictor.query_embed.weight"] = torch.zeros(50, 256, device="meta")
    wrong |= {"side_adapter.conv": torch.zeros(3), "clip_adapter.clip_model.rescale": torch.zeros(1)}
    with pytest.raises(ModelError) as error:
        load_deop(model, wrong, source="san.pth")
    message = str(error.value)
    assert message.startswith("san.pth is not of this model: it lacks anchors.queries.weight; ")
    assert "no place for clip_adapter.clip_model.rescale, side_adapter.conv" in message
    assert "proposer.sem_seg_head.predictor.query_embed.weight (50, 256) for (100, 256)" in message
    with pytest.raises(ModelError, match=r"lacks .* and .* more"):
        load_deop(model, {"epoch": 3})
    short = {key: value for key, value in official.items() if "prompt_learner" not in key}
    with pytest.raises(ModelError, match="lacks context, start, dot, end, pad"):
        load_deop(model, short, text)
    with pytest.raises(ModelError, match="there is no file"):
        read_checkpoint(tmp_path / "none.pth")
    (tmp_path / "page.pth").write_text("<html>quota exceeded</html>")
    with pytest.raises(ModelError, match=r"page\.pth cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "page.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match=r"list\.pth holds a list"):
        read_checkpoint(tmp_path / "list.pth")

"""The converter against the official model's list of keys, and against files that are something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.deop import Deop  # noqa: E402
from ovseg_ros.models.deop_prompt import PromptedText  # noqa: E402
from ovseg_ros.models.deop_weights import load_deop, split  # noqa: E402


@pytest.fixture(scope="module")
def official(hollow: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """The published model's state, without numbers."""
    state = hollow("deop_r101c_vitb16")
    assert len(state) == 1020
    return state


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


def test_a_wrong_file_names_all_that_differs(official: dict[str, Any], models: tuple[Deop, PromptedText]) -> None:
    model, text = models
    wrong = {key: value for key, value in official.items() if key != "query_embedding.weight"}
    wrong["sem_seg_head.predictor.query_embed.weight"] = torch.zeros(50, 256, device="meta")
    wrong |= {"side_adapter.conv": torch.zeros(3), "clip_adapter.clip_model.rescale": torch.zeros(1)}
    with pytest.raises(ModelError) as error:
        load_deop(model, wrong, source="san.pth")
    message = str(error.value)
    assert message.startswith("san.pth is not of this model: 4 tensors do not match: it lacks anchors.queries.weight; ")
    assert "the model has no clip_adapter.clip_model.rescale, side_adapter.conv;" in message
    assert "predictor.query_embed.weight is (50, 256) in it and (100, 256) in the model" in message
    with pytest.raises(ModelError, match=r"lacks .* and .* more"):
        load_deop(model, {"epoch": 3})
    short = {key: value for key, value in official.items() if "prompt_learner" not in key}
    with pytest.raises(ModelError, match="lacks context, start, dot, end, pad"):
        load_deop(model, short, text)

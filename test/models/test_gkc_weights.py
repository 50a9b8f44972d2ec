"""Checkpoints of the released code: every tensor finds its place, and a wrong file is told from a right one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.models.clip import VisionTransformer  # noqa: E402
from ovseg_ros.models.clip_config import ClipResNetConfig, ClipVisionConfig  # noqa: E402
from ovseg_ros.models.clip_resnet import ModifiedResNet  # noqa: E402
from ovseg_ros.models.clip_weights import load_clip  # noqa: E402
from ovseg_ros.models.converting import unmatched  # noqa: E402
from ovseg_ros.models.gkc import Gkc  # noqa: E402
from ovseg_ros.models.gkc_config import GkcConfig  # noqa: E402
from ovseg_ros.models.gkc_weights import load_gkc, split, start_from_clip, teacher_state, text_tower  # noqa: E402

SIZES = {"width": 64, "heads": 4, "queries": 6, "pixel_layers": 1, "pixel_mlp": 32, "layers": 2, "mlp": 32}
TINY = GkcConfig(ClipResNetConfig(64, (1, 1, 1, 1), 8, 4, 24), (1, 1, 2, 3), 20, **SIZES)
HEADS = {"embed_proj": "embed_proj.1", "aux_embed_proj": "aux_embed_porj_{}.1", "aux_kd_proj": "aux_kd_porj_{}"}


def empty(config: GkcConfig) -> Gkc:
    """A model without memory for its weights."""
    with torch.device("meta"):
        return Gkc(config)


def released(model: Gkc) -> dict[str, Any]:
    """A state under the released names, translated here by hand."""
    state = {}
    for key, value in model.state_dict().items():
        head, _, rest = key.partition(".")
        if head in ("aux_embed_proj", "aux_kd_proj"):
            number, _, rest = rest.partition(".")
            key = f"{HEADS[head].format(number)}.{rest}"
        elif head in ("embed_proj", "pixel_decoder"):
            key = f"{HEADS.get(head, 'sem_seg_head.pixel_decoder')}.{rest}"
        elif head == "decoder":
            key = f"sem_seg_head.predictor.{rest}"
        state[{"no_object": "non_object_embedding", "text_scale": "text_kd_logit_scale"}.get(key, key)] = value
    return state


def test_every_tensor_of_the_released_model_has_one_place(
    hollow: Callable[[str], dict[str, Any]], trained: Callable[[str], set[str]]
) -> None:
    state = hollow("gkc_r50")
    model = empty(GkcConfig.base())
    ours, aside = split(state)
    problems = unmatched(model.state_dict(), ours)
    assert not problems, str(problems)
    assert len(ours) + len(aside) == len(state) == 1155
    towers = text_tower(state), teacher_state(state)
    assert len(aside) == sum(len(tower) for tower in towers) + 2  # the loss's class weights
    learning = split({key: state[key] for key in trained("gkc_r50")})[0]
    assert learning.keys() == {name for name, _ in model.named_parameters()}
    assert sum(p.numel() for p in model.parameters()) == 49_351_970
    unused = sum(p.numel() for name, p in model.named_parameters() if name.startswith(("aux_", "kd_", "text_scale")))
    assert round((49_351_970 - unused) / 1e6, 1) == 44.4  # what the published model has at test time


def test_the_teacher_of_a_checkpoint_fits_our_resnet(hollow: Callable[[str], dict[str, Any]]) -> None:
    with torch.device("meta"):
        clip = ModifiedResNet(ClipResNetConfig(image_size=512), resize="bilinear")
    load_clip(clip.to_empty(device="cpu"), teacher_state(hollow("gkc_r50")))


def test_a_released_checkpoint_is_loaded_with_and_without_a_teacher() -> None:
    torch.manual_seed(0)
    source = Gkc(TINY)
    state = released(source)
    assert {"embed_proj.1.weight", "aux_kd_porj_1.bias", "backbone.conv1.weight"} <= state.keys()
    model = Gkc(TINY)
    assert load_gkc(model, {"model": {**state, "criterion.empty_weight": torch.ones(4)}}) == {
        "criterion.empty_weight": "the loss's class weights"
    }
    pixels = torch.randn(1, 3, 32, 64)
    for ours, theirs in zip(model.eval()(pixels), source.eval()(pixels), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    model = Gkc(dataclasses.replace(TINY, teacher=None)).eval()
    aside = load_gkc(model, state)
    assert len(aside) == 2 + 4 + 1
    assert set(aside.values()) == {"serves distillation, and the model has no teacher"}
    assert torch.equal(model(pixels)[-1].masks, source(pixels)[-1].masks)


def test_what_does_not_match_is_an_error_and_changes_nothing() -> None:
    torch.manual_seed(0)
    model = Gkc(TINY)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = released(Gkc(TINY))
    wrong = {
        "lacks embed_proj.weight": {key: value for key, value in state.items() if key != "embed_proj.1.weight"},
        "the model has no sem_seg_head.other": {**state, "sem_seg_head.other": torch.zeros(1)},
        r"no_object is \(1, 16\) in it and \(1, 24\) in the model": {
            **state,
            "non_object_embedding": torch.zeros(1, 16),
        },
        "gkc.pth is no GKC": {"visual.conv1.weight": torch.zeros(3)},
    }
    for message, bad in wrong.items():
        with pytest.raises(ModelError, match=message):
            load_gkc(model, bad, "gkc.pth")
    with pytest.raises(ModelError, match="model is a list"):
        load_gkc(model, {"model": []})
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_the_trunk_starts_from_clip_and_the_rest_stays() -> None:
    torch.manual_seed(0)
    model = Gkc(TINY)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    clip = ModifiedResNet(ClipResNetConfig(64, (1, 1, 1, 1), 8, 4, 24))
    start_from_clip(model, {f"visual.{key}": value for key, value in clip.state_dict().items()})
    for key, value in model.state_dict().items():
        expected = clip.state_dict()[key.removeprefix("backbone.")] if key.startswith("backbone.") else before[key]
        assert torch.equal(value, expected), key
    sizes = ClipVisionConfig(64, 16, 32, 3, 2, 64, 24)
    vit = VisionTransformer(sizes)
    state = {key.replace("blocks.", "transformer.resblocks."): value for key, value in vit.state_dict().items()}
    model = Gkc(dataclasses.replace(TINY, clip=sizes))
    start_from_clip(model, {"visual." + key: value for key, value in state.items()})
    pixels = torch.randn(1, 3, 64, 64)
    assert torch.equal(model.backbone.clip(pixels), vit(pixels))
    with pytest.raises(ModelError, match="another architecture"):
        start_from_clip(Gkc(TINY), {"visual." + key: value for key, value in state.items()}, "vit.pt")

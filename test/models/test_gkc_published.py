"""GKC against the published code's tensors, from the trunk to the loss, and what learns from that loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.models.clip_config import ClipResNetConfig, ClipVisionConfig  # noqa: E402
from ovseg_ros.models.gkc import Gkc, GkcDecoder  # noqa: E402
from ovseg_ros.models.gkc_config import GkcConfig  # noqa: E402
from ovseg_ros.models.gkc_trunk import ResNetTrunk  # noqa: E402
from ovseg_ros.models.gkc_weights import split, start_from_clip  # noqa: E402
from ovseg_ros.models.mask2former import DecoderConfig  # noqa: E402
from ovseg_ros.models.mask_read_out import class_map  # noqa: E402
from ovseg_ros.training.diversification import draw_names, name_table  # noqa: E402
from ovseg_ros.training.losses.criterion import MaskLosses, total  # noqa: E402
from ovseg_ros.training.losses.gkc import GkcLosses, GkcState, GkcTeaching, GkcWords, gkc_terms  # noqa: E402
from ovseg_ros.training.matching import MatchCost, Segments  # noqa: E402

Far = Callable[[Any, Any], float]
Golden = Callable[..., dict[str, Any]]
SIZES = {"width": 64, "heads": 4, "queries": 6, "pixel_layers": 1, "pixel_mlp": 32, "layers": 2, "mlp": 32}
TINY = GkcConfig(ClipResNetConfig(64, (1, 1, 1, 1), 8, 4, 24), (1, 1, 2, 3), 20, **SIZES)
TRUNKS = {
    "resnet": TINY,
    "vit": dataclasses.replace(TINY, clip=ClipVisionConfig(64, 16, 32, 3, 2, 64, 24, quick_gelu=True)),
}


def random_words(k: int) -> Any:
    return F.normalize(torch.randn(k, 24, generator=torch.Generator().manual_seed(k)), dim=-1)


def with_heads(data: dict[str, Any]) -> Gkc:
    """A model with the heads of a golden file, whose queries are narrower than our pixel decoder can be."""
    model = Gkc(TINY)
    weights, aside = split(data["w"])
    assert set(aside) == {"empty_weight"}
    for name in {key.rpartition(".")[0] for key in weights if "proj" in key}:
        layer = torch.nn.Linear(*reversed(weights[f"{name}.weight"].shape))
        model.set_submodule(name, layer)
    heads = {key: value for key, value in model.state_dict().items() if key in weights}
    assert heads.keys() == weights.keys()
    model.load_state_dict(weights, strict=False)
    return model


def test_the_published_decoder_in_every_state(golden: Golden, far: Far) -> None:
    data = golden("gkc_decoder")
    decoder = GkcDecoder(DecoderConfig(32, 32, 9, 3, 8, 64, 48)).requires_grad_(False)
    decoder.load_state_dict(data["w"])
    maps = [data[f"in/{name}"] for name in ("ms0_res5", "ms1_res4", "ms2_res3")]
    states = decoder.states(maps, data["in/mask_features"])
    assert len(states) == 4
    for state, name in zip(states, ("state0", "state1", "state2", "last"), strict=True):
        assert far(state.masks, data[f"out/masks_{name}"]) < 1e-5
        assert far(decoder.class_embed(state.query), data[f"out/f_query_{name}"]) < 1e-5
    deployed = decoder.last_state(maps, data["in/mask_features"])
    assert far(deployed.masks, data["out/masks_last"]) < 1e-4


def test_the_published_trunk_without_its_pool(golden: Golden, far: Far) -> None:
    data = golden("gkc_clip_resnet")
    model = Gkc(dataclasses.replace(TINY, clip=ClipResNetConfig(96, (2, 1, 2, 1), 8, 32, 24)))
    start_from_clip(model, data["w"])
    model.eval().requires_grad_(False)
    assert isinstance(model.backbone, ResNetTrunk)
    assert not any("attnpool" in key for key in model.state_dict())
    for number, found in enumerate(model.backbone.maps(data["in/image"]), start=2):
        assert far(found, data[f"out/res{number}"]) < 1e-5


def test_the_published_inference_with_names_of_classes(golden: Golden, far: Far) -> None:
    data = golden("gkc_inference_readout")
    model = with_heads(data)
    embeddings = model.embed(data["in/f_query"])
    assert far(embeddings, data["mid/vision_embedding_normed"]) < 1e-6
    names, owner = F.normalize(data["in/name_embeddings_unnormalised"][0], dim=-1), data["in/name2class"]
    classes = [names[owner == k] for k in range(4)]
    most = max(len(own) for own in classes)
    text = torch.stack([own[torch.arange(most) % len(own)] for own in classes])  # padded by repeating
    padded, image, out = (tuple(data[f"in/{name}"].tolist()) for name in ("padded_hw", "img_hw", "out_hw"))
    maps = class_map(data["in/mask_logits"], model.classes(embeddings, text), padded, image)
    found = F.interpolate(maps, size=out, mode="bilinear", align_corners=False)
    assert far(found[0], data["out/sem_seg"]) < 1e-5


def test_the_published_heads_of_every_state_give_the_published_loss(golden: Golden) -> None:
    data = golden("gkc_losses_thresRand")
    model = with_heads(data).requires_grad_(False)
    states = []
    for i in range(3):
        own, students = model.heads(data[f"in/state{i}_f_query(class_embed output)"], i)
        states.append(GkcState(data[f"in/state{i}_mask_logits"], own, students))
    with np.load(Path(__file__).parents[2] / ".." / "shared" / "golden" / "gkc_losses_thresRand.npz") as arrays:
        masks = [torch.from_numpy(arrays[f"in/img{i}_gt_masks"]) for i in range(2)]  # `golden` reads no bool
    truth = [Segments(F.pad(m, (0, 24)), data[f"in/img{i}_gt_classes"]) for i, m in enumerate(masks)]
    table = data["in/text_table"]
    tokens = torch.nn.utils.rnn.pad_sequence([data[f"in/img{i}_syn_tokens"][:, 0] for i in range(2)], batch_first=True)
    words = GkcWords(
        table[data["in/plain_token"][:, 0]],
        model.no_object,
        model.logit_scale.exp(),
        table[tokens],
        labels=[data[f"in/img{i}_syn_labels"] for i in range(2)],
    )
    teachers = [data[f"in/img{i}_teacher_unnormalised"] for i in range(2)]
    teaching = GkcTeaching([torch.arange(len(own)) for own in teachers], teachers, model.text_scale)
    losses = GkcLosses(MaskLosses(classes=(), cost=MatchCost(2.0, 5.0, 5.0, points=64), points=48), region_dropout=0.0)
    draws = iter([data[key] for key in sorted(data) if key.startswith("rand/torch")])
    terms = gkc_terms(states, truth, words, teaching, losses, lambda shape: next(draws))
    found, expected = total(terms)[0], data["out/total"]
    assert abs(float(found / expected) - 1) < 1e-5


@pytest.mark.parametrize("trunk", TRUNKS)
def test_all_of_it_learns_from_masks_names_and_the_teacher(trunk: str) -> None:
    torch.manual_seed(0)
    model = Gkc(TRUNKS[trunk])
    with torch.no_grad():  # some layers start at zero and pass nothing on
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    states = [GkcState(*state) for state in model(torch.randn(2, 3, 64, 64))]
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, :20], masks[1, 30:, 10:40] = True, True
    truth = [Segments(masks, torch.tensor([0, 2])), Segments(masks[:0], torch.zeros(0, dtype=torch.int64))]
    rng = np.random.default_rng(0)
    lists = [
        draw_names(["a", "b", "c"], [0, 2], [("a", "d"), ("c", "e", "f")], rng),
        draw_names(["a", "b", "c"], [], [], rng),
    ]
    table = name_table(lists, lambda names: random_words(len(names)))
    words = GkcWords(
        random_words(3), model.no_object, model.logit_scale.exp(), table.names, None, table.labels, table.real
    )
    teaching = GkcTeaching(
        [torch.arange(2), torch.arange(0)], [torch.randn(2, 20), torch.zeros(0, 20)], model.text_scale
    )
    losses = GkcLosses(MaskLosses(classes=(), points=16, cost=MatchCost(points=16)), region_dropout=0.0)
    terms = gkc_terms(states, truth, words, teaching, losses)
    assert {name.split("/")[0] for name in terms} == {"mask", "dice", "class", "synonym", "distill"}
    total(terms)[0].backward()
    idle = {name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())}
    assert not idle
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)

"""EBSeg whole: against the published code's outputs, and against its own parts run the long way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.models.balance import Exponents, ebseg_exponents  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.ebseg import Ebseg, class_map  # noqa: E402
from ovseg_ros.models.ebseg_clip import recognise  # noqa: E402
from ovseg_ros.models.ebseg_config import EbsegConfig  # noqa: E402
from ovseg_ros.models.ebseg_inputs import padded_inputs  # noqa: E402
from ovseg_ros.models.ebseg_pooling import pool_inside  # noqa: E402
from ovseg_ros.models.ebseg_weights import load_ebseg  # noqa: E402
from ovseg_ros.models.onepass import OnePass  # noqa: E402
from ovseg_ros.models.sam.config import SamEncoderConfig  # noqa: E402

Golden = Callable[..., dict[str, Any]]
Far = Callable[[Any, Any], float]

GOLDEN = Path(__file__).parents[2] / ".." / "shared" / "golden"
TINY = EbsegConfig(
    clip=ClipVisionConfig(64, 16, 48, 12, 12, 192, 40, quick_gelu=True),
    sam=SamEncoderConfig(64, 16, 24, 8, 4, 96, window=3, global_blocks=(1, 3, 5, 7), neck=0),
    sam_taps=(2, 4, 6, 8),
    width=32,
    queries=10,
    pixel_layers=2,
    pixel_mlp=48,
    layers=3,
    mlp=64,
)


@pytest.fixture(scope="module")
def official(golden: Golden) -> tuple[dict[str, Any], Ebseg, Any]:
    """The golden file, our model with its weights, and its picture (1, 3, H, W)."""
    data = golden("ebseg_e2e")
    model = Ebseg(TINY).eval().requires_grad_(False)
    load_ebseg(model, data["w"])
    with np.load(GOLDEN / "ebseg_e2e.npz") as arrays:
        image = torch.from_numpy(arrays["in/image_uint8"])[None]
    return data, model, image


def test_every_step_is_ebsegs(official: tuple[dict[str, Any], Ebseg, Any], far: Far) -> None:
    data, model, image = official
    sam, clip = padded_inputs(image, TINY.clip, 0.5)
    assert far(sam, data["mid/sam_input"]) < 1e-5
    assert far(clip, data["mid/clip_input"]) < 1e-5
    for i, (tap, scale) in enumerate(zip(model.sam.taps(sam, TINY.sam_taps), (4.0, 2.0, 1.0, 0.5), strict=True)):
        assert far(F.interpolate(tap, scale_factor=scale, mode="bilinear"), data[f"mid/sam_res{i + 2}"]) < 1e-5
    encoded = model.encode(sam, clip, second=True)
    for i, found in zip((3, 6, 9), encoded.streams.maps, strict=True):
        assert far(found, data[f"mid/ext_map_{i}"]) < 1e-5
    assert far(encoded.streams.tokens[:, :1].transpose(0, 1), data["mid/ext_cls_9"]) < 1e-5
    assert encoded.streams.second is not None
    assert far(encoded.streams.second.transpose(0, 1), data["mid/last_surgery"]) < 1e-5
    state = model.decoder.last_state(encoded.levels, encoded.mask_features)
    assert far(state.masks, data["mid/mask_logits_last"]) < 1e-4
    assert far(model.decoder.bias_maps(state.mask_embedding, encoded.mask_features), data["mid/attn_bias_last"]) < 1e-4
    masks, embeddings = model.propose(sam, clip)
    assert torch.equal(masks, state.masks)
    text = data["in/text_embeddings"][:, None]
    for name, found in zip("ADB", embeddings.split(40, dim=-1), strict=True):
        assert far(found, data[f"mid/{name}"]) < 1e-4
        assert far(model.logits(found, text), data[f"mid/logits_{name}"]) < 1e-4
    assert (
        far(model.classes(embeddings, text, data["in/seen"])[0], data["mid/log_class_probs_with_bg"].exp()[:, :-1])
        < 1e-4
    )


def test_the_class_map_is_ebsegs(official: tuple[dict[str, Any], Ebseg, Any], far: Far) -> None:
    data, model, image = official
    out = tuple(int(side) for side in data["in/out_hw"])
    found = class_map(model, image, data["in/text_embeddings"][:, None], out, data["in/seen"])[0]  # type: ignore[arg-type]
    expected = data["out/sem_seg"]
    assert float((found - expected).abs().max()) < 1e-4
    assert far(found, expected) < 1e-5


@pytest.mark.parametrize(("size", "config"), [("B", EbsegConfig.base()), ("L", EbsegConfig.large())])
def test_the_balance_is_ebsegs(golden: Golden, far: Far, size: str, config: EbsegConfig) -> None:
    data = {key.removeprefix(f"{size}/"): value for key, value in golden("ebseg_balance").items()}
    *words, background = data["in_text_with_bg"]
    model = Ebseg(replace(TINY, clip=replace(TINY.clip, embed_dim=16))).requires_grad_(False)
    model.exponents = ebseg_exponents(config.alpha, config.beta, config.gamma)
    model.bg_embed.copy_(3 * background[None])  # its length does not matter
    surgery = data["in_surgery_map"]
    small = F.interpolate(data["in_mask_logits"], size=surgery.shape[2:], mode="bilinear")
    d = pool_inside(small, surgery)
    assert not d[0, 0].any()  # the first mask is empty
    embeddings = torch.cat([data["in_A"], d, data["in_B"]], dim=-1)
    found = model.classes(embeddings, torch.stack(words)[:, None], data["in_seen"])
    assert far(found[0], data["mid_log_class_probs"].exp()[:, :-1]) < 1e-5


@pytest.fixture(scope="module")
def mini() -> Ebseg:
    """A small model with weights that hide no mistake."""
    torch.manual_seed(0)
    model = Ebseg(TINY).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.dim() == 1:
                tensor += 0.2 * torch.randn(tensor.shape)
            elif "rel_pos" in name or "sampling_offsets" in name:
                tensor.normal_(std=0.3)
            elif name.startswith(("decoder.query", "decoder.mask_embed", "decoder.attn_proj")):
                tensor.mul_(4.0)  # or all proposals would be much the same
    return model


def pixels_of(height: int, width: int, count: int = 1) -> Any:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(height + width))


def words_of(count: int, synonyms: int = 1) -> Any:
    return F.normalize(torch.randn(count, synonyms, 40, generator=torch.Generator().manual_seed(count)), dim=-1)


@torch.no_grad()
def test_training_sees_the_states_that_deployment_takes_the_last_of(mini: Ebseg, far: Far) -> None:
    pixels = pixels_of(64, 96, 2)
    states = mini(pixels)
    assert len(states) == 4
    masks, embeddings = mini.features(pixels, words_of(3))
    a, _, b = embeddings.split(40, dim=-1)
    assert far(masks, states[-1].masks) < 1e-5
    assert far(a, states[-1].a) < 1e-5
    assert far(b, states[-1].b) < 1e-5
    assert far(states[0].b, states[-1].b) > 1e-3


@torch.no_grad()
def test_b_of_every_state_is_what_a_run_for_it_alone_gives(mini: Ebseg, far: Far) -> None:
    pixels = pixels_of(64, 64)
    encoded = mini.encode(pixels, F.interpolate(pixels, scale_factor=0.5, mode="bilinear"), second=False)
    states = mini.decoder.states(encoded.levels, encoded.mask_features)
    together = mini.decoder.biases(
        torch.cat([state.mask_embedding for state in states], dim=1), encoded.mask_features, encoded.streams.grid
    )
    many, _ = recognise(mini.clip, encoded.streams, 9, together)
    for state, part in zip(states, many.split(10, dim=1), strict=True):
        bias = mini.decoder.biases(state.mask_embedding, encoded.mask_features, encoded.streams.grid)
        assert far(part, recognise(mini.clip, encoded.streams, 9, bias)[0]) < 1e-5


def test_training_reaches_all_that_the_paper_trains_and_nothing_else(mini: Ebseg) -> None:
    trained = {name for name, p in mini.freeze().named_parameters() if p.requires_grad}
    states = mini(pixels_of(64, 64))
    text = words_of(3, 2)
    loss = torch.stack(
        [mini.logits(s.a, text).square().mean() + mini.logits(s.b, text).square().mean() for s in states]
    ).sum()
    (loss + torch.stack([s.masks.square().mean() for s in states]).sum()).backward()
    reached = {name for name, p in mini.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert all(p.grad is None or p.grad.isfinite().all() for p in mini.parameters())
    mini.zero_grad()
    assert reached == trained
    assert {"bg_embed", "sam.pos_embed", "clip.positions.table", "decoder.bias_scaling.weight"} <= trained
    assert not any(name.startswith(("sam.blocks", "clip.blocks")) for name in trained)
    whole = {name for name, p in mini.freeze(sam=False).named_parameters() if p.requires_grad}
    assert whole - trained == {n for n, _ in mini.named_parameters() if n.startswith("sam.")} - {"sam.pos_embed"}


@torch.no_grad()
def test_what_the_balance_leaves_out_is_not_computed(mini: Ebseg, monkeypatch: pytest.MonkeyPatch, far: Far) -> None:
    pixels, text, seen = pixels_of(64, 64), words_of(4, 2), torch.tensor([1.0, 0.0, 1.0, 0.0])
    a, d, b = mini.features(pixels, text).embeddings.split(40, dim=-1)
    on, off = Exponents(1, 1), Exponents(0, 0)
    for kept, chosen, embedding in (((on, off, off), "a", a), ((off, on, off), "d", d), ((off, off, on), "b", b)):
        monkeypatch.setattr(mini, "exponents", kept)
        found = mini.features(pixels, text).embeddings
        assert found.shape[-1] == (40 if chosen == "a" else 80)
        logits = mini.logits(embedding, text)[..., :-1]
        void = mini.logits(a, text).softmax(dim=-1)[..., -1:]
        assert far(mini.classes(found, text, seen), logits.softmax(dim=-1) * (1 - void)) < 1e-5


@torch.no_grad()
def test_a_seen_name_changes_the_balance(mini: Ebseg) -> None:
    text = words_of(4, 2)
    embeddings = mini.features(pixels_of(64, 64), text).embeddings
    new = mini.classes(embeddings, text)
    mini.seen.remember(text[2, 1:])
    try:
        found = mini.classes(embeddings, text)
        assert torch.equal(found, mini.classes(embeddings, text, torch.tensor([0.0, 0.0, 1.0, 0.0])))
        assert not torch.allclose(found, new)
    finally:
        mini.seen.remember(torch.zeros(0, 40))


@torch.no_grad()
def test_empty_masks_and_one_word_leave_numbers(mini: Ebseg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini.decoder.mask_embed, "forward", lambda x: torch.zeros_like(x[..., :32]))
    masks, embeddings = mini.features(pixels_of(64, 64), words_of(1))
    assert not (masks > 0).any()
    _, d, _ = embeddings.split(40, dim=-1)
    assert not d.any()  # of nothing: 0, so that every class is as likely
    for count in (1, 5):
        classes = mini.classes(embeddings, words_of(count))
        assert classes.isfinite().all()
        assert (classes >= 0).all()
    image = torch.zeros(1, 50, 70, 3, dtype=torch.uint8)
    labels, confidence = OnePass(mini, (64, 96))(image, words_of(3))
    assert labels.shape == confidence.shape == (1, 50, 70)


def test_sizes_that_do_not_fit_are_refused(mini: Ebseg) -> None:
    with pytest.raises(ValueError, match="70x96 is no multiple of 32"):
        OnePass(mini, (70, 96))
    with pytest.raises(ValueError, match="multiples of the patch"):
        mini.features(pixels_of(70, 96), words_of(1))
    with pytest.raises(ValueError, match="less than a patch of 16"):
        mini.features(pixels_of(16, 64), words_of(1))
    with pytest.raises(ValueError, match="reaches past recognise_from"):
        replace(TINY, fused=(3, 6, 10))
    with pytest.raises(ValueError, match="under CLIP's 12 blocks"):
        replace(TINY, recognise_from=12)
    with pytest.raises(ValueError, match="and no neck"):
        replace(TINY, sam=SamEncoderConfig())


@torch.no_grad()
def test_the_deployed_labels_are_those_of_the_class_map(
    mini: Ebseg, words_apart: Callable[[Any, Any, int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8))
    x = image.permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(y).reshape(1, 3, 1, 1) for y in (mini.pixel_mean, mini.pixel_std))
    text = words_apart(mini, (x - mean) / std, 5)
    expected = class_map(mini, image.permute(0, 3, 1, 2), text, (64, 96), torch.zeros(5)).argmax(dim=1)
    assert len(expected.unique()) > 2
    # masks enlarged before they are mixed, as published; or after, which differs at their borders: here, everywhere
    for fine, least in ((True, 0.9999), (False, 0.8)):
        monkeypatch.setattr(mini, "fine", fine)
        labels, _ = OnePass(mini, (64, 96))(image, text)
        assert (labels == expected).float().mean() > least

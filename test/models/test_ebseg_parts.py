"""EBSeg's own parts against the published code's outputs and against loops."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.evaluation.datasets import class_list  # noqa: E402
from ovseg_ros.models.attention import Context  # noqa: E402
from ovseg_ros.models.clip import VisionTransformer  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.clip_weights import load_clip  # noqa: E402
from ovseg_ros.models.ebseg_clip import extract, recognise  # noqa: E402
from ovseg_ros.models.ebseg_decoder import AdabDecoder, LateUpsampling  # noqa: E402
from ovseg_ros.models.ebseg_inputs import for_clip, padded_inputs  # noqa: E402
from ovseg_ros.models.ebseg_pooling import max_pool, pool_inside  # noqa: E402
from ovseg_ros.models.ebseg_words import SeenWords  # noqa: E402
from ovseg_ros.models.mask2former import DecoderConfig  # noqa: E402

Golden = Callable[..., dict[str, Any]]
Far = Callable[[Any, Any], float]

GOLDEN = Path(__file__).parents[2] / ".." / "shared" / "golden"  # for uint8, which the fixture leaves out
SMALL = DecoderConfig(16, 16, 5, 1, 2, 16, 16)
TINY_CLIP = ClipVisionConfig(64, 16, 48, 12, 12, 192, 40, quick_gelu=True)


@pytest.fixture(scope="module")
def surgery(golden: Golden) -> tuple[dict[str, Any], Any]:
    data = golden("ebseg_clip_surgery", "w_clip_plain/")
    model = VisionTransformer(TINY_CLIP).requires_grad_(False)
    load_clip(model, data["w"])
    return data, model


def test_two_streams_and_queries_are_ebsegs(surgery: tuple[dict[str, Any], Any], far: Far) -> None:
    data, model = surgery
    streams = extract(model, data["in/image"], 9, (1, 2, 3, 6, 9), 2)
    for i, found in zip((1, 2, 3, 6, 9), streams.maps, strict=True):
        assert far(found, data[f"out/ext_map_{i}"]) < 1e-5
    assert far(streams.tokens[:, :1].transpose(0, 1), data["out/ext_cls_9"]) < 1e-5
    assert streams.second is not None
    assert far(streams.second.transpose(0, 1), data["out/ext_last_surgery"]) < 1e-5
    bias = max_pool(data["in/attn_bias"].flatten(0, 1), streams.grid).reshape(2, 12, 7, 15)
    b, dense = recognise(model, streams, 9, bias)
    assert far(b, data["out/B"]) < 1e-5
    assert far(dense, data["out/surgery_map_normalised"]) < 1e-5


def test_training_runs_one_stream_and_all_states_at_once(surgery: tuple[dict[str, Any], Any], far: Far) -> None:
    data, model = surgery
    streams = extract(model, data["in/image"], 9, (9,), None)
    assert far(streams.maps[0], data["out/train_ext_map_9"]) < 1e-5
    bias = max_pool(data["in/attn_bias"].flatten(0, 1), streams.grid).reshape(2, 12, 7, 15)
    other = torch.randn(bias.shape, generator=torch.Generator().manual_seed(0))
    b, dense = recognise(model, streams, 9, torch.cat([other, bias], dim=2))
    assert dense is None
    assert far(b[:, 7:], data["out/train_B"]) < 1e-5
    assert far(b[:, :7], recognise(model, streams, 9, other)[0]) < 1e-5
    assert far(b[:, :7], b[:, 7:]) > 1e-3


def adab(data: dict[str, Any]) -> AdabDecoder:
    decoder = AdabDecoder(DecoderConfig(32, 32, 10, 4, 8, 64, 32), 40, 12).requires_grad_(False)
    decoder.load_state_dict(data["w"])
    return decoder


@pytest.mark.parametrize("name", ["ebseg_adab_decoder", "ebseg_adab_decoder_blockedrows"])
def test_every_state_is_ebsegs(golden: Golden, far: Far, name: str) -> None:
    data = golden(name)
    decoder, features = adab(data), data["in/mask_features"]
    levels = [data[f"in/{level}"] for level in ("ms0_res5", "ms1_res4", "ms2_res3")]
    states = decoder.states(levels, features)
    assert len(states) == 5
    for i, state in enumerate(states):
        normed = decoder.decoder_norm(data[f"mid/state{i}_query"].transpose(0, 1))
        assert far(state.query, normed) < 1e-5
        assert far(state.masks, data[f"out/state{i}_pred_masks"]) < 1e-5
        assert far(decoder.embedding(state.query, state.masks, features), data[f"out/state{i}_A"]) < 1e-5
        if f"out/state{i}_attn_bias" in data:
            assert far(decoder.bias_maps(state.mask_embedding, features), data[f"out/state{i}_attn_bias"]) < 1e-5


def test_the_length_of_a_is_learned_up_to_ten(golden: Golden) -> None:
    data = golden("ebseg_adab_decoder")
    decoder, masks = adab(data), data["out/state4_pred_masks"]
    queries = decoder.decoder_norm(data["mid/state4_query"].transpose(0, 1))
    for learned, length in ((1.7, 1.7), (13.0, 10.0)):
        decoder.logit_scale.fill_(learned)
        a = decoder.embedding(queries, masks, data["in/mask_features"])
        torch.testing.assert_close(a.norm(dim=-1), torch.full((2, 10), length))


def test_enlarging_after_a_convolution_is_enlarging_before_it() -> None:
    torch.manual_seed(0)
    layer = LateUpsampling(6, 8, 1, norm=torch.nn.GroupNorm(4, 8)).requires_grad_(False)
    x = torch.randn(2, 6, 3, 5)
    up = F.interpolate(x, scale_factor=4, mode="bilinear")
    torch.testing.assert_close(layer(x), layer.norm(F.conv2d(up, layer.weight)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.6, -0.6])
def test_projecting_queries_is_projecting_pixels(scale: float) -> None:
    torch.manual_seed(0)
    heads = AdabDecoder(SMALL, 8, 3).requires_grad_(False)
    heads.bias_scaling.weight.fill_(scale)
    queries, features = torch.randn(2, 5, 16), torch.randn(2, 16, 12, 20)
    maps = heads.attn_proj(features.permute(0, 2, 3, 1)).reshape(2, 12, 20, 3, 16)  # the paper's G
    plain = torch.einsum("nqc,nyxhc->nhqyx", queries, maps) * scale + heads.bias_scaling.bias
    torch.testing.assert_close(heads.bias_maps(queries, features), plain, atol=1e-5, rtol=1e-4)
    pooled = F.adaptive_max_pool2d(plain.flatten(0, 1), (3, 4)).reshape(2, 3, 5, 12)
    torch.testing.assert_close(heads.biases(queries, features, (3, 4)), pooled, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("size", "grid"), [((24, 40), (3, 5)), ((23, 41), (3, 5)), ((7, 9), (5, 9)), ((5, 3), (1, 2))])
def test_max_pooling_is_torchs(size: tuple[int, int], grid: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    assert torch.equal(max_pool(x, grid), F.adaptive_max_pool2d(x, grid))


def test_pooling_is_a_mean_where_masks_are_and_zero_where_none_is() -> None:
    generator = torch.Generator().manual_seed(2)
    masks, features = torch.randn(2, 3, 4, 5, generator=generator), torch.randn(2, 6, 4, 5, generator=generator)
    masks[:, 1] = -1.0
    found = pool_inside(masks.requires_grad_(), features.requires_grad_())
    for n in range(2):
        for q in range(3):
            cells = [features[n, :, y, x] for y in range(4) for x in range(5) if masks[n, q, y, x] > 0]
            expected = torch.stack(cells).mean(dim=0) if cells else torch.zeros(6)
            torch.testing.assert_close(found[n, q], expected)
    found.sum().backward()
    assert masks.grad is None
    assert features.grad is not None


def test_an_empty_mask_leaves_a_finite() -> None:
    heads = AdabDecoder(SMALL, 8, 3)
    a = heads.embedding(torch.zeros(1, 2, 16), torch.full((1, 2, 4, 4), -5.0), torch.randn(1, 16, 4, 4))
    assert a.isfinite().all()
    a.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in heads.parameters())


def test_inputs_are_ebsegs(golden: Golden, far: Far) -> None:
    data = golden("ebseg_preprocess")
    with np.load(GOLDEN / "ebseg_preprocess.npz") as arrays:
        image = torch.from_numpy(arrays["in/image_uint8"])[None]
    for scale, name in ((0.5, "ViT-B_0.5"), (0.7, "ViT-L_0.7")):
        sam, clip = padded_inputs(image, TINY_CLIP, scale)
        assert far(sam, data["out/sam_input"]) < 1e-5
        assert far(clip, data[f"out/clip_input_{name}"]) < 1e-5


@pytest.mark.parametrize("scale", [0.5, 0.7])
def test_without_padding_one_normalised_image_is_enough(far: Far, scale: float) -> None:
    image = torch.randint(0, 256, (2, 3, 64, 96), generator=torch.Generator().manual_seed(3))
    sam, clip = padded_inputs(image, TINY_CLIP, scale)
    assert far(for_clip(sam, TINY_CLIP, scale), clip) < 1e-5


def embedding_of(name: str, width: int = 32) -> Any:
    """A unit vector that only this name has."""
    return F.normalize(torch.randn(width, generator=torch.Generator().manual_seed(zlib.crc32(name.encode()))), dim=0)


def test_a_class_is_seen_when_one_of_its_names_is() -> None:
    trained = ["person", "traffic light", "sky", "tree", "road"]
    vocabulary = [["human", "person"], ["lamp", "lantern"], ["sky", "sky"], ["roads", "street"], ["road", "way"]]
    model = SeenWords(32)
    text = torch.stack([torch.stack([embedding_of(name) for name in names]) for names in vocabulary])
    assert model(text).tolist() == [0.0] * 5
    model.remember(torch.stack([embedding_of(name) for name in trained]))
    expected = [float(not set(names).isdisjoint(trained)) for names in vocabulary]
    assert expected == [1.0, 0.0, 1.0, 0.0, 1.0]
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert model.to(dtype)(text.to(dtype)).tolist() == expected
    other = SeenWords(32)
    other.load_state_dict(model.float().state_dict())
    assert other(text).tolist() == expected


def test_seen_words_of_another_kind_are_refused() -> None:
    model = SeenWords(32)
    with pytest.raises(ValueError, match=r"are \(4, 16\); expected \(W, 32\)"):
        model.remember(torch.zeros(4, 16))
    with pytest.raises(ValueError, match="not of length 1"):
        model.remember(torch.ones(4, 32))


@pytest.mark.parametrize(
    ("dataset", "key", "count"),
    [
        ("voc20", "voc_sem_seg_val", 20),
        ("pc59", "pcontext_sem_seg_val", 51),
        ("pc459", "pcontext_full_sem_seg_val", 94),
        ("ade150", "ade20k_sem_seg_val", 67),
        ("ade847", "ade20k_full_sem_seg_val", 115),
    ],
)
def test_flags_by_embeddings_are_ebsegs_flags_by_names(golden: Golden, dataset: str, key: str, count: int) -> None:
    def rows(names: list[str]) -> Any:
        return torch.stack([embedding_of(" ".join(name.casefold().split()), 128) for name in names])

    trained = [name for names in class_list("stuff", "multi").synonyms for name in names]
    model = SeenWords(128)
    model.remember(rows(trained))
    classes = class_list(dataset, "multi").synonyms
    most = max(map(len, classes))
    text = torch.stack([rows([*names, *names[:1] * (most - len(names))]) for names in classes])  # padded by repeating
    assert model(text).tolist() == golden("ebseg_seen_flags")[key].tolist()
    assert model(text).sum() == count


def test_the_second_stream_may_begin_in_the_recognition_head(surgery: tuple[dict[str, Any], Any], far: Far) -> None:
    data, model = surgery
    streams = extract(model, data["in/image"], 9, (9,), 9)
    assert streams.second is not None
    assert torch.equal(streams.second, streams.tokens)
    x = second = streams.tokens
    for i in range(9, 12):
        heads = model.attention(i).project(model.normed(i, x))
        values = heads["v"]
        shares = (values @ values.transpose(-1, -2) * 4**-0.5).softmax(dim=-1)  # heads of four channels
        second = second + model.attention(i).merge(shares @ values)
        x = model.step(i, x, Context(streams.grid))
    expected = F.normalize(model.project(second), dim=-1)[:, 1:].transpose(1, 2).reshape(2, 40, 3, 5)
    found = recognise(model, streams, 9, torch.zeros(2, 12, 7, 15))[1]
    assert far(found, expected) < 1e-5

"""CAT-Seg against the published code's tensors, and what must hold of it at any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.models.catseg import Aggregator, CatSeg  # noqa: E402
from ovseg_ros.models.catseg_config import AggregatorConfig, CatSegConfig  # noqa: E402
from ovseg_ros.models.catseg_correlation import Shortlist, correlate, spread  # noqa: E402
from ovseg_ros.models.catseg_pass import ShortlistPass  # noqa: E402
from ovseg_ros.models.catseg_swin import SwinBlock, SwinPair  # noqa: E402
from ovseg_ros.models.catseg_weights import AGGREGATOR, load_catseg, split  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.onepass import OnePass  # noqa: E402

Far = Callable[[Any, Any], float]
Golden = Callable[[str], dict[str, Any]]
IMAGE = Path(__file__).parents[2] / ".." / "shared" / "golden" / "catseg_full_inference.npz"
# as `catseg_full_inference` was made; there, as in training, four cells are averaged
PUBLISHED = CatSegConfig(
    ClipVisionConfig(64, 16, 64, 9, 1, 256, 40, quick_gelu=True),
    AggregatorConfig(32, 8, 4, 1, pooling=2, padded=8, tap_guidance=(8, 8), decoder_widths=(32, 16)),
    budget=8,
)
TINY = CatSegConfig(
    ClipVisionConfig(64, 16, 32, 3, 2, 64, 24, quick_gelu=True),
    AggregatorConfig(16, 8, 4, 1, 4, 1, 2, 8, (1, 2), (12, 8), (4, 4), (16, 16)),
    budget=6,
)


@pytest.fixture(scope="module")
def tiny() -> CatSeg:
    torch.manual_seed(0)
    return CatSeg(TINY).eval().requires_grad_(False)


def random_words(k: int, s: int = 1, d: int = 24) -> Any:
    return F.normalize(torch.randn(k, s, d, generator=torch.Generator().manual_seed(k)), dim=-1)


def random_pixels(n: int = 1, height: int = 64, width: int = 96) -> Any:
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(1))


# the published code


@pytest.mark.parametrize(("case", "padded"), [("nopad", 0), ("pad", 8), ("topk", 8)])
@torch.no_grad()
def test_the_aggregation_is_the_published_codes(golden: Golden, far: Far, case: str, padded: int) -> None:
    data = golden(f"catseg_aggregator_{case}")
    config = AggregatorConfig(32, 16, 4, 2, 4, 2, 2, padded, (1, 2), (24, 20), (8, 8), (32, 16))
    model = Aggregator(config, 40).eval()
    ours, _ = split({AGGREGATOR + key: value for key, value in data["w"].items()})
    model.load_state_dict({key.removeprefix("aggregator."): value for key, value in ours.items()})
    text = data["in/text_feats"][0]  # (T, 1, D)
    found = correlate(data["in/img_feats"], text, padded or 256)
    logits = model(found, data["in/guidance_res3"], (data["in/guidance_res4"], data["in/guidance_res5"]))
    everything = spread(Shortlist(logits, found.classes), len(text))
    expected = data["out/logits"]
    assert torch.equal(everything == -100, expected == -100)
    assert far(everything.where(expected != -100, 0), expected.where(expected != -100, 0)) < 1e-5
    if case == "topk":
        return

    back = found.classes[0].argsort()
    assert far(found.cosines[:, back], data["mid/correlation"][:, 0]) < 1e-5
    volume, words = model.embedding(found)
    image = model.guidance_projection(data["in/guidance_res3"]).permute(0, 2, 3, 1)
    assert far(volume[:, back].permute(0, 4, 1, 2, 3), data["mid/corr_embed"]) < 1e-5
    for i, layer in enumerate(model.layers):
        spatial = layer.swin_block(volume, image)
        assert far(spatial[:, back].permute(0, 4, 1, 2, 3), data[f"mid/layer{i}_after_swin"]) < 1e-5
        volume = layer.attention(spatial, words, 2)
        assert far(volume[:, back].permute(0, 4, 1, 2, 3), data[f"mid/layer{i}_out"]) < 1e-5


@pytest.fixture(scope="module")
def published(golden: Golden) -> tuple[dict[str, Any], CatSeg, Any]:
    """The golden tensors, the model with their weights, and the image (1, 3, 100, 130) in 0..255."""
    data = golden("catseg_full_inference")
    model = CatSeg(PUBLISHED).eval().requires_grad_(False)
    aside = load_catseg(model, data["w"])
    assert set(aside) == {"sem_seg_head.predictor.clip_model.logit_scale"}
    with np.load(IMAGE) as arrays:  # `golden` reads no bytes
        image = torch.from_numpy(arrays["in/image_uint8"])
    return data, model, image[None].float()


def test_the_whole_model_in_one_shot_is_the_published_codes(
    published: tuple[dict[str, Any], CatSeg, Any], far: Far
) -> None:
    data, model, image = published
    text = data["in/text_features_T1C"]
    found = model.class_map(image, text, 384, (100, 130))
    assert far(found[0], data["out/single_prob"]) < 1e-5
    mean, std = (255 * torch.tensor(x).reshape(1, 3, 1, 1) for x in (model.pixel_mean, model.pixel_std))
    pixels = F.pad((image - mean) / std, (0, 30, 0, 28))
    pixels = F.interpolate(pixels, size=(384, 384), mode="bilinear")
    assert far(model.trunk(pixels)[0], data["mid/single_img_feats"]) < 1e-5
    assert far(model(pixels, text), data["mid/single_logits96"]) < 1e-5


def test_the_whole_model_on_windows_is_the_published_codes(
    published: tuple[dict[str, Any], CatSeg, Any], far: Far
) -> None:
    data, model, image = published
    text = data["in/text_features_T1C"]
    mean, std = (255 * torch.tensor(x).reshape(1, 3, 1, 1) for x in (model.pixel_mean, model.pixel_std))
    large = F.interpolate(image, size=(640, 640), mode="bilinear")
    corners = [(y, x) for y in (0, 256) for x in (0, 256)]
    views = [large[:, :, y : y + 384, x : x + 384] for y, x in corners]
    views.append(F.interpolate(image, size=(384, 384), mode="bilinear"))
    logits = torch.cat([model((view - mean) / std, text) for view in views])
    assert far(logits[[0, 4]], data["mid/sliding_logits96_crops0and4"]) < 1e-5
    probabilities = F.interpolate(logits, size=(384, 384), mode="bilinear").sigmoid()
    total, count = torch.zeros(5, 640, 640), torch.zeros(640, 640)
    for part, (y, x) in zip(probabilities, corners, strict=False):
        total[:, y : y + 384, x : x + 384] += part
        count[y : y + 384, x : x + 384] += 1
    whole = F.interpolate(probabilities[4:], size=(640, 640), mode="bilinear")[0]
    both = F.interpolate(((total / count + whole) / 2)[None], size=(100, 130), mode="bilinear")[0]
    assert far(both, data["out/sliding_prob"]) < 1e-5


# windows


def neighbours(h: int, w: int, window: int, shift: int) -> Any:
    """(h w, h w) bool: which cells share a window of the grid moved by `shift`, and are joined by no wrapping."""
    rows, columns = (-(-side // window) * window for side in (h, w))

    def piece(place: int, side: int) -> tuple[int, int]:
        rolled = (place - shift) % side  # where the cell stands after rolling
        return rolled // window, int(place < shift)  # cells that were rolled round are strangers

    pieces = [(piece(y, rows), piece(x, columns)) for y in range(h) for x in range(w)]
    return torch.tensor([[a == b for b in pieces] for a in pieces])


@pytest.mark.parametrize(("h", "w", "shift"), [(4, 8, 0), (8, 8, 2), (6, 7, 0), (6, 9, 2)])
@torch.no_grad()
def test_windows_are_attention_among_neighbours(h: int, w: int, shift: int, far: Far) -> None:
    torch.manual_seed(0)
    block = SwinBlock(8, 4, heads=2)
    x, guidance = torch.randn(2, 3, h, w, 8), torch.randn(2, 1, h, w, 4)
    found = block(x, guidance, 4, shift)
    both = torch.cat([block.norm1(x), guidance.expand(2, 3, h, w, 4)], dim=-1).reshape(6, h * w, 12)
    q, k = ((both @ p.weight.t() + p.bias).reshape(6, h * w, 2, 4) for p in (block.attn.q, block.attn.k))
    v = block.attn.v(block.norm1(x)).reshape(6, h * w, 2, 4)
    logits = torch.einsum("bihd,bjhd->bhij", q, k) / 2
    weights = logits.masked_fill(~neighbours(h, w, 4, shift), -torch.inf).softmax(dim=-1)
    mixed = torch.einsum("bhij,bjhd->bihd", weights, v).reshape(x.shape)
    y = x + block.attn.proj(mixed)
    assert far(found, y + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(y))))) < 1e-5


@torch.no_grad()
def test_a_grid_within_a_window_is_one_window() -> None:
    torch.manual_seed(0)
    pair = SwinPair(8, 4, 2, window=12)
    x, guidance = torch.randn(1, 2, 3, 3, 8), torch.randn(1, 3, 3, 4)
    shared = pair.guidance_norm(guidance)[:, None]
    expected = pair.block_2(pair.block_1(x, shared, 3, 0), shared, 3, 0)
    assert torch.allclose(pair(x, guidance), expected, atol=1e-6)


# classes


def test_correlation_is_the_best_synonyms_cosine() -> None:
    features, text = torch.randn(2, 5, 3, 4), torch.randn(7, 2, 5)
    found = correlate(features, text, budget=4)
    for n in range(2):
        cosines = [
            [[max(F.cosine_similarity(features[n, :, y, x], word, dim=0) for word in words) for x in range(4)]
             for y in range(3)]
            for words in text
        ]  # fmt: skip
        expected = torch.tensor(cosines)
        order = expected.flatten(1).amax(dim=1).argsort(descending=True)[:4]
        assert set(found.classes[n].tolist()) == set(order.tolist())
        for row, k in enumerate(found.classes[n].tolist()):
            assert torch.allclose(found.cosines[n, row], expected[k], atol=1e-6)
            best = [
                float((F.normalize(features[n], dim=0).flatten(1).t() @ F.normalize(x, dim=0)).max()) for x in text[k]
            ]
            word = text[k, int(np.argmax(best))]
            assert torch.allclose(found.words[n, row], F.normalize(word, dim=0), atol=1e-6)


def test_repeated_synonyms_change_nothing(tiny: CatSeg) -> None:
    text = random_words(4, 2)
    longer = torch.cat([text, text[:, 1:], text[:, :1]], dim=1)
    assert torch.allclose(tiny(random_pixels(), longer), tiny(random_pixels(), text), atol=1e-5)


def test_classes_in_the_truth_are_kept(tiny: CatSeg) -> None:
    pixels, text = random_pixels(2), random_words(20)
    free = tiny.shortlist(pixels, text).classes
    missed = [next(k for k in range(20) if k not in row) for row in free.tolist()]
    present = torch.zeros(2, 20, dtype=torch.bool)
    present[torch.arange(2), torch.tensor(missed)] = True
    kept = tiny.shortlist(pixels, text, present).classes
    assert all(k in row for k, row in zip(missed, kept.tolist(), strict=True))
    logits = tiny(pixels, text, present)
    assert ((logits[0] > -100).flatten(1).any(dim=1)).sum() == 6


def test_classes_that_were_not_kept_never_win() -> None:
    logits = torch.randn(2, 3, 4, 5) - 60
    classes = torch.tensor([[4, 0, 2], [1, 3, 0]])
    full = spread(Shortlist(logits, classes), 5)
    assert full.shape == (2, 5, 4, 5)
    for n in range(2):
        for k in range(5):
            row = classes[n].tolist()
            expected = logits[n, row.index(k)] if k in row else torch.full((4, 5), -100.0)
            assert torch.equal(full[n, k], expected)


def test_more_classes_outside_the_budget_change_nothing(tiny: CatSeg) -> None:
    pixels = random_pixels()
    features = F.normalize(tiny.trunk(pixels)[0], dim=1)
    text = random_words(6)
    away = F.normalize(-features.mean(dim=(0, 2, 3)) + 0.05 * torch.randn(9, 24), dim=-1)[:, None]
    before, after = tiny(pixels, text), tiny(pixels, torch.cat([away, text]))
    assert torch.allclose(after[:, 9:], before, atol=1e-5)
    assert (after[:, :9] == -100).all()


def test_the_shortlists_graph_labels_as_the_plain_one(picture: Callable[..., np.ndarray], tiny: CatSeg) -> None:
    image = torch.from_numpy(np.stack([picture(seed, 50, 70) for seed in range(2)]))
    features = tiny.trunk(random_pixels())[0][0].flatten(1).t()
    own = features - features.mean(dim=0)
    for k in (1, 4, 12):  # words of different cells: equal ones would tie
        text = F.normalize(own[torch.arange(2 * k) % len(own)].reshape(k, 2, -1), dim=-1)
        for other in (True, False):
            tiny.sigmoid = other
            plain, short = (kind(tiny, (64, 96)).eval()(image, text) for kind in (OnePass, ShortlistPass))
            assert torch.equal(plain[0], short[0])
            assert (plain[1].int() - short[1].int()).abs().max() <= 1
        tiny.sigmoid = True
    assert len(plain[0].unique()) > 1


# bad input


@pytest.mark.parametrize("size", [(16, 16), (48, 80), (112, 64)])
@pytest.mark.parametrize("k", [1, 6, 9])
def test_any_grid_and_vocabulary_gives_numbers(tiny: CatSeg, size: tuple[int, int], k: int) -> None:
    logits = tiny(random_pixels(1, *size), random_words(k, 2))
    assert logits.shape == (1, k, size[0] // 4, size[1] // 4)
    assert logits.isfinite().all()
    tiny.train()
    assert tiny(random_pixels(1, *size), random_words(k, 2)).isfinite().all()
    tiny.eval()


def test_equal_words_and_flat_images_give_numbers(tiny: CatSeg) -> None:
    same = random_words(1).expand(9, 2, 24)
    assert tiny(torch.zeros(1, 3, 64, 64), same).isfinite().all()
    assert tiny(torch.zeros(1, 3, 64, 64), torch.zeros(3, 1, 24)).isfinite().all()


def test_an_image_that_patches_do_not_divide_is_told(tiny: CatSeg) -> None:
    with pytest.raises(ValueError, match="60 x 96 pixels"):
        tiny(random_pixels(1, 60, 96), random_words(2))
    with pytest.raises(ValueError, match="the size 60x96 is no multiple of 16"):
        ShortlistPass(tiny, (60, 96))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 30}, "width 30 is no multiple of the 4 heads"),
        ({"window": 0}, "window is 0; expected at least 1"),
        ({"padded": -1}, "padded is -1; expected at least 0"),
        ({"tap_guidance": (128, 16)}, "leaves nothing of 128 channels"),
    ],
)
def test_impossible_sizes_are_told(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AggregatorConfig(**change)


def test_impossible_models_are_told() -> None:
    with pytest.raises(ValueError, match=r"taps are \(4, 13\); expected counts of blocks from 1 to 12"):
        CatSegConfig(aggregator=AggregatorConfig(taps=(4, 13)))
    with pytest.raises(ValueError, match="the budget is 0 classes"):
        CatSegConfig(budget=0)

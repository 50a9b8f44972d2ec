"""ESC-Net: no published code to compare with, so its parts against their definitions, and against CAT-Seg's tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.models.catseg_config import AggregatorConfig  # noqa: E402
from ovseg_ros.models.catseg_correlation import correlate  # noqa: E402
from ovseg_ros.models.catseg_pass import ShortlistPass  # noqa: E402
from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.esc_config import EscConfig  # noqa: E402
from ovseg_ros.models.esc_net import EscNet  # noqa: E402
from ovseg_ros.models.esc_prompts import pseudo_prompts  # noqa: E402
from ovseg_ros.models.onepass import OnePass  # noqa: E402
from ovseg_ros.models.sam.config import SamDecoderConfig  # noqa: E402
from ovseg_ros.models.sam.prompt_encoder import PromptEncoder  # noqa: E402
from ovseg_ros.training.losses.per_pixel import pixel_binary_cross_entropy, pixel_cross_entropy  # noqa: E402

Far = Callable[[Any, Any], float]
Stirred = Callable[..., EscNet]
SAM = SamDecoderConfig(width=32, mask_channels=8, heads=4, mlp=32)
TINY = EscConfig(
    ClipVisionConfig(64, 16, 32, 3, 2, 64, 24, quick_gelu=True),
    AggregatorConfig(16, 8, 4, 2, 4, 1, 2, 8, (1, 2), (12, 8), (4, 4), (16, 16)),
    SAM,
    budget=6,
)


def make(**changes: Any) -> EscNet:
    torch.manual_seed(0)
    return EscNet(replace(TINY, **changes)).eval().requires_grad_(False)


def random_words(k: int, s: int = 1) -> Any:
    return F.normalize(torch.randn(k, s, 24, generator=torch.Generator().manual_seed(k)), dim=-1)


def random_pixels(n: int = 1, height: int = 64, width: int = 96) -> Any:
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def net(stirred: Stirred) -> EscNet:
    """Small, with no parameter at its trivial start."""
    return stirred(make())


def test_its_size_is_the_papers() -> None:
    """451 million parameters with CLIP ViT-L/14 and its text tower: what beside CLIP is ours comes to as many."""
    with torch.device("meta"):
        model = EscNet(EscConfig.large())
    vision = sum(p.numel() for p in model.trunk.clip.parameters())
    whole = 427_944_193 + sum(p.numel() for p in model.parameters()) - vision  # CLIP's own count
    assert abs(whole / 451e6 - 1) < 0.005


def test_a_fresh_net_is_the_one_without_sam(far: Far) -> None:
    """SAM's blocks begin by adding nothing, whatever they are."""
    with_sam, without = make(), make(sam=replace(SAM, depth=0))
    assert not any(".sam." in key for key in without.state_dict())
    without.load_state_dict({key: with_sam.state_dict()[key] for key in without.state_dict()})
    pixels, text = random_pixels(), random_words(5)
    assert far(with_sam(pixels, text), without(pixels, text)) < 1e-5


def test_prompts_matter_and_each_kind_differently(stirred: Stirred) -> None:
    results = {}
    for prompts in ("both", "points", "masks", "none"):
        model = stirred(make(prompts=prompts))
        for block in model.blocks:
            block.outlet.weight.mul_(20)
        results[prompts] = model(random_pixels(), random_words(5))
    names = list(results)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            assert (results[a] - results[b]).abs().max() > 1e-3, (a, b)


@pytest.mark.parametrize("prompts", ["both", "points", "masks"])
def test_the_sam_block_runs_for_each_class_by_itself(stirred: Stirred, prompts: Any, far: Far) -> None:
    """One class after the other, through SAM's own prompt encoder on the grid's own pixels, merged by hand."""
    model = stirred(make(prompts=prompts))
    block, encoder = model.blocks[1], model.prompt_encoder
    n, t, h, w = 2, 3, 4, 6
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(n, 24, h, w, generator=generator)
    cosines = 0.3 * torch.randn(n, t, h, w, generator=generator)
    reading = cosines + 0.1 * torch.randn(n, t, h, w, generator=generator)
    own = PromptEncoder(SAM, (h, w), (h, w))
    own.load_state_dict(encoder.state_dict())
    expected = []
    for i in range(n):
        total = torch.zeros(1, h * w, 32)
        weights = (20 * cosines[i].flatten(1).amax(dim=1)).softmax(dim=0)
        for k in range(t):
            found = pseudo_prompts(reading[i, k][None], 0.5, 5, 10)
            points, masks = None, None
            if prompts != "masks":
                points = found.points, torch.where(found.found, 1, -1)
            if prompts != "points":
                share = sum(found.strength * found.regions[:, o] for o in range(5))
                masks = F.interpolate(16 * share[None] - 8, scale_factor=4.0, mode="bilinear")
            sparse, dense = own(points, masks=masks)
            if points is None:  # SAM has no token without points or boxes; ours is its "no point"
                sparse = own.not_a_point_embed.weight[None]
            x, y = sparse, (block.inlet(features[i : i + 1]) + dense).flatten(2).transpose(1, 2)
            positions = own.dense_positions().flatten(2).transpose(1, 2)
            for layer in block.sam:
                x, y = layer(x, y, sparse, positions)
            total += weights[k] * y
        expected.append(total[0].t().reshape(32, h, w))
    assert far(block.aggregate(features, reading, cosines, encoder), torch.stack(expected)) < 1e-5


def test_the_order_of_the_classes_does_not_matter(net: EscNet) -> None:
    pixels, text = random_pixels(2), random_words(5, 2)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.allclose(net(pixels, text[order]), net(pixels, text)[:, order], atol=1e-4)


def test_images_do_not_see_each_other(net: EscNet) -> None:
    pixels, text = random_pixels(3), random_words(9)
    together = net(pixels, text)
    for i in range(3):
        assert torch.allclose(net(pixels[i : i + 1], text)[0], together[i], atol=1e-4)


def test_classes_over_the_budget_are_never_chosen(net: EscNet, picture: Callable[..., np.ndarray]) -> None:
    text = random_words(30, 2)
    kept = net.shortlist(random_pixels(), text)
    assert kept.classes.shape == (1, 6)
    highest = correlate(net.trunk(random_pixels())[0], text, 30).cosines.flatten(2).amax(dim=2)
    assert highest.shape == (1, 30)
    image = torch.from_numpy(picture(3, 50, 70))[None]
    x = F.interpolate(image.permute(0, 3, 1, 2).float(), size=(64, 96), mode="bilinear")
    plain, short = OnePass(net, (64, 96)).eval(), ShortlistPass(net, (64, 96)).eval()
    allowed = set(net.shortlist((x - plain.mean) / plain.std, text).classes[0].tolist())
    labels, confidence = plain(image, text)
    assert set(labels.unique().tolist()) <= allowed
    found, sure = short(image, text)
    assert torch.equal(found, labels)
    assert (sure.int() - confidence.int()).abs().max() <= 1


@pytest.mark.parametrize("prompts", ["both", "points", "masks", "none"])
def test_everything_that_learns_has_a_gradient(prompts: Any) -> None:
    torch.manual_seed(0)
    model = EscNet(replace(TINY, prompts=prompts)).train()
    with torch.no_grad():  # past the first step, where zeros still hold gradients back
        for name, parameter in model.named_parameters():
            if name.endswith((".weight", ".bias")) and not parameter.any():
                parameter.normal_(std=0.1)
    learning = model.learn("attention")
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert sum(name.startswith("trunk.clip.") for name in names) == 3 + 1  # attention weights and positions
    truth = torch.randint(0, 5, (2, 64, 96), generator=torch.Generator().manual_seed(0))
    logits = model(random_pixels(2), random_words(5, 2))
    (pixel_cross_entropy(logits, truth) + pixel_binary_cross_entropy(logits, truth)).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in learning)
    parts = [".inlet.", ".outlet.", ".reading.", ".embedding."]
    if model.config.uses_points:  # attention to one token alone is 1, whatever its queries and keys are
        parts.append(".cross_attn_")
    for name in names:
        if any(part in name for part in parts):  # and a softmax does not feel what is added to all keys
            assert name.endswith("k_proj.bias") or model.get_parameter(name).grad.any(), name


def test_without_a_sam_block_its_encoder_is_frozen() -> None:
    model = EscNet(replace(TINY, sam=replace(SAM, depth=0)))
    model.learn("nothing")
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning
    assert not any(name.startswith(("prompt_encoder.", "trunk.clip.")) for name in learning)
    model.learn("everything")
    assert all(parameter.requires_grad for parameter in model.trunk.clip.parameters())


# bad input


@pytest.mark.parametrize("size", [(16, 16), (48, 80), (112, 64)])
@pytest.mark.parametrize("k", [1, 9])
def test_any_grid_and_vocabulary_gives_numbers(net: EscNet, size: tuple[int, int], k: int) -> None:
    logits = net(random_pixels(1, *size), random_words(k, 2))
    assert logits.shape == (1, k, size[0] // 4, size[1] // 4)
    assert logits.isfinite().all()


def test_flat_correlations_give_numbers_and_gradients() -> None:
    model = EscNet(TINY)
    same = random_words(1).expand(9, 2, 24)
    for pixels, text in ((torch.zeros(1, 3, 64, 64), same), (random_pixels(), torch.zeros(3, 1, 24))):
        logits = model(pixels, text)
        assert logits.isfinite().all()
        logits.where(logits > -100, 0).square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_runs_do_not_differ(net: EscNet) -> None:
    pixels, text = random_pixels(), random_words(9)
    assert torch.equal(net(pixels, text), net(pixels, text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "alpha is 0.0; expected more than 0 and at most 1"),
        ({"prompts": "boxes"}, "prompts are 'boxes'; expected both, points, masks or none"),
        ({"regions": 0}, "regions are 0, iterations 10"),
        ({"temperature": 0.0}, "the temperature is 0.0"),
        ({"budget": 0}, "the budget is 0 classes"),
        ({"fusion": AggregatorConfig(taps=(0, 8))}, r"taps are \(0, 8\)"),
    ],
)
def test_impossible_choices_are_told(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EscConfig(**change)

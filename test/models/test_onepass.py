"""The deployed graph in torch, against upsampling every class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.models.onepass import OnePass  # noqa: E402


@pytest.fixture
def model(tiny_net: Any) -> OnePass:
    return OnePass(tiny_net, (64, 96))


def smooth_logits(n: int, k: int, shown: int, seed: int = 0) -> Any:
    """(n, k, 12, 16) logits in -20..20, of which `shown` classes win somewhere."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, k, 4, 4, generator=generator) * 20
    coarse[:, shown:] -= 20
    logits = F.interpolate(coarse, size=(12, 16), mode="bicubic")
    order = torch.randperm(k, generator=generator)
    return logits[:, order]


def brute_force(model: OnePass, logits: Any) -> tuple[Any, Any]:
    """Arg-max and softmax over all classes and "none of these", every class upsampled."""
    up = F.interpolate(logits, scale_factor=4.0, mode="bilinear", align_corners=False)
    other = (model.net.other * model.net.scale()).expand(len(up), 1, *up.shape[2:])
    probability = torch.cat([up, other], dim=1).softmax(dim=1)[:, :-1]
    return up.argmax(dim=1), probability.amax(dim=1)


@pytest.mark.parametrize("k", [1, 3, 31, 32, 33, 100])
def test_labels_are_those_of_all_classes_upsampled(model: OnePass, k: int) -> None:
    logits = smooth_logits(2, k, min(k, 25))
    labels, confidence = model.decide(logits)
    expected, _ = brute_force(model, logits)
    assert labels.shape == confidence.shape == (2, 48, 64)
    assert (labels.dtype, confidence.dtype) == (torch.int32, torch.float32)
    assert len(expected.unique()) >= min(k, 10)
    assert torch.equal(labels.long(), expected)


def test_of_more_classes_than_are_upsampled_the_largest_are_kept(model: OnePass) -> None:
    """40 classes win somewhere: 32 in a row of patches each, the others in a single pixel."""
    owner = (
        torch.arange(32).repeat_interleave(2).reshape(1, 8, 8).repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    )
    owner[0, ::8, ::8] = 32 + torch.arange(16).reshape(4, 4) % 8
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    logits = F.one_hot(order[owner], 40).permute(0, 3, 1, 2) * 10.0
    labels, _ = model.decide(logits)
    expected, _ = brute_force(model, logits)
    assert len(expected.unique()) == 40
    assert (labels == expected).float().mean() > 0.96


@pytest.mark.parametrize("k", [1, 3, 32, 100])
def test_confidence_is_the_softmax_inside_regions_and_never_more(model: OnePass, k: int) -> None:
    logits = smooth_logits(2, k, min(k, 5)).round()
    logits = logits.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)  # flat patches of 4x4
    _, confidence = model.decide(logits)
    _, expected = brute_force(model, logits)
    assert (confidence - expected).max() < 0.01
    inside = slice(8, None, 16)  # pixels whose four neighbours lie in one patch
    difference = (confidence - expected)[:, inside, inside]
    assert difference.abs().max() < 0.01


def test_confidence_between_two_regions_is_that_of_the_upsampled_scores(model: OnePass) -> None:
    """Halfway between two sure regions both words are equally likely: 0.5 each, where "none of these" is far."""
    logits = torch.full((1, 2, 4, 4), 20.0)
    logits[:, 0, :, 2:] = 8.0
    logits[:, 1, :, :2] = 8.0
    _, confidence = model.decide(logits)
    _, expected = brute_force(model, logits)
    assert (confidence - expected).abs().max() < 0.05


def test_none_of_these_words_takes_confidence(model: OnePass) -> None:
    other = float(model.net.other * model.net.scale())
    logits = torch.full((1, 1, 4, 4), other)
    assert (model.decide(logits)[1] - 0.5).abs().max() < 0.01
    assert model.decide(logits - 30)[1].max() < 1e-6
    assert model.decide(logits + 30)[1].min() > 1 - 1e-6


@pytest.mark.parametrize("k", [3, 32, 100])
def test_labels_do_not_depend_on_the_order_of_the_classes(model: OnePass, k: int) -> None:
    logits = smooth_logits(1, k, min(k, 20), seed=3)
    order = torch.randperm(k, generator=torch.Generator().manual_seed(1))
    labels, confidence = model.decide(logits)
    again, confidence_again = model.decide(logits[:, order])
    assert torch.equal(order[again.long()], labels.long())
    assert (confidence - confidence_again).abs().max() < 1e-4


def test_images_of_a_batch_do_not_mix(model: OnePass) -> None:
    logits = smooth_logits(2, 40, 10)
    labels, confidence = model.decide(logits)
    for i in range(2):
        one = model.decide(logits[i : i + 1])
        assert torch.equal(labels[i], one[0][0])
        assert (confidence[i] - one[1][0]).abs().max() < 1e-4


def test_a_class_scores_as_its_best_synonym(model: OnePass) -> None:
    torch.manual_seed(0)
    features = torch.rand(1, 16, 4, 4)
    text = F.normalize(torch.randn(3, 2, 16), dim=-1)
    words = [model.net.cosines(features, text[:, s]) for s in range(2)]
    expected = torch.maximum(*words) * model.net.scale()
    assert torch.allclose(model.class_logits(features, text), expected, atol=1e-4)


def test_repeated_synonyms_change_nothing(model: OnePass, picture: Callable[..., np.ndarray]) -> None:
    image = torch.from_numpy(picture(1))[None]
    text = F.normalize(torch.randn(5, 1, 16, generator=torch.Generator().manual_seed(2)), dim=-1)
    one, three = model(image, text), model(image, text.repeat(1, 3, 1))
    assert torch.equal(one[0], three[0])
    assert torch.equal(one[1], three[1])


@pytest.mark.parametrize("size", [(64, 96), (37, 53), (200, 311), (1, 1)])
def test_labels_come_in_the_images_size(
    model: OnePass, picture: Callable[..., np.ndarray], size: tuple[int, int]
) -> None:
    image = torch.from_numpy(picture(5, 120, 160)[:1, :1] if size == (1, 1) else picture(5, *size))[None]
    text = F.normalize(torch.randn(5, 1, 16, generator=torch.Generator().manual_seed(2)), dim=-1)
    labels, confidence = model(image, text)
    assert labels.shape == confidence.shape == (1, *size)
    x = F.interpolate(image.permute(0, 3, 1, 2).float() / 127.5 - 1, size=(64, 96), mode="bilinear")
    expected = brute_force(model, model.class_logits(model.net(x), text))[0]
    expected = F.interpolate(expected[:, None].float(), size=size, mode="nearest")[:, 0]
    assert (labels == expected).float().mean() > 0.999

"""Arg-max and confidence from coarse scores, against upsampling every class."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.models.read_out import best_synonym, read_out, to_image_size, words  # noqa: E402

OTHER = 3.0  # the logit of "none of these words"


def score(features: Any, text: Any) -> Any:
    """Features that are the logits of all classes, words that are their indices as unit vectors."""
    n, _, h, w = features.shape
    return (text.flatten(-3, -2) @ features.flatten(2)).reshape(n, -1, h, w)


def decide(logits: Any, factor: int = 4, other: Any = None, coarse: int = 1) -> tuple[Any, Any]:
    other = torch.tensor(OTHER) if other is None else other
    return read_out(score, logits, torch.eye(logits.shape[1])[:, None], factor, other or None, coarse)


def smooth_logits(n: int, k: int, shown: int, seed: int = 0) -> Any:
    """(n, k, 12, 16) logits in -20..20, of which `shown` classes win somewhere."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, k, 4, 4, generator=generator) * 20
    coarse[:, shown:] -= 20
    logits = F.interpolate(coarse, size=(12, 16), mode="bicubic")
    order = torch.randperm(k, generator=generator)
    return logits[:, order]


def brute_force(logits: Any) -> tuple[Any, Any]:
    """Arg-max and softmax over all classes and "none of these", every class upsampled."""
    up = F.interpolate(logits, scale_factor=4.0, mode="bilinear", align_corners=False)
    other = torch.full((len(up), 1, *up.shape[2:]), OTHER)
    probability = torch.cat([up, other], dim=1).softmax(dim=1)[:, :-1]
    return up.argmax(dim=1), probability.amax(dim=1)


@pytest.mark.parametrize("k", [1, 3, 31, 32, 33, 100])
def test_labels_are_those_of_all_classes_upsampled(k: int) -> None:
    logits = smooth_logits(2, k, min(k, 25))
    labels, confidence = decide(logits)
    expected, _ = brute_force(logits)
    assert labels.shape == confidence.shape == (2, 48, 64)
    assert (labels.dtype, confidence.dtype) == (torch.int32, torch.float32)
    assert len(expected.unique()) >= min(k, 10)
    assert torch.equal(labels.long(), expected)


def test_of_more_classes_than_are_upsampled_the_largest_are_kept() -> None:
    """40 classes win somewhere: 32 in a row of patches each, the others in a single pixel."""
    owner = (
        torch.arange(32).repeat_interleave(2).reshape(1, 8, 8).repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    )
    owner[0, ::8, ::8] = 32 + torch.arange(16).reshape(4, 4) % 8
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    logits = F.one_hot(order[owner], 40).permute(0, 3, 1, 2) * 10.0
    labels, _ = decide(logits)
    expected, _ = brute_force(logits)
    assert len(expected.unique()) == 40
    assert (labels == expected).float().mean() > 0.96


@pytest.mark.parametrize("k", [1, 3, 32, 100])
def test_confidence_is_the_softmax_inside_regions_and_never_more(k: int) -> None:
    logits = smooth_logits(2, k, min(k, 5)).round()
    logits = logits.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)  # flat patches of 4x4
    _, confidence = decide(logits)
    _, expected = brute_force(logits)
    assert (confidence - expected).max() < 0.01
    inside = slice(8, None, 16)  # pixels whose four neighbours lie in one patch
    difference = (confidence - expected)[:, inside, inside]
    assert difference.abs().max() < 0.01


def test_confidence_between_two_regions_is_that_of_the_upsampled_scores() -> None:
    """Halfway between two sure regions both words are equally likely: 0.5 each, where "none of these" is far."""
    logits = torch.full((1, 2, 4, 4), 20.0)
    logits[:, 0, :, 2:] = 8.0
    logits[:, 1, :, :2] = 8.0
    _, confidence = decide(logits)
    _, expected = brute_force(logits)
    assert (confidence - expected).abs().max() < 0.05


def test_none_of_these_words_takes_confidence() -> None:
    logits = torch.full((1, 1, 4, 4), OTHER)
    assert (decide(logits)[1] - 0.5).abs().max() < 0.01
    assert decide(logits - 30)[1].max() < 1e-6
    assert decide(logits + 30)[1].min() > 1 - 1e-6


@pytest.mark.parametrize("k", [3, 32, 100])
def test_labels_do_not_depend_on_the_order_of_the_classes(k: int) -> None:
    logits = smooth_logits(1, k, min(k, 20), seed=3)
    order = torch.randperm(k, generator=torch.Generator().manual_seed(1))
    labels, confidence = decide(logits)
    again, confidence_again = decide(logits[:, order])
    assert torch.equal(order[again.long()], labels.long())
    assert (confidence - confidence_again).abs().max() < 1e-4


def test_images_of_a_batch_do_not_mix() -> None:
    logits = smooth_logits(2, 40, 10)
    labels, confidence = decide(logits)
    for i in range(2):
        one = decide(logits[i : i + 1])
        assert torch.equal(labels[i], one[0][0])
        assert (confidence[i] - one[1][0]).abs().max() < 1e-4


def test_without_none_of_these_the_words_share_all_confidence() -> None:
    logits = torch.full((1, 4, 4, 4), -50.0)
    labels, confidence = decide(logits, other=0)
    assert (confidence - 0.25).abs().max() < 1e-3
    assert labels.shape == (1, 16, 16)


@pytest.mark.parametrize("factor", [1, 2, 14, 16])
def test_any_factor_upsamples_as_interpolate_does(factor: int) -> None:
    logits = smooth_logits(1, 7, 7)
    labels, confidence = decide(logits, factor, other=0)
    up = F.interpolate(logits, scale_factor=float(factor), mode="bilinear", align_corners=False)
    assert torch.equal(labels.long(), up.argmax(dim=1))
    assert (confidence - up.softmax(dim=1).amax(dim=1)).abs().max() < 1e-3


def test_the_best_synonym_counts() -> None:
    scores = torch.arange(12.0).reshape(1, 6, 1, 2)
    assert torch.equal(best_synonym(scores, torch.zeros(3, 2, 7)), scores[:, [1, 3, 5]])
    text = torch.rand(3, 2, 7)
    assert torch.equal(words(text)[3], text[1, 1])


@pytest.mark.parametrize("k", [3, 32, 33, 100])
def test_candidates_chosen_on_a_coarser_grid_are_enough_for_regions_of_its_cells(k: int) -> None:
    logits = smooth_logits(2, k, min(k, 20)).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    labels, confidence = decide(logits, coarse=2)
    expected, share = brute_force(logits)
    assert torch.equal(labels.long(), expected)
    assert (confidence - share).abs().mean() < 0.02


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 31)])
def test_to_image_size_is_nearest_interpolation(size: tuple[int, int]) -> None:
    x = torch.rand(2, 12, 16)
    assert torch.equal(to_image_size(x, *size), F.interpolate(x[:, None], size=size, mode="nearest")[:, 0])

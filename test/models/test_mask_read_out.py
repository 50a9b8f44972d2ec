"""Class maps from proposals against loops, at full size and as deployed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.models.mask_read_out import (  # noqa: E402
    Proposals,
    class_map,
    name_logits,
    read_out_masks,
    with_no_object,
)
from ovseg_ros.models.onepass import EncoderAlone, OnePass  # noqa: E402


def scene(n: int, q: int, k: int, shown: int, seed: int = 0) -> tuple[Any, Any]:
    """Smooth mask logits (n, q, 12, 16), and probabilities (n, q, k) that favour `shown` classes."""
    generator = torch.Generator().manual_seed(seed)
    masks = F.interpolate(6 * torch.randn(n, q, 4, 5, generator=generator), size=(12, 16), mode="bicubic")
    logits = torch.randn(n, q, k + 1, generator=generator)
    order = torch.randperm(k, generator=generator)[:shown]
    own = order[torch.arange(q) % shown]
    return masks, (logits + 6 * F.one_hot(own, k + 1)).softmax(dim=-1)[..., :-1]


def brute_force(masks: Any, classes: Any, factor: int) -> Any:
    """Every class summed over every proposal at the masks' resolution, then upsampled."""
    total = torch.zeros(masks.shape[0], classes.shape[2], *masks.shape[2:])
    for n in range(masks.shape[0]):
        for q in range(masks.shape[1]):
            for c in range(classes.shape[2]):
                total[n, c] += classes[n, q, c] * torch.sigmoid(masks[n, q])
    return F.interpolate(total, scale_factor=float(factor), mode="bilinear", align_corners=False)


@pytest.mark.parametrize("k", [1, 3, 32, 33, 90])
def test_labels_are_those_of_all_classes(k: int) -> None:
    masks, classes = scene(2, 20, k, min(k, 10))
    labels, confidence = read_out_masks(masks, classes, 4)
    every = brute_force(masks, classes, 4)
    assert (labels.dtype, confidence.dtype, labels.shape) == (torch.int32, torch.float32, (2, 48, 64))
    assert len(labels.unique()) >= min(k, 5)
    assert (labels == every.argmax(dim=1)).float().mean() > 0.9999
    share = every.amax(dim=1) / every.sum(dim=1).clamp(min=1)
    assert torch.allclose(confidence, share, atol=1e-5)


def test_fine_is_the_full_size_form_with_the_winner_taken() -> None:
    masks, classes = scene(2, 20, 50, 10)
    labels, confidence = read_out_masks(masks, classes, 4, fine=True)
    every = class_map(masks, classes, (48, 64), (48, 64))
    assert (labels == every.argmax(dim=1)).float().mean() > 0.9999
    assert torch.allclose(confidence, every.amax(dim=1) / every.sum(dim=1).clamp(min=1), atol=1e-5)
    coarse, _ = read_out_masks(masks, classes, 4)
    assert 0.9 < (labels == coarse).float().mean() < 1  # the two differ at borders, and only there


def test_candidates_on_a_coarser_grid_are_enough_for_regions_of_its_cells() -> None:
    masks, classes = scene(1, 20, 60, 10)
    masks = masks.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    labels, _ = read_out_masks(masks, classes, 4, coarse=2)
    assert torch.equal(labels, read_out_masks(masks, classes, 4)[0])


def test_the_class_map_is_cut_to_the_image_after_the_masks_are_upsampled() -> None:
    masks, classes = scene(1, 3, 2, 2)
    found = class_map(masks, classes, (24, 40), (17, 33))
    large = F.interpolate(masks, size=(24, 40), mode="bilinear", align_corners=False)
    for c in range(2):
        for y, x in ((0, 0), (16, 32), (5, 20)):
            expected = sum(classes[0, q, c] * torch.sigmoid(large[0, q, y, x]) for q in range(3))
            assert found[0, c, y, x].item() == pytest.approx(float(expected), rel=1e-5)
    assert found.shape == (1, 2, 17, 33)


@pytest.mark.parametrize("q", [0, 4])
@pytest.mark.parametrize("fine", [False, True])
def test_where_no_mask_claims_a_pixel_confidence_is_zero(q: int, fine: bool) -> None:
    masks, classes = torch.full((1, q, 4, 6), -200.0), torch.full((1, q, 5), 0.2)
    labels, confidence = read_out_masks(masks, classes, 4, fine=fine)
    assert labels.shape == confidence.shape == (1, 16, 24)
    assert confidence.max() == 0
    assert 0 <= labels.min() <= labels.max() <= 4
    assert class_map(masks, classes, (16, 24), (16, 24)).abs().max() == 0


def test_confidence_leaves_room_for_none_of_these_words() -> None:
    masks = torch.full((1, 2, 4, 4), 100.0)
    classes = torch.tensor([[[0.25, 0.05], [0.1, 0.1]]])
    assert torch.allclose(read_out_masks(masks, classes, 4)[1], torch.tensor(0.35))  # 0.5 in all: its value
    assert torch.allclose(read_out_masks(masks, 4 * classes, 4)[1], torch.tensor(0.7))  # 2 in all: its share


def test_the_best_name_counts_and_no_object_takes_its_share() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings, text = torch.randn(2, 3, 5, generator=generator), torch.randn(4, 2, 5, generator=generator)
    logits = name_logits(embeddings, text)
    for n, q, c in ((0, 0, 0), (1, 2, 3), (0, 1, 2)):
        assert logits[n, q, c].item() == pytest.approx(
            float(max(embeddings[n, q] @ name for name in text[c])), rel=1e-5
        )
    classes = with_no_object(logits, torch.full((2, 3, 1), 1.5))
    assert classes.shape == (2, 3, 4)
    expected = logits.exp() / (logits.exp().sum(dim=-1, keepdim=True) + np.exp(1.5))
    assert torch.allclose(classes, expected, atol=1e-6)


class Stripes(torch.nn.Module):
    """A mask model whose proposals are bands of brightness."""

    pixel_mean = pixel_std = (0.5, 0.5, 0.5)
    stride, multiple, coarse, fine = 4, 32, 1, False

    def features(self, pixels: Any, text: Any) -> Proposals:
        grey = F.avg_pool2d(pixels.mean(dim=1, keepdim=True), 4)
        masks = torch.cat([20 * grey, -20 * grey], dim=1)
        return Proposals(masks, torch.eye(2).expand(pixels.shape[0], 2, 2) + 0 * masks.mean())

    def classes(self, embeddings: Any, text: Any) -> Any:
        return with_no_object(5 * name_logits(embeddings, text), torch.zeros_like(embeddings[..., :1]))


def test_a_mask_model_is_deployed_as_a_dense_one_is(picture: Callable[..., np.ndarray]) -> None:
    model = OnePass(Stripes(), (64, 96))
    image = torch.zeros(1, 40, 50, 3, dtype=torch.uint8)
    image[:, :, 25:] = 255
    labels, confidence = model(image, torch.eye(2).flip(0)[:, None])
    assert (labels.dtype, confidence.dtype, labels.shape) == (torch.int32, torch.uint8, (1, 40, 50))
    assert (labels[:, :, :20] == 0).all()
    assert (labels[:, :, 30:] == 1).all()
    assert confidence.min() > 100
    alone = EncoderAlone(Stripes(), (64, 96))(image, torch.eye(2)[:, None])
    assert alone[0].shape == (1, 40, 50)
    with pytest.raises(ValueError, match="64x80 is no multiple of 32"):
        OnePass(Stripes(), (64, 80))

"""The deployed graph in torch, from pixels to labels at any image size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.models.onepass import EncoderAlone, OnePass  # noqa: E402


@pytest.fixture
def model(tiny_net: Any) -> OnePass:
    return OnePass(tiny_net, (64, 96))


def test_a_class_scores_as_its_best_synonym(model: OnePass) -> None:
    torch.manual_seed(0)
    pixels = torch.rand(1, 3, 32, 32) * 2 - 1
    text = F.normalize(torch.randn(3, 2, 16), dim=-1)
    words = [model.net.cosines(model.net(pixels), text[:, s]) for s in range(2)]
    expected = torch.maximum(*words) * model.net.scale()
    assert torch.allclose(model.net.scores(model.net(pixels), text), expected, atol=1e-4)


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
    up = F.interpolate(model.net.scores(model.net(x), text), scale_factor=4.0, mode="bilinear", align_corners=False)
    expected = up.argmax(dim=1)
    expected = F.interpolate(expected[:, None].float(), size=size, mode="nearest")[:, 0]
    assert (labels == expected).float().mean() > 0.999


def test_a_size_that_is_no_multiple_of_the_stride_is_refused(tiny_net: Any) -> None:
    with pytest.raises(ValueError, match="62x96 is no multiple of 8"):
        OnePass(tiny_net, (62, 96))


@torch.no_grad()
def test_the_encoder_alone_gives_every_feature_a_say(tiny_net: Any, picture: Callable[..., np.ndarray]) -> None:
    image = torch.from_numpy(picture(1, 128, 192))[None]
    text = torch.zeros(3, 1, 16)
    model = EncoderAlone(tiny_net, (64, 96))
    labels, confidence = model(image, text)
    mean = model.features(image, text).mean(dim=1)
    assert labels.shape == confidence.shape == (1, 128, 192)
    assert torch.equal(labels[:, ::8, ::8], (mean > 0).to(torch.int32))

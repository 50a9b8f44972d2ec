"""The network's scores, against the definition pixel by pixel."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ovseg_ros.models.pixeltext import PixelText, PixelTextConfig  # noqa: E402


def test_features_come_at_a_quarter_of_the_resolution(tiny_net: Any) -> None:
    assert tiny_net(torch.zeros(2, 3, 64, 96)).shape == (2, 16, 16, 24)


def test_cosines_are_those_of_the_projected_pixels(tiny_net: Any) -> None:
    torch.manual_seed(1)
    features = torch.rand(2, 16, 3, 5)
    text = torch.nn.functional.normalize(torch.randn(7, 16), dim=1)
    scores = tiny_net.cosines(features, text)
    assert scores.shape == (2, 7, 3, 5)
    for n in range(2):
        for y in range(3):
            for x in range(5):
                pixel = tiny_net.to_text.weight @ features[n, :, y, x]
                for k in range(7):
                    expected = torch.nn.functional.cosine_similarity(pixel, text[k], dim=0)
                    assert float(scores[n, k, y, x]) == pytest.approx(float(expected), abs=1e-4)


def test_a_pixel_without_features_scores_zero(tiny_net: Any) -> None:
    text = torch.nn.functional.normalize(torch.randn(4, 16), dim=1)
    scores = tiny_net.cosines(torch.zeros(1, 16, 2, 2), text)
    assert torch.equal(scores, torch.zeros(1, 4, 2, 2))


def test_the_scale_is_bounded() -> None:
    net = PixelText(PixelTextConfig(widths=(4, 4, 4, 4), depths=(0, 0, 0), features=4, text_width=4))
    assert float(net.scale().detach()) == pytest.approx(2.718281828**2.7, rel=1e-5)
    with torch.no_grad():
        net.log_scale.fill_(10.0)
    assert float(net.scale().detach()) == 50.0


def test_the_embedded_size_fits_eight_megabytes() -> None:
    net = PixelText()
    assert 2 * sum(p.numel() for p in net.parameters()) < 8e6

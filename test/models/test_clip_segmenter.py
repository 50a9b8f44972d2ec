"""CLIP features as a segmenter, against loops over patches and windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from ovseg_ros.models.clip_config import ClipVisionConfig  # noqa: E402
from ovseg_ros.models.clip_segmenter import ClipSegmenter, Windows  # noqa: E402
from ovseg_ros.models.onepass import OnePass  # noqa: E402
from ovseg_ros.models.training_free import training_free  # noqa: E402

TINY = ClipVisionConfig(image_size=64, patch=16, width=32, layers=3, heads=2, mlp=64, embed_dim=16)


def trunk_of(method: str = "naclip") -> Any:
    torch.manual_seed(0)
    return training_free(method, TINY).eval()


def pixels_and_words(n: int = 2, height: int = 96, width: int = 128, k: int = 5, s: int = 2) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(n, 3, height, width, generator=generator),
        F.normalize(torch.randn(k, s, TINY.embed_dim, generator=generator), dim=-1),
    )


def logits_of(model: ClipSegmenter, pixels: Any, text: Any) -> Any:
    return model.scores(model.features(pixels, text), text)


@torch.no_grad()
def test_logits_are_the_best_synonyms_cosine_of_every_patch() -> None:
    pixels, text = pixels_and_words()
    model = ClipSegmenter(trunk_of(), scale=40.0)
    logits = logits_of(model, pixels, text)
    features = trunk_of()(pixels).numpy()
    assert logits.shape == (2, 5, 6, 8)
    for n, k, y, x in ((0, 0, 0, 0), (1, 4, 5, 7), (0, 2, 3, 1)):
        f = features[n, :, y, x] / np.linalg.norm(features[n, :, y, x])
        assert float(logits[n, k, y, x]) == pytest.approx(40 * max(float(f @ t) for t in text[k].numpy()), abs=1e-4)
    assert model.other_logit() is None


@torch.no_grad()
def test_windows_are_segmented_one_by_one_and_averaged_where_they_overlap() -> None:
    pixels, text = pixels_and_words(s=1)
    model = ClipSegmenter(trunk_of(), 40.0, Windows(64, 32))
    logits = logits_of(model, pixels, text)
    total, count = np.zeros((2, 5, 6, 8)), np.zeros((6, 8))
    whole = ClipSegmenter(trunk_of(), 40.0)
    for y in (0, 32):
        for x in (0, 32, 64):
            part = logits_of(whole, pixels[:, :, y : y + 64, x : x + 64], text).numpy()
            total[:, :, y // 16 : y // 16 + 4, x // 16 : x // 16 + 4] += part
            count[y // 16 : y // 16 + 4, x // 16 : x // 16 + 4] += 1
    assert np.abs(logits.numpy() - total / count).max() < 1e-4


@pytest.mark.parametrize(
    ("length", "starts"), [(224, [0]), (336, [0, 112]), (400, [0, 112, 176]), (448, [0, 112, 224]), (100, [0])]
)
def test_the_last_window_is_moved_back_into_the_image(length: int, starts: list[int]) -> None:
    assert Windows(224, 112).starts(length) == starts


@torch.no_grad()
def test_resclips_second_pass_sees_the_words() -> None:
    pixels, text = pixels_and_words(1)
    trunk = trunk_of("resclip")
    logits = logits_of(ClipSegmenter(trunk, 40.0), pixels, text)
    second = F.normalize(trunk(pixels, text), dim=1)
    brute = torch.einsum("ndhw,ksd->nkshw", second, text).amax(dim=2) * 40
    assert (logits - brute).abs().max() < 1e-4
    first = F.normalize(trunk(pixels), dim=1)
    assert (first - second).abs().max() > 1e-4


@pytest.mark.parametrize("windows", [Windows(60, 32), Windows(64, 24)])
def test_windows_off_the_patch_grid_are_refused(windows: Windows) -> None:
    with pytest.raises(ValueError, match="patches of 16"):
        ClipSegmenter(trunk_of(), 40.0, windows)


@torch.no_grad()
@pytest.mark.parametrize("method", ["clip", "naclip", "resclip", "sc-clip"])
def test_one_pass_from_pixels_to_labels(method: str) -> None:
    generator = torch.Generator().manual_seed(2)
    image = torch.randint(0, 256, (1, 50, 70, 3), generator=generator, dtype=torch.uint8)
    _, text = pixels_and_words()
    net = ClipSegmenter(trunk_of(method), 10.0)
    labels, confidence = OnePass(net, (96, 128))(image, text)
    assert labels.shape == confidence.shape == (1, 50, 70)
    x = F.interpolate(image.permute(0, 3, 1, 2).float(), size=(96, 128), mode="bilinear") / 255
    x = (x - torch.tensor(TINY.mean)[:, None, None]) / torch.tensor(TINY.std)[:, None, None]
    up = F.interpolate(logits_of(net, x, text), scale_factor=16.0, mode="bilinear")
    expected = F.interpolate(up.argmax(dim=1)[:, None].float(), size=(50, 70), mode="nearest")[:, 0]
    assert (labels == expected).float().mean() > 0.995
    share = F.interpolate(up.softmax(dim=1).amax(dim=1)[:, None], size=(50, 70), mode="nearest")[:, 0]
    assert (confidence / 255 - share).abs().max() < 0.01

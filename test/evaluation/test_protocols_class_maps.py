"""Torch networks under protocols, against the whole computation written down plainly, all classes at once."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pillow = pytest.importorskip("PIL.Image")

import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from ovseg_ros.evaluation.class_maps import ClassMapper  # noqa: E402
from ovseg_ros.evaluation.protocols import PROTOCOLS, Protocol, Resize, Windows  # noqa: E402
from ovseg_ros.models.mask_read_out import Proposals, class_map  # noqa: E402

D = 16
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SINGLE = replace(PROTOCOLS["single640"], resize=Resize(80, 320, "pillow"))
MMSEG = replace(PROTOCOLS["mmseg336"], resize=Resize(88, 512, "opencv"), windows=Windows(64, 32))
CATSEG = replace(PROTOCOLS["catseg"], resize=Resize(100, 400, "pillow"), square=96, windows=Windows(64, 32), whole=64)


class Dense(nn.Module):
    """Three layers that see their surroundings, so that windows and padding matter."""

    pixel_mean, pixel_std, stride, coarse = MEAN, STD, 8, 1

    def __init__(self, other: float | None = None, *, sigmoid: bool = False, window: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.window = window
        self.first = nn.Conv2d(3, 24, 8, stride=8)
        self.second = nn.Conv2d(24, D, 3, padding=1)
        self.other = other
        self.sigmoid = sigmoid

    def features(self, pixels: Tensor, text: Tensor) -> Tensor:
        return F.normalize(self.second(F.relu(self.first(pixels))), dim=1)

    def scores(self, features: Tensor, text: Tensor) -> Tensor:
        return 9 * torch.einsum("nchw,ksc->nkshw", features, text).amax(dim=2)

    def other_logit(self) -> Tensor | None:
        return None if self.other is None else torch.tensor(self.other)


class Masks(nn.Module):
    """Six mask proposals, their embeddings from what is under them."""

    pixel_mean, pixel_std, stride, multiple, coarse, fine = MEAN, STD, 4, 16, 1, False

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.masks = nn.Conv2d(3, 6, 9, stride=4, padding=4)
        self.embed = nn.Conv2d(3, 6 * D, 16, stride=16)

    def features(self, pixels: Tensor, text: Tensor) -> Proposals:
        embeddings = self.embed(pixels).mean(dim=(2, 3)).reshape(-1, 6, D)
        return Proposals(4 * self.masks(pixels), F.normalize(embeddings, dim=2))

    def classes(self, embeddings: Tensor, text: Tensor) -> Tensor:
        logits = 5 * torch.einsum("nqc,ksc->nqks", embeddings, text).amax(dim=3)
        return F.pad(logits, (0, 1), value=0.5).softmax(dim=-1)[..., :-1]


def words(k: int, s: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(k, s, D, generator=generator), dim=2)


def tensor(rgb: np.ndarray) -> Tensor:
    return torch.from_numpy(rgb.copy()).float().permute(2, 0, 1)[None]


def normalised(x: Tensor) -> Tensor:
    return (x / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def up(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def by_pillow(rgb: np.ndarray, size: tuple[int, int]) -> Tensor:
    return tensor(np.asarray(pillow.fromarray(rgb).resize(size[::-1], pillow.Resampling.BILINEAR)))


def same(found: tuple[np.ndarray, np.ndarray], maps: Tensor, confidence: Tensor) -> None:
    """Labels and confidence are those of class maps (1, K, H, W); a tie may go either way."""
    labels = maps[0].argmax(dim=0).numpy()
    two = maps[0].topk(2, dim=0).values
    clear = (two[0] - two[1] > 1e-4).numpy()
    assert clear.mean() > 0.95
    assert len(np.unique(labels)) > 3
    np.testing.assert_array_equal(found[0][clear], labels[clear])
    np.testing.assert_allclose(found[1], confidence.numpy(), atol=1e-4)


@pytest.mark.parametrize("k", [7, 100])  # 100 classes pass in four chunks
@pytest.mark.parametrize("other", [None, 4.0])
@torch.inference_mode()
def test_a_single_window_is_padded_cut_and_resized(picture: Any, k: int, other: float | None) -> None:
    rgb, text = picture(1, 90, 130), words(k, 2)
    net = Dense(other)
    found = ClassMapper(net, SINGLE, text, [2] * k)(rgb)
    x = normalised(by_pillow(rgb, (80, 116)))  # 115.6
    x = F.pad(x, (0, 12, 0, 16))  # 96 x 128, multiples of 32
    logits = up(net.scores(net.features(x, text), text), (96, 128))[:, :, :80, :116]
    maps = up(logits, (90, 130))
    rivals = maps if other is None else torch.cat([maps, torch.full_like(maps[:, :1], other)], dim=1)
    same(found, maps, rivals.softmax(dim=1)[0, :k].amax(dim=0))


@torch.inference_mode()
def test_a_mask_network_gives_its_class_map(picture: Any) -> None:
    rgb, text = picture(2, 90, 130), words(40, 3)
    net = Masks().eval()
    found = ClassMapper(net, SINGLE, text, [3] * 40)(rgb)
    x = F.pad(normalised(by_pillow(rgb, (80, 116))), (0, 12, 0, 16))
    proposals = net.features(x, text)
    maps = class_map(proposals.masks, net.classes(proposals.embeddings, text), (96, 128), (80, 116))
    maps = up(maps, (90, 130))
    same(found, 1e3 * maps, (maps.amax(dim=1) / maps.sum(dim=1).clamp(min=1))[0])


@torch.inference_mode()
def test_mmseg_averages_logits_of_windows_and_lets_every_word_compete(picture: Any) -> None:
    rgb, counts = picture(3, 100, 150), [1, 3, 2, 1, 3, 2, 1]
    text = words(7, 3)
    for k, count in enumerate(counts):
        text[k, count:] = text[k, 0]  # as text tables are padded
    net = Dense()
    found = ClassMapper(net, MMSEG, text, counts)(rgb)
    small = cv2.resize(rgb, (132, 88), interpolation=cv2.INTER_LINEAR)
    x = normalised(tensor(small))
    flat = torch.cat([text[k, :count] for k, count in enumerate(counts)])[:, None]
    total, count = torch.zeros(1, len(flat), 88, 132), torch.zeros(1, 1, 88, 132)
    for y in (0, 24):
        for left in (0, 32, 64, 68):
            cut = x[:, :, y : y + 64, left : left + 64]
            total[:, :, y : y + 64, left : left + 64] += up(net.scores(net.features(cut, flat), flat), (64, 64))
            count[:, :, y : y + 64, left : left + 64] += 1
    probabilities = up(total / count, (100, 150)).softmax(dim=1)
    starts = np.cumsum([0, *counts])
    maps = torch.stack([probabilities[:, a:b].amax(dim=1) for a, b in itertools.pairwise(starts)], dim=1)
    same(found, maps, maps[0].amax(dim=0))


@pytest.mark.parametrize(("sigmoid", "window"), [(True, None), (False, None), (True, 56)])
@torch.inference_mode()
def test_catseg_averages_probabilities_of_windows_and_of_the_whole(
    picture: Any, sigmoid: bool, window: int | None
) -> None:
    """The large CAT-Seg squeezes every view into its own size, so do networks with a `window`."""
    rgb, text = picture(4, 90, 130), words(40, 1)
    net = Dense(None if sigmoid else 2.0, sigmoid=sigmoid, window=window)
    found = ClassMapper(net, CATSEG, text, [1] * 40)(rgb)
    image = by_pillow(rgb, (100, 144))
    unfold, fold = nn.Unfold(64, stride=32), nn.Fold((96, 96), 64, stride=32)  # as CAT-Seg's code cuts and joins
    windows = unfold(normalised(up(image, (96, 96)))).reshape(3, 64, 64, 4).permute(3, 0, 1, 2)
    views = torch.cat([windows, normalised(up(image, (64, 64)))])
    views = views if window is None else up(views, (window, window))
    logits = up(net.scores(net.features(views, text), text), (64, 64))
    rivals = logits if sigmoid else torch.cat([logits, torch.full_like(logits[:, :1], 2.0)], dim=1)
    views = logits.sigmoid() if sigmoid else rivals.softmax(dim=1)[:, :40]
    overlaps = fold(unfold(torch.ones(1, 1, 96, 96)))
    joined = fold(views[:4].flatten(1).t()[None]) / overlaps
    maps = up((joined + up(views[4:], (96, 96))) / 2, (90, 130))
    same(found, maps, maps[0].amax(dim=0))


@torch.inference_mode()
def test_more_windows_than_a_pass_holds_are_as_good(picture: Any) -> None:
    rgb, text = picture(6, 60, 400), words(5, 1)
    many = replace(MMSEG, resize=Resize(64, 2048, "opencv"))
    found = ClassMapper(Dense(), many, text, [1] * 5)(rgb)  # 427 wide: 13 windows
    wide = ClassMapper(Dense(), replace(many, windows=None), text, [1] * 5)(rgb)
    assert found[0].shape == (60, 400)
    assert (found[0] == wide[0]).mean() > 0.8  # windows cut surroundings off, and no more


def test_the_native_protocol_is_not_this_modules(picture: Any) -> None:
    native: Protocol = PROTOCOLS["native"]
    with pytest.raises(ValueError, match="OnePass"):
        ClassMapper(Dense(), native, words(3, 1), [1] * 3)(picture(0, 32, 32))

"""GKC's teacher: its crops against Pillow's, its embeddings against the published code's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

from ovseg_ros.models.clip import VisionTransformer  # noqa: E402
from ovseg_ros.models.clip_config import ClipResNetConfig, ClipVisionConfig  # noqa: E402
from ovseg_ros.models.clip_resnet import ModifiedResNet  # noqa: E402
from ovseg_ros.models.clip_weights import load_clip  # noqa: E402
from ovseg_ros.models.gkc_teacher import BATCH, Teacher  # noqa: E402

VIT = ClipVisionConfig(image_size=32, patch=16, width=32, layers=1, heads=2, mlp=32, embed_dim=12)


def teacher(side: int | None = None) -> Teacher:
    torch.manual_seed(0)
    return Teacher(VisionTransformer(VIT), side)


def by_pillow(image: np.ndarray, mask: np.ndarray, side: int, masked: bool) -> np.ndarray:
    """The published preparation: grey paste, box without its last row and column, bicubic: (side, side, 3) uint8."""
    picture = Image.fromarray(image)
    if masked:
        picture.paste((128, 128, 128), mask=Image.fromarray(~mask))
    rows, columns = mask.nonzero()
    box = (int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max()))
    return np.asarray(picture.crop(box).resize((side, side), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("side", [32, 224])
@pytest.mark.parametrize("masked", [True, False])
def test_crops_are_pillows(side: int, masked: bool, picture: Callable[..., np.ndarray]) -> None:
    image = picture(4, 60, 80)
    y, x = np.mgrid[:60, :80]
    masks = np.stack([(y - 30) ** 2 + (x - 40) ** 2 < 300, (y > 10) & (x + y < 70), (y > 56) & (x > 20)])
    found, kept = teacher(side).crops(torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(masks), masked=masked)
    assert kept.tolist() == [0, 1, 2]
    mean, std = (torch.tensor(x).reshape(3, 1, 1) for x in (VIT.mean, VIT.std))
    values = (found * std + mean) * 255
    for own, mask in zip(values, masks, strict=True):
        expected = torch.from_numpy(by_pillow(image, mask, side, masked).astype(np.float32)).permute(2, 0, 1)
        off = (own - expected).abs()
        assert off.max() < 1.01  # where a half is rounded the other way
        assert (off > 0.01).float().mean() < 0.01


def test_embeddings_are_the_published_teachers(golden: Callable[..., dict[str, Any]], far: Any) -> None:
    data = golden("gkc_clip_resnet")
    clip = ModifiedResNet(ClipResNetConfig(96, (2, 1, 2, 1), 8, 32, 24), dense="qk", resize="bilinear")
    load_clip(clip, data["w"])
    assert far(Teacher(clip, side=64)(data["in/image"]), data["out/teacher_attn_g"]) < 1e-5


def test_it_stays_frozen_whatever_is_asked_of_the_model_around_it() -> None:
    torch.manual_seed(0)
    own = Teacher(ModifiedResNet(ClipResNetConfig(32, (1, 1, 1, 1), 8, 4, 12)))
    around = torch.nn.Module()
    around.teacher = own
    around.train()
    assert not any(module.training for module in own.modules())
    assert not any(parameter.requires_grad for parameter in own.parameters())
    crops = torch.randn(3, 3, 32, 32)
    together = own(crops)
    assert torch.allclose(together[:1], own(crops[:1]), atol=1e-5)  # no crop depends on its neighbours


def test_empty_segments_are_left_out_and_thin_ones_are_not() -> None:
    own = teacher()
    image = torch.zeros(3, 20, 30, dtype=torch.uint8)
    image[0, 5] = 200
    masks = torch.zeros(4, 20, 30, dtype=torch.bool)
    masks[1, 5, 3:9] = True  # one row
    masks[3, 19, 29] = True  # one pixel, in the corner
    crops, kept = own.crops(image, masks)
    assert kept.tolist() == [1, 3]
    red = torch.tensor([200.0, 0, 0])
    for crop, colour in zip(crops, (red, torch.zeros(3)), strict=True):
        expected = (colour / 255 - torch.tensor(VIT.mean)) / torch.tensor(VIT.std)
        assert torch.allclose(crop, expected.reshape(3, 1, 1).expand_as(crop), atol=1e-4)
    assert own.crops(image, masks[:1])[0].shape == (0, 3, 32, 32)
    assert own(torch.zeros(0, 3, 32, 32)).shape == (0, 12)


def test_a_batch_is_looked_at_image_by_image(picture: Callable[..., np.ndarray]) -> None:
    own = teacher()
    images = [torch.from_numpy(picture(i, 24 + i, 40)).permute(2, 0, 1) for i in range(3)]
    masks = [torch.zeros(n, *image.shape[1:], dtype=torch.bool) for n, image in zip((3, 0, 2), images, strict=True)]
    masks[0][0, 2:9, 3:20], masks[0][2, 10:], masks[2][1, 5:, 8:] = True, True, True
    segments, embeddings = own.look(images, masks)
    assert [own.tolist() for own in segments] == [[0, 2], [], [1]]
    assert [tuple(own.shape) for own in embeddings] == [(2, 12), (0, 12), (1, 12)]
    alone = own(own.crops(images[2], masks[2])[0])
    assert torch.allclose(embeddings[2], alone, atol=1e-5)
    chosen = [torch.tensor([1, 2]), torch.arange(0), torch.tensor([0])]
    segments, embeddings = own.look(images, masks, chosen)
    assert [own.tolist() for own in segments] == [[2], [], []]
    assert torch.allclose(embeddings[0], own(own.crops(images[0], masks[0][2:])[0]), atol=1e-5)


def test_many_crops_are_encoded_in_parts_with_the_same_result() -> None:
    own = teacher()
    crops = torch.randn(BATCH + 3, 3, 32, 32)
    assert torch.allclose(own(crops), own.clip.image_features(crops), atol=1e-5)


def test_images_that_do_not_fit_are_named() -> None:
    own = teacher()
    masks = torch.ones(1, 20, 30, dtype=torch.bool)
    for image in (torch.zeros(3, 20, 30), torch.zeros(3, 21, 30, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r"expected \(3, H, W\) uint8 and \(M, H, W\)"):
            own.crops(image, masks)

"""Where training pictures come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ovseg_ros.evaluation.datasets import CAMVID_CLASSES, camvid
from ovseg_ros.training.sources import CamVidSource


def test_camvid_pictures_carry_the_words_of_their_ids(camvid_like: Path) -> None:
    source = CamVidSource(camvid_like)
    assert len(source) == 2
    picture = source.load(1)
    assert tuple(region.kind for region in picture.regions) == CAMVID_CLASSES
    assert all(region.words == source.kinds[region.kind] and region.colour is None for region in picture.regions)
    sample = camvid(camvid_like, "train")[1]
    np.testing.assert_array_equal(picture.rgb, sample.rgb)
    np.testing.assert_array_equal(picture.ids, sample.labels)


def test_camvid_pixels_are_counted_without_those_that_have_no_truth(camvid_like: Path) -> None:
    source = CamVidSource(camvid_like)
    ids = source.load(0).ids
    assert source.pixel_counts() == {kind: int((ids == i).sum()) for i, kind in enumerate(CAMVID_CLASSES)}

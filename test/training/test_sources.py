"""Where training pictures come from."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets import CAMVID_CLASSES, Sample, camvid, stretch
from ovseg_ros.training.sources import CamVidSource, DatasetSource


def test_camvid_pictures_carry_the_words_of_their_ids(camvid_like: Path) -> None:
    source = CamVidSource(camvid_like)
    assert len(source) == 2
    picture = source.load(1)
    assert tuple(region.kind for region in picture.regions) == CAMVID_CLASSES  # all of them are in the picture
    assert all(region.words == source.kinds[region.kind] and region.colour is None for region in picture.regions)
    sample = camvid(camvid_like, "train")[1]
    np.testing.assert_array_equal(picture.rgb, sample.rgb)
    np.testing.assert_array_equal(picture.ids, sample.labels)


def test_camvid_pixels_are_counted_without_those_that_have_no_truth(camvid_like: Path) -> None:
    source = CamVidSource(camvid_like)
    ids = np.stack([source.load(i).ids for i in range(2)])
    assert source.pixel_counts() == {kind: int((ids == i).sum()) for i, kind in enumerate(CAMVID_CLASSES)}


class Wide:
    """Two images with few of 300 classes, their labels uint16 with 65535 for pixels without truth."""

    classes = tuple(f"thing {i}, object {i}" for i in range(300))

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        labels = np.array([[299, 65535, 3], [3, 290, 299]], np.uint16) - np.uint16(index)
        labels[0, 1] = 65535
        return Sample(str(index), np.zeros((2, 3, 3), np.uint8), labels)  # type: ignore[arg-type]


def test_a_picture_of_many_classes_carries_those_it_shows() -> None:
    source = DatasetSource(Wide())
    assert source.kinds["thing 299"] == ("thing 299", "object 299")
    picture = source.load(1)
    assert [region.kind for region in picture.regions] == ["thing 2", "thing 289", "thing 298"]
    assert picture.ids.tolist() == [[2, 255, 0], [0, 1, 2]]
    counts = source.pixel_counts()
    assert {kind: n for kind, n in counts.items() if n} == {
        "thing 3": 2, "thing 290": 1, "thing 299": 2, "thing 2": 2, "thing 289": 1, "thing 298": 2,
    }  # fmt: skip


def test_a_source_may_be_a_part_of_its_data() -> None:
    source = DatasetSource(Wide(), part=(0.5, 1.0))
    assert len(source) == 1
    assert [region.kind for region in source.load(0).regions] == ["thing 2", "thing 289", "thing 298"]
    with pytest.raises(DatasetError, match=r"part 0\.8 to 0\.9 of 2 images holds none"):
        DatasetSource(Wide(), part=(0.8, 0.9))


@pytest.mark.parametrize("count", [7, 100, 101])
def test_neighbouring_parts_share_no_image_and_leave_none_out(count: int) -> None:
    cuts = [0.0, 0.33, 0.5, 0.8, 1.0]
    parts = [stretch(count, (a, b)) for a, b in pairwise(cuts)]
    assert [i for part in parts for i in part] == list(range(count))

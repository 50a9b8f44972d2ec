"""Real files of published data sets, against what PIL reads in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets import class_list, open_dataset

Image = pytest.importorskip("PIL.Image")
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def real(name: str) -> Path:
    """A folder of real files, where it is there."""
    if not (DATA / name).is_dir():
        pytest.skip(f"the real files are not in {DATA / name}")
    return DATA / name


def stored(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def parts(line: str) -> set[str]:
    """The words of a class's names in the challenge's list, such as street, lamp and streetlight."""
    return set(line.split(",")[-1].replace(";", " ").split())


@pytest.mark.parametrize(("name", "background"), [("voc20", None), ("voc20b", 20), ("voc21", 0)])
def test_voc(name: str, background: int | None) -> None:
    root = real("samples")
    data = open_dataset(name, root)
    assert data.names == tuple((root / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").read_text().split())
    found: set[str] = set()
    for sample, mask, image in zip((data[i] for i in range(len(data))), data.masks, data.images, strict=True):
        raw = stored(mask)
        np.testing.assert_array_equal(sample.rgb, stored(image))
        np.testing.assert_array_equal(sample.labels == 255, (raw == 255) | ((raw == 0) & (background is None)))
        if background is not None:
            np.testing.assert_array_equal(sample.labels == background, raw == 0)
        for label in set(np.unique(sample.labels)) - {255, background}:
            np.testing.assert_array_equal(sample.labels == label, raw == label + (name != "voc21"))
            found.add(data.classes[label])
    assert found == {"bottle", "person", "chair", "sofa", "bus", "car"}  # the ids 5, 15, 9, 18, 6, 7 of VOC


def test_ade150() -> None:
    root = real("samples")
    data = open_dataset("ade150", root)
    assert data.names == tuple(f"ADE_val_0000000{i}" for i in (1, 2, 3))
    lines = (root / "ADEChallengeData2016/objectInfo150.txt").read_text().splitlines()[1:]
    published = {int(line.split(",")[0]): parts(line) for line in lines}
    for i in range(3):
        sample, raw = data[i], stored(data.masks[i])
        np.testing.assert_array_equal(sample.rgb, stored(data.images[i]))
        np.testing.assert_array_equal(sample.labels, raw - np.uint8(1))  # 0 wraps to 255, as in the usual scripts
        for label in set(np.unique(sample.labels)) - {255}:
            assert {*data.classes[label].split(", ")[0].split()} <= published[label + 1]


def test_every_name_of_ade150_is_one_of_the_challenge() -> None:
    lines = (real("samples") / "ADEChallengeData2016/objectInfo150.txt").read_text().splitlines()[1:]
    for name, line in zip(class_list("ade150").names, lines, strict=True):
        assert {*name.split(", ")[0].split()} <= parts(line)


def test_the_first_hundred_images_of_coco_as_panoptic() -> None:
    root = real("coco100")
    names = yaml.safe_load((root / "classes.yaml").read_text())["classes"]
    data = open_dataset("panoptic", root)
    assert len(data) == len(open_dataset("panoptic", root, "train")) == 100
    with pytest.raises(DatasetError, match="panoptic_val2017"):
        open_dataset("panoptic", root, "val")
    met = set()
    for i in range(0, 100, 10):
        raw, sample = stored(data.masks[i]), data[i]
        np.testing.assert_array_equal(sample.labels == 255, raw == 0)
        for label in set(np.unique(sample.labels)) - {255}:
            (category,) = np.unique(raw[sample.labels == label])
            np.testing.assert_array_equal(raw == category, sample.labels == label)
            assert names[int(category)] == data.classes[label]
            met.add(label)
    assert len(met) > 30


def test_the_first_hundred_images_of_coco_as_a_plain_folder() -> None:
    root = real("coco100")
    names = yaml.safe_load((root / "classes.yaml").read_text())["classes"]
    data = open_dataset("folder", root)
    assert data.classes == tuple(name for raw, name in names.items() if raw)
    raw, sample = stored(data.masks[7]), data[7]
    assert sample.rgb.shape == (*raw.shape, 3)
    assert {data.classes[i] for i in set(np.unique(sample.labels)) - {255}} == {
        names[int(i)] for i in np.unique(raw) if i
    }


def test_camvid() -> None:
    root = real("camvid")
    data = open_dataset("camvid", root)
    assert (len(data), data.names[0]) == (101, sorted(path.stem for path in (root / "val").iterdir())[0])
    raw = stored(data.masks[4])
    np.testing.assert_array_equal(data[4].labels, np.where(raw < 11, raw, 255))

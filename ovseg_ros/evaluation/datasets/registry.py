"""Opening a data set by its name."""

from __future__ import annotations

from pathlib import Path

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets.catalogue import ALL, DATASETS, Spec
from ovseg_ros.evaluation.datasets.class_lists import class_list
from ovseg_ros.evaluation.datasets.folder import folder
from ovseg_ros.evaluation.datasets.layouts import find
from ovseg_ros.evaluation.datasets.pairs import PairDataset

CAMVID_CLASSES = class_list("camvid").names


def open_dataset(name: str, root: str | Path, split: str | None = None) -> PairDataset:
    """A data set in whichever of its layouts lies under a folder.

    Args:
        name: one of `DATASETS`.
        root: the data set's folder, or one above it, such as the `datasets` folder of detectron2's users.
        split: such as train or val; the one that papers report on where None. A plain folder needs none.

    Returns:
        Samples whose labels are places in the `names` of the class list of the same name.

    Raises:
        DatasetError: for an unknown name or split; when nothing under `root` has one of the layouts, naming what was
            looked for and where to get the data; or naming the first file of a layout that is not there.
    """
    if name not in DATASETS:
        raise DatasetError(f"the data set {name!r} is unknown; expected {', '.join(DATASETS)}")
    spec, root = DATASETS[name], Path(root)
    if not spec.layouts:
        return folder(root, split)
    if split is not None and split not in spec.splits:
        raise DatasetError(f"{name} has no split {split!r}; expected {_alternatives(spec)}")
    if not root.is_dir():
        raise DatasetError(f"there is no folder {root} for {name}; {spec.remedy}")
    wanted = split or spec.default or ALL
    try:
        layout, home = find(spec.layouts, root, wanted, f"{name} ({wanted})", spec.remedy)
    except DatasetError:
        if split is not None or ALL not in spec.splits:
            raise
        wanted = ALL
        layout, home = find(spec.layouts, root, wanted, name, spec.remedy)
    return layout.open(home, wanted, class_list(name).names, spec.remedy)


def camvid(root: str | Path, split: str) -> PairDataset:
    """CamVid with 11 classes in SegNet's layout: ROOT/{train,val,test}/*.png and ROOT/{train,val,test}annot/*.png.

    Raises:
        DatasetError: see `open_dataset`.
    """
    return open_dataset("camvid", root, split)


def _alternatives(spec: Spec) -> str:
    *first, last = spec.splits
    return f"{', '.join(first)} or {last}" if first else last

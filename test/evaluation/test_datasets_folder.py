"""One's own data in a plain folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets import folder, open_dataset

RAW = np.array([[0, 1, 2], [7, 40, 255]], np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in (("images", np.zeros((2, 3, 3), np.uint8)), ("masks", RAW)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "one.png"), content)
    return tmp_path


FILES = {
    "lines": ("classes.txt", "sky\nroad, street\ncar\n", ("sky", "road, street", "car"), [[0, 1, 2], [255] * 3]),
    "list": ("classes.yaml", "[sky, road, car]", ("sky", "road", "car"), [[0, 1, 2], [255] * 3]),
    "ids": (
        "classes.yaml",
        "classes: {0: unlabeled, 2: car, 7: tree, 40: dog, 99: cat}",
        ("car", "tree", "dog", "cat"),
        [[255, 255, 0], [1, 2, 255]],
    ),
    "ids alone": ("classes.yml", "{255: edge, 1: sky}", ("edge", "sky"), [[255, 1, 255], [255, 255, 0]]),
}


@pytest.mark.parametrize(("name", "text", "classes", "labels"), FILES.values(), ids=list(FILES))
def test_ids_mean_what_the_file_of_classes_says(
    root: Path, name: str, text: str, classes: tuple[str, ...], labels: list[list[int]]
) -> None:
    (root / name).write_text(text)
    data = open_dataset("folder", root)
    assert data.classes == classes
    assert data.names == ("one",)
    assert data[0].labels.tolist() == labels


def test_splits_are_folders_with_classes_in_common(root: Path) -> None:
    (root / "classes.txt").write_text("sky\nroad\n")
    (root / "val").mkdir()
    for name in ("images", "masks"):
        (root / name).rename(root / "val" / name)
    assert len(folder(root, "val")) == 1
    with pytest.raises(DatasetError, match=r"no folder .*train; the folder needs images/"):
        folder(root, "train")
    with pytest.raises(DatasetError, match=r"no folder .*images; the folder needs images/"):
        folder(root)


COMPLAINTS = {
    "{}": "must hold a list of classes",
    "3": "must hold a list of classes",
    "[sky, 3]": "the class 3 for the id 1; expected a name",
    "[sky, ' ']": "the class ' ' for the id 1; expected a name",
    "{sky: 1}": "the id 'sky'; expected a whole number from 0 to 65535",
    "{-1: sky}": "the id -1; expected",
    "{70000: sky}": "the id 70000; expected",
    "[sky, sky]": "the class 'sky' twice",
    "[void]": "no class besides unlabeled",
    "a: [": "cannot read the classes",
}


@pytest.mark.parametrize(("text", "complaint"), COMPLAINTS.items(), ids=list(COMPLAINTS))
def test_files_of_classes_that_cannot_be_are_refused(root: Path, text: str, complaint: str) -> None:
    (root / "classes.yaml").write_text(text)
    with pytest.raises(DatasetError, match=r"classes\.yaml.*" + complaint if complaint[0] != "c" else complaint):
        folder(root)


def test_a_folder_without_classes_says_what_was_looked_for(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"no .*classes\.yaml or classes\.txt; the folder needs images/"):
        folder(root)

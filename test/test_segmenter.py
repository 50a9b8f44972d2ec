"""The segmenter: words that change under way, thresholds, ids, and labels equal to a torch run."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from ovseg_ros.engine import open_engine
from ovseg_ros.engine.cache import Graph
from ovseg_ros.errors import EngineError, ImageError, ModelError, VocabularyError
from ovseg_ros.resources import find
from ovseg_ros.segmentation import Segmentation
from ovseg_ros.segmenter import Segmenter
from ovseg_ros.text import StaticTextEncoder, text_table
from ovseg_ros.vocabulary import Vocabulary

GREY = np.zeros((6, 8, 3), np.uint8)
TINY_WORDS = ["sky", "road, grey", "car", "tree, green", "person", "building"]


class LengthEncoder:
    """A word's vector has a 1 where its length is; a word with a Q has none. `gate` may hold the encoder up."""

    identity, variant, width, default_templates = "lengths", "", 32, ("{}",)

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.gate, self.begun = gate, threading.Event()

    def unknown(self, words: Sequence[str]) -> list[str]:
        return [word for word in words if "Q" in word]

    def encode(self, prompts: Sequence[str]) -> np.ndarray:
        self.begun.set()
        if self.gate is not None:
            assert self.gate.wait(10)
        return np.array([[len(p) == i and "Q" not in p for i in range(32)] for p in prompts], np.float32)


class EchoEngine:
    """Answers with the table it was given: every label is K - 1, every confidence the length of the first word."""

    manifest = SimpleNamespace(model="echo", max_classes=0)

    def run(self, image: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = image.shape[:3]
        return np.full(shape, len(text) - 1, np.int32), np.full(shape, text[0, 0].argmax(), np.uint8)

    def prepare(self, image_shape: tuple[int, ...], text_shape: tuple[int, ...]) -> None:
        pass


class FixedEngine:
    """Answers with given labels and confidence."""

    manifest = SimpleNamespace(model="fixed", max_classes=0)

    def __init__(self, labels: np.ndarray, confidence: np.ndarray) -> None:
        self.labels, self.confidence = labels.astype(np.int32), confidence.astype(np.uint8)

    def run(self, image: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.labels[None].copy(), self.confidence[None].copy()

    def prepare(self, image_shape: tuple[int, ...], text_shape: tuple[int, ...]) -> None:
        pass


@pytest.fixture(scope="module")
def tiny(tiny_graph: Graph, tiny_encoder: StaticTextEncoder) -> Segmenter:
    return Segmenter(open_engine(tiny_graph, precision="fp32"), tiny_encoder, TINY_WORDS)


def test_labels_are_those_of_a_torch_run(tiny: Segmenter, tiny_net: Any, picture: Callable[..., np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    from ovseg_ros.models.onepass import OnePass

    model = OnePass(tiny_net, tiny.engine.manifest.size)
    table = torch.from_numpy(text_table(tiny.vocabulary, tiny._encoder))
    for seed, size in ((1, (120, 160)), (2, (64, 96)), (3, (200, 130))):
        rgb = picture(seed, *size)
        labels, confidence = model(torch.from_numpy(rgb)[None], table)
        result = tiny.segment(rgb)
        assert len(np.unique(result.labels)) >= 3
        assert (result.labels == labels[0].numpy()).mean() >= 0.995
        assert np.abs(result.confidence.astype(int) - confidence[0].numpy()).mean() < 1


@pytest.mark.parametrize("name", ["street", "mini"])
def test_a_shipped_model_labels_as_its_graph_run_by_torch_does(
    name: str, reference_run: Callable[..., Any], camvid_root: Path
) -> None:
    segmenter = Segmenter.load(name, precision="fp32")
    assert segmenter.engine.manifest.precision == "fp32"
    path = sorted((camvid_root / "val").glob("*.png"))[7]
    rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    table = text_table(segmenter.vocabulary, segmenter._encoder)
    labels, confidence = reference_run(find(f"weights/{name}/model.onnx"), rgb, table)
    result = segmenter.segment(rgb)
    assert (result.labels == labels).mean() >= 0.9995  # bfloat16 reaches 0.998
    assert np.abs(result.confidence.astype(int) - confidence).max() <= 3


def test_every_image_size_comes_back_in_its_own_size(tiny: Segmenter) -> None:
    for shape in ((1, 1), (1, 7), (3, 2), (64, 96), (333, 17)):
        result = tiny.segment(np.full((*shape, 3), 90, np.uint8))
        assert result.labels.shape == result.confidence.shape == shape
        assert result.labels.dtype == result.confidence.dtype == np.uint8


def test_views_give_the_labels_of_their_copies(tiny: Segmenter, picture: Callable[..., np.ndarray]) -> None:
    rgb = picture(4, 480, 640)
    expected = tiny.segment(rgb)
    views = {
        "columns first": np.asfortranarray(rgb),
        "part of a wider image": np.pad(rgb, ((0, 0), (0, 9), (0, 0)))[:, :640],
        "from BGR": rgb[..., ::-1].copy()[..., ::-1],
    }
    received = rgb.copy()
    received.flags.writeable = False
    np.testing.assert_array_equal(tiny.segment(received).confidence, expected.confidence)
    for _ in range(3):
        for name, view in views.items():
            assert not view.flags.c_contiguous
            np.testing.assert_array_equal(tiny.segment(view).confidence, expected.confidence, err_msg=name)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros(0, np.uint8),
    ],
    ids=lambda image: f"{image.shape} {image.dtype}",
)
def test_anything_but_an_rgb_image_is_an_image_error(image: np.ndarray) -> None:
    segmenter = Segmenter(EchoEngine(), LengthEncoder(), ["car"])
    with pytest.raises(ImageError, match="an image is") as caught:
        segmenter.segment(image)
    assert caught.value.reason == "shape"


def test_the_version_counts_the_changes() -> None:
    segmenter = Segmenter(EchoEngine(), LengthEncoder(), Vocabulary.parse(["car"], version=40))
    assert segmenter.vocabulary.version == 1
    assert segmenter.set_vocabulary(["car", "road"]).version == 2
    assert segmenter.set_vocabulary(Vocabulary.parse(["car"], version=7)).version == 3
    assert segmenter.segment(GREY).vocabulary.version == 3


@pytest.mark.parametrize("entries", [[], ["car", "CAR"], ["car", "QQ"], ["x" * 10_000], [str(i) for i in range(5000)]])
def test_a_failed_change_leaves_the_old_words_in_force(entries: list[str]) -> None:
    segmenter = Segmenter(EchoEngine(), LengthEncoder(), ["sky", "road"])
    before = segmenter.vocabulary
    with pytest.raises(VocabularyError):
        segmenter.set_vocabulary(entries)
    assert segmenter.vocabulary is before
    assert segmenter.segment(GREY).labels.max() == 1
    assert segmenter.set_vocabulary(["tree"]).version == 2


def test_images_are_labelled_with_the_old_words_while_new_ones_are_encoded() -> None:
    gate = threading.Event()
    gate.set()
    encoder = LengthEncoder(gate)
    segmenter = Segmenter(EchoEngine(), encoder, ["sky", "road"])
    gate.clear()
    encoder.begun.clear()
    with ThreadPoolExecutor(1) as pool:
        change = pool.submit(segmenter.set_vocabulary, ["tree"])
        assert encoder.begun.wait(10)
        assert segmenter.segment(GREY).vocabulary.version == 1
        gate.set()
        change.result(10)
    assert segmenter.segment(GREY).vocabulary.names == ("tree",)


def test_no_result_mixes_two_vocabularies() -> None:
    segmenter = Segmenter(EchoEngine(), LengthEncoder(), ["a"], threshold=0.001)
    results: list[Segmentation] = []
    stop = threading.Event()

    def segment() -> None:
        while not stop.is_set():
            results.append(segmenter.segment(GREY))

    readers = [threading.Thread(target=segment) for _ in range(2)]
    for reader in readers:
        reader.start()
    with ThreadPoolExecutor(2) as writers:
        changes = [["word" * (i % 5 + 1), *[f"x{j}" for j in range(i % 7)]] for i in range(300)]
        versions = [v.version for v in writers.map(segmenter.set_vocabulary, changes)]
    stop.set()
    for reader in readers:
        reader.join()
    assert sorted(versions) == list(range(2, 302))
    for result in results:
        words = result.vocabulary.classes
        assert result.labels.max() == len(words) - 1
        assert result.confidence.max() == len(words[0][0])
    assert len({r.vocabulary.version for r in results}) > 1


def test_two_threads_get_what_one_would(tiny: Segmenter, picture: Callable[..., np.ndarray]) -> None:
    images = [picture(seed, 60 + 10 * seed, 80) for seed in range(4)]
    expected = [tiny.segment(image) for image in images]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(tiny.segment, images * 10))
    for i, result in enumerate(results):
        np.testing.assert_array_equal(result.labels, expected[i % 4].labels)
        np.testing.assert_array_equal(result.confidence, expected[i % 4].confidence)


def test_a_result_stays_as_it_is_when_the_next_image_comes(tiny: Segmenter, picture: Callable[..., np.ndarray]) -> None:
    first = tiny.segment(picture(1))
    labels, confidence = first.labels.copy(), first.confidence.copy()
    tiny.segment(picture(2))
    np.testing.assert_array_equal(first.labels, labels)
    np.testing.assert_array_equal(first.confidence, confidence)


@pytest.mark.parametrize(("classes", "dtype", "top"), [(254, np.uint8, 255), (255, np.uint16, 65535)])
def test_ids_take_sixteen_bits_past_254_classes(classes: int, dtype: type, top: int) -> None:
    segmenter = Segmenter(EchoEngine(), LengthEncoder(), [f"w{i}" for i in range(classes)])
    result = segmenter.segment(GREY)
    assert result.labels.dtype == dtype
    assert (result.labels == classes - 1).all()
    assert result.unlabelled == top


def test_all_1024_classes_can_be_told_apart() -> None:
    labels = np.arange(1024).reshape(32, 32)
    names = [f"w{i}" for i in range(1024)]
    segmenter = Segmenter(FixedEngine(labels, np.full((32, 32), 255)), LengthEncoder(), names)
    np.testing.assert_array_equal(segmenter.segment(np.zeros((32, 32, 3), np.uint8)).labels, labels)


@pytest.mark.parametrize("classes", [3, 300])
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 1 / 3, 51 / 255, 178 / 255, 1.0])
def test_pixels_under_the_threshold_are_left_unlabelled(classes: int, threshold: float) -> None:
    labels, confidence = np.indices((3, 256)) * np.array([classes // 3, 1])[:, None, None]
    names = [f"w{i}" for i in range(classes)]
    segmenter = Segmenter(FixedEngine(labels, confidence), LengthEncoder(), names, threshold=threshold)
    result = segmenter.segment(np.zeros((3, 256, 3), np.uint8))
    for place in np.ndindex(labels.shape):
        under = confidence[place] / 255 < threshold - 1e-9
        assert result.labels[place] == (result.unlabelled if under else labels[place])
    np.testing.assert_array_equal(result.confidence, confidence)


def test_a_threshold_of_its_own_overrules_the_segmenters() -> None:
    labels, confidence = np.indices((3, 256))
    words = Vocabulary.parse(["a", "b", "c"], thresholds=[0.2, None, 0.0])
    segmenter = Segmenter(FixedEngine(labels, confidence), LengthEncoder(), words, threshold=0.8)
    result = segmenter.segment(np.zeros((3, 256, 3), np.uint8))
    assert [int((row != 255).argmax()) for row in result.labels] == [51, 204, 0]
    segmenter.threshold = 0.4
    result = segmenter.segment(np.zeros((3, 256, 3), np.uint8))
    assert [int((row != 255).argmax()) for row in result.labels] == [51, 102, 0]


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_threshold_outside_0_to_1_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        Segmenter(EchoEngine(), LengthEncoder(), ["car"], threshold=value)
    segmenter = Segmenter(EchoEngine(), LengthEncoder(), ["car"], threshold=0.5)
    with pytest.raises(ValueError, match="out of range"):
        segmenter.threshold = value
    assert segmenter.threshold == 0.5


def test_loading_by_folder_starts_with_the_models_words(tiny_model: Path) -> None:
    segmenter = Segmenter.load(str(tiny_model))
    assert segmenter.model == "tiny"
    assert segmenter.vocabulary.names == ("sky", "road", "car", "tree")
    assert Segmenter.load(str(tiny_model), ["mug"], threshold=0.3).vocabulary.names == ("mug",)


def test_loading_with_another_text_encoder_is_a_model_error(
    tiny_copy: Path, tmp_path: Path, other_text: Callable[[Path], Path]
) -> None:
    shutil.rmtree(tiny_copy.parent / "text")
    other_text(tiny_copy.parent / "text")
    with pytest.raises(ModelError, match="another text encoder"):
        Segmenter.load(str(tiny_copy))


def test_new_words_are_prepared_for_the_latest_image_before_they_are_in_force(
    picture: Callable[..., np.ndarray],
) -> None:
    class Planned(EchoEngine):
        def __init__(self) -> None:
            self.prepared: list[tuple[tuple[int, ...], tuple[int, ...], int]] = []

        def prepare(self, image_shape: tuple[int, ...], text_shape: tuple[int, ...]) -> None:
            self.prepared.append((image_shape, text_shape, len(segmenter.vocabulary)))
            if text_shape[0] > 3:
                raise EngineError("too many classes")

    engine = Planned()
    segmenter = Segmenter(engine, LengthEncoder(), ["a", "bb"])  # type: ignore[arg-type]
    segmenter.set_vocabulary(["a"])
    assert engine.prepared == []  # no image yet
    segmenter.segment(picture(1, 40, 60))
    segmenter.set_vocabulary(["a", "bb", "ccc"])
    assert engine.prepared == [((1, 40, 60, 3), (3, 1, 32), 1)]
    with pytest.raises(EngineError, match="too many classes"):
        segmenter.set_vocabulary(["a", "bb", "ccc", "dddd"])
    assert segmenter.vocabulary.names == ("a", "bb", "ccc")
    assert segmenter.segment(picture(1, 40, 60)).labels.max() == 2


def test_more_words_than_the_engine_holds_are_refused_from_the_start() -> None:
    class Narrow(EchoEngine):
        manifest = SimpleNamespace(model="narrow", max_classes=2)

    with pytest.raises(VocabularyError, match=r"3 classes are more than this engine of narrow holds \(2\)"):
        Segmenter(Narrow(), LengthEncoder(), ["a", "bb", "ccc"])  # type: ignore[arg-type]
    segmenter = Segmenter(Narrow(), LengthEncoder(), ["a", "bb"])  # type: ignore[arg-type]
    with pytest.raises(VocabularyError, match="build it anew"):
        segmenter.set_vocabulary(["a", "bb", "ccc"])
    assert len(segmenter.vocabulary) == 2


def test_uncertain_pixels_fall_to_the_background_where_there_is_one() -> None:
    class Unsure(EchoEngine):
        def run(self, image: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            labels = np.array([[[0, 1], [2, 1]]], np.int32)
            return labels, np.array([[[10, 200], [60, 20]]], np.uint8)

    words = Vocabulary.parse(["cat", "rest", "dog"], thresholds=0.2, background="rest")
    segmenter = Segmenter(Unsure(), LengthEncoder(), words)  # type: ignore[arg-type]
    assert segmenter.segment(np.zeros((2, 2, 3), np.uint8)).labels.tolist() == [[1, 1], [2, 1]]
    segmenter.set_vocabulary(Vocabulary.parse(["cat", "rest", "dog"], thresholds=0.2))
    assert segmenter.segment(np.zeros((2, 2, 3), np.uint8)).labels.tolist() == [[255, 1], [2, 255]]

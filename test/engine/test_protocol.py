"""What every backend must do alike, checked against the model in torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ovseg_ros.engine import Engine, Graph, open_engine
from ovseg_ros.engine.backends import BACKENDS
from ovseg_ros.errors import EngineError

CASES = [
    ("openvino", "cpu", "fp32"),
    ("openvino", "cpu", "bf16"),
    ("torch", "cpu", "fp32"),
    ("torch", "cuda", "fp32"),
    *((name, "cuda", precision) for name in ("tensorrt", "tensorrt-rtx") for precision in ("fp32", "bf16", "fp16")),
]
AGREEMENT = {"fp32": 0.995, "bf16": 0.98, "fp16": 0.98}  # share of pixels whose label is torch's

Table = Callable[..., np.ndarray]
Picture = Callable[..., np.ndarray]
Answer = Callable[..., tuple[np.ndarray, np.ndarray]]


def lacking(backend: str, device: str) -> str | None:
    """What this machine lacks to run a backend."""
    if not BACKENDS[backend].installed:
        return f"{backend} is not installed"
    try:
        BACKENDS[backend].hardware(device, None)
    except EngineError as error:
        return str(error)
    return None


LACKING = {case: reason for case in CASES if (reason := lacking(*case[:2]))}


@pytest.mark.parametrize("case", LACKING, ids="-".join)
def test_what_does_not_run_here(case: tuple[str, str, str]) -> None:
    pytest.skip(LACKING[case])


@pytest.fixture(scope="module", params=[case for case in CASES if case not in LACKING], ids="-".join)
def engine(request: pytest.FixtureRequest, program_graph: Graph) -> Engine:
    """The tiny model on each backend that this machine has."""
    backend, device, precision = request.param
    return open_engine(program_graph, device, precision, backend=backend)


def agreement(engine: Engine, answer: Answer, image: np.ndarray, text: np.ndarray) -> float:
    return float((engine.run(image, text)[0] == answer(image, text)[0]).mean())


@pytest.mark.parametrize(("classes", "synonyms"), [(1, 1), (2, 3), (20, 1), (33, 2), (1000, 1)])
def test_labels_and_confidence_are_torchs(
    engine: Engine, torch_answer: Answer, make_table: Table, picture: Picture, classes: int, synonyms: int
) -> None:
    image, text = picture(1)[None], make_table(classes, synonyms)
    labels, confidence = engine.run(image, text)
    expected, expected_confidence = torch_answer(image, text)
    assert labels.shape == confidence.shape == image.shape[:3]
    assert np.issubdtype(labels.dtype, np.integer)
    assert confidence.dtype == np.uint8
    assert classes < 3 or len(np.unique(expected)) > 1
    same = labels == expected
    assert same.mean() >= AGREEMENT[engine.manifest.precision]
    apart = np.abs(confidence.astype(int) - expected_confidence)[same]
    assert np.percentile(apart, 99) <= (1 if engine.manifest.precision == "fp32" else 12)


def test_the_precision_asked_for_is_the_one_that_runs(
    engine: Engine, torch_answer: Answer, make_table: Table, picture: Picture
) -> None:
    import torch

    if engine.manifest.precision == "fp32":
        pytest.skip("nothing is rounded")
    if engine.manifest.backend == "openvino" and not torch.cpu._is_avx512_bf16_supported():
        pytest.skip("this CPU has no bfloat16 arithmetic")
    image, text = picture(1)[None], make_table(9)
    assert (engine.run(image, text)[1] != torch_answer(image, text)[1]).any()


def test_any_image_size_will_do(engine: Engine, torch_answer: Answer, make_table: Table, picture: Picture) -> None:
    for height, width in ((50, 70), (131, 97), (50, 70)):
        image = picture(2, height, width)[None]
        assert agreement(engine, torch_answer, image, make_table(9)) >= AGREEMENT[engine.manifest.precision]


@pytest.mark.parametrize("count", [2, 3])
def test_a_batch_is_its_images_one_by_one(
    engine: Engine, torch_answer: Answer, make_table: Table, picture: Picture, count: int
) -> None:
    batch, text = np.stack([picture(seed) for seed in range(count)]), make_table(9)
    labels, confidence = engine.run(batch, text)
    assert labels.shape == confidence.shape == (count, 120, 160)
    for one, ours in zip(batch, labels, strict=True):
        assert (torch_answer(one[None], text)[0][0] == ours).mean() >= AGREEMENT[engine.manifest.precision]


def test_results_are_the_callers_to_keep(engine: Engine, make_table: Table, picture: Picture) -> None:
    first = engine.run(picture(1)[None], make_table(9))
    kept = [array.copy() for array in first]
    second = engine.run(picture(2)[None], make_table(9, seed=1))
    for array, before in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, before)
        array[...] = 0  # they can be written to
    assert second[0].any()


def test_arrays_that_cannot_be_written_to_or_lie_apart_give_the_same(
    engine: Engine, make_table: Table, picture: Picture
) -> None:
    image, text = picture(1)[None], make_table(9)
    expected = engine.run(image, text)
    frozen_image, frozen_text = image.copy(), text.copy()
    frozen_image.flags.writeable = frozen_text.flags.writeable = False
    apart = np.repeat(image, 2, axis=2)[:, :, ::2]  # every second column of a wider picture
    assert not apart.flags.c_contiguous
    for one, table in ((frozen_image, frozen_text), (apart, text), (image[..., ::-1][..., ::-1], text)):
        result = engine.run(one, table)
        np.testing.assert_array_equal(result[0], expected[0])
        # torch's own arithmetic depends on where arrays begin
        np.testing.assert_allclose(result[1].astype(int), expected[1], atol=1)


def test_new_words_in_the_same_array_count(
    engine: Engine, torch_answer: Answer, make_table: Table, picture: Picture
) -> None:
    image, text = picture(1)[None], make_table(9)
    before, _ = engine.run(image, text)
    text[...] = text[::-1].copy()
    assert agreement(engine, torch_answer, image, text) >= AGREEMENT[engine.manifest.precision]
    assert (engine.run(image, text)[0] != before).any()


def test_preparing_changes_no_result(engine: Engine, torch_answer: Answer, make_table: Table, picture: Picture) -> None:
    image, old, new = picture(1)[None], make_table(9), make_table(7, 2)
    expected = engine.run(image, old)
    engine.prepare(image.shape, new.shape)
    np.testing.assert_array_equal(engine.run(image, old)[0], expected[0])
    assert agreement(engine, torch_answer, image, new) >= AGREEMENT[engine.manifest.precision]
    np.testing.assert_array_equal(engine.run(image, old)[0], expected[0])


@pytest.mark.parametrize(
    ("image_shape", "text_shape", "complaint"),
    [
        ((1, 40, 60, 3), (3, 1, 7), r"\(K, S, 16\).*not \(3, 1, 7\)"),
        ((1, 40, 60, 3), (0, 1, 16), r"K, S >= 1, not \(0, 1, 16\)"),
        ((1, 40, 60, 3), (3, 16), r"not \(3, 16\)"),
        ((1, 40, 60, 4), (3, 1, 16), r"\(N, H, W, 3\), not \(1, 40, 60, 4\)"),
        ((40, 60, 3), (3, 1, 16), r"not \(40, 60, 3\)"),
        ((1, 0, 60, 3), (3, 1, 16), r"not \(1, 0, 60, 3\)"),
    ],
)
def test_wrong_shapes_are_an_engine_error_and_the_engine_lives_on(
    engine: Engine,
    make_table: Table,
    picture: Picture,
    image_shape: tuple[int, ...],
    text_shape: tuple[int, ...],
    complaint: str,
) -> None:
    before, _ = engine.run(picture(1)[None], make_table(9))
    with pytest.raises(EngineError, match=complaint) as caught:
        engine.run(np.zeros(image_shape, np.uint8), np.ones(text_shape, np.float32))
    assert "\n" not in str(caught.value)
    with pytest.raises(EngineError, match=complaint):
        engine.prepare(image_shape, text_shape)
    np.testing.assert_array_equal(engine.run(picture(1)[None], make_table(9))[0], before)


def test_more_classes_than_planned_are_an_engine_error(engine: Engine, make_table: Table, picture: Picture) -> None:
    most = engine.manifest.max_classes
    if not most:
        pytest.skip(f"{engine.manifest.backend} takes any number of classes")
    with pytest.raises(EngineError, match=f"{most + 1} classes are more than the {most}"):
        engine.run(picture(1)[None], make_table(most + 1))
    assert engine.run(picture(1)[None], make_table(9))[0].any()

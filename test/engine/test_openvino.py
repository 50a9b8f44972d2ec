"""The OpenVINO backend: what it computes, and what it answers when it cannot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ovseg_ros.engine import open_engine
from ovseg_ros.engine.base import Engine
from ovseg_ros.engine.cache import Graph
from ovseg_ros.errors import EngineError
from ovseg_ros.text import StaticTextEncoder


@pytest.fixture(scope="module")
def engine(tiny_graph: Graph) -> Engine:
    return open_engine(tiny_graph, precision="fp32")


@pytest.fixture(scope="module")
def table(tiny_encoder: StaticTextEncoder) -> np.ndarray:
    return tiny_encoder.encode(["sky", "road", "car", "tree", "box", "mug"]).reshape(3, 2, -1)


def test_types_are_those_of_the_contract(engine: Engine, table: np.ndarray, picture: Callable[..., np.ndarray]) -> None:
    labels, confidence = engine.run(picture(1)[None], table)
    assert labels.shape == confidence.shape == (1, 120, 160)
    assert np.issubdtype(labels.dtype, np.integer)
    assert confidence.dtype == np.uint8
    assert 0 <= labels.min() <= labels.max() <= 2


def test_a_batch_is_its_images_one_by_one(
    engine: Engine, table: np.ndarray, picture: Callable[..., np.ndarray]
) -> None:
    batch = np.stack([picture(seed) for seed in (1, 2, 3)])
    labels, confidence = engine.run(batch, table)
    assert labels.shape == (3, 120, 160)
    for i, image in enumerate(batch):
        one = engine.run(image[None], table)
        np.testing.assert_array_equal(labels[i], one[0][0])
        np.testing.assert_array_equal(confidence[i], one[1][0])


@pytest.mark.parametrize("count", [1, 2, 33, 300])
def test_the_number_of_classes_may_change_with_every_call(
    engine: Engine, tiny_encoder: StaticTextEncoder, picture: Callable[..., np.ndarray], count: int
) -> None:
    rng = np.random.default_rng(count)
    table = rng.normal(size=(count, 1, tiny_encoder.width)).astype(np.float32)
    table /= np.linalg.norm(table, axis=2, keepdims=True)
    labels, _ = engine.run(picture(1)[None], table)
    assert labels.max() < count
    assert count < 3 or len(np.unique(labels)) > 1


def test_a_table_of_another_width_is_an_engine_error_and_the_engine_lives_on(
    engine: Engine, table: np.ndarray, picture: Callable[..., np.ndarray]
) -> None:
    before = engine.run(picture(1)[None], table)
    with pytest.raises(EngineError, match=r"120, 160.* 3 classes") as caught:
        engine.run(picture(1)[None], table[..., :7])
    assert "\n" not in str(caught.value)
    after = engine.run(picture(1)[None], table)
    np.testing.assert_array_equal(before[0], after[0])


def test_the_precision_asked_for_is_the_one_that_runs(
    tiny_graph: Graph, table: np.ndarray, picture: Callable[..., np.ndarray]
) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cpu._is_avx512_bf16_supported():
        pytest.skip("this CPU has no bfloat16 arithmetic")
    image = picture(1)[None]
    single, half = (open_engine(tiny_graph, precision=precision) for precision in ("fp32", "bf16"))
    assert (single.manifest.precision, half.manifest.precision) == ("fp32", "bf16")
    assert (single.run(image, table)[1] != half.run(image, table)[1]).any()

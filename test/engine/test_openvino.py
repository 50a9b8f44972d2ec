"""The OpenVINO backend: what only it does; the rest is in `test_protocol.py`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ovseg_ros.engine import Graph, build_engine, open_engine, openvino
from ovseg_ros.errors import EngineError


def test_a_failure_of_the_runtime_is_one_sentence_and_the_engine_lives_on(
    program_graph: Graph, make_table: Callable[..., np.ndarray], picture: Callable[..., np.ndarray]
) -> None:
    engine = open_engine(program_graph, precision="fp32")
    image, table = picture(1)[None], make_table(3)
    before, _ = engine.run(image, table)
    with pytest.raises(EngineError, match=r"OpenVINO failed on an image of \(120, 160\) with 3 classes: ") as caught:
        engine.run(image.astype(np.float32), table)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(engine.run(image, table)[0], before)


def test_it_builds_for_no_compute_capability(program_graph: Graph) -> None:
    with pytest.raises(EngineError, match=r"no compute capability \(8\.6\); leave it out"):
        build_engine(program_graph, "openvino", compute_capability="8.6")


def test_a_missing_device_is_named_with_those_there_are() -> None:
    with pytest.raises(EngineError, match="no device 'gpu:9' on this machine; available: cpu"):
        openvino.device_name("gpu:9")

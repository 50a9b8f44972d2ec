"""Protocols as data: sizes, windows, and what an engine can serve."""

from __future__ import annotations

import numpy as np
import pytest

from ovseg_ros.evaluation.protocols import (
    NATIVE,
    PROTOCOLS,
    ProtocolError,
    Resize,
    Windows,
    check_engine_size,
    engine_way,
    find_protocol,
)
from ovseg_ros.prompts import PROMPT_SETS


def test_the_protocols_of_the_field_are_there() -> None:
    assert {"native", "single640", "single512", "catseg", "mmseg336", "mmseg560"} == set(PROTOCOLS)
    for name, protocol in PROTOCOLS.items():
        assert find_protocol(name) is protocol
        assert protocol.prompts is None or protocol.prompts in PROMPT_SETS
    with pytest.raises(ProtocolError, match=r"no protocol 'mmseg'; known: native, single640"):
        find_protocol("mmseg")


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("single640", (480, 640), (640, 853)),
        ("single640", (683, 512), (854, 640)),  # 853.75 rounds up
        ("single640", (1024, 2048), (640, 1280)),
        ("single640", (100, 900), (284, 2560)),  # the long side binds
        ("single512", (375, 500), (512, 683)),
        ("mmseg336", (375, 500), (336, 448)),
        ("mmseg336", (500, 333), (505, 336)),
        ("mmseg560", (1024, 2048), (560, 1120)),
        ("mmseg336", (100, 900), (228, 2048)),
    ],
)
def test_images_get_the_published_size(name: str, image: tuple[int, int], expected: tuple[int, int]) -> None:
    resize = PROTOCOLS[name].resize
    assert resize is not None
    assert resize.size(*image) == expected


def test_pillow_smooths_and_opencv_does_not() -> None:
    fine = np.zeros((64, 64, 3), np.uint8)
    fine[:, ::4] = 255  # a quarter of the columns: a mean of 64
    pytest.importorskip("PIL")
    smooth = Resize(16, 64, "pillow")(fine)
    rough = Resize(16, 64, "opencv")(fine)
    assert smooth.shape == rough.shape == (16, 16, 3)
    assert abs(float(smooth.mean()) - 63.75) < 4
    assert float(rough.mean()) < 5  # samples between the second and third of every four columns
    same = np.zeros((16, 20, 3), np.uint8)
    assert Resize(16, 64, "pillow")(same) is same


@pytest.mark.parametrize("length", [100, 224, 225, 336, 448, 505, 1120])
def test_windows_are_those_of_a_loop_and_cover_everything(length: int) -> None:
    side, step = 224, 112
    expected, start = [], 0
    while True:
        expected.append(max(0, min(start, length - side)))
        if start + side >= length:
            break
        start += step
    starts = Windows(side, step).starts(length)
    assert starts == expected
    covered = np.zeros(length, bool)
    for first in starts:
        covered[first : first + side] = True
    assert covered.all()


def test_an_engine_says_which_protocols_it_serves_and_how() -> None:
    assert engine_way(NATIVE, (384, 512)) == "native: whole image, resized to 384x512 inside the graph"
    way = engine_way(PROTOCOLS["single640"], (640, 1280))
    assert way.startswith("single640 on an engine of 640x1280")
    assert "labels, not class maps" in way  # the difference is said with every number
    for name in ("catseg", "mmseg336", "mmseg560"):
        with pytest.raises(ProtocolError, match=f"{name} averages scores over windows.*--network"):
            engine_way(PROTOCOLS[name], (384, 384))


def test_an_image_that_an_engine_would_distort_is_refused() -> None:
    check_engine_size(PROTOCOLS["single640"], (640, 1280), (1024, 2048))
    check_engine_size(NATIVE, (640, 1280), (3, 4))
    with pytest.raises(ProtocolError, match=r"480x640 to 640x853, and this engine works at 640x864"):
        check_engine_size(PROTOCOLS["single640"], (640, 864), (480, 640))

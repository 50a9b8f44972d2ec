"""Which backend a device gets, and what is said where there is none."""

from __future__ import annotations

import pytest

from ovseg_ros.engine.backends import BACKENDS, Backend, find_backend
from ovseg_ros.errors import EngineError


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the backends that count as installed; tests may change it."""
    names = set(BACKENDS)
    monkeypatch.setattr(Backend, "installed", property(lambda backend: backend.name in names))
    return names


@pytest.mark.parametrize(
    ("missing", "device", "chosen"),
    [
        ((), "cpu", "openvino"),
        ((), "gpu:1", "openvino"),
        ((), None, "openvino"),
        ((), "cuda", "tensorrt"),
        ((), "cuda:1", "tensorrt"),
        (("tensorrt",), "cuda", "tensorrt-rtx"),
    ],
)
def test_a_device_gets_the_fastest_backend_that_is_installed(
    installed: set[str], missing: tuple[str, ...], device: str | None, chosen: str
) -> None:
    installed.difference_update(missing)
    assert find_backend("auto", device).name == chosen


def test_without_tensorrt_the_remedy_is_named(installed: set[str]) -> None:
    installed.difference_update(("tensorrt", "tensorrt-rtx"))
    with pytest.raises(EngineError, match=r"no backend for NVIDIA GPUs is installed; pip install 'ovseg_ros\[cuda\]'"):
        find_backend("auto", "cuda")
    with pytest.raises(EngineError, match="tensorrt-rtx needs tensorrt_rtx, which is not installed; pip install"):
        find_backend("tensorrt-rtx", "cuda")


@pytest.mark.parametrize(
    ("name", "device", "precision", "complaint"),
    [
        ("vulkan", "cpu", "auto", "no backend 'vulkan'; expected auto, openvino, tensorrt, tensorrt-rtx, torch"),
        ("openvino", "cuda", "auto", "openvino does not run on the device 'cuda'; it runs on cpu, gpu"),
        ("tensorrt", "cpu", "auto", "tensorrt does not run on the device 'cpu'; it runs on cuda"),
        ("auto", "npu", "auto", "no backend for the device 'npu'; expected cpu, gpu for an Intel GPU, or cuda"),
        ("torch", "cpu", "fp16", "unknown precision 'fp16'; expected one of auto, fp32"),
    ],
)
def test_what_there_is_not_is_an_engine_error(
    installed: set[str], name: str, device: str, precision: str, complaint: str
) -> None:
    with pytest.raises(EngineError, match=complaint):
        find_backend(name, device, precision)

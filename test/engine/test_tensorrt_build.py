"""TensorRT-RTX compiles graphs here for GPUs that are elsewhere."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from ovseg_ros.engine import Graph, build_engine, cuda, load_engine, open_engine
from ovseg_ros.engine.backends import BACKENDS
from ovseg_ros.engine.base import Manifest
from ovseg_ros.errors import EngineError

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")

# what Myelin prints of itself is no warning of Python's
CAPABILITIES = ["7.5", "8.6", "8.9", "12.0"]


def has_gpu() -> bool:
    try:
        cuda.find_device("cuda")
    except EngineError:
        return False
    return True


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_the_graph_compiles_for_a_gpu_that_is_not_here(program_graph: Graph, tmp_path: Path, capability: str) -> None:
    folder = build_engine(program_graph, "tensorrt-rtx", compute_capability=capability, root=tmp_path)
    manifest = Manifest.read(folder / "manifest.json")
    assert manifest.device == f"compute capability {capability}"
    assert (manifest.backend, manifest.backend_version) == ("tensorrt-rtx", trt.__version__)
    assert manifest.precision == "fp16"
    assert (manifest.max_classes, manifest.max_synonyms, manifest.max_batch) == (1024, 32, 2)
    assert sorted(path.name for path in folder.iterdir()) == ["image.plan", "manifest.json"]
    plan = (folder / "image.plan").read_bytes()
    _, diagnostics = trt.Runtime(trt.Logger(trt.Logger.INTERNAL_ERROR)).get_engine_validity(plan[:64])
    assert not diagnostics & int(trt.EngineInvalidityDiagnostics.MALFORMED_ENGINE)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_precisions_compile(program_graph: Graph, tmp_path: Path, precision: str) -> None:
    folder = build_engine(program_graph, "tensorrt-rtx", precision, "8.6", root=tmp_path)
    assert Manifest.read(folder / "manifest.json").precision == precision


def test_a_build_is_kept_and_tells_of_its_progress(program_graph: Graph, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    folder = build_engine(
        program_graph, "tensorrt-rtx", "auto", "8.6", lambda *call: calls.append(call), root=tmp_path
    )  # fmt: skip
    assert len({phase for phase, _, _ in calls}) > 1
    assert all(0 <= done <= total for _, done, total in calls)
    finished = {phase for phase, done, total in calls if done == total}
    assert finished == {phase for phase, _, _ in calls}
    calls.clear()
    assert build_engine(program_graph, "tensorrt-rtx", compute_capability="8.6", root=tmp_path) == folder
    assert build_engine(program_graph, "tensorrt-rtx", compute_capability="8.9", root=tmp_path) != folder
    assert not calls


def test_a_build_can_be_cancelled_and_leaves_nothing(program_graph: Graph, tmp_path: Path) -> None:
    def stop(phase: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(program_graph, "tensorrt-rtx", "fp16", "8.6", stop, tmp_path)
    assert list((tmp_path / "tiny").iterdir()) == []


@pytest.mark.parametrize(
    ("precision", "capability", "complaint"),
    [
        ("bf16", "7.5", "7.5 has no bfloat16 arithmetic; build for fp16"),
        ("fp32", "7.5", "no float32 products on compute capability 7.5; build for fp16"),
        ("auto", "9.0", r"cannot build for compute capability 9\.0; it supports 7\.5, .*backend tensorrt"),
        ("auto", "orin", "cannot build for compute capability orin"),
        ("int8", "8.6", "unknown precision 'int8'; expected one of auto, fp32, bf16, fp16"),
    ],
)
def test_what_cannot_be_built_is_an_engine_error(
    program_graph: Graph, tmp_path: Path, precision: str, capability: str, complaint: str
) -> None:
    with pytest.raises(EngineError, match=complaint):
        build_engine(program_graph, "tensorrt-rtx", precision, capability, root=tmp_path)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_file_that_is_no_graph_is_an_engine_error(other_graph: Graph, tmp_path: Path, precision: str) -> None:
    other_graph.path.write_bytes(b"no graph")
    with pytest.raises(EngineError, match=r"model\.onnx") as caught:
        build_engine(other_graph, "tensorrt-rtx", precision, "8.6", root=tmp_path / "engines")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "engines" / "tiny").iterdir()) == []


def test_limits_have_an_engine_of_their_own(program_graph: Graph) -> None:
    from ovseg_ros.engine.cache import engine_key

    def key(backend: str, graph: Graph) -> str:
        return engine_key(graph, BACKENDS[backend], "compute capability 8.6", "auto")

    fewer = dataclasses.replace(program_graph, max_classes=100)
    assert key("tensorrt-rtx", program_graph) != key("tensorrt-rtx", fewer)
    assert key("openvino", program_graph) == key("openvino", fewer)


def test_without_a_gpu_running_is_refused_in_one_sentence(program_graph: Graph, tmp_path: Path) -> None:
    if has_gpu():
        pytest.skip("there is a GPU")
    for backend in ("auto", "tensorrt-rtx"):
        with pytest.raises(EngineError, match=r"^(there is no NVIDIA GPU|no backend for NVIDIA)") as caught:
            open_engine(program_graph, "cuda", root=tmp_path, backend=backend)
        assert "\n" not in str(caught.value)


def test_an_engine_of_another_compute_capability_is_explained_and_another_is_built(
    program_graph: Graph,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "ovseg_ros")
    foreign = build_engine(program_graph, "tensorrt-rtx", compute_capability="8.9", root=tmp_path)
    here = cuda.Device(0, "Fake GPU", "8.6")
    monkeypatch.setattr(cuda, "find_device", lambda device: here)
    with pytest.raises(EngineError, match=r"built for compute capability 8\.9, and this is compute capability 8\.6"):
        load_engine(foreign)
    loaded: list[Path] = []
    backend = dataclasses.replace(BACKENDS["tensorrt-rtx"], load=record(loaded))
    monkeypatch.setitem(BACKENDS, "tensorrt-rtx", backend)
    open_engine(program_graph, "cuda", root=tmp_path, backend="tensorrt-rtx")
    assert Manifest.read(loaded[0] / "manifest.json").device == "compute capability 8.6"
    assert len([r for r in caplog.records if "does not serve here" in r.getMessage()]) == 1
    assert foreign.exists()


def record(loaded: list[Path]) -> Callable[..., None]:
    def load(folder: Path, device: str) -> None:
        loaded.append(folder)

    return load

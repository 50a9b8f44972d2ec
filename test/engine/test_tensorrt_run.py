"""Running TensorRT engines, over stand-ins for TensorRT and CUDA: whose memory is whose, and what happens when."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fake_gpu import FakeRuntime, FakeTensorRT

from ovseg_ros.engine import Graph, cuda, tensorrt, tensorrt_engine
from ovseg_ros.engine.base import Job, Manifest
from ovseg_ros.engine.tensorrt_engine import TensorRTEngine
from ovseg_ros.errors import EngineError

MANIFEST = Manifest(
    *("toy", "ab" * 32, "tensorrt", "11.0", "Fake GPU, compute capability 8.6", "fp16", "cd" * 32, 16, (64, 96), "MIT"),
    inputs={},
    outputs={},
    files={},
    max_classes=64,
    max_synonyms=4,
    max_batch=2,
)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    runtime = FakeRuntime()
    monkeypatch.setattr(cuda, "runtime", lambda: runtime)
    return runtime


@pytest.fixture
def trt(gpu: FakeRuntime, monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    module = FakeTensorRT(gpu)
    monkeypatch.setattr(tensorrt_engine, "load_module", lambda name: module)
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "image.plan").write_bytes(b"plan")
    MANIFEST.write(tmp_path / "manifest.json")
    return tmp_path


@pytest.fixture
def engine(trt: FakeTensorRT, folder: Path) -> Iterator[TensorRTEngine]:
    engine = TensorRTEngine("tensorrt", folder)
    yield engine
    engine.close()


def table(classes: int, first: float = 0.5) -> np.ndarray:
    text = np.zeros((classes, 1, 16), np.float32)
    text[0, 0, 0] = first
    return text


def check(engine: TensorRTEngine, image: np.ndarray, text: np.ndarray) -> None:
    """What the stand-in's network must answer."""
    labels, confidence = engine.run(image, text)
    np.testing.assert_array_equal(labels, image[..., 0] % len(text))
    assert (confidence == int(100 * text[0, 0, 0])).all()


def test_frames_words_and_shapes_may_change_at_will(engine: TensorRTEngine, picture: Callable[..., np.ndarray]) -> None:
    for seed, (height, width), classes in [
        (1, (40, 60), 3), (2, (40, 60), 3), (3, (40, 60), 20), (4, (50, 60), 20), (5, (40, 60), 3),
    ]:  # fmt: skip
        check(engine, picture(seed, height, width)[None], table(classes, 0.5 + seed / 10))


def test_a_shape_is_captured_once_and_then_launched(
    engine: TensorRTEngine, gpu: FakeRuntime, picture: Callable[..., np.ndarray]
) -> None:
    image = picture(1, 40, 60)[None]
    for _ in range(5):
        check(engine, image, table(3))
    assert (gpu.enqueues, gpu.launches) == (2, 5)  # one to warm up, one to record
    check(engine, image, table(4))
    assert (gpu.enqueues, gpu.launches) == (4, 6)
    check(engine, image, table(3))
    assert (gpu.enqueues, gpu.launches) == (4, 7)  # still there


def test_no_memory_is_allocated_from_frame_to_frame(
    engine: TensorRTEngine, gpu: FakeRuntime, picture: Callable[..., np.ndarray]
) -> None:
    check(engine, picture(1, 40, 60)[None], table(3))
    blocks = set(gpu.device_blocks) | set(gpu.host_blocks)
    for seed in range(5):
        check(engine, picture(seed, 40, 60)[None], table(3, seed / 10))
    assert set(gpu.device_blocks) | set(gpu.host_blocks) == blocks


def test_words_are_uploaded_only_when_they_changed(
    engine: TensorRTEngine, gpu: FakeRuntime, picture: Callable[..., np.ndarray]
) -> None:
    image, text = picture(1, 40, 60)[None], table(3)
    check(engine, image, text)
    before = gpu.uploads
    for words in (text, text, text.copy()):
        check(engine, image, words)
    assert gpu.uploads == before + 3  # the images
    text[0, 0, 0] = 0.7  # in place
    check(engine, image, text)
    assert gpu.uploads == before + 5
    frozen = table(3, 0.2)
    frozen.flags.writeable = False
    for _ in range(2):
        check(engine, image, frozen)
    assert gpu.uploads == before + 8


def test_without_capture_kernels_are_launched_one_by_one(
    engine: TensorRTEngine, gpu: FakeRuntime, picture: Callable[..., np.ndarray]
) -> None:
    gpu.refuse_capture = True
    for seed in range(3):
        check(engine, picture(seed, 40, 60)[None], table(3))
    assert gpu.launches == 0
    assert gpu.recording is None


def test_preparing_leaves_the_first_run_nothing_to_do(
    engine: TensorRTEngine, gpu: FakeRuntime, trt: FakeTensorRT, picture: Callable[..., np.ndarray]
) -> None:
    image = picture(1, 40, 60)[None]
    check(engine, image, table(3))
    engine.prepare(image.shape, (20, 1, 16))
    made, enqueued = trt.contexts, gpu.enqueues
    check(engine, image, table(3))  # the old words are still in force
    check(engine, image, table(20))
    assert (trt.contexts, gpu.enqueues) == (made, enqueued)


def test_a_batch_beyond_the_limit_runs_in_parts(engine: TensorRTEngine, picture: Callable[..., np.ndarray]) -> None:
    check(engine, np.stack([picture(seed, 40, 60) for seed in range(5)]), table(3))


def test_out_of_memory_is_an_engine_error_and_the_old_words_go_on(
    engine: TensorRTEngine, gpu: FakeRuntime, picture: Callable[..., np.ndarray]
) -> None:
    image = picture(1, 40, 60)[None]
    check(engine, image, table(3))
    used = len(gpu.device_blocks)
    gpu.memory = 50_000
    with pytest.raises(EngineError, match=r"no 0 MB left \(cudaMalloc.*fewer classes") as caught:
        engine.prepare(image.shape, (60, 1, 16))
    assert "\n" not in str(caught.value)
    assert len(gpu.device_blocks) == used
    check(engine, image, table(3))
    with pytest.raises(EngineError, match=r"TensorRT failed on an image of \(40, 60\) with 60 classes"):
        engine.run(image, table(60))
    check(engine, image, table(3))


def test_memory_of_other_shapes_is_given_up_for_a_new_one(
    engine: TensorRTEngine, gpu: FakeRuntime, picture: Callable[..., np.ndarray]
) -> None:
    image = picture(1, 40, 60)[None]
    check(engine, image, table(30))
    gpu.memory = 80_000
    check(engine, image, table(40))
    check(engine, image, table(30))


def test_no_session_is_left_behind(
    engine: TensorRTEngine, gpu: FakeRuntime, picture: Callable[..., np.ndarray]
) -> None:
    for classes in range(1, 9):
        check(engine, picture(1, 40, 60)[None], table(classes))
    assert len(gpu.streams) == len(gpu.executables) == 2
    engine.close()
    assert gpu.leaks == 0
    check(engine, picture(1, 40, 60)[None], table(3))


def test_a_failure_to_enqueue_is_an_engine_error_and_the_engine_lives_on(
    engine: TensorRTEngine, gpu: FakeRuntime, trt: FakeTensorRT, picture: Callable[..., np.ndarray]
) -> None:
    image = picture(1, 40, 60)[None]
    trt.fail_enqueue = True
    with pytest.raises(EngineError, match="could not enqueue"):
        engine.run(image, table(3))
    assert gpu.leaks == 0
    trt.fail_enqueue = False
    check(engine, image, table(3))


@pytest.mark.parametrize(
    ("shape", "classes", "complaint"),
    [
        ((1, 201, 60, 3), 3, r"\(1, 201, 60, 3\) is outside the engine's range, \(1, 2, 2, 3\) to \(2, 200, 200, 3\)"),
        ((1, 40, 60, 3), 65, "65 classes are more than the 64 the engine was built for"),
    ],
)
def test_what_is_beyond_the_profile_is_an_engine_error(
    engine: TensorRTEngine,
    gpu: FakeRuntime,
    picture: Callable[..., np.ndarray],
    shape: tuple[int, ...],
    classes: int,
    complaint: str,
) -> None:
    check(engine, picture(1, 40, 60)[None], table(3))
    with pytest.raises(EngineError, match=complaint):
        engine.run(np.zeros(shape, np.uint8), table(classes))
    check(engine, picture(1, 40, 60)[None], table(3))


def test_a_plan_that_tensorrt_refuses_is_an_engine_error(trt: FakeTensorRT, folder: Path) -> None:
    (folder / "image.plan").write_bytes(b"plan of TensorRT 10")
    with pytest.raises(EngineError, match=r"cannot be loaded: the plan's version does not match$"):
        TensorRTEngine("tensorrt", folder)
    (folder / "image.plan").unlink()
    with pytest.raises(EngineError, match="cannot be read"):
        TensorRTEngine("tensorrt", folder)


def test_no_gpu_is_one_sentence(gpu: FakeRuntime, trt: FakeTensorRT, folder: Path) -> None:
    gpu.devices = 0
    with pytest.raises(EngineError, match=r"^there is no NVIDIA GPU .*NO_DEVICE.*; try the device cpu$"):
        TensorRTEngine("tensorrt", folder)
    gpu.devices = 1
    for name in ("cuda:1", "cuda:x"):
        with pytest.raises(EngineError, match=f"no GPU '{name}' on this machine; expected cuda:0 to cuda:0"):
            TensorRTEngine("tensorrt", folder, name)


def test_without_cuda_python_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(cuda.importlib, "import_module", missing)
    cuda.runtime.cache_clear()
    with pytest.raises(EngineError, match=r"cuda-python, which is not installed; pip install 'ovseg_ros\[cuda\]'"):
        cuda.runtime()


def test_a_manifest_of_other_limits_counts(trt: FakeTensorRT, folder: Path) -> None:
    dataclasses.replace(MANIFEST, max_synonyms=2).write(folder / "manifest.json")
    with pytest.raises(EngineError, match="3 synonyms a class are more than the 2"):
        TensorRTEngine("tensorrt", folder).run(np.zeros((1, 40, 60, 3), np.uint8), np.zeros((3, 3, 16), np.float32))


def test_timings_of_one_build_reach_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Config:
        """Accepts an empty cache, and those that end as version 11's do."""

        cache = b""

        def create_timing_cache(self, content: bytes) -> bytes:
            return content

        def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
            fits = not cache or cache.endswith(b"11")
            self.cache = cache if fits else self.cache
            return fits and not ignore_mismatch

        def get_timing_cache(self) -> SimpleNamespace:
            return SimpleNamespace(serialize=lambda: self.cache + b"measured by 11")

    monkeypatch.setattr(tensorrt, "version", lambda name: "11.0")
    graph = Graph("toy", tmp_path / "model.onnx", "ab", "cd", 16, (64, 96), "MIT")
    job = Job(graph, tmp_path, "cuda", "fp16", shared=tmp_path / "root")
    for expected in (b"", b"measured by 11"):
        config = Config()
        tensorrt._read_timings(config, job)
        assert config.cache == expected
        tensorrt._write_timings(config, job)
    (path,) = (tmp_path / "root" / ".timings").iterdir()
    path.write_bytes(b"measured by 10")
    tensorrt._read_timings(config := Config(), job)
    assert config.cache == b""

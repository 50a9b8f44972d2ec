"""Engines on disk: built once, found again, built anew when stale or damaged."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ovseg_ros.engine import Graph, build_engine, cache, load_engine, open_engine, openvino
from ovseg_ros.engine.backends import BACKENDS
from ovseg_ros.engine.base import Built, Engine, Job, Manifest
from ovseg_ros.errors import EngineError
from ovseg_ros.text import StaticTextEncoder

IMAGE = np.full((1, 40, 60, 3), 120, np.uint8)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Grows by one with every build."""
    done: list[Path] = []
    build = openvino.build

    def counted(job: Job) -> Built:
        done.append(job.folder)
        return build(job)

    monkeypatch.setattr(openvino, "build", counted)
    return done


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith("ovseg") and r.levelno >= logging.WARNING]


def works(engine: Engine, encoder: StaticTextEncoder) -> bool:
    labels, confidence = engine.run(IMAGE, encoder.encode(["sky", "road"])[:, None])
    return labels.shape == confidence.shape == IMAGE.shape[:3]


def the_engine(root: Path) -> Path:
    """The only folder under ROOT/tiny, hidden ones included."""
    (folder,) = (root / "tiny").iterdir()
    return folder


def test_an_engine_is_built_once(
    tiny_graph: Graph,
    tiny_encoder: StaticTextEncoder,
    tmp_path: Path,
    builds: list[Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(2):
        assert works(open_engine(tiny_graph, root=tmp_path), tiny_encoder)
    assert len(builds) == 1
    assert not warnings_of(caplog)
    folder = the_engine(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["weights_hash"] == tiny_graph.hash
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert os.stat(folder).st_mode & 0o055 == 0o055  # others may read it


def test_whatever_decides_validity_has_an_engine_of_its_own(
    tiny_graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(graph: Graph = tiny_graph, hardware: str = "this CPU", precision: str = "auto") -> str:
        return cache.engine_key(graph, BACKENDS["openvino"], hardware, precision)

    keys = [
        key(),
        key(dataclasses.replace(tiny_graph, hash="0" * 64)),
        key(dataclasses.replace(tiny_graph, text_identity="0" * 64)),
        key(hardware="another CPU"),
        key(precision="fp32"),
    ]
    keys.append(cache.engine_key(tiny_graph, BACKENDS["torch"], "this CPU", "auto"))
    monkeypatch.setattr(openvino, "version", lambda: "2020.1")
    keys.append(key())
    assert len(set(keys)) == len(keys)


def truncate_blob(folder: Path) -> None:
    blob = folder / "image.blob"
    blob.write_bytes(blob.read_bytes()[: blob.stat().st_size // 2])


def change_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def spoil_blob_and_hash(folder: Path) -> None:
    """A whole file that OpenVINO cannot load."""
    (folder / "image.blob").write_bytes(b"no engine")
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content["files"]["image.blob"] = hashlib.sha256(b"no engine").hexdigest()
    path.write_text(json.dumps(content))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated blob": truncate_blob,
    "missing blob": lambda folder: (folder / "image.blob").unlink(),
    "empty blob": lambda folder: (folder / "image.blob").write_bytes(b""),
    "truncated manifest": lambda folder: (folder / "manifest.json").write_text('{"model": "ti'),
    "missing manifest": lambda folder: (folder / "manifest.json").unlink(),
    "blob of another runtime": spoil_blob_and_hash,
    "another version": lambda folder: change_manifest(folder, backend_version="2020.1"),
    "another processor": lambda folder: change_manifest(folder, device="another CPU"),
    "another graph": lambda folder: change_manifest(folder, weights_hash="0" * 64),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_engine_is_built_anew_with_one_warning(
    tiny_graph: Graph,
    tiny_encoder: StaticTextEncoder,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    builds: list[Path],
    damage: Callable[[Path], object],
) -> None:
    open_engine(tiny_graph, root=tmp_path)
    damage(the_engine(tmp_path))
    assert works(open_engine(tiny_graph, root=tmp_path), tiny_encoder)
    (warning,) = warnings_of(caplog)
    assert str(the_engine(tmp_path)) in warning
    assert "\n" not in warning
    assert len(builds) == 2
    caplog.clear()
    assert works(open_engine(tiny_graph, root=tmp_path), tiny_encoder)
    assert not warnings_of(caplog)
    assert len(builds) == 2


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"backend_version": "2020.1"}, r"built by openvino 2020\.1, and this is openvino 20"),
        ({"device": "another CPU"}, "built for another CPU, and this is"),
        ({"files": {"image.blob": "0" * 64}}, "image.blob is truncated or changed"),
        ({"backend": "telepathy"}, "no backend 'telepathy'; expected auto, openvino"),
    ],
)
def test_an_engine_from_elsewhere_is_refused_in_one_sentence(
    tiny_graph: Graph, tiny_encoder: StaticTextEncoder, tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    folder = build_engine(tiny_graph, "openvino", root=tmp_path)
    assert works(load_engine(folder), tiny_encoder)
    change_manifest(folder, **changes)
    with pytest.raises(EngineError, match=complaint) as caught:
        load_engine(folder)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_an_engine_error_and_leaves_nothing(
    tiny_graph: Graph, tiny_encoder: StaticTextEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        write_bytes(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(EngineError, match=r"No space left.*; free some space or set OVSEG_ENGINES"):
            open_engine(tiny_graph, root=tmp_path)
    assert list((tmp_path / "tiny").iterdir()) == []
    assert works(open_engine(tiny_graph, root=tmp_path), tiny_encoder)


def test_what_a_killed_builder_left_is_cleared(tiny_graph: Graph, tmp_path: Path) -> None:
    key = open_engine(tiny_graph, root=tmp_path) and the_engine(tmp_path).name
    (tmp_path / "tiny" / f".building-{key}-x").mkdir()
    (tmp_path / "tiny" / ".building-another-x").mkdir()  # may be going on
    truncate_blob(tmp_path / "tiny" / key)
    open_engine(tiny_graph, root=tmp_path)
    assert {path.name for path in (tmp_path / "tiny").iterdir()} == {key, ".building-another-x"}


def test_engines_that_cannot_be_kept_still_run(
    tiny_graph: Graph,
    tiny_encoder: StaticTextEncoder,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert works(open_engine(tiny_graph, root=tmp_path / "file"), tiny_encoder)
    (warning,) = warnings_of(caplog)
    assert "OVSEG_ENGINES" in warning


def test_temporary_engines_are_gone_at_exit(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "OVSEG_ENGINES": str(tmp_path / "file"), "TMPDIR": str(tmp_path / "temporary")}
    process = subprocess.run(
        [sys.executable, "-c", OPEN, str(tiny_model)], env=environment, input="go\n", text=True, capture_output=True
    )
    assert process.stdout == "ready\n(8, 8)\n"
    assert "cannot keep engines" in process.stderr
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_graph_that_is_none_is_an_engine_error_and_leaves_nothing(tiny_graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(EngineError, match=r"cannot compile .*model\.onnx") as caught:
        open_engine(dataclasses.replace(tiny_graph, path=path), root=tmp_path / "engines")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "engines" / "tiny").iterdir()) == []


@pytest.mark.parametrize(
    ("device", "precision", "complaint"),
    [
        ("tpu", "auto", "'tpu'; expected cpu, gpu for an Intel GPU, or cuda"),
        ("cpu", "int3", "'int3'; expected one of auto, fp32"),
        ("cpu:7", "auto", "no device 'cpu:7'"),
        ("cuda", "int3", "(no backend for NVIDIA|unknown precision|needs tensorrt)"),
    ],
)
def test_an_unknown_device_or_precision_is_an_engine_error(
    tiny_graph: Graph, tmp_path: Path, device: str, precision: str, complaint: str
) -> None:
    with pytest.raises(EngineError, match=complaint):
        open_engine(tiny_graph, device, precision, tmp_path)


def test_the_environment_chooses_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVSEG_ENGINES", str(tmp_path / "engines"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache.engine_root() == tmp_path / "engines"
    assert cache.cache_root() == tmp_path / "cache" / "ovseg_ros"


OPEN = """
import logging, sys, time
from pathlib import Path
from ovseg_ros.segmenter import Segmenter
import numpy as np
logging.basicConfig(level=logging.WARNING)
print("ready", flush=True)
sys.stdin.readline()
result = Segmenter.load(sys.argv[1]).segment(np.zeros((8, 8, 3), np.uint8))
print(result.labels.shape)
"""


@pytest.mark.parametrize("there_is_one", [False, True], ids=["from nothing", "over a truncated engine"])
def test_two_processes_may_build_at_once(
    tiny_model: Path, tmp_path: Path, there_is_one: bool, tiny_graph: Graph
) -> None:
    if there_is_one:
        open_engine(tiny_graph, root=tmp_path)
        truncate_blob(the_engine(tmp_path))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(tiny_model)],
            env={**os.environ, "OVSEG_ENGINES": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out == "(8, 8)\n"
    folder = the_engine(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["image.blob", "manifest.json"]
    assert open_engine(tiny_graph, root=tmp_path).manifest.model == "tiny"


def test_the_second_builder_waits_and_takes_the_first_ones_engine(
    tiny_graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ovseg_ros")
    begun, go_on, done = threading.Event(), threading.Event(), []
    build = openvino.build

    def slow(job: Job) -> Built:
        done.append(job.folder)
        begun.set()
        assert go_on.wait(30)
        return build(job)

    monkeypatch.setattr(openvino, "build", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(build_engine, tiny_graph, "openvino", root=tmp_path)
        assert begun.wait(30)
        second = pool.submit(build_engine, tiny_graph, "openvino", root=tmp_path)
        for _ in range(3000):
            if any("waiting for it" in record.getMessage() for record in caplog.records):
                break
            time.sleep(0.01)
        else:
            pytest.fail("the second does not say that it waits")
        go_on.set()
        assert first.result(30) == second.result(30)
    assert len(done) == 1


def test_progress_is_told_and_may_cancel(tiny_graph: Graph, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    build_engine(tiny_graph, "openvino", progress=lambda *call: calls.append(call), root=tmp_path)
    assert calls == [("compile", 0, 1), ("compile", 1, 1)]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(tiny_graph, "openvino", "fp32", progress=stop, root=tmp_path)
    assert len(list((tmp_path / "tiny").iterdir())) == 1
    assert Manifest.read(the_engine(tmp_path) / "manifest.json").max_classes == 0  # any number


def test_a_folder_that_another_process_takes_away_meanwhile_is_no_failure(
    tiny_graph: Graph, tiny_encoder: StaticTextEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_engine(tiny_graph, root=tmp_path)
    folder = the_engine(tmp_path)
    truncate_blob(folder)
    rename = Path.rename

    def beaten(path: Path, target: Path) -> Path:
        if path == folder:  # the other builder is first
            rename(path, path.with_name(".old-of-another"))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", beaten)
    assert works(open_engine(tiny_graph, root=tmp_path), tiny_encoder)

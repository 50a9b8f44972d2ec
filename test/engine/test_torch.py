"""The torch backend: what only it does; the rest is in `test_protocol.py`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ovseg_ros.engine import Graph, build_engine, open_engine
from ovseg_ros.errors import EngineError

torch = pytest.importorskip("torch")


def test_a_missing_program_is_an_engine_error_with_the_remedy(other_graph: Graph, tmp_path: Path) -> None:
    other_graph.path.with_name("model.pt2").unlink()
    with pytest.raises(EngineError, match=r"model\.pt2, which is missing; export tiny again"):
        open_engine(other_graph, backend="torch", root=tmp_path / "engines")
    assert list((tmp_path / "engines" / "tiny").iterdir()) == []


def test_a_damaged_program_is_one_sentence(other_graph: Graph, tmp_path: Path) -> None:
    program = other_graph.path.with_name("model.pt2")
    program.write_bytes(program.read_bytes()[:1000])
    with pytest.raises(EngineError, match=r"torch cannot load .*model\.pt2: ") as caught:
        open_engine(other_graph, backend="torch", root=tmp_path / "engines")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("device", "capability", "complaint"),
    [
        ("cpu:1", None, "no device 'cpu:1'; expected cpu or cuda"),
        ("gpu", None, "torch does not run on the device 'gpu'; it runs on cpu, cuda"),
        ("cuda:99", None, "no GPU 'cuda:99' on this machine"),
        ("cpu", "8.6", "no compute capability"),
    ],
)
def test_devices_that_it_lacks_are_engine_errors(
    program_graph: Graph, tmp_path: Path, device: str, capability: str | None, complaint: str
) -> None:
    with pytest.raises(EngineError, match=complaint):
        build_engine(program_graph, "torch", compute_capability=capability, root=tmp_path, device=device)


def test_a_failure_of_torch_is_one_sentence(
    program_graph: Graph, make_table: Callable[..., np.ndarray], picture: Callable[..., np.ndarray]
) -> None:
    engine = open_engine(program_graph, backend="torch")
    with pytest.raises(EngineError, match=r"torch failed on an image of \(120, 160\) with 3 classes: ") as caught:
        engine.run(picture(1)[None], make_table(3).astype(np.float64))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert engine.run(picture(1)[None], make_table(3))[0].any()


def test_the_other_backends_import_no_torch() -> None:
    program = (
        "import sys, ovseg_ros.engine as e, ovseg_ros.engine.backends as b;"
        "b.BACKENDS['openvino'].hardware('cpu', None); print(e.installed_backends(), 'torch' in sys.modules)"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert process.stdout.strip().endswith("False")
    assert "'openvino'" in process.stdout

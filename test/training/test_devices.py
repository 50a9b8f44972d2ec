"""Training on several devices, and which devices a run may ask for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from ovseg_ros.errors import ModelError  # noqa: E402
from ovseg_ros.text import StaticTextEncoder  # noqa: E402
from ovseg_ros.training.engine import Devices, default_workers, make_fabric  # noqa: E402
from ovseg_ros.training.recipe import Recipe  # noqa: E402
from ovseg_ros.training.sources import CamVidSource  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """
name: toy
source: camvid
model: {{name: pixeltext, widths: [8, 8, 16, 16], depths: [1, 1, 1], features: 16}}
crop: [32, 48]
batch: 4
accumulate: {accumulate}
optimizer: sgd
learning_rate: 0.1
steps: 5
warmup: 0
save_every: 5
words: {{absent: 4}}
"""
RUN = """
import sys
from pathlib import Path
import torch
from ovseg_ros.text import StaticTextEncoder
from ovseg_ros.training.engine import Devices, make_fabric
from ovseg_ros.training.loop import Trainer
from ovseg_ros.training.mix import Mix
from ovseg_ros.training.recipe import Recipe
from ovseg_ros.training.sources import CamVidSource
from ovseg_ros.training.task import open_task

recipe = Recipe.load(sys.argv[1])
fabric = make_fabric(Devices("cpu", 2, precision="32-true"), recipe)
torch.manual_seed(recipe.seed)
task = open_task(recipe, StaticTextEncoder(sys.argv[3]))
trainer = Trainer(recipe, Mix.of(CamVidSource(Path(sys.argv[2]))), task, Path(sys.argv[4]), fabric)
list(trainer.run(workers=0, quiet=True))
print(fabric.world_size, (trainer.log is None) == (fabric.global_rank > 0))
"""


def test_two_processes_train_as_one_does_in_two_passes(
    tmp_path: Path, camvid_like: Path, make_trainer: Callable[..., Any]
) -> None:
    """Same pictures, same gradients but for rounding; batch norm's statistics are those of the first process."""
    from ovseg_ros.resources import find

    text, script = find("weights/text"), tmp_path / "run.py"
    script.write_text(RUN)  # Lightning starts the second process with the same command
    two, one = tmp_path / "two.yaml", tmp_path / "one.yaml"
    two.write_text(RECIPE.format(accumulate=1))
    one.write_text(RECIPE.format(accumulate=2))
    places = [str(two), str(camvid_like), str(text), str(tmp_path / "two")]
    done = subprocess.run(
        [sys.executable, str(script), *places],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 True") == 2

    trainer = make_trainer(tmp_path / "one", Recipe.load(str(one)), StaticTextEncoder(text), CamVidSource(camvid_like))
    start = {name: p.detach().clone() for name, p in trainer.net.named_parameters()}
    list(trainer.run(workers=0, quiet=True))
    state = torch.load(tmp_path / "two" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 5
    moved = {name: float((p.detach() - start[name]).abs().max()) for name, p in trainer.net.named_parameters()}
    assert sum(way > 1e-4 for way in moved.values()) > 0.8 * len(moved)
    for name, p in trainer.net.named_parameters():
        assert (state["net"][name] - p.detach()).abs().max() <= 1e-3 * moved[name] + 1e-7, name


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        (Devices(devices=0), "--devices 0 --nodes 1; expected at least 1"),
        (Devices("cpu", 3), "a batch of 4 cannot be shared equally by 3 devices"),
        (Devices("tpu"), "--accelerator tpu; expected one of auto, cpu, cuda, mps"),
        (Devices("cpu", precision="int8"), "--precision int8; expected one of auto, 32-true"),
        (Devices("cuda", 2), "--devices 2, but there are|--accelerator cuda: torch finds no such device"),
    ],
)
def test_devices_that_cannot_be_are_refused(
    where: Devices, complaint: str, toy_recipe: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ModelError, match=complaint):
        make_fabric(where, toy_recipe(batch=4))


def test_gpus_are_fed_by_as_many_processes_as_there_are_cores_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert default_workers("cpu", 1) == 1
    assert default_workers("cuda", 1) == 15
    assert default_workers("cuda", 4) == 3
    assert default_workers("cuda", 64) == 1

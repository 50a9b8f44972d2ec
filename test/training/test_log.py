"""What a run tells: rows, TensorBoard, and how long it waited."""

from __future__ import annotations

import builtins
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from ovseg_ros.training.log import Clock, Log


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_what_was_logged_after_the_checkpoint_is_logged_anew(tmp_path: Path) -> None:
    log = Log(tmp_path)
    for step in (3, 6, 9):
        log.row(step, {"loss": 1 / step})
    log.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 12, "lo')  # the power failed
    log = Log(tmp_path, 6)
    assert [row["step"] for row in rows(tmp_path)] == [3, 6]
    log.row(9, {"loss": 0.25, "wait": 0.01})
    log.close()
    assert rows(tmp_path)[-1] == {"step": 9, "loss": 0.25, "wait": 0.01}


def test_tensorboard_reads_the_same_rows_and_pictures(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = Log(tmp_path)
    for step in (3, 6, 9):
        log.row(step, {"loss": step / 8})
    log.picture(9, np.full((30, 1440, 3), 128, np.uint8))
    log.close()
    time.sleep(1.1)  # TensorBoard orders a run's files by the second in their names
    log = Log(tmp_path, 6)
    log.row(9, {"loss": 5.0})
    log.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(3, 0.375), (6, 0.75), (9, 5.0)]
    time.sleep(1.1)
    log = Log(tmp_path, 9)
    log.picture(12, np.full((30, 1440, 3), 128, np.uint8))
    log.close()
    images = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload().Images("pictures")
    assert [(e.step, e.width, e.height) for e in images] == [(12, 720, 15)]


def test_without_tensorboard_there_is_the_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if "tensorboard" in name:
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    log = Log(tmp_path)
    log.row(3, {"loss": 2.0})
    log.picture(3, np.zeros((4, 4, 3), np.uint8))
    log.close()
    assert rows(tmp_path) == [{"step": 3, "loss": 2.0}]
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_the_clock_counts_between_start_and_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("ovseg_ros.training.log.time", SimpleNamespace(perf_counter=lambda: now))
    clock = Clock()
    assert clock.share == 0.0
    for _ in range(3):
        clock.start()
        now += 0.25
        clock.waited += 0.0625
        clock.stop()
        now += 5
        clock.stop()  # once is enough
    assert clock.total == 0.75
    assert clock.share == 0.25


def test_a_run_tells_how_long_it_waited(
    tmp_path: Path, make_trainer: Any, toy_recipe: Any, tiny_encoder: Any, painted: Any
) -> None:
    class Slow(painted):  # type: ignore[misc]
        def load(self, index: int) -> Any:
            time.sleep(0.02)
            return super().load(index)

    shares = {}
    for name, source in (("slow", Slow()), ("fast", painted())):
        trainer = make_trainer(tmp_path / name, toy_recipe(steps=8), tiny_encoder, source)
        list(trainer.run(save_every=4, workers=0, quiet=True))
        shares[name] = rows(tmp_path / name)[-1]["wait"]
        assert shares[name] == pytest.approx(trainer.clock.share, rel=1e-4)
        if name == "slow":
            assert trainer.clock.waited >= 7 * 2 * 0.02  # two pictures a step, but for the first
    assert shares["slow"] > shares["fast"]

"""`ovseg models`: what it says of models that are there, and of those that can be built."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ovseg_ros.cli import main

TIMING = {"ms": 41.5, "command": "ovseg bench timed --image 480x640", "machine": "2 cores of an imagined CPU"}


@pytest.fixture
def timed(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model built here whose manifest says how fast it is, beside a system that is built."""
    monkeypatch.setenv("OVSEG_ENGINES", str(tmp_path))
    for name, more in (("timed", {"timing": TIMING}), ("gkc-rn50", {"note": "half of it is random", "scores": {}})):
        graph = Path(shutil.copytree(tiny_model, tmp_path / name / "graph"))
        manifest = json.loads((graph / "manifest.json").read_text(encoding="utf-8"))
        (graph / "manifest.json").write_text(json.dumps({**manifest, "name": name, **more}), encoding="utf-8")
    return tmp_path / "timed" / "graph" / "manifest.json"


@pytest.mark.usefixtures("timed")
def test_scores_and_times_stand_under_their_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("timed "))
    assert "64x96" in lines[place]
    assert lines[place + 1].split() == ["mIoU", "0.500", "toy"]
    assert lines[place + 2].strip() == f"41.5 ms  {TIMING['machine']}: {TIMING['command']}"
    assert next(line for line in lines if line.startswith("gkc-rn50")).endswith("half of it is random")


@pytest.mark.usefixtures("timed")
def test_the_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    listed: dict[str, Any] = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert listed["timed"]["timing"] == TIMING
    assert listed["timed"]["scores"] == {"toy": 0.5}
    assert listed["mini"]["state"] == "embedded"
    assert listed["gkc-rn50"]["state"] == "built"  # and not offered again
    assert {"ebseg-b", "ebseg-l", "deop-b", "esc-net-b", "esc-net-l", "cat-seg-b", "cat-seg-l"} <= set(listed)
    offered = listed["ebseg-b"]
    assert (offered["state"], offered["size"], offered["licence"]) == ("can be built", [640, 640], "MIT (EBSeg)")
    assert offered["note"] == "arXiv 2406.09829"
    assert offered["weights"].startswith("EBSeg_base.pth")
    keys = {frozenset(entry) for entry in listed.values()}
    assert len(keys) == 1


@pytest.mark.parametrize("timing", [{"ms": 3}, "fast", {**TIMING, "ms": "soon"}], ids=["less", "text", "word"])
def test_a_timing_in_another_form_is_named(timing: Any, timed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads(timed.read_text(encoding="utf-8"))
    timed.write_text(json.dumps({**manifest, "timing": timing}), encoding="utf-8")
    assert main(["models"]) == 2
    assert "the manifest of timed has a timing" in capsys.readouterr().err

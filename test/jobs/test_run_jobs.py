"""Jobs here and on processes: the same results, nothing lost when workers or the whole run are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from works import Meeting, SetUp, Sums, Surroundings, Trouble, value_of

from ovseg_ros.errors import ImageError
from ovseg_ros.jobs import JobsError, run_jobs


def items_of(count: int) -> list[tuple[str, int]]:
    return [(f"item {i}", i) for i in range(count)]


def check(results: dict[str, Any], count: int, factor: int = 3) -> None:
    """Every result is there and is what a plain loop gives."""
    assert sorted(results) == sorted(key for key, _ in items_of(count))
    for key, item in items_of(count):
        expected = value_of(item, factor)
        assert results[key]["item"] == expected["item"]
        np.testing.assert_array_equal(results[key]["sums"], expected["sums"])


def begun(log: Path) -> Counter[str]:
    """How often each item was begun."""
    return Counter(log.read_text().splitlines())


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kept", [False, True])
def test_every_item_is_done_once(tmp_path: Path, workers: int, kept: bool) -> None:
    folder = tmp_path / "kept" if kept else None
    results = list(run_jobs(Sums(tmp_path / "log"), items_of(20), workers=workers, folder=folder, quiet=True))
    assert len(results) == 20
    check(dict(results), 20)
    begins = begun(tmp_path / "log")
    assert 1 <= begins.pop("setup") <= workers  # a slow starter may find nothing left to do
    assert begins == {str(i): 1 for i in range(20)}


def test_no_more_workers_are_started_than_there_are_items(tmp_path: Path) -> None:
    check(dict(run_jobs(Sums(tmp_path / "log"), items_of(2), workers=5, quiet=True)), 2)
    assert begun(tmp_path / "log")["setup"] <= 2
    assert dict(run_jobs(Sums(tmp_path / "log"), [], workers=5, quiet=True)) == {}


def test_killed_workers_lose_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    results: dict[str, Any] = {}
    killed = 0
    jobs = run_jobs(Sums(tmp_path / "log", seconds=0.02), items_of(60), workers=2, folder=tmp_path / "kept")
    for key, result in jobs:
        assert key not in results
        results[key] = result
        if len(results) in (5, 20, 40):
            ready = {int(line) for line in (tmp_path / "workers").read_text().split()}
            victim = next(child for child in multiprocessing.active_children() if child.pid in ready)
            victim.kill()
            killed += 1
    assert killed == 3
    check(results, 60)
    err = capfd.readouterr().err
    assert "60/60" in err
    assert "failed=0" in err
    begins = begun(tmp_path / "log")
    assert begins.pop("setup") > killed
    assert set(begins) == {str(i) for i in range(60)}
    assert sum(begins.values()) <= 60 + killed


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    count = 40
    code = (
        "import sys; from pathlib import Path; from works import Sums; from ovseg_ros.jobs import run_jobs\n"
        "if __name__ == '__main__':\n"
        f"    items = [(f'item {{i}}', i) for i in range({count})]\n"
        "    root = Path(sys.argv[1])\n"
        "    for key, _ in run_jobs(Sums(root / 'log', seconds=0.05), items, workers=2, folder=root / 'kept'):\n"
        "        print(key, flush=True)\n"
    )
    (tmp_path / "script.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(
        [sys.executable, tmp_path / "script.py", tmp_path],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as run:
        assert run.stdout is not None
        seen = [run.stdout.readline().strip() for _ in range(8)]
        run.kill()
        seen += run.stdout.read().split("\n")[:-1]  # ends when the workers, who hold the pipe too, have ended
    assert run.returncode == -signal.SIGKILL
    before = begun(tmp_path / "log")
    assert 8 <= len(seen) < count
    work = Sums(tmp_path / "log")
    again = list(run_jobs(work, items_of(count), workers=2, folder=tmp_path / "kept", quiet=True))
    check(dict(again), count)
    # what was seen was stored, comes first in the items' order, and is not computed again
    stored = [key for key, _ in again[: len(seen)]]
    assert set(seen) <= {key for key, _ in again[: len(seen) + 2]}
    assert stored == sorted(stored, key=lambda key: int(key.split()[1]))
    after = begun(tmp_path / "log")
    assert all(after[key.split()[1]] == before[key.split()[1]] == 1 for key in seen)


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_are_told_at_the_end_and_bad_items_are_not_tried_again(tmp_path: Path, workers: int) -> None:
    names = ["bad", "ok 1", "flaky:2", "ok 2", "flaky:9", "ok 3"]
    results: dict[str, str] = {}
    with pytest.raises(
        JobsError, match="2 of 6 jobs failed: bad: the picture is no picture; flaky:9: OSError"
    ) as caught:
        results.update(run_jobs(Trouble(tmp_path / "log"), [(n, n) for n in names], workers=workers, quiet=True))
    assert results == {name: name for name in ("ok 1", "ok 2", "flaky:2", "ok 3")}
    assert begun(tmp_path / "log") == {"bad": 1, "ok 1": 1, "ok 2": 1, "ok 3": 1, "flaky:2": 2, "flaky:9": 3}
    assert list(caught.value.failures) == ["bad", "flaky:9"]
    bad = caught.value.failures["bad"]
    assert isinstance(bad, ImageError)
    assert bad.reason == "odd"


def test_an_item_that_kills_its_worker_fails_alone(tmp_path: Path) -> None:
    names = ["killed", "killed-until:3", *(f"ok {i}" for i in range(6))]
    results: dict[str, str] = {}
    with pytest.raises(
        JobsError, match="1 of 8 jobs failed: killed: the worker process was ended by SIGKILL"
    ) as caught:
        results.update(run_jobs(Trouble(tmp_path / "log"), [(n, n) for n in names], workers=2, quiet=True))
    assert sorted(results) == sorted(names[1:])
    assert begun(tmp_path / "log")["killed"] == 3
    assert list(caught.value.failures) == ["killed"]


def test_failed_items_are_tried_again_by_the_next_run(tmp_path: Path) -> None:
    names = [(n, n) for n in ("ok", "flaky:2")]
    with pytest.raises(JobsError, match="1 of 2"):
        list(run_jobs(Trouble(tmp_path / "log"), names, folder=tmp_path / "kept", retries=0, quiet=True))
    again = dict(run_jobs(Trouble(tmp_path / "log"), names, folder=tmp_path / "kept", retries=0, quiet=True))
    assert again == {"ok": "ok", "flaky:2": "flaky:2"}
    assert begun(tmp_path / "log") == {"ok": 1, "flaky:2": 2}


def test_errors_that_cannot_travel_still_arrive(tmp_path: Path) -> None:
    items = [(n, n) for n in ("strange", "unpicklable")]
    with pytest.raises(JobsError) as caught:
        list(run_jobs(Trouble(tmp_path / "log"), items, workers=2, retries=0, quiet=True))
    assert str(caught.value.failures["strange"]) == "StrangeError: strange 1 2"
    assert "pickle" in str(caught.value.failures["unpicklable"])
    assert "works.py" in str(caught.value.failures["strange"].__cause__)  # the worker's traceback


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_set_up_ends_the_run_as_it_is(tmp_path: Path, workers: int) -> None:
    with pytest.raises(ImageError, match="no such model"):
        list(run_jobs(SetUp("error", tmp_path / "log"), items_of(9), workers=workers, quiet=True))


def test_workers_that_never_come_up_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(JobsError, match="no worker comes up: the worker process ended with exit code 3"):
        list(run_jobs(SetUp("exit", tmp_path / "log"), items_of(9), workers=1 + 1, retries=1, quiet=True))
    assert 2 <= begun(tmp_path / "log")["exit"] <= 4


def test_a_caller_who_has_enough_leaves_no_worker_behind(tmp_path: Path) -> None:
    jobs = run_jobs(Sums(tmp_path / "log", seconds=0.05), items_of(50), workers=2, folder=tmp_path / "kept", quiet=True)
    first = next(jobs)
    assert len(multiprocessing.active_children()) >= 1
    jobs.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []
    # the folder is free again, and what was given is kept
    again = run_jobs(Sums(tmp_path / "log"), items_of(50), folder=tmp_path / "kept", quiet=True)
    assert first[0] in dict(again)
    assert begun(tmp_path / "log")[first[0].split()[1]] == 1


def test_workers_share_the_cores_only_while_libraries_start() -> None:
    cores = sorted(os.sched_getaffinity(0))
    before = os.environ.pop("OMP_NUM_THREADS", None)
    try:
        found = dict(run_jobs(Surroundings(), [("one", 1), ("two", 2)], workers=2, quiet=True))
    finally:
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before
    share = max(1, len(cores) // 2)
    for during, after, threads, process in found.values():
        assert (during, after, threads) == (share, cores, str(share))
        assert process != os.getpid()


def test_progress_counts_what_was_stored(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    list(run_jobs(Sums(tmp_path / "log"), items_of(3), folder=tmp_path / "kept", quiet=True))
    assert capfd.readouterr().err == ""
    list(run_jobs(Sums(tmp_path / "log"), items_of(5), folder=tmp_path / "kept", describe="sums"))
    err = capfd.readouterr().err
    assert "sums: 100%" in err
    assert "5/5" in err


@pytest.mark.parametrize(
    ("items", "options", "complaint"),
    [
        ([("a", 1), ("b", 2), ("a", 3)], {}, "the key 'a' occurs twice"),
        ([("", 1)], {}, "key is empty"),
        ([("a", 1)], {"workers": -1}, r"workers \(-1\)"),
        ([("a", 1)], {"retries": -2}, r"retries \(-2\)"),
    ],
)
def test_bad_arguments_are_refused_at_once(items: Any, options: Any, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(JobsError, match=complaint):
        run_jobs(Sums(tmp_path / "log"), items, **options)


def test_work_that_cannot_travel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobsError, match="top level"):
        list(run_jobs(lambda: str, items_of(3), workers=2, quiet=True))
    with pytest.raises(JobsError, match="top level"):
        list(run_jobs(lambda: str, items_of(3), folder=tmp_path, quiet=True))
    assert dict(run_jobs(lambda: str, items_of(2), quiet=True)) == {"item 0": "0", "item 1": "1"}


def test_workers_work_at_the_same_time(tmp_path: Path) -> None:
    met = dict(run_jobs(Meeting(tmp_path / "log", 3), items_of(3), workers=3, quiet=True))
    assert met == {key: True for key, _ in items_of(3)}

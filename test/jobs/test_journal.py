"""Stored results: whose they are, and what happens to them when a file is cut off, damaged or changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from works import Sums

from ovseg_ros.jobs import JobsError, run_jobs
from ovseg_ros.jobs.journal import NAME


def items_of(count: int) -> list[tuple[str, int]]:
    return [(f"item {i}", i) for i in range(count)]


def computed(root: Path, count: int = 4, **options: Any) -> list[int]:
    """Run, and tell which items were computed and not just read."""
    log = root / "log"
    log.unlink(missing_ok=True)
    done = dict(run_jobs(Sums(log), items_of(count), folder=root / "kept", quiet=True, **options))
    assert [done[key]["item"] for key, _ in items_of(count)] == list(range(count))
    return [int(line) for line in log.read_text().splitlines() if line.isdigit()] if log.exists() else []


def test_a_journal_cut_off_anywhere_loses_only_what_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "kept" / NAME
    sizes = []
    for count in range(1, 5):
        assert computed(tmp_path, count) == [count - 1]
        sizes.append(path.stat().st_size)
    whole = path.read_bytes()
    for cut in range(0, len(whole), 41):
        path.write_bytes(whole[:cut])
        assert computed(tmp_path) == [i for i in range(4) if sizes[i] > cut], cut
        assert path.stat().st_size == len(whole)
        assert computed(tmp_path) == []


def test_a_damaged_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "kept" / NAME
    computed(tmp_path, 3)
    size = path.stat().st_size
    computed(tmp_path, 4)
    whole = path.read_bytes()
    for place in range(size, len(whole), 23):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        assert computed(tmp_path) == [3], place


@pytest.mark.parametrize("keep", [0, 1])
def test_zeros_at_the_end_are_no_results(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "kept" / NAME
    computed(tmp_path, 2)
    path.write_bytes(path.read_bytes() * keep + bytes(500))
    assert computed(tmp_path) == ([2, 3] if keep else [0, 1, 2, 3])
    assert computed(tmp_path) == []


def test_another_runs_results_are_left_alone(tmp_path: Path) -> None:
    computed(tmp_path)
    before = (tmp_path / "kept" / NAME).read_bytes()
    with pytest.raises(JobsError, match=r"kept holds the results of a run with other settings.*differ in: factor"):
        list(run_jobs(Sums(tmp_path / "log", factor=4), items_of(4), folder=tmp_path / "kept", quiet=True))
    assert (tmp_path / "kept" / NAME).read_bytes() == before
    # what does not count for the results may differ
    assert list(run_jobs(Sums(tmp_path / "other", seconds=1), items_of(4), folder=tmp_path / "kept", quiet=True))
    assert not (tmp_path / "other").exists()


def test_a_changed_item_is_done_again(tmp_path: Path) -> None:
    items = items_of(3)
    work = Sums(tmp_path / "log")
    list(run_jobs(work, items, folder=tmp_path / "kept", quiet=True))
    items[1] = ("item 1", 10)
    for _ in range(2):
        results = dict(run_jobs(work, items, folder=tmp_path / "kept", quiet=True))
        assert [results[key]["item"] for key, _ in items] == [0, 10, 2]
    assert (tmp_path / "log").read_text().split() == ["setup", "0", "1", "2", "setup", "10"]


def test_stored_results_that_no_longer_hold_are_done_again(tmp_path: Path) -> None:
    computed(tmp_path)
    assert computed(tmp_path, keep=lambda key, result: key != "item 2" and result["item"] != 0) == [0, 2]
    assert computed(tmp_path) == []


def test_a_folder_serves_one_run_at_a_time(tmp_path: Path) -> None:
    first = run_jobs(Sums(tmp_path / "log"), items_of(3), folder=tmp_path / "kept", quiet=True)
    next(first)
    with pytest.raises(JobsError, match="another run is writing to"):
        list(run_jobs(Sums(tmp_path / "log"), items_of(3), folder=tmp_path / "kept", quiet=True))
    assert len(list(first)) == 2
    assert computed(tmp_path, 3) == []


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JobsError, match="cannot keep results in the folder"):
        list(run_jobs(Sums(tmp_path / "log"), items_of(3), folder=tmp_path / "file" / "kept", quiet=True))
    assert not (tmp_path / "log").exists()

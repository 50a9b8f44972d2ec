"""Jobs on a Ray cluster: the same results and rules as on processes."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from works import SetUp, Sums, Trouble, value_of

from ovseg_ros.errors import ImageError
from ovseg_ros.jobs import JobsError, run_jobs
from ovseg_ros.jobs.cluster import _share


@pytest.mark.slow
def test_a_cluster_gives_what_the_serial_run_gives(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray")
    items = [(f"item {i}", i) for i in range(30)]
    options = {"folder": tmp_path / "kept", "quiet": True}
    results = dict(run_jobs(Sums(tmp_path / "log"), items, workers=2, cluster="local", **options))
    for key, item in items:
        np.testing.assert_array_equal(results[key]["sums"], value_of(item)["sums"])
    begins = Counter((tmp_path / "log").read_text().split())
    assert 1 <= begins.pop("setup") <= 2
    assert begins == {str(i): 1 for i in range(30)}
    # what a cluster stored, a serial run takes over
    assert list(dict(run_jobs(Sums(tmp_path / "none"), items, **options))) == [key for key, _ in items]
    assert not (tmp_path / "none").exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_cluster_that_loses_workers_loses_no_results(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray")
    names = ["bad", "killed-until:3", "flaky:2", "strange", "killed", *(f"ok {i}" for i in range(8))]
    results: dict[str, str] = {}
    items = [(name, name) for name in names]
    with pytest.raises(JobsError, match="3 of 13 jobs failed: bad: the picture is no picture; strange: ") as caught:
        results.update(run_jobs(Trouble(tmp_path / "log"), items, workers=3, cluster="local", quiet=True))
    assert sorted(results) == sorted({*names} - {"bad", "strange", "killed"})
    begins = Counter((tmp_path / "log").read_text().splitlines())
    assert begins == dict.fromkeys(names, 1) | {"killed-until:3": 3, "flaky:2": 2, "strange": 3, "killed": 3}
    assert isinstance(caught.value.failures["bad"], ImageError)
    assert "the cluster lost a worker" in str(caught.value.failures["killed"])
    assert capfd.readouterr().out == ""  # Ray tells of lost workers there, and `--json` writes there


@pytest.mark.slow
def test_a_cluster_that_is_joined_already_is_used_and_left_running(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        items = [(f"item {i}", i) for i in range(4)]
        assert len(dict(run_jobs(Sums(tmp_path / "log"), items, workers=0, cluster="auto", quiet=True))) == 4
        assert ray.is_initialized()
        with pytest.raises(ImageError, match="no such model"):
            list(run_jobs(SetUp("error", tmp_path / "log"), items, cluster="auto", quiet=True))
        with pytest.raises(JobsError, match="no worker comes up: the cluster lost a worker"):
            list(run_jobs(SetUp("exit", tmp_path / "log"), items, cluster="auto", retries=1, quiet=True))
    finally:
        ray.shutdown()


def test_without_ray_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(JobsError, match=r"pip install 'ovseg_ros\[cluster\]'"):
        list(run_jobs(Sums(tmp_path / "log"), [("a", 1)], cluster="local", quiet=True))


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    for address, complaint in (
        (f"127.0.0.1:{free}", f"no Ray cluster answers at 127.0.0.1:{free}"),
        (f"ray://127.0.0.1:{free}", "no Ray cluster answers at ray://"),
        ("somewhere", "'somewhere' is no address"),
        ("127.0.0.1:port", "'127.0.0.1:port' is no address"),
        ("127.0.0.1:99999", "no Ray cluster answers"),
    ):
        with pytest.raises(JobsError, match=complaint):
            list(run_jobs(Sums(tmp_path / "log"), [("a", 1)], cluster=address, quiet=True))


@pytest.mark.parametrize("machines", [[2], [8, 8], [4, 16, 1], [3, 5, 7], []])
def test_workers_get_as_many_cores_as_leave_room_for_all(machines: list[int]) -> None:
    for workers in range(1, 40):
        # by trial: cut every machine into pieces of so many cores, and count them
        roomy = [
            share for share in range(1, 20) if sum(1 for c in machines for _ in range(share, c + 1, share)) >= workers
        ]
        assert _share(machines, workers) == max([1, *roomy])

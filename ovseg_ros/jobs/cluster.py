"""A pool of workers on a Ray cluster: the cores of many machines, or of this one."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import sys
import warnings
from collections.abc import Collection, Sequence
from typing import Any

from ovseg_ros.jobs.base import Function, JobsError, Reply, Worker, WorkerDiedError, attempt, prepare
from ovseg_ros.jobs.cores import count_cores, share_of

REACH_SECONDS = 10.0  # that a cluster's address may take to answer


def connect(work: bytes, address: str, workers: int) -> tuple[RayPool, int]:
    """Join a cluster.

    Args:
        work: the pickled work.
        address: "local" starts a cluster on this machine alone, which ends with the pool; "auto" finds the one that
            this machine belongs to; else host:port of its head, or ray://host:port through Ray's client.
        workers: 0 takes one a core of the cluster.

    Returns:
        the pool and the number of workers it is for.

    Raises:
        JobsError: when Ray is not installed, or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports home otherwise
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # workers without a GPU may see it all the same
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray's own affairs
            ray: Any = importlib.import_module("ray")  # has types, but too many to check against
    except ImportError as error:
        raise JobsError(
            "a cluster needs Ray, which is not installed: pip install 'ovseg_ros[cluster]'; "
            "the cores of this machine do without it (workers, and no cluster)"
        ) from error
    ours = not ray.is_initialized()
    if ours:
        _initialise(ray, address, workers)
    machines = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    workers = workers or max(1, sum(machines))
    return RayPool(ray, work, _share(machines, workers), ours), workers


def _initialise(ray: Any, address: str, workers: int) -> None:
    _check_reachable(address)
    # workers may be more than cores, and each needs a slot
    slots = {"num_cpus": max(workers, count_cores()), "include_dashboard": False} if address == "local" else {}
    level = logging.getLogger("ray").level
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address, log_to_driver=False, configure_logging=False, **slots)
    except Exception as error:  # Ray raises just that where a machine is slow to start
        logging.getLogger("ray").setLevel(level)
        ray.shutdown()  # of what was started already
        raise JobsError(f"no Ray cluster answers at {address!r}: {error} (`ray start --head` starts one)") from error


def _check_reachable(address: str) -> None:
    """Ray itself asks a wrong address for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address in ("auto", "local"):
        return
    if not host or not port.isdigit():
        raise JobsError(f"{address!r} is no address of a Ray cluster; expected host:port, auto or local")
    try:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise JobsError(f"no Ray cluster answers at {address}: {error}; `ray start --head` starts one") from error


def _share(machines: Sequence[int], workers: int) -> int:
    """The most cores a worker can have such that all workers find room, at least one."""
    shares = range(max(machines, default=1), 1, -1)
    return next((share for share in shares if sum(cores // share for cores in machines) >= workers), 1)


class RayPool:
    """Workers as Ray actors.

    Args:
        ray: the module, connected.
        work: the pickled work.
        cores: of each worker.
        ours: whether the connection ends with the pool.
    """

    def __init__(self, ray: Any, work: bytes, cores: int, ours: bool) -> None:
        self._ray, self._work, self._cores, self._ours = ray, work, cores, ours
        self._actor = ray.remote(_Actor).options(num_cpus=cores, max_restarts=0, max_task_retries=0)
        self._workers: set[RayWorker] = set()
        self._logs = _worker_logs(ray, on=False)

    def start(self) -> RayWorker:
        """See `Pool.start`; a worker that finds no free cores is ready when there are some."""
        worker = RayWorker(self._ray, self._actor.remote(), self._work, self._cores)
        self._workers.add(worker)
        return worker

    def wait(self, workers: Collection[Worker]) -> list[tuple[Worker, Reply]]:
        """See `Pool.wait`."""
        by_reply = {w.reply: w for w in workers if isinstance(w, RayWorker)}
        ready, _ = self._ray.wait(list(by_reply), num_returns=1)
        return [(by_reply[reply], by_reply[reply].hear()) for reply in ready]

    def close(self) -> None:
        """See `Pool.close`."""
        for worker in self._workers:
            worker.stop()
        self._workers.clear()
        if self._ours:
            self._ray.shutdown()
        _worker_logs(self._ray, on=self._logs)


class RayWorker:
    """One actor, and the reply that is to come from it."""

    def __init__(self, ray: Any, actor: Any, work: bytes, cores: int) -> None:
        self._ray, self._actor = ray, actor
        self.reply = actor.prepare.remote(work, cores, sys.path)

    def give(self, item: bytes) -> bool:
        """See `Worker.give`; that an idle actor is gone shows in its reply."""
        self.reply = self._actor.run.remote(item)
        return True

    def hear(self) -> Reply:
        """The reply, or the news that there is none."""
        try:
            reply: Reply = self._ray.get(self.reply)
        except self._ray.exceptions.RayError as error:
            return Reply("died", error=WorkerDiedError(f"the cluster lost a worker: {_reason(error)}"))
        return reply

    def stop(self) -> None:
        """See `Worker.stop`."""
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(self._actor)


class _Actor:
    """What runs on the cluster."""

    def __init__(self) -> None:
        self._function: Function | None = None

    def prepare(self, work: bytes, cores: int, path: Sequence[str]) -> Reply:
        """Set the work up; what the caller can import from its own folders, this machine can if it has them too."""
        sys.path.extend(folder for folder in path if folder not in sys.path)
        with share_of(cores):
            self._function, reply = prepare(work)
        return reply

    def run(self, item: bytes) -> Reply:
        """One job."""
        if self._function is None:
            raise RuntimeError("a worker was given an item before its work was set up")
        return attempt(self._function, item)


def _reason(error: Exception) -> str:
    """What Ray says of a lost actor, without the lines of ids."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [
        line for line in lines if line.startswith(("The actor", "The task", "Worker exit", "ModuleNotFoundError"))
    ]
    return (telling or lines or [type(error).__name__])[-1][:300]


def _worker_logs(ray: Any, on: bool) -> bool:
    """Whether Ray writes news of lost workers to stdout, where `--json` writes; returns what was before.

    Ray has no option for it: `log_to_driver` is for what workers print.
    """
    module = getattr(getattr(ray, "_private", None), "worker", None)
    before = getattr(module, "_worker_logs_enabled", on)
    if module is not None:
        module._worker_logs_enabled = on
    return bool(before)

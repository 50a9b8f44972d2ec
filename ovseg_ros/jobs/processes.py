"""A pool of processes on this machine. A process that is killed takes nothing with it but the attempt it was at."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Collection
from multiprocessing.connection import Connection, wait

from ovseg_ros.jobs.base import Reply, Worker, WorkerDiedError, attempt, prepare
from ovseg_ros.jobs.cores import share_of

PATIENCE = 5.0  # seconds that an ended process has to be gone


class ProcessPool:
    """Workers as processes, started afresh (spawn), so that no thread or lock of this one comes along.

    Args:
        work: the pickled work.
        cores: each worker's share of the machine.
    """

    def __init__(self, work: bytes, cores: int) -> None:
        self._work, self._cores = work, cores
        self._context = multiprocessing.get_context("spawn")
        self._workers: set[ProcessWorker] = set()

    def start(self) -> ProcessWorker:
        """See `Pool.start`."""
        ours, theirs = self._context.Pipe()
        # a daemon: it ends with this process even when nobody closes the pool
        process = self._context.Process(target=_serve, args=(theirs, self._work, self._cores), daemon=True)
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        worker = ProcessWorker(process, ours)
        self._workers.add(worker)
        return worker

    def wait(self, workers: Collection[Worker]) -> list[tuple[Worker, Reply]]:
        """See `Pool.wait`."""
        by_pipe = {w.connection: w for w in workers if isinstance(w, ProcessWorker)}
        return [(by_pipe[pipe], by_pipe[pipe].hear()) for pipe in wait(list(by_pipe)) if isinstance(pipe, Connection)]

    def close(self) -> None:
        """See `Pool.close`."""
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            worker.stop()
        self._workers.clear()


class ProcessWorker:
    """One process and the pipe to it."""

    def __init__(self, process: multiprocessing.process.BaseProcess, connection: Connection[bytes, Reply]) -> None:
        self._process, self.connection = process, connection
        self._busy = True  # with its start

    def give(self, item: bytes) -> bool:
        """See `Worker.give`."""
        try:
            self.connection.send_bytes(item)
        except OSError:
            return False
        self._busy = True
        return True

    def hear(self) -> Reply:
        """The next reply, or the news that the process is no more."""
        try:
            reply = self.connection.recv()
        except (EOFError, OSError):  # OSError: it was killed in the middle of a message
            self._process.join(PATIENCE)
            return Reply("died", error=WorkerDiedError(_obituary(self._process.exitcode)))
        self._busy = False
        return reply

    def dismiss(self) -> None:
        """Let it go where it idles, with what libraries do at an exit; end it in the middle of a job."""
        self.connection.close()
        if self._busy:
            self._process.kill()

    def stop(self) -> None:
        """See `Worker.stop`."""
        self.dismiss()
        self._process.join(PATIENCE)
        self._process.kill()
        self._process.join()


def _obituary(code: int | None) -> str:
    if code is None or code >= 0:
        return (
            f"the worker process ended with exit code {code} (a script that runs jobs on processes "
            "needs `if __name__ == '__main__':` around what it does)"
        )
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
        reason = "; the kernel does that when memory runs out" if -code == signal.SIGKILL else ""
        return f"the worker process was ended by {name}{reason}"
    return f"the worker process was ended by signal {-code}"


def _serve(connection: Connection[Reply, bytes], work: bytes, cores: int) -> None:
    """The life of a worker process: set up once, then one reply an item until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        with share_of(cores):
            function, reply = prepare(work)
        connection.send(reply)
        while function is not None:
            connection.send(attempt(function, connection.recv_bytes()))


def _end_with_parent() -> None:
    """A long job does not outlive the run that asked for it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)

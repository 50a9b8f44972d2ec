"""How many cores there are, and each worker's share of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def share_of(cores: int) -> Iterator[None]:
    """While it lasts, libraries that start see only so many cores, and size their thread pools by them.

    Eight workers of eight threads each on eight cores spend much of their time changing places. Afterwards all threads
    may run anywhere again: the system knows better than we do which core is free. OpenVINO and TBB count the cores
    that the process is bound to; OpenMP, and PyTorch through it, go by OMP_NUM_THREADS.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(cores))
    if not hasattr(os, "sched_getaffinity"):  # macOS, Windows
        yield
        return
    all_cores = sorted(os.sched_getaffinity(0))
    first = os.getpid() * cores  # not every worker starts up on the same core
    chosen = {all_cores[(first + i) % len(all_cores)] for i in range(cores)}
    with contextlib.suppress(OSError):  # a container may forbid it
        os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):  # it may have ended
                os.sched_setaffinity(int(thread.name), all_cores)

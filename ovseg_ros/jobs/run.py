"""Many jobs, one after the other or spread over processes or machines, with results that outlive a kill."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ovseg_ros.jobs.base import SHOWN, Done, JobsError, Pool, Tally, Task, Work, first_line
from ovseg_ros.jobs.cores import count_cores
from ovseg_ros.jobs.fingerprint import fingerprint
from ovseg_ros.jobs.journal import Journal, opened
from ovseg_ros.jobs.processes import ProcessPool
from ovseg_ros.jobs.schedule import run_on_pool, run_serially

Keep = Callable[[str, Any], bool]


def run_jobs(
    work: Work,
    items: Sequence[tuple[str, Any]],
    *,
    folder: Path | str | None = None,
    workers: int = 1,
    cluster: str | None = None,
    retries: int = 2,
    quiet: bool = False,
    describe: str = "",
    keep: Keep | None = None,
) -> Iterator[tuple[str, Any]]:
    """Compute the result of every item, and yield (key, result) as they come.

    Every way of running gives the same results; only their order differs. Nothing that is yielded is lost: a result
    is in the journal before it is yielded, and one that was lost with its worker is computed again.

    Args:
        work: called once by each worker, gives the function item -> result. Work, items and results can be pickled;
            a dataclass with `__call__` serves well.
        items: (key, item) each; the keys differ.
        folder: where results are kept. A later call with the same work yields those first, in the order of `items`,
            and computes only what is missing or whose item has changed. None keeps nothing. The content of the
            folder is trusted, as pickles have to be.
        workers: 1 runs here, more are processes of this machine, or workers on the cluster; 0 takes one a core.
        cluster: address of a Ray cluster; "auto" for the one this machine belongs to, "local" for one started here
            and ended with the jobs; None does without Ray.
        retries: how often an item is tried again after an error that is not an `OvsegError` (which would come again),
            or when its worker was lost.
        quiet: no progress bar.
        describe: what the progress bar says.
        keep: whether a stored result still holds, by key and result; asked before it is yielded.

    Raises:
        JobsError: at once for bad arguments; for a folder of another run; after everything else is done, for the items
            that failed, each in `failures`.
        Exception: what the set-up of `work` raised.
    """
    keys = {key for key, _ in items}
    if len(keys) < len(items):
        seen: set[str] = set()
        double = next(key for key, _ in items if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise JobsError(f"the key {double!r} occurs twice among the items; results are kept by key")
    if "" in keys:
        raise JobsError("an item's key is empty; give each a name")
    if workers < 0 or retries < 0:
        raise JobsError(f"workers ({workers}) and retries ({retries}) cannot be negative; workers=0 takes one a core")
    return _run(work, items, folder, workers, cluster, retries, quiet, describe, keep)


def _run(
    work: Work,
    items: Sequence[tuple[str, Any]],
    folder: Path | str | None,
    workers: int,
    cluster: str | None,
    retries: int,
    quiet: bool,
    describe: str,
    keep: Keep | None,
) -> Iterator[tuple[str, Any]]:
    with ExitStack() as stack:
        journal = stack.enter_context(opened(Path(folder), work)) if folder is not None else None
        bar = stack.enter_context(tqdm(total=len(items), desc=describe or None, unit="item", disable=quiet))
        digests = {key: fingerprint(item) for key, item in items} if journal else {}
        tasks = []
        for key, item in items:
            if journal and journal.has(key, digests[key]):
                result = journal.read(key)
                if keep is None or keep(key, result):
                    bar.update()
                    yield key, result
                    continue
            tasks.append(Task(key, item))
        tally = Tally()
        # closed here, so that workers end before the journal does when the caller has enough
        for done in stack.enter_context(closing(_results(work, tasks, workers, cluster, retries, tally))):
            if journal:
                _store(journal, done, digests[done.key])
            bar.update()
            bar.set_postfix(workers=tally.workers, retried=tally.retried, failed=len(tally.failures), refresh=False)
            yield done.key, done.result
    if tally.failures:
        raise _summary({key: tally.failures[key] for key, _ in items if key in tally.failures}, len(items))


def _results(
    work: Work, tasks: list[Task], workers: int, cluster: str | None, retries: int, tally: Tally
) -> Generator[Done, None, None]:
    """Start what is needed for the tasks, and run them."""
    if not tasks:
        return
    if cluster is None and (workers or count_cores()) == 1:
        yield from run_serially(work, tasks, retries, tally)
        return
    packed = _pack(work)
    pool: Pool
    if cluster is None:
        workers = workers or count_cores()
        pool = ProcessPool(packed, max(1, count_cores() // workers))
    else:
        from ovseg_ros.jobs.cluster import connect

        pool, workers = connect(packed, cluster, workers)
    with closing(pool):
        yield from run_on_pool(pool, tasks, workers, retries, tally)


def _pack(work: Work) -> bytes:
    try:
        return pickle.dumps(work, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise JobsError(
            f"the work cannot be sent to other processes: {error}; define it at a module's top level"
        ) from error


def _store(journal: Journal, done: Done, digest: str) -> None:
    packed = done.packed if done.packed is not None else pickle.dumps(done.result, pickle.HIGHEST_PROTOCOL)
    journal.add(done.key, digest, packed)


def _summary(failures: dict[str, Exception], total: int) -> JobsError:
    told = "; ".join(f"{key}: {first_line(error)}" for key, error in list(failures.items())[:SHOWN])
    more = f"; and {len(failures) - SHOWN} more" if len(failures) > SHOWN else ""
    error = JobsError(f"{len(failures)} of {total} jobs failed: {told}{more}", failures)
    error.__cause__ = next(iter(failures.values()))
    return error

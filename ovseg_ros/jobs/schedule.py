"""Who does what: items to the workers of a pool, and again to a fresh worker when one is lost."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterable, Iterator

from ovseg_ros.jobs.base import Done, JobsError, Pool, Reply, Tally, Task, Work, Worker, cause_of


def run_serially(work: Work, tasks: Iterable[Task], retries: int, tally: Tally) -> Iterator[Done]:
    """Run every task in this process; failures go to the tally."""
    queue = deque(tasks)
    if not queue:
        return
    function, tally.workers = work(), 1
    while queue:
        task = queue.popleft()
        try:
            result = function(task.item)
        except Exception as error:
            if not tally.is_final(task, error, retries):
                queue.append(task)  # behind the others: what ails it may have passed by then
            continue
        yield Done(task.key, result)


def run_on_pool(pool: Pool, tasks: Iterable[Task], workers: int, retries: int, tally: Tally) -> Iterator[Done]:
    """Run every task on up to `workers` workers of a pool, as results come; failures go to the tally.

    Raises:
        JobsError: when workers die before they are ready, more than `retries` times in a row.
        Exception: what the work's set-up raised, as it is.
    """
    scheduler = _Scheduler(pool, tasks, retries, tally)
    while scheduler.waiting or scheduler.busy:
        yield from scheduler.step(workers)


class _Scheduler:
    """The state of `run_on_pool`: tasks that wait, and workers that start, work or idle."""

    def __init__(self, pool: Pool, tasks: Iterable[Task], retries: int, tally: Tally) -> None:
        self.pool, self.retries, self.tally = pool, retries, tally
        self.waiting = deque(tasks)
        self.busy: dict[Worker, Task] = {}
        self.starting: set[Worker] = set()
        self.idle: list[Worker] = []
        self.lost_starts = 0  # in a row

    def step(self, workers: int) -> Iterator[Done]:
        """Keep everyone busy, then wait for replies."""
        while self.waiting and self.idle:
            self._give(self.idle.pop())
        alive = len(self.busy) + len(self.starting)
        for _ in range(min(workers - alive, len(self.waiting) - len(self.starting))):
            self.starting.add(self.pool.start())
        for worker, reply in self.pool.wait([*self.busy, *self.starting]):
            if worker in self.starting:
                self._started(worker, reply)
            else:
                yield from self._finished(worker, self.busy.pop(worker), reply)
        self.tally.workers = len(self.busy) + len(self.idle)

    def _give(self, worker: Worker) -> None:
        task = self.waiting.popleft()
        if worker.give(pickle.dumps(task.item, pickle.HIGHEST_PROTOCOL)):
            self.busy[worker] = task
        else:  # it died idle, and the task was never begun
            self.waiting.appendleft(task)
            worker.stop()

    def _started(self, worker: Worker, reply: Reply) -> None:
        self.starting.remove(worker)
        if reply.kind == "ready":
            self.lost_starts = 0
            self.idle.append(worker)
            return
        worker.stop()
        if reply.kind == "error":
            raise cause_of(reply)
        self.lost_starts += 1
        if self.lost_starts > self.retries:
            raise JobsError(f"no worker comes up: {reply.error}; try fewer workers") from reply.error

    def _finished(self, worker: Worker, task: Task, reply: Reply) -> Iterator[Done]:
        if reply.kind == "died":
            worker.stop()
        else:
            self.idle.append(worker)
        if reply.kind == "result":
            yield Done(task.key, pickle.loads(reply.packed), reply.packed)
        elif not self.tally.is_final(task, cause_of(reply), self.retries):
            self.waiting.append(task)

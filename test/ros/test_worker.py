"""Newest frame wins, errors kill nothing, rates hold."""

from __future__ import annotations

import threading
import time

import pytest

from ovseg_ros.ros.health import Health, Throttle
from ovseg_ros.ros.worker import NewestWorker, RateLimit


class Recorder:
    """A worker whose work blocks until it is let go."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.dropped: list[int] = []
        self.errors: list[Exception] = []
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.worker = NewestWorker[int](self.work, self.dropped.append, self.errors.append)
        self.worker.start()

    def work(self, item: int) -> None:
        self.begun.release()
        assert self.go.acquire(timeout=5)
        if item < 0:
            raise ValueError(str(item))
        self.done.append(item)


@pytest.fixture
def recorder():
    recorder = Recorder()
    yield recorder
    recorder.go.release(100)
    assert recorder.worker.stop()


def test_newest_wins_and_the_others_are_counted(recorder):
    recorder.worker.offer(0)
    assert recorder.begun.acquire(timeout=5)
    for item in range(1, 10):
        recorder.worker.offer(item)
    recorder.go.release(2)
    assert recorder.begun.acquire(timeout=5)
    recorder.worker.call(recorder.begun.release)
    assert recorder.begun.acquire(timeout=5)
    assert recorder.done == [0, 9]
    assert recorder.dropped == list(range(1, 9))


def test_errors_do_not_end_the_thread(recorder):
    recorder.go.release(3)
    for item in (-1, -2, 3):
        recorder.worker.offer(item)
        assert recorder.begun.acquire(timeout=5)
    recorder.worker.call(lambda: 1 / 0)
    recorder.worker.call(recorder.begun.release)
    assert recorder.begun.acquire(timeout=5)
    assert recorder.done == [3]
    assert [type(error) for error in recorder.errors] == [ValueError, ValueError, ZeroDivisionError]


def test_jobs_run_between_two_items(recorder):
    order: list[str] = []
    recorder.worker.offer(1)
    assert recorder.begun.acquire(timeout=5)
    recorder.worker.offer(2)
    recorder.worker.call(lambda: order.append(f"job after {recorder.done}"))
    recorder.go.release(2)
    assert recorder.begun.acquire(timeout=5)
    assert order == ["job after [1]"]


def test_stop_drops_what_waits_and_reports_a_hung_work():
    recorder = Recorder()
    recorder.worker.offer(1)
    assert recorder.begun.acquire(timeout=5)
    recorder.worker.offer(2)
    assert recorder.worker.stop(timeout=0.05) is False
    recorder.go.release(5)
    assert recorder.worker.stop() is True
    assert recorder.done == [1]
    recorder.worker.offer(3)  # late frames do no harm
    assert recorder.worker.stop() is True


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("camera", "limit", "expected"), [(30, 20, 20), (30, 0, 30), (30, 30, 30), (10, 30, 10), (30, 7, 7)]
)
def test_rate_is_kept_on_the_mean(camera, limit, expected):
    clock = FakeClock()
    rate = RateLimit(limit, clock)
    passed = 0
    for index in range(camera * 10):
        clock.now = 1000 + index / camera + 0.001 * (index % 3)  # a little jitter
        passed += rate.admit()
    assert abs(passed - expected * 10) <= 3


def test_rate_change_and_pause():
    clock = FakeClock()
    rate = RateLimit(0.1, clock)
    assert rate.admit()
    clock.now += 1
    assert not rate.admit()
    rate.rate = 100  # a new rate must not wait for the turn of the old one
    rate.admit()
    clock.now += 0.011
    assert rate.admit()
    clock.now += 3600  # after a pause no burst follows
    assert [rate.admit() for _ in range(5)].count(True) <= 2


def test_health_counts_by_reason_from_many_threads():
    health = Health()

    def work() -> None:
        for index in range(500):
            health.received()
            if index % 5:
                health.published(10.0, 20.0, 30.0 if index % 2 else None)
            else:
                health.drop("queue")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = health.report()
    assert (report.received, report.published, report.dropped_now) == (2000, 1600, {"queue": 400})
    assert report.dropped == {"queue": 400}
    assert (report.engine_ms, report.total_ms, report.age_ms) == (10.0, 20.0, 30.0)
    after = health.report()
    assert (after.received, after.published, after.dropped_now, after.engine_ms) == (0, 0, {}, None)
    assert after.dropped == {"queue": 400}


def test_health_silence_and_fps():
    clock = FakeClock()
    health = Health(clock)
    clock.now += 2
    assert health.silence == 2
    health.received()
    for _ in range(6):
        health.published(1, 2, None)
    clock.now += 1
    report = health.report()
    assert report.silence == 1
    assert report.fps == 2


def test_throttle():
    clock = FakeClock()
    throttle = Throttle(30, clock)
    assert throttle.admit("queue") == 0
    assert throttle.admit("step") == 0
    assert [throttle.admit("queue") for _ in range(3)] == [None] * 3
    clock.now += 31
    assert throttle.admit("queue") == 3
    assert throttle.admit("queue") is None


def test_a_slow_worker_keeps_latency_at_one_frame():
    """A camera of 200 Hz and work of 20 ms: each item done is at most about one work old."""
    ages: list[float] = []

    def work(sent: float) -> None:
        ages.append(time.monotonic() - sent)
        time.sleep(0.02)

    worker = NewestWorker[float](work, lambda _: None, lambda _: None)
    worker.start()
    for _ in range(100):
        worker.offer(time.monotonic())
        time.sleep(0.005)
    worker.stop()
    assert 10 <= len(ages) <= 40
    assert sorted(ages)[len(ages) // 2] < 0.03

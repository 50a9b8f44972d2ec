"""Executors, callback groups, timers, tasks, guard conditions."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import ovseg_ros.standalone as rclpy
from ovseg_ros.standalone.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from ovseg_ros.standalone.exceptions import InvalidHandle, ROSInterruptException
from ovseg_ros.standalone.executors import (
    ExternalShutdownException,
    MultiThreadedExecutor,
    SingleThreadedExecutor,
)
from ovseg_ros.standalone.task import Future


def test_timer_keeps_its_beat(ros: Any) -> None:
    node = ros.node("timers")
    calls: list[float] = []
    timer = node.create_timer(0.05, lambda: calls.append(time.monotonic()))
    start = time.monotonic()
    ros.spin_for(0.52)
    assert 8 <= len(calls) <= 11
    assert calls[0] - start >= 0.045
    timer.cancel()
    count = len(calls)
    ros.spin_for(0.15)
    assert len(calls) == count
    assert timer.is_canceled()
    assert timer.time_until_next_call() is None
    timer.reset()
    assert ros.spin_until(lambda: len(calls) > count)
    assert node.destroy_timer(timer)
    with pytest.raises(InvalidHandle):
        timer.reset()


def test_a_late_timer_skips_beats(ros: Any) -> None:
    node = ros.node("late")
    calls: list[int] = []
    node.create_timer(0.02, lambda: calls.append(1))
    time.sleep(0.3)
    ros.spin_for(0.05)
    assert len(calls) <= 5


def test_timer_that_starts_later(ros: Any) -> None:
    node = ros.node("later")
    calls: list[int] = []
    timer = node.create_timer(0.01, lambda: calls.append(1), autostart=False)
    ros.spin_for(0.1)
    assert not calls
    timer.reset()
    assert ros.spin_until(lambda: calls)


def test_waiting_costs_nothing(ros: Any) -> None:
    ros.node("idle")
    before = time.process_time()
    start = time.monotonic()
    ros.executor.spin_once(timeout_sec=1.0)
    ros.executor.spin_once(timeout_sec=0.5)
    assert time.monotonic() - start >= 0.5
    assert time.process_time() - before < 0.2


def test_guard_condition_wakes_from_another_thread(ros: Any) -> None:
    node = ros.node("guard")
    called = threading.Event()
    guard = node.create_guard_condition(called.set)
    threading.Timer(0.1, guard.trigger).start()
    assert ros.spin_until(called.is_set, 5)
    assert node.destroy_guard_condition(guard)


@pytest.mark.parametrize(
    ("group", "together"), [(MutuallyExclusiveCallbackGroup, 1), (ReentrantCallbackGroup, 2)], ids=lambda v: str(v)
)
def test_groups_say_what_may_overlap(domain: int, group: Any, together: int) -> None:
    with rclpy.Context() as context:
        node = rclpy.Node("groups", context=context)
        shared = group()
        lock = threading.Lock()
        running = most = total = 0

        def work() -> None:
            nonlocal running, most, total
            with lock:
                running += 1
                total += 1
                most = max(most, running)
            time.sleep(0.03)
            with lock:
                running -= 1

        for _ in range(2):
            node.create_timer(0.01, work, callback_group=shared)
        executor = MultiThreadedExecutor(4, context=context)
        executor.add_node(node)
        thread = threading.Thread(target=executor.spin)
        thread.start()
        time.sleep(0.6)
        executor.shutdown()
        thread.join()
        node.destroy_node()
    assert total >= 6
    assert most >= 2 if together == 2 else most == 1


def test_exceptions_of_callbacks_reach_who_spins(ros: Any) -> None:
    node = ros.node("failing")

    def fail() -> None:
        raise ZeroDivisionError("as expected")

    node.create_timer(0.01, fail)
    with pytest.raises(ZeroDivisionError, match="as expected"):
        ros.spin_for(5)
    ros.executor.remove_node(node)
    executor = MultiThreadedExecutor(2, context=ros.context)
    executor.add_node(node)
    with pytest.raises(ZeroDivisionError, match="as expected"):
        executor.spin()
    executor.shutdown()


def test_tasks_and_coroutines(ros: Any) -> None:
    ros.node("tasks")
    future = Future()

    async def add(number: int) -> int:
        return number + await future

    task = ros.executor.create_task(add, 1)
    plain = ros.executor.create_task(lambda: "done")
    ros.executor.spin_until_future_complete(plain, timeout_sec=5)
    assert plain.result() == "done"
    assert not task.done()
    threading.Timer(0.1, future.set_result, [41]).start()
    ros.executor.spin_until_future_complete(task, timeout_sec=5)
    assert task.result() == 42


def test_spin_until_future_gives_up_in_time(ros: Any) -> None:
    ros.node("patient")
    start = time.monotonic()
    ros.executor.spin_until_future_complete(Future(), timeout_sec=0.2)
    assert 0.15 < time.monotonic() - start < 2


def test_shutdown_ends_spin(domain: int) -> None:
    context = rclpy.Context()
    context.init([])
    node = rclpy.Node("spinner", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    threading.Timer(0.2, context.try_shutdown).start()
    with pytest.raises(ExternalShutdownException):
        executor.spin()
    assert not context.ok()
    node.destroy_node()
    assert context.participant is None


def test_rate(ros: Any) -> None:
    node = ros.node("rate")
    rate = node.create_rate(20.0)
    thread = threading.Thread(target=lambda: ros.spin_for(1.0))
    thread.start()
    start = time.monotonic()
    for _ in range(4):
        rate.sleep()
    assert 0.15 <= time.monotonic() - start < 0.8
    thread.join()
    assert node.destroy_rate(rate)
    with pytest.raises(ROSInterruptException):
        rate.sleep()


def test_module_functions_use_the_default_context(domain: int) -> None:
    rclpy.init([], signal_handler_options=rclpy.SignalHandlerOptions.NO)
    assert rclpy.ok()
    with pytest.raises(RuntimeError, match="only be called once"):
        rclpy.init([])
    node = rclpy.create_node("plain")
    calls: list[int] = []
    node.create_timer(0.01, lambda: calls.append(1))
    rclpy.spin_once(node, timeout_sec=5)
    assert calls == [1]
    future = Future()
    node.create_timer(0.05, lambda: future.set_result(None))
    rclpy.spin_until_future_complete(node, future, timeout_sec=5)
    assert future.done()
    assert rclpy.get_default_context().get_domain_id() == domain
    called: list[int] = []
    rclpy.get_default_context().on_shutdown(lambda: called.append(1))
    node.destroy_node()
    node.destroy_node()
    rclpy.shutdown()
    assert called == [1]
    assert not rclpy.ok()
    rclpy.try_shutdown()
    rclpy.init([], signal_handler_options=rclpy.SignalHandlerOptions.NO)
    rclpy.shutdown()

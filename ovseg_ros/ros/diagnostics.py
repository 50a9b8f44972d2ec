"""The node's state for /diagnostics, where rqt_robot_monitor and diagnostic_aggregator look."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ovseg_ros import ros
from ovseg_ros.ros.health import Report


def diagnostic_message(name: str, hardware: str, report: Report, problem: str | None, facts: dict[str, str]) -> Any:
    """`diagnostic_msgs/msg/DiagnosticArray` with one status; the caller sets its stamp.

    Args:
        name: the status's name, such as "ovseg: segmentation".
        hardware: what does the work, such as "mini on cpu".
        report: the last period.
        problem: why nothing is published, or None where all is well.
        facts: further keys and values.
    """
    status = ros.DiagnosticStatus(name=name, hardware_id=hardware)
    status.level = ros.DiagnosticStatus.WARN if problem else ros.DiagnosticStatus.OK
    status.message = problem or _summary(report)
    values = {
        "fps": f"{report.fps:.2f}",
        "received in period": str(report.received),
        "published in period": str(report.published),
        "dropped in period": str(sum(report.dropped_now.values())),
        "engine ms": _number(report.engine_ms),
        "total ms": _number(report.total_ms),
        "age ms": _number(report.age_ms),
        "seconds since last image": f"{report.silence:.1f}",
        **{f"dropped: {reason}": str(count) for reason, count in sorted(report.dropped.items())},
        **facts,
    }
    status.values = [ros.KeyValue(key=key, value=value) for key, value in values.items()]
    return ros.DiagnosticArray(status=[status])


def refusal(report: Report, harmless: Collection[str]) -> str | None:
    """A sentence where images came and every one was dropped for reasons that are not harmless."""
    reasons = {reason: count for reason, count in report.dropped_now.items() if reason not in harmless}
    if report.published or not reasons:
        return None
    worst = max(reasons, key=lambda reason: reasons[reason])
    return f"{sum(reasons.values())} images came and none could be used ({worst}); the log says why"


def _summary(report: Report) -> str:
    idle = not report.published and "no subscriber" in report.dropped_now
    return "idle, as no output has a subscriber" if idle else f"{report.fps:.1f} fps"


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.1f}"

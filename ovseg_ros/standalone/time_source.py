"""Simulated time: `use_sim_time` makes a node's clock follow /clock."""

from __future__ import annotations

from typing import Any

from .clock import ROSClock
from .interfaces import message
from .parameter import Parameter, Type
from .qos import QoSProfile, ReliabilityPolicy
from .time import Time

USE_SIM_TIME = "use_sim_time"
SetParametersResult: Any = message("rcl_interfaces/msg/SetParametersResult")


class TimeSource:
    """Declares `use_sim_time` on a node and obeys it."""

    def __init__(self, node: Any, clock: ROSClock) -> None:
        self._node = node
        self._clock = clock
        self._subscription: Any = None
        if not node.has_parameter(USE_SIM_TIME):
            node.declare_parameter(USE_SIM_TIME, False)
        self._switch(bool(node.get_parameter(USE_SIM_TIME).value))
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._obey)

    def _check(self, parameters: list[Parameter]) -> Any:
        for parameter in parameters:
            if parameter.name == USE_SIM_TIME and parameter.type_ is not Type.BOOL:
                return SetParametersResult(successful=False, reason=f"{USE_SIM_TIME} parameter must be a bool")
        return SetParametersResult(successful=True)

    def _obey(self, parameters: list[Parameter]) -> None:
        for parameter in parameters:
            if parameter.name == USE_SIM_TIME:
                self._switch(parameter.value)

    def _switch(self, simulated: bool) -> None:
        if simulated == (self._subscription is not None):
            return
        self._clock._set_ros_time_is_active(simulated)
        if simulated:
            qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
            self._subscription = self._node.create_subscription(
                message("rosgraph_msgs/msg/Clock"), "/clock", self._on_clock, qos
            )
        else:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
        self._restart_timers()

    def _on_clock(self, msg: Any) -> None:
        now = Time.from_msg(msg.clock)
        jumped = now < self._clock.now()
        self._clock.set_ros_time_override(now)
        if jumped:
            self._restart_timers()

    def _restart_timers(self) -> None:
        """A timer planned on another time would wait for years, or burst."""
        for timer in self._node.timers:
            if timer.clock is self._clock and not timer.is_canceled():
                timer.reset()

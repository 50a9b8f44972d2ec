"""The kinds of clock; numbers as in rcl/time.h."""

from enum import IntEnum


class ClockType(IntEnum):
    """Which time a clock tells."""

    UNINITIALIZED = 0
    ROS_TIME = 1
    SYSTEM_TIME = 2
    STEADY_TIME = 3

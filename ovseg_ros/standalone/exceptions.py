"""Exceptions under rclpy's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class RCLError(RuntimeError):
    """The middleware refused an operation; the text says which and why."""


class InvalidHandle(RuntimeError):  # noqa: N818  (rclpy's name)
    """An entity was used after it was destroyed."""


class UnknownROSArgsError(RuntimeError):
    """`--ros-args` held something ROS does not know."""


class NotInitializedException(Exception):  # noqa: N818
    """A context was needed before `init()` was called, or after it was shut down."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__("the context is not initialised; call init() first" + (f": {message}" if message else ""))


class NameValidationException(Exception):  # noqa: N818
    """A name breaks ROS's rules; the text points at the place."""

    def __init__(self, name_type: str, name: str, error_msg: str, invalid_index: int) -> None:
        pointer = " " * invalid_index + "^"
        super().__init__(f"Invalid {name_type}: {error_msg}:\n  '{name}'\n   {pointer}")
        self.name_type = name_type
        self.name = name
        self.error_msg = error_msg
        self.invalid_index = invalid_index


class InvalidNamespaceException(NameValidationException):
    """A namespace breaks ROS's rules."""

    def __init__(self, name: str, error_msg: str, invalid_index: int) -> None:
        super().__init__("namespace", name, error_msg, invalid_index)


class InvalidNodeNameException(NameValidationException):
    """A node name breaks ROS's rules."""

    def __init__(self, name: str, error_msg: str, invalid_index: int) -> None:
        super().__init__("node name", name, error_msg, invalid_index)


class InvalidTopicNameException(NameValidationException):
    """A topic name breaks ROS's rules."""

    def __init__(self, name: str, error_msg: str, invalid_index: int) -> None:
        super().__init__("topic name", name, error_msg, invalid_index)


class InvalidServiceNameException(NameValidationException):
    """A service name breaks ROS's rules."""

    def __init__(self, name: str, error_msg: str, invalid_index: int) -> None:
        super().__init__("service name", name, error_msg, invalid_index)


class InvalidQoSProfileException(ValueError):  # noqa: N818
    """A QoS profile contradicts itself or lacks what it needs."""

    def __init__(self, *args: object) -> None:
        super().__init__("Invalid QoSProfile", *args)


class ParameterException(Exception):  # noqa: N818
    """Base of everything wrong with parameters; `parameters` are the names concerned."""

    def __init__(self, error_msg: str, parameters: str | Sequence[str]) -> None:
        super().__init__(error_msg, parameters)
        self.error_msg = error_msg
        self.parameters = parameters

    def __str__(self) -> str:
        return f"{self.error_msg}: {self.parameters}"


class ParameterNotDeclaredException(ParameterException):
    """A parameter was read or set before it was declared."""

    def __init__(self, parameters: str | Sequence[str]) -> None:
        super().__init__("Invalid access to undeclared parameter(s)", parameters)


class ParameterAlreadyDeclaredException(ParameterException):
    """A parameter was declared twice."""

    def __init__(self, parameters: str | Sequence[str]) -> None:
        super().__init__("Parameter(s) already declared", parameters)


class InvalidParameterException(ParameterException):
    """A parameter name is empty or otherwise unusable."""

    def __init__(self, parameter_name: str) -> None:
        super().__init__("Invalid parameter name", parameter_name)


class InvalidParameterTypeException(ParameterException):
    """A value has another type than the parameter was declared with."""

    def __init__(self, desired_parameter: Any, expected_type: Any) -> None:
        super().__init__(
            f"Trying to set parameter '{desired_parameter.name}' to '{desired_parameter.value}' of type "
            f"'{desired_parameter.type_.name}', expecting type '{getattr(expected_type, 'name', expected_type)}'",
            desired_parameter.name,
        )


class InvalidParameterValueException(ParameterException):
    """A value breaks a parameter's constraints or a callback rejected it."""

    def __init__(self, parameter: str, value: object, reason: str) -> None:
        super().__init__(f"Invalid parameter value ({value}) for parameter '{parameter}'. Reason: {reason}", parameter)
        self.reason = reason


class ParameterImmutableException(ParameterException):
    """A read-only parameter was to be undeclared."""

    def __init__(self, parameter_name: str) -> None:
        super().__init__("Attempted to modify read-only parameter", parameter_name)


class ParameterUninitializedException(ParameterException):
    """A parameter was declared with a type but never got a value."""

    def __init__(self, parameter_name: str) -> None:
        super().__init__(f"The parameter '{parameter_name}' is not initialized", parameter_name)


class ROSInterruptException(Exception):  # noqa: N818
    """`Rate.sleep()` was interrupted by shutdown."""

    def __init__(self) -> None:
        super().__init__("rclpy.shutdown() has been called")

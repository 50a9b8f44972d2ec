"""The parameters of a node: declaring, reading, setting, and the callbacks that have a say."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from .clock import ROSClock
from .exceptions import (
    InvalidParameterException,
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterAlreadyDeclaredException,
    ParameterImmutableException,
    ParameterNotDeclaredException,
    ParameterUninitializedException,
)
from .interfaces import message
from .parameter import PARAMETER_SEPARATOR_STRING, Parameter, Type, parameter_value_to_python
from .parameter_constraints import objection
from .publisher import Publisher

ParameterDescriptor: Any = message("rcl_interfaces/msg/ParameterDescriptor")
ParameterEvent: Any = message("rcl_interfaces/msg/ParameterEvent")
SetParametersResult: Any = message("rcl_interfaces/msg/SetParametersResult")
ListParametersResult: Any = message("rcl_interfaces/msg/ListParametersResult")

Before = Callable[[list[Parameter]], list[Parameter]]
Judge = Callable[[list[Parameter]], Any]
After = Callable[[list[Parameter]], None]


class ParameterHolder:
    """Mixed into `Node`; `_init_parameters` stands for its constructor."""

    _clock: ROSClock
    _parameter_event_publisher: Publisher

    def _init_parameters(self, overrides: dict[str, Parameter], allow_undeclared: bool) -> None:
        self._parameters: dict[str, Parameter] = {}
        self._descriptors: dict[str, Any] = {}
        self._parameter_overrides = overrides
        self._allow_undeclared_parameters = allow_undeclared
        self._before: list[Before] = []
        self._judges: list[Judge] = []
        self._after: list[After] = []

    def get_fully_qualified_name(self) -> str:
        """Return `/ns/name`."""
        raise NotImplementedError

    # -- declaring ----------------------------------------------------------------------------------------------------

    def declare_parameter(
        self, name: str, value: Any = None, descriptor: Any = None, ignore_override: bool = False
    ) -> Parameter:
        """Declare a parameter with a default, or with a `Parameter.Type` that an override must fill.

        Returns it with the value in force: the override from the command line if there is one. Raises
        `ParameterAlreadyDeclaredException`, `InvalidParameterException`, `InvalidParameterTypeException`,
        `InvalidParameterValueException`, `ValueError` for a static type that stays open.
        """
        row = (name,) if value is None and descriptor is None else (name, value, descriptor or ParameterDescriptor())
        return self.declare_parameters("", [row], ignore_override)[0]

    def declare_parameters(
        self, namespace: str, parameters: Sequence[tuple[Any, ...]], ignore_override: bool = False
    ) -> list[Parameter]:
        """Declare several: tuples (name[, default or type[, descriptor]]), names below `namespace`."""
        rows: list[tuple[Parameter, Any]] = []
        for row in parameters:
            if not 1 <= len(row) <= 3:
                raise TypeError(f"expected (name[, default or type[, descriptor]]), got {row!r}")
            rows.append(self._declaration(namespace, row, ignore_override))
        twice = [parameter.name for parameter, _ in rows if parameter.name in self._parameters]
        if twice:
            raise ParameterAlreadyDeclaredException(twice)
        for parameter, descriptor in rows:
            result = self._apply([parameter], {parameter.name: descriptor}, declaring=True)
            if not result.successful:
                if result.reason.startswith("Wrong parameter type"):
                    raise InvalidParameterTypeException(parameter, Type(descriptor.type))
                raise InvalidParameterValueException(parameter.name, parameter.value, result.reason)
        return [self._parameters[parameter.name] for parameter, _ in rows]

    def _declaration(self, namespace: str, row: tuple[Any, ...], ignore_override: bool) -> tuple[Parameter, Any]:
        name = row[0]
        if not isinstance(name, str):
            raise TypeError(f"a parameter name must be a str, got {name!r}")
        if namespace:
            name = f"{namespace}{PARAMETER_SEPARATOR_STRING}{name}"
        if not name:
            raise InvalidParameterException(name)
        value = row[1] if len(row) > 1 else None
        descriptor = row[2] if len(row) > 2 else ParameterDescriptor()
        if not isinstance(descriptor, ParameterDescriptor):
            raise TypeError(f"parameter {name!r}: expected a ParameterDescriptor, got {descriptor!r}")
        if len(row) == 1:
            warnings.warn(
                f"parameter {name!r} is declared by its name alone, which is deprecated; give a default, a "
                "Parameter.Type, or a descriptor with dynamic_typing=True",
                stacklevel=4,
            )
            descriptor.dynamic_typing = True
        if isinstance(value, Type):
            if value is Type.NOT_SET or descriptor.dynamic_typing:
                raise ValueError(f"parameter {name!r}: a declared type must not be NOT_SET, nor typing dynamic")
            descriptor.type, value = value.value, None
        elif not descriptor.dynamic_typing:
            kind = Type.from_parameter_value(value)
            if kind is Type.NOT_SET:
                raise ValueError(f"parameter {name!r} has a static type but no default; give one, or a Parameter.Type")
            descriptor.type = kind.value
        if not ignore_override and name in self._parameter_overrides:
            value = self._parameter_overrides[name].value
        if isinstance(value, list | tuple) and not value and descriptor.type >= Type.BYTE_ARRAY.value:
            return Parameter(name, Type(descriptor.type), list(value)), descriptor
        return Parameter(name, value=value), descriptor

    def undeclare_parameter(self, name: str) -> None:
        """Forget a parameter; raises `ParameterNotDeclaredException` or `ParameterImmutableException`."""
        if name not in self._parameters:
            raise ParameterNotDeclaredException(name)
        if self._descriptors[name].read_only:
            raise ParameterImmutableException(name)
        del self._parameters[name], self._descriptors[name]

    # -- reading ------------------------------------------------------------------------------------------------------

    def has_parameter(self, name: str) -> bool:
        """Whether it is declared."""
        return name in self._parameters

    def get_parameter(self, name: str) -> Parameter:
        """Return a parameter; raises `ParameterNotDeclaredException`, `ParameterUninitializedException`."""
        if name not in self._parameters:
            if self._allow_undeclared_parameters:
                return Parameter(name, Type.NOT_SET)
            raise ParameterNotDeclaredException(name)
        parameter = self._parameters[name]
        if parameter.type_ is Type.NOT_SET and not self._descriptors[name].dynamic_typing:
            raise ParameterUninitializedException(name)
        return parameter

    def get_parameters(self, names: Sequence[str]) -> list[Parameter]:
        """Return several parameters, in order."""
        if not all(isinstance(name, str) for name in names):
            raise TypeError(f"expected a list of names, got {names!r}")
        return [self.get_parameter(name) for name in names]

    def get_parameter_or(self, name: str, alternative_value: Parameter | None = None) -> Parameter:
        """Return a parameter, or `alternative_value` if it is not declared or not set."""
        parameter = self._parameters.get(name)
        if parameter is None or parameter.type_ is Type.NOT_SET:
            return Parameter(name, Type.NOT_SET) if alternative_value is None else alternative_value
        return parameter

    def get_parameters_by_prefix(self, prefix: str) -> dict[str, Parameter]:
        """Return those whose names begin with `prefix.`, under the rest of their names."""
        start = f"{prefix}{PARAMETER_SEPARATOR_STRING}" if prefix else ""
        return {name[len(start) :]: p for name, p in self._parameters.items() if name.startswith(start)}

    def get_parameter_type(self, name: str) -> Type:
        """Return the type of a parameter."""
        if name in self._parameters:
            return self._parameters[name].type_
        if self._allow_undeclared_parameters:
            return Type.NOT_SET
        raise ParameterNotDeclaredException(name)

    def describe_parameter(self, name: str) -> Any:
        """Return the descriptor of a parameter."""
        if name in self._descriptors:
            return self._descriptors[name]
        if self._allow_undeclared_parameters:
            return ParameterDescriptor()
        raise ParameterNotDeclaredException(name)

    def describe_parameters(self, names: Sequence[str]) -> list[Any]:
        """Return several descriptors, in order."""
        return [self.describe_parameter(name) for name in names]

    def list_parameters(self, prefixes: Sequence[str], depth: int) -> Any:
        """Return names below any of `prefixes` (all if none), at most `depth` levels deeper (0: any)."""

        def listed(name: str) -> bool:
            if not prefixes:
                return depth == 0 or name.count(PARAMETER_SEPARATOR_STRING) < depth
            for prefix in prefixes:
                if name == prefix:
                    return True
                rest = name[len(prefix) + 1 :]
                below = name.startswith(prefix + PARAMETER_SEPARATOR_STRING)
                if below and (depth == 0 or rest.count(PARAMETER_SEPARATOR_STRING) < depth):
                    return True
            return False

        names = [name for name in self._parameters if listed(name)]
        parents = {name.rpartition(PARAMETER_SEPARATOR_STRING)[0] for name in names} - {""}
        return ListParametersResult(names=names, prefixes=sorted(parents))

    # -- setting ------------------------------------------------------------------------------------------------------

    def set_parameters(self, parameter_list: Sequence[Parameter]) -> list[Any]:
        """Set one after the other; returns a SetParametersResult each. Raises `ParameterNotDeclaredException`."""
        return [self.set_parameters_atomically([parameter]) for parameter in parameter_list]

    def set_parameters_atomically(self, parameter_list: Sequence[Parameter]) -> Any:
        """Set all or none; returns one SetParametersResult. Raises `ParameterNotDeclaredException`."""
        wanted = list(parameter_list)
        for before in self._before:
            wanted = before(wanted)
        if self._before and not wanted:
            return SetParametersResult(successful=False, reason="a pre-set callback left no parameters to set")
        if not self._allow_undeclared_parameters:
            unknown = [parameter.name for parameter in wanted if parameter.name not in self._parameters]
            if unknown:
                raise ParameterNotDeclaredException(unknown)
        return self._apply(wanted, self._descriptors, declaring=False)

    def _apply(self, parameters: list[Parameter], descriptors: dict[str, Any], *, declaring: bool) -> Any:
        for parameter in parameters:
            descriptor = descriptors.get(parameter.name)
            reason = None if descriptor is None else objection(parameter, descriptor, declaring)
            if reason is not None:
                return SetParametersResult(successful=False, reason=reason)
        # The newest callback is asked first, as in rclpy.
        for judge in self._judges:
            verdict = judge(parameters)
            if not isinstance(verdict, SetParametersResult):
                raise TypeError(f"a set-parameters callback must return a SetParametersResult, got {verdict!r}")
            if not verdict.successful:
                return verdict
        event = ParameterEvent(node=self.get_fully_qualified_name())
        for parameter in parameters:
            if parameter.type_ is Type.NOT_SET and not declaring:
                event.deleted_parameters.append(parameter.to_parameter_msg())
                self._parameters.pop(parameter.name, None)
                self._descriptors.pop(parameter.name, None)
                continue
            if parameter.name not in self._descriptors:
                fresh = ParameterDescriptor(name=parameter.name, type=parameter.type_.value, dynamic_typing=True)
                self._descriptors[parameter.name] = descriptors.get(parameter.name, fresh)
            new = self.get_parameter_or(parameter.name).type_ is Type.NOT_SET
            (event.new_parameters if new else event.changed_parameters).append(parameter.to_parameter_msg())
            self._parameters[parameter.name] = parameter
        event.stamp = self._clock.now().to_msg()
        self._parameter_event_publisher.publish(event)
        for after in self._after:
            after(parameters)
        return SetParametersResult(successful=True)

    def set_descriptor(self, name: str, descriptor: Any, alternative_value: Any = None) -> Any:
        """Replace a descriptor; the value must fit it, or else `alternative_value` (a ParameterValue) is set.

        Returns the value in force. Raises `ParameterNotDeclaredException`, `ParameterImmutableException`,
        `InvalidParameterValueException`.
        """
        current = self.get_parameter(name)
        if self.describe_parameter(name).read_only:
            raise ParameterImmutableException(name)
        reason = objection(current, descriptor, True)
        if reason is not None:
            if alternative_value is None:
                raise InvalidParameterValueException(name, current.value, reason)
            current = Parameter(name, Type(alternative_value.type), parameter_value_to_python(alternative_value))
            reason = objection(current, descriptor, True)
            if reason is not None:
                raise InvalidParameterValueException(name, current.value, reason)
        self._parameters[name], self._descriptors[name] = current, descriptor
        return current.get_parameter_value()

    # -- callbacks ----------------------------------------------------------------------------------------------------

    def add_pre_set_parameters_callback(self, callback: Before) -> None:
        """Let `callback(parameters)` return what is set instead; the newest is asked first."""
        self._before.insert(0, callback)

    def add_on_set_parameters_callback(self, callback: Judge) -> None:
        """Let `callback(parameters)` allow or refuse with a SetParametersResult; the newest is asked first."""
        self._judges.insert(0, callback)

    def add_post_set_parameters_callback(self, callback: After) -> None:
        """Call `callback(parameters)` after they were set; the newest first."""
        self._after.insert(0, callback)

    def remove_pre_set_parameters_callback(self, callback: Before) -> None:
        """Undo `add_pre_set_parameters_callback`."""
        self._before.remove(callback)

    def remove_on_set_parameters_callback(self, callback: Judge) -> None:
        """Undo `add_on_set_parameters_callback`."""
        self._judges.remove(callback)

    def remove_post_set_parameters_callback(self, callback: After) -> None:
        """Undo `add_post_set_parameters_callback`."""
        self._after.remove(callback)

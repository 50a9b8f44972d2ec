"""What a descriptor forbids: other types, read-only, ranges and steps."""

from __future__ import annotations

import math
from typing import Any

from .parameter import Parameter, Type

#: Relative distance within which a float counts as on its limit or step.
_TOLERANCE = 1e-6


def objection(parameter: Parameter, descriptor: Any, declaring: bool) -> str | None:
    """Return why the descriptor forbids the value, None if it does not."""
    descriptor.name = parameter.name
    if descriptor.read_only and not declaring:
        return f"Trying to set a read-only parameter: {parameter.name}."
    if descriptor.dynamic_typing:
        descriptor.type = parameter.type_.value
    elif parameter.type_ is Type.NOT_SET:
        return None if declaring else "Static parameter cannot be undeclared"
    elif parameter.type_.value != descriptor.type:
        return (
            f"Wrong parameter type, expected '{Type(descriptor.type).name}' got '{parameter.type_.name}' "
            f"for parameter {parameter.name}"
        )
    ranges = {Type.INTEGER: descriptor.integer_range, Type.DOUBLE: descriptor.floating_point_range}
    for limits in ranges.get(parameter.type_, ()):
        return _out_of_range(parameter, limits)
    return None


def _out_of_range(parameter: Parameter, limits: Any) -> str | None:
    low, high = sorted((limits.from_value, limits.to_value))
    value, step = parameter.value, limits.step
    near = _TOLERANCE if parameter.type_ is Type.DOUBLE else 0.0
    if math.isclose(value, low, rel_tol=near) or math.isclose(value, high, rel_tol=near):
        return None
    if not low < value < high:
        return f"Parameter {parameter.name} out of range Min: {low}, Max: {high}, value: {value}"
    if step and not math.isclose(low + round((value - low) / step) * step, value, rel_tol=near):
        return (
            f"The parameter value for {parameter.name} is not a valid step. "
            f"Min: {low}, max: {high}, value: {value}, step: {step}"
        )
    return None

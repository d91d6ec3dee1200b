"""Functions of random parameters (`nest.math`)."""

from __future__ import annotations

from .errors import NESTErrors, explain_errors
from .random import Operation, Parameter, StackOperation


@explain_errors
def exp(parameter: Parameter) -> Parameter:
    """Exponential of a parameter."""
    return _require_parameter(parameter).apply_operation(StackOperation(Operation.EXP))


@explain_errors
def sin(parameter: Parameter) -> Parameter:
    """Sine of a parameter."""
    return _require_parameter(parameter).apply_operation(StackOperation(Operation.SIN))


@explain_errors
def cos(parameter: Parameter) -> Parameter:
    """Cosine of a parameter."""
    return _require_parameter(parameter).apply_operation(StackOperation(Operation.COS))


@explain_errors
def min(parameter: Parameter, value: float) -> Parameter:
    """The smaller one of a parameter and a number."""
    return _require_parameter(parameter).combine_with(float(value), Operation.MINIMUM)


@explain_errors
def max(parameter: Parameter, value: float) -> Parameter:
    """The larger one of a parameter and a number."""
    return _require_parameter(parameter).combine_with(float(value), Operation.MAXIMUM)


@explain_errors
def redraw(parameter: Parameter, min: float, max: float) -> Parameter:
    """A parameter that is drawn again until it lies in [min, max]."""
    if min > max:
        raise NESTErrors.BadParameterValue(f"nest.math.redraw: min = {min} must not exceed max = {max}")
    return _require_parameter(parameter).apply_operation(StackOperation(Operation.REDRAW, float(min), float(max)))


def _require_parameter(parameter: Parameter) -> Parameter:
    if not isinstance(parameter, Parameter):
        raise TypeError("the first argument must be a parameter from nest.random")
    return parameter

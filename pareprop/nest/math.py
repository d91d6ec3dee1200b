"""Functions of random parameters (`nest.math`)."""

from __future__ import annotations

from .errors import NESTErrors
from .random import Operation, Parameter, Step


def exp(parameter: Parameter) -> Parameter:
    """Exponential of a parameter."""
    return parameter.then(Step(Operation.EXP))


def sin(parameter: Parameter) -> Parameter:
    """Sine of a parameter."""
    return parameter.then(Step(Operation.SIN))


def cos(parameter: Parameter) -> Parameter:
    """Cosine of a parameter."""
    return parameter.then(Step(Operation.COS))


def min(parameter: Parameter, value: float) -> Parameter:
    """The smaller one of a parameter and a number."""
    return parameter.combine(float(value), Operation.MINIMUM)


def max(parameter: Parameter, value: float) -> Parameter:
    """The larger one of a parameter and a number."""
    return parameter.combine(float(value), Operation.MAXIMUM)


def redraw(parameter: Parameter, min: float, max: float) -> Parameter:
    """A parameter that is drawn again until it lies in [min, max]."""
    if min > max:
        raise NESTErrors.BadParameterValue(f"nest.math.redraw: min = {min} must not exceed max = {max}")
    return parameter.then(Step(Operation.REDRAW, float(min), float(max)))

"""Functions of random parameters (`nest.math`)."""

from __future__ import annotations

from .errors import NESTErrors, explained
from .random import Operation, Parameter, Step


@explained
def exp(parameter: Parameter) -> Parameter:
    """Exponential of a parameter."""
    return _require(parameter).then(Step(Operation.EXP))


@explained
def sin(parameter: Parameter) -> Parameter:
    """Sine of a parameter."""
    return _require(parameter).then(Step(Operation.SIN))


@explained
def cos(parameter: Parameter) -> Parameter:
    """Cosine of a parameter."""
    return _require(parameter).then(Step(Operation.COS))


@explained
def min(parameter: Parameter, value: float) -> Parameter:
    """The smaller one of a parameter and a number."""
    return _require(parameter).combine(float(value), Operation.MINIMUM)


@explained
def max(parameter: Parameter, value: float) -> Parameter:
    """The larger one of a parameter and a number."""
    return _require(parameter).combine(float(value), Operation.MAXIMUM)


@explained
def redraw(parameter: Parameter, min: float, max: float) -> Parameter:
    """A parameter that is drawn again until it lies in [min, max]."""
    if min > max:
        raise NESTErrors.BadParameterValue(f"nest.math.redraw: min = {min} must not exceed max = {max}")
    return _require(parameter).then(Step(Operation.REDRAW, float(min), float(max)))


def _require(parameter: Parameter) -> Parameter:
    if not isinstance(parameter, Parameter):
        raise TypeError("the first argument must be a parameter from nest.random")
    return parameter

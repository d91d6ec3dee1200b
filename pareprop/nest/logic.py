"""Choices between random parameters (`nest.logic`)."""

from __future__ import annotations

from ..errors import quote
from .errors import explained
from .random import Operation, Parameter, Step, as_parameter


@explained
def conditional(condition: Parameter, param_if_true: object, param_if_false: object) -> Parameter:
    """One of two parameters or numbers, as a condition such as `nest.random.uniform() < 0.5` says; the other one is
    not drawn.
    """
    if not isinstance(condition, Parameter):
        raise TypeError(
            f"the condition must be a parameter, such as nest.random.uniform() < 0.5, not {quote(condition)}"
        )
    yes, no = as_parameter(param_if_true), as_parameter(param_if_false)
    if yes is None or no is None:
        raise TypeError("param_if_true and param_if_false must be parameters or numbers")
    n, m = len(condition.steps), len(yes.steps)
    return Parameter(
        *condition.steps,
        Step(Operation.UNLESS, bound=n + m + 2),
        *yes.moved(n + 1),
        Step(Operation.GO, bound=n + m + 2 + len(no.steps)),
        *no.moved(n + m + 2),
        depth=max(condition.depth, yes.depth, no.depth),
    )

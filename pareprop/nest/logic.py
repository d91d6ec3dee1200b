"""Choices between random parameters (`nest.logic`)."""

from __future__ import annotations

from ..errors import quote
from .errors import explain_errors
from .random import Operation, Parameter, StackOperation, as_parameter


@explain_errors
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
        StackOperation(Operation.UNLESS, bound=n + m + 2),
        *yes.shift_steps(n + 1),
        StackOperation(Operation.GO, bound=n + m + 2 + len(no.steps)),
        *no.shift_steps(n + m + 2),
        depth=max(condition.depth, yes.depth, no.depth),
    )

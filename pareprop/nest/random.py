"""Random parameters (`nest.random`), drawn when nodes or connections are made, with NEST's random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from ..kernels import nest_draws
from .errors import NESTErrors, explain_errors

Operation = nest_draws.Operation
JUMPS = (Operation.REDRAW, Operation.UNLESS, Operation.GO)  # their `bound` is the place of an operation
SHARED = np.array([-1])  # in place of a node: the generator that all virtual processes share


class Generators:
    """NEST's random generators for `rng_seed`: one for each of `n` virtual processes, and two for all of them.

    In one of the two all processes have the same state, the other is shared.

    Attributes
    ----------
    state : np.ndarray
        uint64 (2 + n, words), as `nest_draws` has them.
    present : Generators
        Generators of the present network.
    """

    present: Generators

    def __init__(self, seed: int, n: int) -> None:
        self.n = n
        self.state = np.empty((nest_draws.OWN + n, nest_draws.N_WORDS), np.uint64)
        nest_draws.seed(seed, self.state)
        Generators.present = self


class PendingNormals:
    """Second numbers of pairs of normal numbers, for the next draws: one per virtual process, NaN for none."""

    def __init__(self) -> None:
        self.numbers = np.zeros(0)

    def list_numbers(self, n: int) -> np.ndarray:
        """Return the pending numbers of `n` virtual processes, float64 (n,)."""
        return np.append(self.numbers, np.full(max(n - len(self.numbers), 0), np.nan))[:n]


@dataclass(frozen=True)
class StackOperation:
    """One operation on a stack of numbers, as `nest_draws` has them."""

    operation: int
    a: float = 0.0
    b: float = 0.0
    bound: int = 0
    pending: PendingNormals | None = None


class Parameter:
    """A random parameter, or an expression of some.

    `steps` are operations that leave one number, on a stack of at most `depth` numbers.
    """

    def __init__(self, *steps: StackOperation, depth: int = 1) -> None:
        self.steps, self.depth = steps, depth

    def draw_for_nodes(self, generators: Generators, ids: np.ndarray) -> np.ndarray:
        """Draw one number for each node, in this order."""
        return draw_parameters([self], generators, ids)[0]

    def GetValue(self) -> float:
        """Draw one number."""
        return float(self.draw_for_nodes(Generators.present, SHARED)[0])

    def combine_with(self, other: object, operation: int, swapped: bool = False) -> Parameter:
        """Make an expression of this parameter and a parameter or number."""
        other = as_parameter(other)
        if other is None:
            return NotImplemented
        left, right = (other, self) if swapped else (self, other)
        moved = right.shift_steps(len(left.steps))
        return Parameter(*left.steps, *moved, StackOperation(operation), depth=max(left.depth, right.depth + 1))

    def shift_steps(self, n: int) -> list[StackOperation]:
        """The operations, behind `n` others."""
        return [replace(step, bound=step.bound + n) if step.operation in JUMPS else step for step in self.steps]

    def apply_operation(self, step: StackOperation) -> Parameter:
        """Make a function of this parameter."""
        return Parameter(*self.steps, step, depth=self.depth)

    def __neg__(self) -> Parameter:
        return self.combine_with(-1.0, Operation.MULTIPLY)

    __hash__ = object.__hash__  # `==` makes an expression, see below


def _make_operator(operation: int, swapped: bool = False) -> Callable[[Parameter, object], Parameter]:
    return lambda left, right: left.combine_with(right, operation, swapped)


for _name, _operation in {
    "add": Operation.ADD,
    "sub": Operation.SUBTRACT,
    "mul": Operation.MULTIPLY,
    "truediv": Operation.DIVIDE,
    "pow": Operation.POWER,
    "lt": Operation.LESS,
    "le": Operation.LESS_EQUAL,
    "eq": Operation.EQUAL,
    "ne": Operation.UNEQUAL,
    "ge": Operation.GREATER_EQUAL,
    "gt": Operation.GREATER,
}.items():
    setattr(Parameter, f"__{_name}__", _make_operator(_operation))
    if _name in ("add", "sub", "mul", "truediv"):
        setattr(Parameter, f"__r{_name}__", _make_operator(_operation, swapped=True))


def as_parameter(value: object) -> Parameter | None:
    """Return a parameter; a number becomes a constant parameter, anything else None."""
    if isinstance(value, int | float | np.number):
        return Parameter(StackOperation(Operation.CONSTANT, float(value)))
    return value if isinstance(value, Parameter) else None


@contextmanager
def compile_program(parameters: Sequence[Parameter], generators: Generators) -> Iterator[nest_draws.Program]:
    """Compile parameters that are drawn in turn to a `nest_draws.Program`; normal numbers wait in them afterwards."""
    steps = [step for parameter in parameters for step in parameter.steps]
    normals = list(dict.fromkeys(step.pending for step in steps if step.pending is not None))
    place = {waiting: row for row, waiting in enumerate(normals)}
    waiting = np.array([each.list_numbers(generators.n) for each in normals]).reshape(-1, generators.n)
    operations = [(step.operation, 0 if step.pending is None else place[step.pending], step.bound) for step in steps]
    yield nest_draws.Program(
        np.array(operations, np.int64).reshape(-1, 3),
        np.array([(step.a, step.b) for step in steps], float).reshape(-1, 2),
        np.cumsum([0, *(len(parameter.steps) for parameter in parameters)]),
        waiting,
        np.empty(max((parameter.depth for parameter in parameters), default=1)),
    )
    for each, numbers in zip(normals, waiting, strict=True):
        each.numbers = numbers


def draw_parameters(parameters: Sequence[Parameter], generators: Generators, nodes: np.ndarray) -> np.ndarray:
    """Draw parameters in turn for `nodes`, int64 (n,), or for connections onto them: float64 (n_parameters, n)."""
    drawn = np.empty((len(parameters), len(nodes)))
    with compile_program(parameters, generators) as program:
        nest_draws.draw(generators.state, np.ascontiguousarray(nodes, np.int64), program, drawn)
    return drawn


@explain_errors
def uniform(min: float = 0.0, max: float = 1.0) -> Parameter:
    """Evenly distributed in [min, max)."""
    if min >= max:
        raise NESTErrors.BadProperty(f"nest.random.uniform: min = {min} must be below max = {max}")
    return Parameter(StackOperation(Operation.UNIFORM, float(min), float(max) - float(min)))


@explain_errors
def uniform_int(max: int) -> Parameter:
    """Whole numbers below `max`, evenly distributed."""
    if max < 1 or max >= 2**63:
        raise NESTErrors.BadProperty(f"nest.random.uniform_int: max = {max} must be at least 1, and below 2^63")
    return Parameter(StackOperation(Operation.UNIFORM_INT, bound=int(max)))


@explain_errors
def exponential(beta: float = 1.0) -> Parameter:
    """Exponentially distributed with mean `beta`."""
    return Parameter(StackOperation(Operation.EXPONENTIAL, float(beta)))


@explain_errors
def normal(mean: float = 0.0, std: float = 1.0) -> Parameter:
    """Normal distribution; as in NEST each parameter keeps the second number of a pair per virtual process."""
    if not std > 0:
        raise NESTErrors.BadProperty(f"nest.random.normal: std = {std} must be above 0")
    return Parameter(StackOperation(Operation.NORMAL, float(mean), float(std), pending=PendingNormals()))


@explain_errors
def lognormal(mean: float = 0.0, std: float = 1.0) -> Parameter:
    """Exponentials of normal numbers."""
    if not std > 0:
        raise NESTErrors.BadProperty(f"nest.random.lognormal: std = {std} must be above 0")
    return Parameter(StackOperation(Operation.LOGNORMAL, float(mean), float(std), pending=PendingNormals()))

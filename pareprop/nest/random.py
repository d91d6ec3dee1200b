"""Random parameters (`nest.random`): what is drawn when nodes or connections are made, with NEST's own numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from ..kernels import nest_draws
from .errors import NESTErrors, explained

Operation = nest_draws.Operation
JUMPS = (Operation.REDRAW, Operation.UNLESS, Operation.GO)  # their `bound` is the place of an operation
SHARED = np.array([-1])  # in place of a node: the generator that all virtual processes share


class Generators:
    """NEST's random generators for a seed: one per virtual process, one they have alike, and one that they share.

    Parameters
    ----------
    seed : int
        `rng_seed`.
    n : int
        Number of virtual processes.

    Attributes
    ----------
    state : np.ndarray
        uint64 (2 + n, words), as `nest_draws` has them.
    present : Generators
        Those of the present network.
    """

    present: Generators

    def __init__(self, seed: int, n: int) -> None:
        self.n = n
        self.state = np.empty((nest_draws.OWN + n, nest_draws.N_WORDS), np.uint64)
        nest_draws.seed(seed, self.state)
        Generators.present = self


class Waiting:
    """Normal numbers come in pairs: those that wait for the next draw, one per virtual process, NaN for none."""

    def __init__(self) -> None:
        self.numbers = np.zeros(0)

    def of(self, n: int) -> np.ndarray:
        """Those of `n` virtual processes."""
        return np.append(self.numbers, np.full(max(n - len(self.numbers), 0), np.nan))[:n]


@dataclass(frozen=True)
class Step:
    """One operation on a stack of numbers, as `nest_draws` has them."""

    operation: int
    a: float = 0.0
    b: float = 0.0
    bound: int = 0
    waiting: Waiting | None = None


class Parameter:
    """A random parameter, or an expression of some.

    Parameters
    ----------
    *steps : Step
        Operations that leave one number.
    depth : int
        Most numbers on the stack.
    """

    def __init__(self, *steps: Step, depth: int = 1) -> None:
        self.steps, self.depth = steps, depth

    def of_nodes(self, generators: Generators, ids: np.ndarray) -> np.ndarray:
        """Draw one number for each node, in this order."""
        return draw([self], generators, ids)[0]

    def GetValue(self) -> float:
        """Draw one number."""
        return float(self.of_nodes(Generators.present, SHARED)[0])

    def combine(self, other: object, operation: int, swapped: bool = False) -> Parameter:
        """Make an expression of this parameter and a parameter or number."""
        other = as_parameter(other)
        if other is None:
            return NotImplemented
        left, right = (other, self) if swapped else (self, other)
        moved = right.moved(len(left.steps))
        return Parameter(*left.steps, *moved, Step(operation), depth=max(left.depth, right.depth + 1))

    def moved(self, n: int) -> list[Step]:
        """The operations, behind `n` others."""
        return [replace(step, bound=step.bound + n) if step.operation in JUMPS else step for step in self.steps]

    def then(self, step: Step) -> Parameter:
        """Make a function of this parameter."""
        return Parameter(*self.steps, step, depth=self.depth)

    def __neg__(self) -> Parameter:
        return self.combine(-1.0, Operation.MULTIPLY)

    __hash__ = object.__hash__  # `==` makes an expression, see below


def _operator(operation: int, swapped: bool = False) -> Callable[[Parameter, object], Parameter]:
    return lambda left, right: left.combine(right, operation, swapped)


for _name, _operation in {
    "add": Operation.ADD, "sub": Operation.SUBTRACT, "mul": Operation.MULTIPLY, "truediv": Operation.DIVIDE,
    "pow": Operation.POWER, "lt": Operation.LESS, "le": Operation.LESS_EQUAL, "eq": Operation.EQUAL,
    "ne": Operation.UNEQUAL, "ge": Operation.GREATER_EQUAL, "gt": Operation.GREATER,
}.items():  # fmt: skip
    setattr(Parameter, f"__{_name}__", _operator(_operation))
    if _name in ("add", "sub", "mul", "truediv"):
        setattr(Parameter, f"__r{_name}__", _operator(_operation, swapped=True))


def as_parameter(value: object) -> Parameter | None:
    """A parameter, or one that is always a number; None for what is neither."""
    if isinstance(value, int | float | np.number):
        return Parameter(Step(Operation.CONSTANT, float(value)))
    return value if isinstance(value, Parameter) else None


@contextmanager
def together(parameters: Sequence[Parameter], generators: Generators) -> Iterator[nest_draws.Program]:
    """Compile parameters that are drawn in turn to a `nest_draws.Program`; normal numbers wait in them afterwards."""
    steps = [step for parameter in parameters for step in parameter.steps]
    normals = list(dict.fromkeys(step.waiting for step in steps if step.waiting is not None))
    place = {waiting: row for row, waiting in enumerate(normals)}
    waiting = np.array([each.of(generators.n) for each in normals]).reshape(-1, generators.n)
    operations = [(step.operation, 0 if step.waiting is None else place[step.waiting], step.bound) for step in steps]
    yield nest_draws.Program(
        np.array(operations, np.int64).reshape(-1, 3),
        np.array([(step.a, step.b) for step in steps], float).reshape(-1, 2),
        np.cumsum([0, *(len(parameter.steps) for parameter in parameters)]),
        waiting,
        np.empty(max((parameter.depth for parameter in parameters), default=1)),
    )
    for each, numbers in zip(normals, waiting, strict=True):
        each.numbers = numbers


def draw(parameters: Sequence[Parameter], generators: Generators, nodes: np.ndarray) -> np.ndarray:
    """Draw parameters for nodes, or for connections onto nodes, one after the other.

    Parameters
    ----------
    parameters : sequence of Parameter
        Drawn in turn.
    generators : Generators
        Random numbers.
    nodes : np.ndarray
        int64 (n,), ids.

    Returns
    -------
    np.ndarray
        float64 (n_parameters, n).
    """
    drawn = np.empty((len(parameters), len(nodes)))
    with together(parameters, generators) as program:
        nest_draws.draw(generators.state, np.ascontiguousarray(nodes, np.int64), program, drawn)
    return drawn


@explained
def uniform(min: float = 0.0, max: float = 1.0) -> Parameter:
    """Evenly distributed in [min, max)."""
    if min >= max:
        raise NESTErrors.BadProperty(f"nest.random.uniform: min = {min} must be below max = {max}")
    return Parameter(Step(Operation.UNIFORM, float(min), float(max) - float(min)))


@explained
def uniform_int(max: int) -> Parameter:
    """Whole numbers below `max`, evenly distributed."""
    if max < 1 or max >= 2**63:
        raise NESTErrors.BadProperty(f"nest.random.uniform_int: max = {max} must be at least 1, and below 2^63")
    return Parameter(Step(Operation.UNIFORM_INT, bound=int(max)))


@explained
def exponential(beta: float = 1.0) -> Parameter:
    """Exponentially distributed with mean `beta`."""
    return Parameter(Step(Operation.EXPONENTIAL, float(beta)))


@explained
def normal(mean: float = 0.0, std: float = 1.0) -> Parameter:
    """Normally distributed; each parameter has a method of pairs of its own per virtual process, as in NEST."""
    if not std > 0:
        raise NESTErrors.BadProperty(f"nest.random.normal: std = {std} must be above 0")
    return Parameter(Step(Operation.NORMAL, float(mean), float(std), waiting=Waiting()))


@explained
def lognormal(mean: float = 0.0, std: float = 1.0) -> Parameter:
    """Exponentials of normal numbers."""
    if not std > 0:
        raise NESTErrors.BadProperty(f"nest.random.lognormal: std = {std} must be above 0")
    return Parameter(Step(Operation.LOGNORMAL, float(mean), float(std), waiting=Waiting()))

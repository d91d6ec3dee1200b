"""Base class of connection rules, which choose the synapses of a projection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError, shorten
from ..sonata.edges import MAX_DELAY, EdgeChunk
from ..values import AnyValue, Values
from . import parameters
from .space import SourceGrid

Described = Any  # a `Projection`, whose module imports this one


class ConnectionRule(ABC):
    """A connection rule: it chooses the synapses of a projection. `topology` draws them, unless it is `streamed`.

    A new rule is a subclass in `connection_rules` with its number and its draw in `topology.pyx`, or one in
    `streamed_rules` with its `yield_chunks`; and one entry of `RULES`.

    Attributes
    ----------
    code : int
        Number of the rule in `topology`, -1 if `topology` does not draw it.
    options : tuple of str
        Options of a `Connection` that the rule needs and no other rule has by default.
    reaches_all : bool
        Whether each source reaches all targets (except itself, without autapses).
    streamed : bool
        Whether synapses come from `yield_chunks`, not from `topology`.
    """

    code: ClassVar[int]
    options: ClassVar[tuple[str, ...]] = ()
    reaches_all: ClassVar[bool] = False
    streamed: ClassVar[bool] = False

    def yield_chunks(self, seed: int, projection: Described, low: int, high: int, weights: bool) -> Iterator[EdgeChunk]:
        """Yield sources, targets, delays in steps and weights of the synapses onto the targets [low, high) of the
        population.

        Without `weights`, as for counting, weights may be 0.
        """
        raise NotImplementedError

    def check_fields(self, here: str, projection: Described) -> Values:
        """Return the fields of a checked projection that replace the given ones, name to value.

        `InputError`, starting with `here`, names the value and the bound.
        """
        weight = projection.weight
        if parameters.is_number(weight):
            weight = parameters.validate_values(parameters.Constant, {"value": weight}, f"{here}: weight")
        if not isinstance(weight, parameters.Distribution):
            raise InputError(f"{here}: weight of rule '{projection.rule}' must be a number, Normal or Uniform")
        delay = _check_delay_range(here, projection.delay)
        self.check(here, projection)
        options = {name: parameters.normalize_value(getattr(projection, name)) for name in self.options}
        return {**options, "weight": weight, "delay": delay}

    def check(self, here: str, projection: Described) -> None:  # noqa: B027, there may be nothing to check
        """Raise `InputError`, starting with `here`, unless the options of a projection can be drawn."""

    def draws_self(self, projection: Described) -> bool:
        """Return whether a target may have itself as a source."""
        return bool(projection.allow_autapses)

    @abstractmethod
    def compute_indegree(self, projection: Described) -> float:
        """Return the mean number of synapses onto one target."""

    def list_indegrees(self, seed: int, projection: Described, low: int, high: int) -> float | np.ndarray:
        """Return the number of synapses of each of the targets [low, high), (high - low,), or the mean of all."""
        return self.compute_indegree(projection)

    def make_grid(self, seed: int, projection: Described) -> SourceGrid | None:
        """Return the grid of sources from which rewiring draws near ones; None: all sources are equally likely."""
        return None


def has_whole_value(value: object) -> bool:
    """Return whether a value is a whole number, as an integer or a float."""
    return (
        parameters.is_number(value) and abs(plain := parameters.normalize_value(value)) < 2**63 and plain == int(plain)
    )


def _check_delay_range(here: str, delay: AnyValue) -> tuple[int, int]:
    several = isinstance(delay, list | tuple) or (isinstance(delay, np.ndarray) and delay.ndim)
    ends = tuple(delay) if several else (delay, delay)
    if len(ends) != 2 or not all(map(has_whole_value, ends)) or not 1 <= ends[0] <= ends[1] <= MAX_DELAY:
        raise InputError(
            f"{here}: delay = {shorten(str(delay))} must be whole steps of at least 1, lowest first, up to {MAX_DELAY}"
        )
    return int(ends[0]), int(ends[1])

"""Base class of connectivity rules, which choose the synapses of a projection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError, shorten
from ..sonata.edges import MAX_DELAY, Piece
from ..values import AnyValue, Values
from . import parameters
from .space import Near

Described = Any  # a `Projection`, whose module imports this one


class Rule(ABC):
    """A connectivity rule: it chooses the synapses of a projection. `topology` draws them, unless it is `streamed`.

    A new rule is a subclass in `rules` with its number and its draw in `topology.pyx`, or one in `streamed_rules` with
    its `pieces`; and one entry of `RULES`.

    Attributes
    ----------
    code : int
        Number of the rule in `topology`, -1 if `topology` does not draw it.
    options : tuple of str
        Options of a `Connection` that the rule needs and no other rule has by default.
    reaches_all : bool
        Whether each source reaches all targets (but itself, without autapses).
    streamed : bool
        Whether synapses come from `pieces`, not from `topology`.
    """

    code: ClassVar[int]
    options: ClassVar[tuple[str, ...]] = ()
    reaches_all: ClassVar[bool] = False
    streamed: ClassVar[bool] = False

    def pieces(self, seed: int, projection: Described, low: int, high: int, weights: bool) -> Iterator[Piece]:
        """Yield the synapses onto the targets [low, high) of the population, weights only if asked for.

        Parameters
        ----------
        seed : int
            Seed of the model.
        projection : Projection
            The checked projection.
        low, high : int
            Half-open range of targets, ids in the population.
        weights : bool
            Whether weights are needed; else they may be 0, as for counting.

        Yields
        ------
        Piece
            Sources, targets, delays in steps and weights of some synapses.
        """
        raise NotImplementedError

    def fields(self, here: str, projection: Described) -> Values:
        """Return the fields of a checked projection that replace the given ones.

        Parameters
        ----------
        here : str
            Start of the messages.
        projection : Projection
            As given.

        Returns
        -------
        dict
            Name of the field to its checked value.

        Raises
        ------
        InputError
            Names the value and the bound.
        """
        weight = projection.weight
        if parameters.is_number(weight):
            weight = parameters.validate(parameters.Constant, {"value": weight}, f"{here}: weight")
        if not isinstance(weight, parameters.Distribution):
            raise InputError(f"{here}: weight of rule '{projection.rule}' must be a number, Normal or Uniform")
        delay = _delay_range(here, projection.delay)
        self.check(here, projection)
        options = {name: parameters.plain(getattr(projection, name)) for name in self.options}
        return {**options, "weight": weight, "delay": delay}

    def check(self, here: str, projection: Described) -> None:  # noqa: B027, there may be nothing to check
        """Raise `InputError`, starting with `here`, unless the options of a projection can be drawn."""

    def draws_self(self, projection: Described) -> bool:
        """Return whether a target may have itself as a source."""
        return bool(projection.allow_autapses)

    @abstractmethod
    def indegree(self, projection: Described) -> float:
        """Return the mean number of synapses onto one target."""

    def indegrees(self, seed: int, projection: Described, low: int, high: int) -> float | np.ndarray:
        """Return the number of synapses of each of the targets [low, high), (high - low,), or the mean of all."""
        return self.indegree(projection)

    def near(self, seed: int, projection: Described) -> Near | None:
        """Return the sources in space from which rewiring draws near ones; None: all sources are equally likely."""
        return None


def has_whole_value(value: object) -> bool:
    """Return whether a value is a whole number, as an integer or a float."""
    return parameters.is_number(value) and abs(plain := parameters.plain(value)) < 2**63 and plain == int(plain)


def _delay_range(here: str, delay: AnyValue) -> tuple[int, int]:
    several = isinstance(delay, list | tuple) or (isinstance(delay, np.ndarray) and delay.ndim)
    ends = tuple(delay) if several else (delay, delay)
    if len(ends) != 2 or not all(map(has_whole_value, ends)) or not 1 <= ends[0] <= ends[1] <= MAX_DELAY:
        raise InputError(
            f"{here}: delay = {shorten(str(delay))} must be whole steps of at least 1, lowest first, up to {MAX_DELAY}"
        )
    return int(ends[0]), int(ends[1])

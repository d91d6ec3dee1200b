"""The rules by which synapses of a projection are chosen, one class each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from ..kernels import topology
from ..sonata.edges import Piece
from . import degrees, parameters, space, streamed

NUMBER = int | float | np.number
MAX_DELAY = 2**15  # steps


class Rule(ABC):
    """A way to choose the synapses of a projection; `topology` draws them, unless the rule is `streamed`.

    A new rule is a subclass here, one entry of `RULES`, and its number and its draw in `topology.pyx` or its `pieces`.

    Attributes
    ----------
    code : int
        Number of the rule in `topology`, -1 if `topology` does not draw it.
    options : tuple of str
        Arguments of `Model.connect` that the rule needs.
    reaches_all : bool
        Whether each source reaches all targets (but itself, without autapses).
    shuffles : bool
        Whether its draw without multapses shuffles the numbers of the sources.
    streamed : bool
        Whether synapses come from `pieces`, not from `topology`.
    """

    code: ClassVar[int]
    options: ClassVar[tuple[str, ...]] = ()
    reaches_all: ClassVar[bool] = False
    shuffles: ClassVar[bool] = False
    streamed: ClassVar[bool] = False

    def pieces(self, seed: int, item: Any, low: int, high: int, weights: bool) -> Iterator[Piece]:
        """Yield the synapses onto the targets [low, high) of the population, weights only if asked for.

        Parameters
        ----------
        seed : int
            Seed of the model.
        item : Projection
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

    def fields(self, here: str, item: Any) -> dict[str, Any]:
        """Return the fields of a checked projection that replace the given ones.

        Parameters
        ----------
        here : str
            Start of the messages.
        item : Projection
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
        weight = item.weight
        if isinstance(weight, NUMBER):
            weight = parameters.validate(parameters.Constant, {"value": float(weight)}, here)
        if not isinstance(weight, parameters.Constant | parameters.Normal | parameters.Uniform):
            raise InputError(f"{here}: weight of rule '{item.rule}' must be a number, Normal or Uniform")
        delay = _delay_range(here, item.delay)
        self.check(here, item)
        return {"weight": weight, "delay": delay}

    def check(self, here: str, item: Any) -> None:  # noqa: B027, there may be nothing to check
        """Raise `InputError`, starting with `here`, unless the options of a projection can be drawn."""

    @abstractmethod
    def indegree(self, item: Any) -> float:
        """Return the mean number of synapses onto one target."""

    @abstractmethod
    def silent(self, item: Any, first: int, last: int) -> float:
        """Return the probability that a source has no synapse onto the targets [first, last) of the population."""

    def density(self, item: Any) -> float:
        """Return the probability of a synapse between a source and a target."""
        return self.indegree(item) / item.pre.size


class AllToAll(Rule):
    """One synapse from each source to each target."""

    code = topology.ALL_TO_ALL
    reaches_all = True

    def indegree(self, item: Any) -> float:
        """Return the mean number of synapses onto one target."""
        return item.n_choices

    def silent(self, item: Any, first: int, last: int) -> float:
        """Return the probability that a source has no synapse onto some targets."""
        return float(last == first)


class OneToOne(Rule):
    """One synapse from source k to target k."""

    code = topology.ONE_TO_ONE

    def check(self, here: str, item: Any) -> None:
        """Raise `InputError` unless both populations have the same size."""
        if item.pre.size != item.post.size:
            raise InputError(
                f"{here}: rule 'one_to_one' needs populations of the same size, they have {item.pre.size} and "
                f"{item.post.size} cells"
            )

    def indegree(self, item: Any) -> float:
        """Return the mean number of synapses onto one target."""
        return 1.0 if item.n_choices == item.pre.size else 0.0

    def silent(self, item: Any, first: int, last: int) -> float:
        """Return the probability that a source has no synapse onto some targets."""
        return 1.0 - self.indegree(item) * (last - first) / item.pre.size


class FixedIndegree(Rule):
    """`indegree` sources per target, drawn with or without repetition."""

    code = topology.FIXED_INDEGREE
    options = ("indegree",)
    shuffles = True

    def check(self, here: str, item: Any) -> None:
        """Raise `InputError` unless there are enough sources."""
        limit = 2**31 if item.allow_multapses else item.n_choices
        limit = limit if item.n_choices else 0
        if not _is_whole(item.indegree) or not 0 <= item.indegree <= limit:
            raise InputError(f"{here}: indegree = {item.indegree} must be a whole number from 0 to {limit}")

    def indegree(self, item: Any) -> float:
        """Return the mean number of synapses onto one target."""
        return item.indegree

    def silent(self, item: Any, first: int, last: int) -> float:
        """Return the probability that a source has no synapse onto some targets."""
        n, targets = item.pre.size, last - first
        if item.allow_multapses:
            return (1.0 - 1.0 / n) ** (item.indegree * targets)
        return (1.0 - item.indegree / n) ** targets


class FixedProbability(Rule):
    """A synapse from each source to each target with `probability`."""

    code = topology.FIXED_PROBABILITY
    options = ("probability",)

    def check(self, here: str, item: Any) -> None:
        """Raise `InputError` unless `probability` lies in [0, 1]."""
        if not (isinstance(item.probability, NUMBER) and 0 <= item.probability <= 1):
            raise InputError(f"{here}: probability = {item.probability} must lie in [0, 1]")

    def indegree(self, item: Any) -> float:
        """Return the mean number of synapses onto one target."""
        return item.probability * item.n_choices

    def silent(self, item: Any, first: int, last: int) -> float:
        """Return the probability that a source has no synapse onto some targets."""
        return (1.0 - item.probability) ** (last - first)

    def density(self, item: Any) -> float:
        """Return the probability of a synapse between a source and a target."""
        return item.probability


class Explicit(Rule):
    """Synapses given one by one as `source` and `target`, with weights and delays; nothing is drawn."""

    code = -1
    options = ("source", "target")

    def fields(self, here: str, item: Any) -> dict[str, Any]:
        """Return the arrays of a checked projection."""
        source, target = (np.atleast_1d(np.asarray(ids)) for ids in (item.source, item.target))
        if source.shape != target.shape or source.ndim != 1:
            raise InputError(f"{here}: source has shape {source.shape}, target {target.shape}; they must be equal")
        weight, delay = np.asarray(item.weight, dtype=float), np.asarray(item.delay)
        for key, array in (("weight", weight), ("delay", delay)):
            if array.ndim and array.shape != source.shape:
                raise InputError(f"{here}: {key} has shape {array.shape}, must be {source.shape}")
        weight, delay = np.broadcast_to(weight, source.shape), np.broadcast_to(delay, source.shape)
        for key, ids, bound in (("source", source, item.pre.size), ("target", target, item.post.size)):
            if len(ids) and (not np.issubdtype(ids.dtype, np.integer) or ids.min() < 0 or ids.max() >= bound):
                raise InputError(f"{here}: {key} must hold whole numbers from 0 to {bound - 1}")
        if len(delay) and (np.any(delay != np.floor(delay)) or delay.min() < 1 or delay.max() > MAX_DELAY):
            raise InputError(f"{here}: delay = {delay.min()} must be whole steps from 1 to {MAX_DELAY}")
        if not np.all(np.isfinite(weight)):
            raise InputError(f"{here}: weight holds values that are not finite")
        return {
            "source": source.astype(np.int64), "target": target.astype(np.int64),
            "weight": weight, "delay": delay.astype(np.int64),
        }  # fmt: skip

    def indegree(self, item: Any) -> float:
        """Return the mean number of synapses onto one target."""
        return len(item.target) / item.post.size

    def silent(self, item: Any, first: int, last: int) -> float:
        """Return the probability that a source has no synapse onto some targets."""
        return 1.0 - len(np.unique(item.source[(item.target >= first) & (item.target < last)])) / item.pre.size


class LognormalDegrees(Rule):
    """In-degrees log-normal about `indegree`; sources drawn by log-normal weights, none twice for a target."""

    code = -1
    options = ("indegree", "sigma_in", "sigma_out")
    streamed = True

    def check(self, here: str, item: Any) -> None:
        """Raise `InputError` unless the mean can be reached."""
        limit = degrees.AT_MOST * item.n_choices
        if not isinstance(item.indegree, NUMBER) or not 0 <= item.indegree <= limit:
            raise InputError(f"{here}: indegree = {item.indegree} must lie in [0, {limit:g}], half of the sources")
        for name in ("sigma_in", "sigma_out"):
            if not isinstance(value := getattr(item, name), NUMBER) or not 0 <= value <= 5:
                raise InputError(f"{here}: {name} = {value} must lie in [0, 5]")

    def pieces(self, seed: int, item: Any, low: int, high: int, weights: bool) -> Iterator[Piece]:
        """Yield the synapses onto some targets."""
        numbers = item.pre.size, item.n_choices, item.indegree, item.sigma_in, item.sigma_out
        for drawn in degrees.draw(seed, item.name, *numbers, (low, high)):
            yield streamed.piece(seed, item, *drawn, weights)

    def indegree(self, item: Any) -> float:
        """Return the mean number of synapses onto one target."""
        return float(degrees.list_indegrees(item.n_choices, item.indegree, item.sigma_in).mean())

    def silent(self, item: Any, first: int, last: int) -> float:
        """Return the probability that a source has no synapse onto some targets."""
        return degrees.compute_silent(item.n_choices, item.indegree, item.sigma_in, item.sigma_out, last - first)


class DistanceDependent(Rule):
    """At most one synapse per pair, with `probability` times the profile of the distance of `space`."""

    code = -1
    options = ("probability", "space")
    streamed = True

    def check(self, here: str, item: Any) -> None:
        """Raise `InputError` unless `probability` lies in [0, 1] and positions that are given fit the populations."""
        if not (isinstance(item.probability, NUMBER) and 0 <= item.probability <= 1):
            raise InputError(f"{here}: probability = {item.probability} must lie in [0, 1]")
        for name, population in (("sources", item.pre), ("targets", item.post)):
            given = getattr(item.space, name)
            wanted = (population.size, len(item.space.extent))
            if given is not None and np.shape(given) != wanted:
                raise InputError(f"{here}: space: {name} have shape {np.shape(given)}, must be {wanted}")
            if given is not None and not np.all(np.isfinite(given)):
                raise InputError(f"{here}: space: {name} hold values that are not finite")

    def pieces(self, seed: int, item: Any, low: int, high: int, weights: bool) -> Iterator[Piece]:
        """Yield the synapses onto some targets."""
        ends, leaves_out_self = (item.pre.name, item.post.name), item.n_choices < item.pre.size
        drawn = space.draw(
            item.space, seed, item.name, ends, item.pre.size, leaves_out_self, item.probability, (low, high)
        )
        for synapses in drawn:
            yield streamed.piece(seed, item, *synapses, weights)

    def indegree(self, item: Any) -> float:
        """Return the mean number of synapses onto one target, as if there were no borders."""
        itself = item.pre == item.post  # at distance 0
        others = item.space.mean() * (item.pre.size - itself)
        return item.probability * (others + (itself and item.allow_autapses))

    def silent(self, item: Any, first: int, last: int) -> float:
        """Return the probability that a source has no synapse onto some targets, which are anywhere but for itself."""
        others = 1.0 - item.probability * item.space.mean()
        if item.pre != item.post or first == last:
            return others ** (last - first)
        itself = 1.0 - item.probability * item.allow_autapses
        among = (last - first) / item.pre.size  # share of the sources that are among the targets
        return others ** (last - first) * (1.0 - among + among * itself / others) if others else 0.0


class Sonata(Rule):
    """Edges of a SONATA file."""

    code = -1
    options = ("edges",)
    streamed = True

    def fields(self, here: str, item: Any) -> dict[str, Any]:
        """Return the delays that occur in the file, in steps."""
        return {"weight": None, "delay": item.edges.delays if item.edges.n_edges else np.ones(1, np.int64)}

    def pieces(self, seed: int, item: Any, low: int, high: int, weights: bool) -> Iterator[Piece]:
        """Yield the edges onto some targets."""
        return item.edges.pieces(low, high)

    def indegree(self, item: Any) -> float:
        """Return the mean number of synapses onto one target."""
        return item.edges.n_edges / item.post.size

    def silent(self, item: Any, first: int, last: int) -> float:
        """Return the probability that a source has no synapse onto some targets, as if edges were anywhere."""
        return (1.0 - 1.0 / item.pre.size) ** (self.indegree(item) * (last - first))


RULES: dict[str, Rule] = {
    "all_to_all": AllToAll(),
    "one_to_one": OneToOne(),
    "fixed_indegree": FixedIndegree(),
    "fixed_probability": FixedProbability(),
    "explicit": Explicit(),
    "lognormal_degrees": LognormalDegrees(),
    "distance": DistanceDependent(),
    "sonata": Sonata(),
}
OPTIONS = sorted({name for rule in RULES.values() for name in rule.options})


def _is_whole(value: Any) -> bool:
    return isinstance(value, NUMBER) and not isinstance(value, bool) and abs(value) < 2**63 and value == int(value)


def _delay_range(here: str, delay: Any) -> tuple[int, int]:
    ends = (delay, delay) if np.ndim(delay) == 0 else tuple(delay)
    if len(ends) != 2 or not all(map(_is_whole, ends)) or not 1 <= ends[0] <= ends[1] <= MAX_DELAY:
        raise InputError(f"{here}: delay = {delay} must be whole steps of at least 1, lowest first, up to {MAX_DELAY}")
    return int(ends[0]), int(ends[1])

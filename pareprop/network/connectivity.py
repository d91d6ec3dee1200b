"""Populations, and the rules of projections between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from ..errors import InputError
from ..kernels import topology
from . import parameters
from .optimizers import Optimizer
from .rewire import Rewire

Role = Literal["input", "current", "recurrent", "readout"]
NUMBER = int | float | np.number
MAX_DELAY = 2**15  # steps
FEEDBACK = ("random", "symmetric", "adaptive")


@dataclass(frozen=True)
class Population:
    """A block of cells of one kind.

    Attributes
    ----------
    name : unique name
    size : number of cells, at least 1
    role : "input" (spikes), "current" (graded amplitudes), "recurrent" or "readout"
    model : NEST's model name without prefix, for recurrent populations
    params : checked parameters, for recurrent populations and readouts
    sign : +1, -1 or 0 (not bound), int8 (size,): of the weights of projections that are bound to their sources
    """

    name: str
    size: int
    role: Role
    model: str = ""
    params: Any = None
    sign: np.ndarray | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Projection:
    """A rule that connects two populations.

    Attributes
    ----------
    name : unique name, "pre->post" unless given
    pre, post : populations
    rule : one of `RULES`
    weight : Constant, Normal or Uniform, or float64 (n_synapses,) for "explicit"
    delay : (lowest, highest) in steps; drawn uniformly if they differ, or int64 (n_synapses,) for "explicit"
    indegree, probability : of the rule, None where it has no such option
    allow_autapses, allow_multapses : as in NEST
    source, target : int64 (n_synapses,), population-local ids, for "explicit"
    plastic : whether weights learn
    optimizer : of this projection, None for the one of the model
    feedback : "random" (fixed weights), "symmetric" or "adaptive"; for learning-signal projections only
    signs : int8 (n_sources,), the sign that the weights of a source have and keep, 0 for any; None if none is bound
    rewire : how synapses move while they learn, None if they stay
    """

    name: str
    pre: Population
    post: Population
    rule: str
    weight: Any
    delay: Any
    indegree: int | None = None
    probability: float | None = None
    allow_autapses: bool = True
    allow_multapses: bool = True
    source: np.ndarray | None = None
    target: np.ndarray | None = None
    plastic: bool = True
    optimizer: Optimizer | None = None
    feedback: str = ""
    signs: np.ndarray | None = field(default=None, compare=False)
    rewire: Rewire | None = None

    @property
    def delay_range(self) -> tuple[int, int]:
        """Lowest and highest delay in steps."""
        if not self.is_drawn:
            return (int(np.min(self.delay)), int(np.max(self.delay))) if len(self.delay) else (1, 1)
        return self.delay

    @property
    def keeps_signs(self) -> bool:
        """Whether weights learn and keep the sign of their source."""
        return self.plastic and self.signs is not None

    @property
    def is_drawn(self) -> bool:
        """Whether synapses are drawn by the rule, not given one by one."""
        return self.rule != "explicit"

    @property
    def n_choices(self) -> int:
        """Sources that a target may have."""
        return self.pre.size - (self.pre == self.post and not self.allow_autapses)

    @property
    def is_empty(self) -> bool:
        """Whether it was given without a single synapse, so that its delays mean nothing."""
        return self.source is not None and not len(self.source)


def check_ends(here: str, pre: Population, post: Population, feedback: str | None) -> None:
    """Raise `InputError` unless a projection from `pre` to `post`, with such feedback, is possible."""
    allowed = {
        ("input", "recurrent"), ("current", "recurrent"), ("recurrent", "recurrent"),
        ("recurrent", "readout"), ("readout", "recurrent"),
    }  # fmt: skip
    if (pre.role, post.role) not in allowed:
        raise InputError(f"{here}: a projection from {pre.role} to {post.role} is not possible")
    if feedback is not None and (pre.role != "readout" or feedback not in FEEDBACK):
        raise InputError(
            f"{here}: feedback = '{feedback}' must be one of {', '.join(FEEDBACK)}, on a projection from readouts"
        )


def make(here: str, projection: Projection) -> Projection:
    """Check a projection by its rule and return it with weights and delays as its kernels take them.

    Raises
    ------
    InputError
        Starts with `here`; names the value and the bound.
    """
    rule = projection.rule
    if rule not in RULES:
        raise InputError(f"{here}: unknown rule '{rule}'{parameters.nearest(rule, RULES)}")
    given = [name for name in OPTIONS if getattr(projection, name) is not None]
    takes = RULES[rule].options
    if missing := [f"{name}=" for name in takes if name not in given]:
        raise InputError(f"{here}: rule '{rule}' needs {' and '.join(missing)}")
    if extra := [name for name in given if name not in takes]:
        raise InputError(f"{here}: rule '{rule}' takes no {' or '.join(extra)}")
    return replace(projection, **RULES[rule].fields(here, projection))


class Rule(ABC):
    """How the synapses of a projection are chosen; drawn by `topology`, unless a rule says otherwise.

    A new rule is a subclass here, one entry of `RULES`, and its number and its draw in `topology.pyx`.

    Attributes
    ----------
    code : int
        Number of the rule in `topology`.
    options : tuple of str
        Arguments of `Model.connect` that it needs.
    reaches_all : bool
        Whether each source reaches all targets (but itself, without autapses).
    shuffles : bool
        Whether its draw needs an array (n_sources,) to shuffle.
    """

    code: ClassVar[int]
    options: ClassVar[tuple[str, ...]] = ()
    reaches_all: ClassVar[bool] = False
    shuffles: ClassVar[bool] = False

    def fields(self, here: str, item: Projection) -> dict[str, Any]:
        """Return the fields of a checked projection that replace the given ones."""
        weight = item.weight
        if isinstance(weight, NUMBER):
            weight = parameters.checked(parameters.Constant, {"value": float(weight)}, here)
        if not isinstance(weight, parameters.Constant | parameters.Normal | parameters.Uniform):
            raise InputError(f"{here}: weight of rule '{item.rule}' must be a number, Normal or Uniform")
        delay = _delay_range(here, item.delay)
        self.check(here, item)
        return {"weight": weight, "delay": delay}

    def check(self, here: str, item: Projection) -> None:  # noqa: B027, there may be nothing to check
        """Raise `InputError`, starting with `here`, unless the options of a projection can be drawn."""

    @abstractmethod
    def indegree(self, item: Projection) -> float:
        """Return the mean number of synapses onto one target."""

    @abstractmethod
    def silent(self, item: Projection, first: int, last: int) -> float:
        """Return the probability that a source has no synapse onto the targets [first, last) of the population."""

    def density(self, item: Projection) -> float:
        """Return the probability of a synapse between a source and a target."""
        return self.indegree(item) / item.pre.size


class AllToAll(Rule):
    """Each source and each target."""

    code = topology.ALL_TO_ALL
    reaches_all = True

    def indegree(self, item: Projection) -> float:
        """Return the mean number of synapses onto one target."""
        return item.n_choices

    def silent(self, item: Projection, first: int, last: int) -> float:
        """Return the probability that a source has no synapse onto some targets."""
        return float(last == first)


class OneToOne(Rule):
    """Source k and target k."""

    code = topology.ONE_TO_ONE

    def check(self, here: str, item: Projection) -> None:
        """Raise `InputError` unless both populations have the same size."""
        if item.pre.size != item.post.size:
            raise InputError(
                f"{here}: rule 'one_to_one' needs populations of the same size, they have {item.pre.size} and "
                f"{item.post.size} cells"
            )

    def indegree(self, item: Projection) -> float:
        """Return the mean number of synapses onto one target."""
        return 1.0 if item.n_choices == item.pre.size else 0.0

    def silent(self, item: Projection, first: int, last: int) -> float:
        """Return the probability that a source has no synapse onto some targets."""
        return 1.0 - self.indegree(item) * (last - first) / item.pre.size


class FixedIndegree(Rule):
    """`indegree` sources per target, drawn with or without repetition."""

    code = topology.FIXED_INDEGREE
    options = ("indegree",)
    shuffles = True

    def check(self, here: str, item: Projection) -> None:
        """Raise `InputError` unless there are sources enough."""
        limit = 2**31 if item.allow_multapses else item.n_choices
        limit = limit if item.n_choices else 0
        if not _is_whole(item.indegree) or not 0 <= item.indegree <= limit:
            raise InputError(f"{here}: indegree = {item.indegree} must be a whole number from 0 to {limit}")

    def indegree(self, item: Projection) -> float:
        """Return the mean number of synapses onto one target."""
        return item.indegree

    def silent(self, item: Projection, first: int, last: int) -> float:
        """Return the probability that a source has no synapse onto some targets."""
        n, targets = item.pre.size, last - first
        if item.allow_multapses:
            return (1.0 - 1.0 / n) ** (item.indegree * targets)
        return (1.0 - item.indegree / n) ** targets


class FixedProbability(Rule):
    """Each source and each target with `probability`."""

    code = topology.FIXED_PROBABILITY
    options = ("probability",)

    def check(self, here: str, item: Projection) -> None:
        """Raise `InputError` unless it is a probability."""
        if not (isinstance(item.probability, NUMBER) and 0 <= item.probability <= 1):
            raise InputError(f"{here}: probability = {item.probability} must lie in [0, 1]")

    def indegree(self, item: Projection) -> float:
        """Return the mean number of synapses onto one target."""
        return item.probability * item.n_choices

    def silent(self, item: Projection, first: int, last: int) -> float:
        """Return the probability that a source has no synapse onto some targets."""
        return (1.0 - item.probability) ** (last - first)

    def density(self, item: Projection) -> float:
        """Return the probability of a synapse between a source and a target."""
        return item.probability


class Explicit(Rule):
    """Synapses given one by one as `source` and `target`, with weights and delays; nothing is drawn."""

    code = -1
    options = ("source", "target")

    def fields(self, here: str, item: Projection) -> dict[str, Any]:
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

    def indegree(self, item: Projection) -> float:
        """Return the mean number of synapses onto one target."""
        return len(item.target) / item.post.size

    def silent(self, item: Projection, first: int, last: int) -> float:
        """Return the probability that a source has no synapse onto some targets."""
        return 1.0 - len(np.unique(item.source[(item.target >= first) & (item.target < last)])) / item.pre.size


RULES: dict[str, Rule] = {
    "all_to_all": AllToAll(),
    "one_to_one": OneToOne(),
    "fixed_indegree": FixedIndegree(),
    "fixed_probability": FixedProbability(),
    "explicit": Explicit(),
}
OPTIONS = sorted({name for rule in RULES.values() for name in rule.options})


def _is_whole(value: Any) -> bool:
    return isinstance(value, NUMBER) and not isinstance(value, bool) and abs(value) < 2**63 and value == int(value)


def _delay_range(here: str, delay: Any) -> tuple[int, int]:
    ends = (delay, delay) if np.ndim(delay) == 0 else tuple(delay)
    if len(ends) != 2 or not all(map(_is_whole, ends)) or not 1 <= ends[0] <= ends[1] <= MAX_DELAY:
        raise InputError(f"{here}: delay = {delay} must be whole steps of at least 1, lowest first, up to {MAX_DELAY}")
    return int(ends[0]), int(ends[1])

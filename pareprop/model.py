"""Rank-free description of a network: populations and the projections between them.

A `Model` holds no synapse and no neuron, only rules; each rank draws its own share from it (`topology`, `network`).
Global ids (gid) count the input populations first, then the recurrent ones, then the readouts, in order of definition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from . import params
from .errors import InputError
from .kernels import PRECISIONS, Precision

Role = Literal["input", "current", "recurrent", "readout"]
NUMBER = int | float | np.number
MAX_DELAY = 2**15  # steps
MAX_SIZE = 2**31  # cells of a population
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
    """

    name: str
    size: int
    role: Role
    model: str = ""
    params: Any = None


@dataclass(frozen=True)
class Projection:
    """A rule that connects two populations.

    Attributes
    ----------
    name : unique name, "pre->post" unless given
    pre, post : populations
    rule : "all_to_all", "fixed_indegree", "fixed_probability" or "explicit"
    weight : Constant, Normal or Uniform, or float64 (n_synapses,) for "explicit"
    delay : (lowest, highest) in steps; drawn uniformly if they differ, or int64 (n_synapses,) for "explicit"
    indegree, probability : of the rule
    allow_autapses, allow_multapses : as in NEST
    source, target : int64 (n_synapses,), population-local ids, for "explicit"
    plastic : whether weights learn
    optimizer : of this projection, None for the one of the model
    feedback : "random" (fixed weights), "symmetric" or "adaptive"; for learning-signal projections only
    """

    name: str
    pre: Population
    post: Population
    rule: str
    weight: Any
    delay: Any
    indegree: int = 0
    probability: float = 0.0
    allow_autapses: bool = True
    allow_multapses: bool = True
    source: np.ndarray | None = None
    target: np.ndarray | None = None
    plastic: bool = True
    optimizer: params.Optimizer | None = None
    feedback: str = ""

    @property
    def delay_range(self) -> tuple[int, int]:
        """Lowest and highest delay in steps."""
        if self.rule == "explicit":
            return (int(np.min(self.delay)), int(np.max(self.delay))) if len(self.delay) else (1, 1)
        return self.delay

    @property
    def is_empty(self) -> bool:
        """Whether it was given without a single synapse, so that its delays mean nothing."""
        return self.source is not None and not len(self.source)


@dataclass
class Model:
    """A network in words.

    Parameters
    ----------
    variant : "interval" (`*_bsshslm_2020`) or "spike" (e-prop+)
    seed : seed of all draws
    dt_ms : step in ms
    precision : "double" or "single": of weights, of what synapses need to learn, of neurons' state and of histories.
        Errors, readouts and sums over long times are double in either.

    Examples
    --------
    >>> model = Model("interval", seed=1)
    >>> inputs = model.inputs("in", 100)
    >>> neurons = model.neurons("rec", 200, "iaf", C_m=1.0, E_L=0.0, V_th=0.03, tau_m=30.0, t_ref=0.0)
    >>> out = model.readouts("out", 1, C_m=1.0, tau_m=30.0)
    >>> model.connect(inputs, neurons, weight=Normal(std=0.1))
    """

    variant: Literal["interval", "spike"] = "interval"
    seed: int = 1
    dt_ms: float = 1.0
    populations: list[Population] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    optimizer: params.Optimizer = field(default_factory=params.GradientDescent)
    precision: Literal["double", "single"] = "double"

    def __post_init__(self) -> None:
        if self.variant not in params.NEURON_MODELS:
            raise InputError(f"variant = '{self.variant}' must be 'interval' or 'spike'")
        if self.precision not in PRECISIONS:
            raise InputError(f"precision = '{self.precision}' must be 'double' or 'single'")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed = {self.seed} must be at least 0 and below 2^63")
        if not self.dt_ms > 0:
            raise InputError(f"dt_ms = {self.dt_ms} must be above 0")

    @property
    def kernels(self) -> Precision:
        """Kernels of the precision, and its type."""
        return PRECISIONS[self.precision]

    def inputs(self, name: str, size: int) -> Population:
        """Add a population of spike sources, driven by each sample's raster."""
        return self._add(Population(name, size, "input"))

    def currents(self, name: str, size: int) -> Population:
        """Add a population of graded sources: each sample gives their amplitudes (pA) per step."""
        return self._add(Population(name, size, "current"))

    def neurons(self, name: str, size: int, model: str = "iaf", **values: Any) -> Population:
        """Add a group of recurrent neurons; `values` are NEST's parameters, scalar, per neuron or drawn."""
        kinds = params.NEURON_MODELS[self.variant]
        if model not in kinds:
            hint = params.nearest(model, kinds)
            raise InputError(f"population '{name}': unknown model '{model}' in variant '{self.variant}'{hint}")
        checked = params.checked(kinds[model], values, f"population '{name}'")
        self._check_lengths(name, size, checked)
        return self._add(Population(name, size, "recurrent", model, checked))

    def readouts(self, name: str, size: int, **values: Any) -> Population:
        """Add a group of leaky readouts."""
        checked = params.checked(params.READOUT_MODELS[self.variant], values, f"population '{name}'")
        return self._add(Population(name, size, "readout", "readout", checked))

    def of_role(self, *roles: Role) -> list[Population]:
        """Populations with one of `roles`, in order of definition."""
        return [population for population in self.populations if population.role in roles]

    def size(self, *roles: Role) -> int:
        """Number of cells with one of `roles`."""
        return sum(population.size for population in self.of_role(*roles))

    def offset(self, population: Population) -> int:
        """Index of the population's first cell among the cells of its role."""
        others = self.of_role(population.role)
        return sum(other.size for other in others[: others.index(population)])

    def connect(
        self,
        pre: Population,
        post: Population,
        rule: str = "all_to_all",
        *,
        weight: Any = 1.0,
        delay: int | tuple[int, int] | np.ndarray = 1,
        name: str | None = None,
        optimizer: dict | params.Optimizer | None = None,
        feedback: str | None = None,
        **options: Any,
    ) -> Projection:
        """Add a projection.

        Parameters
        ----------
        pre, post : populations; from readouts to neurons it is a learning-signal connection
        rule : "all_to_all", "fixed_indegree" (needs `indegree`), "fixed_probability" (needs `probability`) or
            "explicit" (needs `source`, `target`, population-local ids)
        weight : number, `Normal`, `Uniform` or, for "explicit", an array
        delay : whole steps, at least 1; a pair (low, high) draws one per synapse; an array for "explicit"
        name : "pre->post" if not given
        optimizer : settings of this projection, those of the model if not given
        feedback : "random", "symmetric" or "adaptive", for learning-signal connections
        **options : `indegree`, `probability`, `source`, `target`, `allow_autapses`, `allow_multapses`, `plastic`

        Raises
        ------
        InputError
            Names the projection, the value and the bound.
        """
        name = name or f"{pre.name}->{post.name}"
        here = f"projection '{name}'"
        if isinstance(optimizer, dict):
            optimizer = params.optimizer(optimizer, here)
        known = {"indegree", "probability", "source", "target", "allow_autapses", "allow_multapses", "plastic"}
        for key in options.keys() - known:
            raise InputError(f"{here}: unknown option '{key}'{params.nearest(key, known)}")
        _check_ends(here, pre, post, feedback)
        if rule == "explicit":
            fields = _explicit(here, pre, post, weight, delay, options)
        else:
            fields = _ruled(here, pre, post, rule, weight, delay, options)
        learns = pre.role in ("input", "recurrent") and fields.pop("plastic", True)
        projection = Projection(
            name, pre, post, rule, optimizer=optimizer, plastic=learns,
            feedback=(feedback or "random") if pre.role == "readout" else "", **fields,
        )  # fmt: skip
        if any(other.name == name for other in self.projections):
            raise InputError(f"{here}: a projection of that name exists already; give another with name=")
        self.projections.append(projection)
        return projection

    def _add(self, population: Population) -> Population:
        if population.size < 1:
            raise InputError(f"population '{population.name}': size = {population.size} must be at least 1")
        if population.size > MAX_SIZE:
            raise InputError(f"population '{population.name}': size = {population.size} must be at most {MAX_SIZE}")
        if any(other.name == population.name for other in self.populations):
            raise InputError(f"population '{population.name}' exists already")
        self.populations.append(population)
        return population

    @staticmethod
    def _check_lengths(name: str, size: int, checked: params.Frozen) -> None:
        for key in type(checked).model_fields:
            value = getattr(checked, key)
            if isinstance(value, np.ndarray) and len(value) != size:
                raise InputError(f"population '{name}': {key} has {len(value)} values for {size} neurons")


def _check_ends(here: str, pre: Population, post: Population, feedback: str | None) -> None:
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


def _ruled(here: str, pre: Population, post: Population, rule: str, weight: Any, delay: Any, options: dict) -> dict:
    rules = ("all_to_all", "fixed_indegree", "fixed_probability", "explicit")
    if rule not in rules:
        raise InputError(f"{here}: unknown rule '{rule}'{params.nearest(rule, rules)}")
    if isinstance(weight, NUMBER):
        weight = params.checked(params.Constant, {"value": float(weight)}, here)
    if not isinstance(weight, params.Constant | params.Normal | params.Uniform):
        raise InputError(f"{here}: weight of rule '{rule}' must be a number, Normal or Uniform")
    low, high = _delay_range(here, delay)
    indegree, probability = options.get("indegree", 0), options.get("probability", 0.0)
    available = pre.size - (pre == post and not options.get("allow_autapses", True))
    limit = 2**31 if options.get("allow_multapses", True) else available
    limit = limit if available else 0
    if rule == "fixed_indegree" and (not _is_whole(indegree) or not 0 <= indegree <= limit):
        raise InputError(f"{here}: indegree = {indegree} must be a whole number from 0 to {limit}")
    if rule == "fixed_probability" and not (isinstance(probability, NUMBER) and 0 <= probability <= 1):
        raise InputError(f"{here}: probability = {probability} must lie in [0, 1]")
    return dict(options) | {"weight": weight, "delay": (low, high)}


def _is_whole(value: Any) -> bool:
    return isinstance(value, NUMBER) and float(value).is_integer()


def _delay_range(here: str, delay: Any) -> tuple[int, int]:
    ends = (delay, delay) if np.ndim(delay) == 0 else tuple(delay)
    if len(ends) != 2 or not all(map(_is_whole, ends)) or not 1 <= ends[0] <= ends[1] <= MAX_DELAY:
        raise InputError(f"{here}: delay = {delay} must be whole steps of at least 1, lowest first, up to {MAX_DELAY}")
    return int(ends[0]), int(ends[1])


def _explicit(here: str, pre: Population, post: Population, weight: Any, delay: Any, options: dict) -> dict:
    if options.get("source") is None or options.get("target") is None:
        raise InputError(f"{here}: rule 'explicit' needs source= and target=")
    source, target = (np.atleast_1d(np.asarray(options[key])) for key in ("source", "target"))
    if source.shape != target.shape or source.ndim != 1:
        raise InputError(f"{here}: source has shape {source.shape}, target {target.shape}; they must be equal")
    weight, delay = np.asarray(weight, dtype=float), np.asarray(delay)
    for key, array in (("weight", weight), ("delay", delay)):
        if array.ndim and array.shape != source.shape:
            raise InputError(f"{here}: {key} has shape {array.shape}, must be {source.shape}")
    weight, delay = np.broadcast_to(weight, source.shape), np.broadcast_to(delay, source.shape)
    for key, ids, bound in (("source", source, pre.size), ("target", target, post.size)):
        if len(ids) and (not np.issubdtype(ids.dtype, np.integer) or ids.min() < 0 or ids.max() >= bound):
            raise InputError(f"{here}: {key} must hold whole numbers from 0 to {bound - 1}")
    if len(delay) and (np.any(delay != np.floor(delay)) or delay.min() < 1 or delay.max() > MAX_DELAY):
        raise InputError(f"{here}: delay = {delay.min()} must be whole steps from 1 to {MAX_DELAY}")
    if not np.all(np.isfinite(weight)):
        raise InputError(f"{here}: weight holds values that are not finite")
    return options | {
        "source": source.astype(np.int64), "target": target.astype(np.int64),
        "weight": weight, "delay": delay.astype(np.int64),
    }  # fmt: skip

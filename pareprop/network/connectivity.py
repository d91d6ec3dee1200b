"""Populations, and the rules of projections between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..errors import InputError
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
    rule : "all_to_all", "fixed_indegree", "fixed_probability" or "explicit"
    weight : Constant, Normal or Uniform, or float64 (n_synapses,) for "explicit"
    delay : (lowest, highest) in steps; drawn uniformly if they differ, or int64 (n_synapses,) for "explicit"
    indegree, probability : of the rule
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
    indegree: int = 0
    probability: float = 0.0
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
        if self.rule == "explicit":
            return (int(np.min(self.delay)), int(np.max(self.delay))) if len(self.delay) else (1, 1)
        return self.delay

    @property
    def keeps_signs(self) -> bool:
        """Whether weights learn and keep the sign of their source."""
        return self.plastic and self.signs is not None

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


def ruled(here: str, pre: Population, post: Population, rule: str, weight: Any, delay: Any, options: dict) -> dict:
    """Fields of a `Projection` that is drawn by a rule, checked; errors start with `here`."""
    rules = ("all_to_all", "fixed_indegree", "fixed_probability", "explicit")
    if rule not in rules:
        raise InputError(f"{here}: unknown rule '{rule}'{parameters.nearest(rule, rules)}")
    if isinstance(weight, NUMBER):
        weight = parameters.checked(parameters.Constant, {"value": float(weight)}, here)
    if not isinstance(weight, parameters.Constant | parameters.Normal | parameters.Uniform):
        raise InputError(f"{here}: weight of rule '{rule}' must be a number, Normal or Uniform")
    low, high = _delay_range(here, delay)
    needed = {"fixed_indegree": "indegree", "fixed_probability": "probability"}.get(rule)
    if needed and needed not in options:
        raise InputError(f"{here}: rule '{rule}' needs {needed}=")
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
    return isinstance(value, NUMBER) and not isinstance(value, bool) and abs(value) < 2**63 and value == int(value)


def _delay_range(here: str, delay: Any) -> tuple[int, int]:
    ends = (delay, delay) if np.ndim(delay) == 0 else tuple(delay)
    if len(ends) != 2 or not all(map(_is_whole, ends)) or not 1 <= ends[0] <= ends[1] <= MAX_DELAY:
        raise InputError(f"{here}: delay = {delay} must be whole steps of at least 1, lowest first, up to {MAX_DELAY}")
    return int(ends[0]), int(ends[1])


def explicit(here: str, pre: Population, post: Population, weight: Any, delay: Any, options: dict) -> dict:
    """Fields of a `Projection` whose synapses are given one by one, checked; errors start with `here`."""
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

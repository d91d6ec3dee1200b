"""Populations, and the rules of projections between them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ..errors import InputError, quote
from ..sonata import edges
from ..sonata.edges import Edges
from . import parameters
from .optimizers import Optimizer
from .rewire import Rewire
from .rules import OPTIONS, RULES
from .space import Space

Role = Literal["input", "current", "recurrent", "readout"]
FEEDBACK = ("random", "symmetric", "adaptive")
MAX_SIZE = 2**31  # cells of a population
MAX_NAME = 100  # characters of the name of a population


@dataclass(frozen=True)
class Population:
    """A block of cells of one kind.

    Attributes
    ----------
    name : str
        Unique name.
    size : int
        Number of cells, at least 1.
    role : str
        "input" (spikes), "current" (graded amplitudes), "recurrent" or "readout".
    model : str
        NEST's model name without prefix, for recurrent populations; "" for others.
    params : Frozen or None
        Checked parameters, for recurrent populations and readouts.
    sign : np.ndarray or None
        int8, (size,): +1, -1 or 0 (not bound), of the weights of projections that are bound to their sources.
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
    name : str
        Unique name, "pre->post" unless given.
    pre, post : Population
        Sources and targets.
    rule : str
        One of `RULES`.
    weight : Constant, Normal, Uniform, np.ndarray or None
        Distribution of the weights; float64 (n_synapses,) for "explicit", None for "sonata".
    delay : tuple of int or np.ndarray
        Lowest and highest delay in steps, drawn uniformly if they differ; int64 (n_synapses,) for "explicit", all
        delays that occur for "sonata".
    indegree : int, float or None
        Synapses per target, or their mean; None where the rule has no such option.
    probability : float or None
        Probability of a synapse, None where the rule has no such option.
    allow_autapses, allow_multapses : bool
        As in NEST.
    source, target : np.ndarray or None
        int64 (n_synapses,), ids within the populations, for "explicit".
    plastic : bool
        Whether weights learn.
    optimizer : Optimizer or None
        Optimizer of this projection, None for that of the model.
    feedback : str
        "random" (fixed weights), "symmetric" or "adaptive"; "" unless it carries learning signals.
    signs : np.ndarray or None
        int8 (n_sources,), the sign that the weights of a source have and keep, 0 for any; None if none is bound.
    rewire : Rewire or None
        How synapses move while they learn, None if they stay.
    sigma_in, sigma_out : float or None
        Standard deviations of the logarithms of in- and out-degrees, None where the rule has no such option.
    space : Space or None
        Positions of the cells, None where the rule has no such option.
    edges : Edges or None
        Edges of a SONATA file, None where the rule has no such option.
    normalized : bool
        Whether drawn weights are divided by the square root of their target's number of synapses.
    inhibition : float
        Factor of drawn weights of sources whose sign is -1.
    binding : bool
        Whether signs hold while weights learn.
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
    sigma_in: float | None = None
    sigma_out: float | None = None
    space: Space | None = None
    edges: Edges | None = None
    normalized: bool = False
    inhibition: float = 1.0
    binding: bool = True

    @property
    def delay_range(self) -> tuple[int, int]:
        """Lowest and highest delay in steps."""
        if not self.is_drawn:
            return (int(np.min(self.delay)), int(np.max(self.delay))) if len(self.delay) else (1, 1)
        return self.delay

    @property
    def keeps_signs(self) -> bool:
        """Whether weights learn and keep the sign of their source."""
        return self.plastic and self.binding and self.signs is not None

    @property
    def is_drawn(self) -> bool:
        """Whether synapses are drawn by the rule, not given one by one."""
        return self.source is None and self.edges is None

    @property
    def n_choices(self) -> int:
        """Number of sources that a target may have."""
        return self.pre.size - (self.pre == self.post and not self.allow_autapses)

    @property
    def is_empty(self) -> bool:
        """Whether no synapse was given, so that the delays mean nothing."""
        return not self.is_drawn and not (self.edges.n_edges if self.edges else len(self.source))


class Switches(parameters.Frozen):
    """Arguments of `Model.connect` that each projection has, whatever its rule."""

    allow_autapses: bool = True
    allow_multapses: bool = True
    plastic: bool = True
    normalized: bool = False
    inhibition: float = Field(1.0, gt=0)
    keep_signs: bool = True


def check_name(kind: str, name: str, limit: int = MAX_NAME) -> None:
    """Raise `InputError` unless a name can be used for an HDF5 group and within a message."""
    if not isinstance(name, str) or not 1 <= len(name) <= limit:
        raise InputError(f"{kind} {quote(name)}: the name must have 1 to {limit} characters")
    if not name.isprintable() or "/" in name or name in (".", ".."):
        raise InputError(f"{kind} {quote(name)}: the name must be printable, without '/', and not '.' or '..'")


def check_population(population: Population) -> None:
    """Raise `InputError` unless name and size of a population are possible."""
    check_name("population", population.name)
    here = f"population '{population.name}': size = {quote(population.size)}"
    if not parameters.is_whole(population.size):
        raise InputError(f"{here} must be a whole number")
    if population.size < 1:
        raise InputError(f"{here} must be at least 1")
    if population.size > MAX_SIZE:
        raise InputError(f"{here} must be at most {MAX_SIZE}")


def check_ends(here: str, pre: Population, post: Population, feedback: str | None) -> None:
    """Raise `InputError` unless a projection from `pre` to `post`, with such feedback, is possible."""
    allowed = {
        ("input", "recurrent"), ("current", "recurrent"), ("recurrent", "recurrent"),
        ("recurrent", "readout"), ("readout", "recurrent"),
    }  # fmt: skip
    if (pre.role, post.role) not in allowed:
        raise InputError(f"{here}: a projection from {pre.role} to {post.role} is not possible")
    known = isinstance(feedback, str) and feedback in FEEDBACK
    if feedback is not None and not (known and pre.role == "readout"):
        raise InputError(
            f"{here}: feedback = {quote(feedback)} must be one of {', '.join(FEEDBACK)}, on a projection from readouts"
        )


def delay_in_steps(here: str, delay: Any, delay_ms: Any, dt_ms: float, source: Any = None) -> Any:
    """Return the delay of a projection in steps, which is given in steps or in ms; None for neither: one step.

    With `source` it may be one for each synapse, or else lowest and highest.

    Raises
    ------
    InputError
        If both are given, or `delay_ms` is no whole number of steps or not one for each synapse.
    """
    if delay_ms is None:
        return 1 if delay is None else delay
    if delay is not None:
        raise InputError(f"{here}: delay = {quote(delay)} and delay_ms = {quote(delay_ms)}: give one of them")
    try:
        times = parameters.array_of(delay_ms, "").astype(float)
    except InputError:
        raise InputError(f"{here}: delay_ms = {quote(delay_ms)} must be one time in ms, or several") from None
    steps = edges.steps(times.ravel(), dt_ms, False, lambda _: f"{here}: delay_ms", "").reshape(times.shape)
    if source is not None:
        if times.ndim and times.shape != np.shape(source):
            raise InputError(f"{here}: delay_ms has shape {times.shape}, must be {np.shape(source)}")
    elif times.ndim and (times.shape != (2,) or times[0] > times[1]):
        raise InputError(f"{here}: delay_ms = {quote(delay_ms)} must be one time, or lowest and highest")
    return int(steps) if not steps.ndim else tuple(steps.tolist()) if isinstance(delay_ms, tuple) else steps


def make(here: str, projection: Projection) -> Projection:
    """Check a projection by its rule and bring weights and delays into the form of the kernels.

    Parameters
    ----------
    here : str
        Start of the messages.
    projection : Projection
        With weights and delays as the user gave them.

    Returns
    -------
    Projection
        The same one with checked weights and delays, see `Projection`.

    Raises
    ------
    InputError
        If an option is missing, unknown to the rule or out of bounds; names the value and the bound.
    """
    rule = projection.rule
    if not isinstance(rule, str) or rule not in RULES:
        raise InputError(f"{here}: unknown rule {quote(rule)}{parameters.nearest(str(rule), RULES)}")
    options = [name for name in OPTIONS if getattr(projection, name) is not None]
    takes = RULES[rule].options
    if missing := [f"{name}=" for name in takes if name not in options]:
        raise InputError(f"{here}: rule '{rule}' needs {' and '.join(missing)}")
    if extra := [name for name in options if name not in takes]:
        raise InputError(f"{here}: rule '{rule}' takes no {' or '.join(extra)}")
    if projection.normalized and not (RULES[rule].streamed and projection.is_drawn):
        raise InputError(f"{here}: rule '{rule}' takes no normalized")
    return replace(projection, **RULES[rule].fields(here, projection))

"""Populations, and projections: connections that are checked against the populations that they connect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
from pydantic import InstanceOf, PrivateAttr

from ..errors import InputError, quote
from ..neurons import library, units
from ..neurons.derive import NO_LEARNS, Learns
from ..neurons.model import NeuronModel
from ..rules.definition import Eprop, LearningRule, Rule
from ..sonata import edges
from ..values import AnyValue
from . import delays, parameters, rule_options, scaled, signs
from .connection import Connection
from .connection_rules import OPTIONS, RULES
from .optimizers import Optimizer
from .rewire import check_projection as check_rewired

Role = Literal["input", "current", "recurrent", "readout"]
ENDS = {
    ("input", "recurrent"),
    ("current", "recurrent"),
    ("recurrent", "recurrent"),
    ("recurrent", "readout"),
    ("readout", "recurrent"),
}  # roles that can be connected
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
        int8, (size,): sign of the weights in projections with signs by source: +1, -1 or 0 (not bound).
    area : str
        Name of the area that neurons belong to, "" for none, see `Model.neurons`.
    learn : dict of str to Optimizer
        Parameters that learn, with their optimizers.
    learns : Learns
        Names of `learn`, in the form for which kernels are compiled.
    """

    name: str
    size: int
    role: Role
    model: str = ""
    params: AnyValue = None
    sign: np.ndarray | None = field(default=None, compare=False)
    area: str = ""
    learn: dict[str, Optimizer] = field(default_factory=dict, hash=False)
    learns: Learns = NO_LEARNS

    @property
    def ports(self) -> tuple[str, ...]:
        """Names of the neurons' synaptic inputs."""
        definition = getattr(self.params, "definition", None)
        return definition.ports if definition else ("arriving",)

    @property
    def definition(self) -> NeuronModel:
        """Equations of the neurons, also for NEST's neurons."""
        own = getattr(self.params, "definition", None)
        return library.get_definition(self.params.name_equations()) if own is None else own

    def requires_positive(self, port: str | None) -> str | None:
        """Return a message if a port (None: the first one) takes only weights of at least 0, else None."""
        definition, name = getattr(self.params, "definition", None), port or self.ports[0]
        if definition is None or name not in definition.positive:
            return None
        return f"port '{name}' of model '{self.model}' takes weights of at least 0"


class Projection(Connection):
    """A checked connection of two populations, from which each rank draws its synapses.

    Attributes
    ----------
    name : str
        Unique name, "pre->post" unless given.
    pre, post : Population
        Sources and targets.
    weight : Distribution, np.ndarray or None
        Distribution of the weights; float64 (n_synapses,) for "explicit", None for "sonata".
    delay : tuple of int or np.ndarray
        Lowest and highest delay in steps, drawn uniformly if they differ; int64 (n_synapses,) for "explicit", all
        delays that occur for "sonata".
    delay_law : Distribution, DistanceDelay or None
        Distribution of the delays in steps, or their dependence on distance; None: uniform.
    source, target : np.ndarray or None
        int64 (n_synapses,), ids within the populations, for "explicit".
    plastic : bool
        Whether weights learn.
    feedback : str
        "random" (fixed weights), "symmetric" or "adaptive"; "" unless it carries learning signals.
    learning_rule : LearningRule, Eprop or None
        Rule by which weights learn; None: e-prop.
    signs : np.ndarray or None
        int8 (n_sources,), the sign that the weights of a source have and keep, 0 for any; None if none is bound. All
        are +1 if the port requires it.
    """

    name: str
    rule: str  # type: ignore[assignment]  # resolved: a function has the name "callback"
    pre: InstanceOf[Population]
    post: InstanceOf[Population]
    weight: AnyValue = None  # each rule has its own form
    delay: AnyValue = None  # likewise
    delay_law: InstanceOf[parameters.Distribution] | InstanceOf[delays.DistanceDelay] | None = None
    source: InstanceOf[np.ndarray] | None = None
    target: InstanceOf[np.ndarray] | None = None
    feedback: str = ""  # type: ignore[assignment]  # resolved: also "" for none
    signs: InstanceOf[np.ndarray] | None = None
    learning_rule: InstanceOf[LearningRule] | InstanceOf[Eprop] | None = None

    _given: Connection = PrivateAttr()  # as the user gave it

    @property
    def given(self) -> Connection:
        """Options as they were given, a function and signs among them."""
        return self._given

    @property
    def port_index(self) -> int:
        """Index of the port among the targets' ports."""
        return 0 if self.port is None else self.post.ports.index(self.port)

    @property
    def weight_unit(self) -> str:
        """Unit of weights that bring spikes, by the port at which they arrive; "" if it is not known."""
        if self.pre.role not in ("input", "recurrent"):
            return ""
        if self.post.role == "readout":
            return "mV"
        return units.unit_of_port(self.post.definition, self.post.ports[self.port_index])

    @property
    def requires_positive(self) -> str | None:
        """Message if the port takes only weights of at least 0, else None."""
        brings_spikes = self.pre.role in ("input", "recurrent")
        return self.post.requires_positive(self.port) if brings_spikes else None

    @property
    def delay_range(self) -> tuple[int, int]:
        """Lowest and highest delay in steps of synapses, including the delays that they may learn."""
        if self.learn_delay is None:
            return self.first_delays
        assert self.learn_delay.low is not None and self.learn_delay.high is not None  # of learned ones
        return round(self.learn_delay.low), round(self.learn_delay.high)

    @property
    def first_delays(self) -> tuple[int, int]:
        """Lowest and highest delay in steps at the start."""
        if not self.is_drawn:
            return (int(np.min(self.delay)), int(np.max(self.delay))) if len(self.delay) else (1, 1)
        return self.delay

    @property
    def moves(self) -> bool:
        """Whether learning moves synapses to other rows, so that empty rows are kept, too."""
        return self.rewire is not None or self.learn_delay is not None

    @property
    def keeps_signs(self) -> bool:
        """Whether weights learn and must keep the sign of their source, or of their port, which is always kept."""
        return self.plastic and self.signs is not None and (self.keep_signs or self.requires_positive is not None)

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
        """Whether synapses are given one by one and there are none, so that delays have no meaning."""
        return self.edges.n_edges == 0 if self.edges is not None else self.source is not None and not len(self.source)


def check_name(kind: str, name: str, limit: int = MAX_NAME) -> None:
    """Raise `InputError` unless a name can be used for an HDF5 group and within a message."""
    if not isinstance(name, str) or not 1 <= len(name) <= limit:
        raise InputError(f"{kind} {quote(name)}: the name must have 1 to {limit} characters")
    if not name.isprintable() or "/" in name or name in (".", ".."):
        raise InputError(f"{kind} {quote(name)}: the name must be printable, without '/', and not '.' or '..'")


def check_population(population: Population) -> None:
    """Raise `InputError` unless name and size of a population are valid."""
    check_name("population", population.name)
    here = f"population '{population.name}': size = {quote(population.size)}"
    if not parameters.is_whole(population.size):
        raise InputError(f"{here} must be a whole number")
    if population.size < 1:
        raise InputError(f"{here} must be at least 1")
    if population.size > MAX_SIZE:
        raise InputError(f"{here} must be at most {MAX_SIZE}")


def resolve_connection(
    here: str,
    name: str,
    pre: Population,
    post: Population,
    connection: Connection,
    dt_ms: float,
    rules: Mapping[str, Rule] = MappingProxyType({}),
) -> Projection:
    """Check a connection against its populations; return the projection with weights and delays in the kernels' form.

    `here` is the start of messages; `rules` are custom learning rules by name. `InputError` names a missing option, an
    option that the connection rule does not have, or a value out of bounds.
    """
    feedback, rule = connection.feedback, connection.rule
    if callable(rule) and not isinstance(rule, type):
        connection = connection.model_copy(update={"rule": "callback", "synapses": rule})
    if (pre.role, post.role) not in ENDS:
        raise InputError(f"{here}: a projection from {pre.role} to {post.role} is not possible")
    if feedback is not None and pre.role != "readout":
        raise InputError(f"{here}: feedback = {quote(feedback)} is for projections from readouts")
    given = {key: getattr(connection, key) for key in Connection.model_fields}
    law = _find_delay_law(here, connection, dt_ms)
    steps = delays.find_range(here, law, connection.space) if law else _convert_delay(here, connection, dt_ms)
    given |= {
        "name": name,
        "pre": pre,
        "post": post,
        "delay_ms": None,
        "sign": "free",
        "delay": steps,
        "delay_law": law,
        "learn_delay": _find_delay_optimizer(here, connection, dt_ms),
        "learn_delay_ms": None,
        "plastic": pre.role in ("input", "recurrent") and connection.plastic,
        "feedback": (feedback or "random") if pre.role == "readout" else "",
        "learning_rule": _find_rule(here, connection, rules),
    }
    if isinstance(wanted := connection.weight, parameters.Scaled):
        draft = _check_by_rule(here, Projection.model_construct(**given | {"weight": 0.0}))
        given["weight"] = scaled.make_distribution(
            wanted, here, draft, RULES[draft.rule].compute_indegree(draft), dt_ms
        )
    projection = _check_by_rule(here, Projection.model_construct(**given))
    projection = projection.model_copy(update={"signs": signs.find_projection_signs(connection.sign, projection, here)})
    check_rewired(projection, here)
    rule_options.check_rule(here, projection.learning_rule or rule_options.PLAIN, projection)
    if rule_options.find_signless(projection) and (sign := signs.find_weight_sign(projection)):
        known = {**(projection.learning_parameters or {}), rule_options.SIGN: float(sign)}
        projection = projection.model_copy(update={"learning_parameters": known})
    _check_transmission(here, projection)
    delays.check_learned(projection, here)
    projection._given = connection
    return projection


def _find_rule(here: str, connection: Connection, rules: Mapping[str, Rule]) -> Rule | None:
    """Return the learning rule that a connection names, None for e-prop without options."""
    if connection.learning_rule is None:
        return None
    try:
        rule = rule_options.find_rule(connection.learning_rule, rules)
    except InputError as problem:
        raise InputError(f"{here}: {problem}") from None
    return None if isinstance(rule, Eprop) and rule.is_plain else rule


def _check_transmission(here: str, projection: Projection) -> None:
    """Raise `InputError` unless short-term plasticity fits the sources."""
    given = projection.transmission
    if given is None:
        return
    if projection.pre.role not in ("input", "recurrent"):
        raise InputError(f"{here}: transmission is for spikes of inputs and neurons, not of {projection.pre.role}")
    parameters.check_lengths(given, projection.pre.size, f"{here}: transmission")


def _find_delay_optimizer(here: str, connection: Connection, dt_ms: float) -> Optimizer | None:
    """Return the optimizer of the delays in steps, None if they do not learn."""
    in_steps, in_ms = connection.learn_delay, connection.learn_delay_ms
    if in_steps is not None and in_ms is not None:
        raise InputError(f"{here}: learn_delay and learn_delay_ms are given: give one of them")
    if in_ms is not None:
        return delays.convert_optimizer(here, in_ms, dt_ms)
    return in_steps and delays.convert_optimizer(here, in_steps, None)


def _find_delay_law(here: str, connection: Connection, dt_ms: float) -> delays.Law | None:
    """Return the law of the delays in steps, None if none is given."""
    given = [("delay", connection.delay, 1.0), ("delay_ms", connection.delay_ms, dt_ms)]
    laws = [entry for entry in given if isinstance(entry[1], Mapping | delays.Law)]
    if not laws or all(value is not None for _, value, _ in given):  # `_convert_delay` reports that both are given
        return None
    (name, value, unit), *_ = laws
    if isinstance(value, Mapping) and not value.keys().isdisjoint(delays.DistanceDelay.model_fields):
        value = parameters.validate_values(delays.DistanceDelay, value, f"{here}: {name}")
    if isinstance(value, delays.DistanceDelay):
        if connection.rule != "distance":
            raise InputError(f"{here}: {name}: per_length is for rule 'distance', not {quote(connection.rule)}")
        return delays.convert_to_steps(here, value, unit)
    if RULES.get(str(connection.rule)) is None or connection.source is not None or connection.edges is not None:
        raise InputError(f"{here}: delays of rule {quote(connection.rule)} cannot be drawn from a distribution")
    try:
        law = parameters.normalize_value(value)
    except ValueError as problem:
        raise InputError(f"{here}: delay: {problem}") from None
    return delays.convert_to_steps(here, law, unit)


def _convert_delay(here: str, connection: Connection, dt_ms: float) -> AnyValue:
    """Return `delay` or `delay_ms` in steps: one value, lowest and highest, or one for each synapse."""
    delay, delay_ms, source = connection.delay, connection.delay_ms, connection.source
    if delay_ms is None:
        return 1 if delay is None else delay
    if delay is not None:
        raise InputError(f"{here}: delay = {quote(delay)} and delay_ms = {quote(delay_ms)}: give one of them")
    try:
        times = parameters.array_of(delay_ms, "").astype(float)
    except InputError:
        raise InputError(f"{here}: delay_ms = {quote(delay_ms)} must be one time in ms, or several") from None
    steps = edges.convert_to_steps(times.ravel(), dt_ms, False, lambda _: f"{here}: delay_ms", "").reshape(times.shape)
    if source is not None:
        if times.ndim and times.shape != np.shape(source):
            raise InputError(f"{here}: delay_ms has shape {times.shape}, must be {np.shape(source)}")
    elif times.ndim and (times.shape != (2,) or times[0] > times[1]):
        raise InputError(f"{here}: delay_ms = {quote(delay_ms)} must be one time, or lowest and highest")
    return steps if steps.ndim else int(steps)


def _check_by_rule(here: str, projection: Projection) -> Projection:
    """Check a projection's port and options by its connection rule; return it with options in the kernels' form."""
    rule, post = projection.rule, projection.post
    if (port := projection.port) is not None:
        if post.role != "recurrent" or projection.pre.role not in ("input", "recurrent"):
            raise InputError(f"{here}: port = {quote(port)} is for spikes onto neurons")
        if port not in post.ports:
            known = ", ".join(post.ports)
            raise InputError(f"{here}: port = {quote(port)} must be one of {known}, the ports of model '{post.model}'")
    if not isinstance(rule, str) or rule not in RULES:
        raise InputError(f"{here}: unknown rule {quote(rule)}{parameters.suggest_name(str(rule), RULES)}")
    options = [name for name in OPTIONS if getattr(projection, name) is not None]
    needed = RULES[rule].options
    if missing := [f"{name}=" for name in needed if name not in options]:
        raise InputError(f"{here}: rule '{rule}' needs {' and '.join(missing)}")
    if extra := [name for name in options if name not in needed]:
        raise InputError(f"{here}: rule '{rule}' has no option {' or '.join(extra)}")
    if projection.normalized and not (RULES[rule].streamed and projection.is_drawn):
        fitting = [name for name, item in RULES.items() if item.streamed and not {"edges", "source"} & {*item.options}]
        raise InputError(f"{here}: normalized = True is for rules {' and '.join(fitting)}, not for '{rule}'")
    return projection.model_copy(update=RULES[rule].check_fields(here, projection))

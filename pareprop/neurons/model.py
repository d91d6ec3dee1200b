"""A neuron model as its user writes it: names, units and equations, which are checked on construction."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace

import numpy as np

from ..errors import InputError, quote
from ..values import AnyValue, Given, Later, Values
from . import entries
from .language import (
    CONDITIONS,
    NAME,
    REAL,
    RESERVED,
    Tree,
    check_name,
    evaluate_tree,
    names_of,
    parse_expression,
    suggest_nearest,
    with_terms,
    write,
)
from .surrogates import SURROGATES
from .terms import Terms

#: parameters of every model: default and unit; a definition may give other defaults
COMMON: dict[str, tuple[float, str]] = {
    "t_ref": (2.0, "ms"),
    "I_e": (0.0, "pA"),
    "c_reg": (0.0, "1"),
    "f_target": (10.0, "Hz"),
    "kappa": (0.97, "1"),
    "kappa_reg": (0.97, "1"),
    "eprop_isi_trace_cutoff": (math.inf, "ms"),
    "surrogate_gradient_height": (0.3, "1"),
    "surrogate_gradient_width": (1.0, "mV"),
}
INTEGRATORS = ("exponential_euler", "euler", "rk4")
MOST = {"parameters": 200, "constants": 200, "states": 16, "ports": 16, "records": 64}  # most entries of a key
MOST_SUBSTEPS = 1000
MOST_COMPOSED = 10  # models with more states have no composed maps, which take up to states**2 numbers
_TABLES = ("parameters", "constants", "states", "step", "dynamics", "jumps", "reset", "traces", "records")
SIGNS = ("positive", "any")  # signs of weights that a port takes
_KEYS = (
    *_TABLES,
    "ports",
    "spike",
    "follow",
    "surrogate",
    "current_from",
    "integrator",
    "substeps",
    "description",
    "source",
    "nest",
)


@dataclass(frozen=True)
class Equations:
    """The equations that kernels compute: trees by name, see `language`.

    Attributes
    ----------
    constants, initial, terms, step, traces, reset, records : dict of str to tuple
        Trees in the order of their computation; terms are additional names in `step`.
    spike, surrogate : tuple
        The test for a spike, and the surrogate gradient in `x`.
    integration : str
        How `dynamics` became a step: "exact", or the integrator; "" if the model gives steps.
    """

    constants: dict[str, Tree]
    initial: dict[str, Tree]
    terms: dict[str, Tree]
    step: dict[str, Tree]
    traces: dict[str, Tree]
    reset: dict[str, Tree]
    records: dict[str, Tree]
    spike: Tree
    surrogate: Tree
    integration: str


class NeuronModel(entries.Definition):
    """A neuron model given by equations, from which kernels, eligibility traces and checks follow.

    Parameters
    ----------
    name : str
        Name of the model.
    parameters : dict of str to (float, str)
        Default and unit of each parameter. `COMMON` ones are there for every model.
    constants : dict of str to str
        Expressions in parameters, `dt` (ms) and earlier constants; computed once for each neuron.
    states : dict of str to (float or str, str)
        Initial value (a number or an expression in parameters and constants) and unit of each state.
    step : dict of str to str
        New value of each state that has no `dynamics`, from old states, parameters, constants, `dt`, the ports' sums,
        `I`, `z` (own spike of the step before) and `refractory` (1 while the counter is above 0 at the start of the
        step).
    spike : str
        Expression in new states; the neuron spikes if it is at least 0 and the counter is 0.
    ports : sequence of str or dict of str to str
        Names of synaptic inputs; or name to sign of the weights onto each: "positive" (of at least 0, such as
        conductances) or "any".
    reset : dict of str to str
        States after a spike, from new states.
    follow : sequence of str
        States of `reset` that eligibility traces follow.
    traces : dict of str to str
        Expressions from which derivatives are taken, in place of the expressions in `step`.
    surrogate : str
        A key of `SURROGATES`, or an expression in `x` (the value of `spike`), parameters and constants.
    current_from : int
        First step of a run in which `I` is there, 0 or 1.
    dynamics : dict of str to str
        Time derivatives (per ms) of states, in place of `step`. A linear system is integrated exactly.
    integrator : str
        One of `INTEGRATORS`, for systems that are not linear.
    substeps : int
        In how many parts the integrator takes a step.
    jumps : dict of str to str
        With `dynamics`: amount added to a state at the end of a step, an expression in ports, parameters, constants.
    records : dict of str to str
        Expressions in states after a step that can be recorded besides all states.
    description, source : str
        What the model is, and where its equations come from.
    nest : str
        NEST's name of the model.

    Raises
    ------
    InputError
        One line that names model, key and place.

    Notes
    -----
    Rules of a step and of the traces: see the page "Write your own neuron" of the handbook.
    """

    common, most = COMMON, MOST
    also_keeps: tuple[str, ...] = ()  # further values that steps store, see `with_saved`
    through: str = "all"  # part of the derivatives that traces follow, see `learning_through`
    check: Callable[..., Later]  # set in this room's `__init__`, as `check.py` imports this module

    def __init__(
        self,
        name: str,
        *,
        parameters: Given | None = None,
        constants: Given | None = None,
        states: Given | None = None,
        step: Given | None = None,
        spike: str | None = None,
        ports: object = ("arriving",),
        reset: Given | None = None,
        follow: object = (),
        traces: Given | None = None,
        surrogate: str = "piecewise_linear",
        current_from: int = 1,
        dynamics: Given | None = None,
        integrator: str | None = None,
        substeps: int = 1,
        jumps: Given | None = None,
        records: Given | None = None,
        description: str = "",
        source: str = "",
        nest: str = "",
    ) -> None:
        check_name(name, "neuron model")
        self.name = name
        self.here = f"neuron model '{name}'"
        tables = {
            "parameters": parameters,
            "constants": constants,
            "states": states,
            "step": step,
            "dynamics": dynamics,
            "jumps": jumps,
            "reset": reset,
            "traces": traces,
            "records": records,
        }
        self._set_common(tables, description, source)
        self.constants = self._given["constants"]
        named = list(ports) if isinstance(ports, Mapping) else ports
        self.ports = entries.check_names(f"{self.here}: ports", named, MOST["ports"])
        self.positive = self._list_positive_ports(ports) if isinstance(ports, Mapping) else frozenset[str]()
        self.follow = entries.check_names(f"{self.here}: follow", follow, MOST["states"])
        self.current_from, self.integrator, self.substeps = current_from, integrator, substeps
        self.spike, self.surrogate = spike, surrogate
        self.nest = entries.check_words(f"{self.here}: nest", nest)
        own = {key: getattr(self, key) for key in ("parameters", "constants", "states", "ports")}
        self._check_own_names(own | {"records": self._given["records"]})
        self._check_keys()
        self._parse_equations()

    # ---- checking ----------------------------------------------------------------------------------------------------

    def _list_positive_ports(self, ports: Mapping[str, object]) -> frozenset[str]:
        """Return the ports onto which weights are at least 0."""
        for name, sign in ports.items():
            if sign not in SIGNS:
                raise InputError(f"{self.here}: ports: {name} = {quote(sign)} must be 'positive' or 'any'")
        return frozenset(name for name, sign in ports.items() if sign == "positive")

    def _check_keys(self) -> None:
        here, given = self.here, self._given
        if not self.states:
            raise InputError(f"{here}: states is missing: a neuron needs one at least")
        if not self.ports:
            raise InputError(f"{here}: ports must name one input at least")
        ways = [key for key in ("step", "dynamics") if given[key]]
        if not ways:
            raise InputError(f"{here}: give either step or dynamics, one is needed")
        for name in given["step"]:
            if name in given["dynamics"]:
                raise InputError(f"{here}: state {quote(name)}: give either step or dynamics, not both")
        if self.spike is None:
            raise InputError(f"{here}: spike is missing")
        if isinstance(self.current_from, bool) or self.current_from not in (0, 1):
            raise InputError(f"{here}: current_from = {quote(self.current_from)} must be 0 or 1")
        if self.integrator is not None and self.integrator not in INTEGRATORS:
            raise InputError(f"{here}: integrator = {quote(self.integrator)} must be one of {', '.join(INTEGRATORS)}")
        if type(self.substeps) is not int or not 1 <= self.substeps <= MOST_SUBSTEPS:
            raise InputError(
                f"{here}: substeps = {quote(self.substeps)} must be a whole number from 1 to {MOST_SUBSTEPS}: each "
                "takes as long as a step"
            )
        for key, is_given in (
            ("jumps", given["jumps"]),
            ("integrator", self.integrator),
            ("substeps", self.substeps > 1),
        ):
            if is_given and not given["dynamics"]:
                raise InputError(f"{here}: {key} goes with dynamics, not with step")
        for key in ("step", "dynamics", "jumps", "reset", "traces"):
            for name in given[key]:
                if name not in self.states:
                    raise InputError(
                        f"{here}: {key}: unknown state {quote(name)}{suggest_nearest(str(name), self.states)}"
                    )
        missing = [name for name in self.states if name not in (*given["step"], *given["dynamics"])]
        if missing:
            raise InputError(f"{here}: {' or '.join(ways)} of state '{missing[0]}' is missing")
        for name in given["jumps"]:
            if name not in given["dynamics"]:
                raise InputError(f"{here}: jumps: state '{name}' has a step, which takes what arrives itself")
        for name in self.follow:
            if name not in given["reset"]:
                wrong = (
                    "is not in reset" if name in self.states else f"is not a state{suggest_nearest(name, self.states)}"
                )
                raise InputError(f"{here}: follow: {quote(name)} {wrong}")
        self._check_length(self.spike, self.surrogate)

    def _parse_equations(self) -> None:
        fixed = [*COMMON, *(name for name in self.parameters if name not in COMMON), "dt"]
        self._constant_trees = {}
        for name, text in self.constants.items():
            self._constant_trees[name] = parse_expression(text, fixed, f"{self.here}: constants: {name}")
            fixed.append(name)
        states, ports = list(self.states), list(self.ports)
        moving = [*states, *fixed, *ports, "I", "z", "refractory"]
        initial = {
            key: parse_expression(value, fixed, f"{self.here}: states: {key}")
            for key, (value, _) in self.states.items()
        }
        self._trees = {"initial": initial}
        for key, names in (
            ("step", moving),
            ("dynamics", [*states, *fixed, "I", "z", "refractory"]),
            ("jumps", [*fixed, *ports]),
            ("traces", moving),
            ("reset", [*states, *fixed]),
            ("records", [*states, *fixed]),
        ):
            self._trees[key] = {
                name: parse_expression(text, names, f"{self.here}: {key}: {name}")
                for name, text in self._given[key].items()
            }
        self._spike = parse_expression(self.spike, [*states, *fixed], f"{self.here}: spike")
        self._require_distance(self._spike)
        here = f"{self.here}: surrogate"
        if isinstance(self.surrogate, str) and len(self.surrogate) <= NAME and self.surrogate.isidentifier():
            if self.surrogate not in SURROGATES:
                hint = suggest_nearest(self.surrogate, SURROGATES)
                raise InputError(f"{here}: unknown name {quote(self.surrogate)}{hint}, or an expression in x")
        self._surrogate = parse_expression(SURROGATES.get(self.surrogate, self.surrogate), ["x", *fixed], here)

    def _require_distance(self, tree: Tree) -> None:
        """Raise `InputError` if `spike` contains a comparison outside the conditions of `where`."""
        kind, *items = tree
        if kind in CONDITIONS:
            above = items if kind in (">", ">=") else items[::-1]
            hint = write(("-", *above)) if kind in (">", ">=", "<", "<=") else "where(condition, a, b)"
            raise InputError(
                f"{self.here}: spike: {quote(write(tree))} is 0 or 1, and the neuron spikes where spike is at least 0, "
                f"so at 0, too; write {hint}"
            )
        for item in items[kind == "where" :] if kind not in ("number", "name") else ():
            self._require_distance(item)

    # ---- what follows ------------------------------------------------------------------------------------------------

    @cached_property
    def equations(self) -> Equations:
        """Trees that kernels compute; `dynamics` is integrated into a step."""
        trees, made, how, step = self._trees, Terms(self.names, self.moving_names), "", dict(self._trees["step"])
        if trees["dynamics"]:
            from .dynamics import integrate_dynamics

            how, integrated = integrate_dynamics(
                self.here, trees["dynamics"], trees["jumps"], self.integrator, self.substeps, made
            )
            step |= integrated
        return Equations(
            self._constant_trees | made.constants,
            trees["initial"],
            made.terms,
            {name: step[name] for name in self.states},
            trees["traces"],
            trees["reset"],
            trees["records"],
            self._spike,
            self._surrogate,
            how,
        )

    @property
    def names(self) -> set[str]:
        """All names that have a meaning in expressions of the model."""
        own = self.parameters, self.constants, self.states, self.ports, self.records
        return {*RESERVED, *COMMON}.union(*own)

    @property
    def moving_names(self) -> frozenset[str]:
        """Names of the model that vary with time."""
        return frozenset((*self.states, *self.ports, "I", "z", "refractory"))

    @property
    def records(self) -> dict[str, Tree]:
        """Values that can be recorded in addition to the states, by name."""
        return self._trees["records"]

    @property
    def dynamics(self) -> dict[str, Tree]:
        """Time derivatives of the states, if the model gives derivatives in place of steps."""
        return self._trees["dynamics"]

    @property
    def jumps(self) -> dict[str, Tree]:
        """Amounts that spikes add to the states at the end of a step with `dynamics`."""
        return self._trees["jumps"]

    @property
    def units(self) -> dict[str, str]:
        """Unit of every parameter and state."""
        return {name: unit for name, (_, unit) in (COMMON | self.parameters | self.states).items()}

    @property
    def docstring(self) -> str:
        """Docstring of the class of the model's parameters: description, parameters with defaults, source."""
        what, own = self.description or f"neuron model {self.name}", self.parameters.items()
        listed = ", ".join(f"{name} = {value:g} {unit}".removesuffix(" 1") for name, (value, unit) in own)
        parts = (
            f"{what[0].upper()}{what[1:]}",
            listed and f"Parameters: {listed}",
            self.source and f"Source: {self.source}",
        )
        return "\n\n".join(f"{part}." for part in parts if part)

    def complete_values(
        self, given: Given, dt_ms: float, constants: Mapping[str, Tree] | None = None, finite: bool = True
    ) -> Values:
        """Return every parameter, `dt` and every constant of neurons; raise `InputError` if a result is not finite.

        `given` maps parameters to one value or one for each neuron; other parameters have their defaults. `constants`
        are the constants of `equations`, if they are computed already; `finite`: whether constants must be finite.
        """
        values: Values = {**self.defaults, **given, "dt": dt_ms}
        by = SimpleNamespace(**vars(REAL), exponentials=[])
        for name, tree in (self.equations.constants if constants is None else constants).items():
            values[name] = evaluate_tree(tree, values, by)
            if finite:
                self._require_finite(f"constants: {name}", values[name], tree, values)
        return values

    def compute_initial(self, values: Given, finite: bool = True) -> Values:
        """Return the initial value of each state from the values of `complete_values`."""
        trees = self._trees["initial"]
        states = {name: evaluate_tree(tree, values) for name, tree in trees.items()}
        for name, value in states.items() if finite else ():
            self._require_finite(f"states: {name}", value, trees[name], values)
        return states

    def check_start(self, given: Given, dt_ms: float) -> None:
        """Raise `InputError` unless constants, initial states and the first step without input are finite."""
        values = self.complete_values(given, dt_ms)
        states = self.compute_initial(values)
        now = values | states | dict.fromkeys(self.ports, 0.0) | {"I": values["I_e"], "z": 0.0, "refractory": 0.0}
        now = with_terms(now, self.equations.terms)
        after: Values = {}  # numbers or arrays
        for key, trees in (("step", self.equations.step), ("traces", self.equations.traces)):
            for name, tree in trees.items():
                value = evaluate_tree(tree, now)
                after |= {name: value} if key == "step" else {}
                self._require_finite(f"{key}: {name} at the initial state", value, tree, now)
        then = values | after
        x = evaluate_tree(self.equations.spike, then)
        self._require_finite("spike at the initial state", x, self.equations.spike, then)
        self._require_finite(
            "surrogate at the initial state",
            evaluate_tree(self.equations.surrogate, then | {"x": x}),
            self.equations.surrogate,
            then | {"x": x},
        )
        for name, tree in self.equations.reset.items():
            self._require_finite(f"reset: {name} at the initial state", evaluate_tree(tree, then), tree, then)

    def _require_finite(self, key: str, value: AnyValue, tree: Tree, values: Given) -> None:
        if np.all(np.isfinite(value)):
            return
        terms = self.equations.terms
        first = int(np.argmin(np.isfinite(np.atleast_1d(value))))
        shown = [
            f"{name} = {np.broadcast_to(np.asarray(values[name]), max(np.shape(value), (1,)))[first]:g}"
            for name in sorted(names_of(tree, terms) - terms.keys())
        ]
        wrong = f"is {np.atleast_1d(value)[first]:g}"
        raise InputError(
            f"{self.here}: {key} {wrong}, where {', '.join(shown[:12])}" if shown else f"{self.here}: {key} {wrong}"
        )

    # ---- forms -------------------------------------------------------------------------------------------------------

    def to_dict(self) -> Values:
        """Return the definition in the form of TOML and JSON, without empty keys."""
        definition: Values = {"description": self.description, "source": self.source, "nest": self.nest}
        definition |= self._list_forms("parameters", "constants", "states") | {"ports": self._list_ports()}
        definition |= self._list_forms("step", "dynamics", "jumps", "traces")
        definition |= {"integrator": self.integrator, "spike": self.spike} | self._list_forms("reset")
        definition |= {"follow": list(self.follow), "surrogate": self.surrogate} | self._list_forms("records")
        definition |= {"substeps": self.substeps} if self.substeps != 1 else {}
        return entries.without_empty(definition | ({"current_from": 0} if self.current_from == 0 else {}))

    def _list_ports(self) -> AnyValue:
        if self.positive:
            return {name: SIGNS[name not in self.positive] for name in self.ports}
        return list(self.ports) if self.ports != ("arriving",) else []

    @classmethod
    def from_dict(cls, name: str, given: object, origin: str = "") -> NeuronModel:
        """Return the model that a table describes.

        Parameters
        ----------
        name : str
            Name of the model.
        given : Mapping
            As `to_dict` returns it.
        origin : str
            Where the table stands, for messages.

        Returns
        -------
        NeuronModel
            The checked model.

        Raises
        ------
        InputError
            As the class does, and for unknown keys.
        """
        return entries.make_definition("neuron model", _KEYS, cls, name, given, origin)

    def to_json(self) -> str:
        """Return the definition as one line of JSON; the order of entries is kept."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, name: str, text: str, origin: str = "") -> NeuronModel:
        """Return the model of a text from `to_json`; raise `InputError` for other texts."""
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):
            raise InputError(f"{origin + ': ' if origin else ''}neuron model {quote(name)} is not JSON") from None
        return cls.from_dict(name, given, origin)

    @property
    def composes(self) -> bool:
        """Whether the spike variant composes steps of this model; else synapses compute each step."""
        return len(self.states) <= MOST_COMPOSED

    def traces_port(self, place: int) -> bool:
        """Whether a spike at a port, given by index, changes a trace of synapses, judged by names in the equations."""
        trees, port = (self.equations.step | self.equations.traces).values(), self.ports[place]
        return any(port in names_of(tree, self.equations.terms) for tree in trees)

    def _list_digested(self) -> list[AnyValue]:
        name, definition = super()._list_digested()
        definition |= {"ports": list(self.ports)} if self.positive else {}  # kernels do not read the signs
        more = [*([self.also_keeps] if self.also_keeps else []), *([self.through] if self.through != "all" else [])]
        return [name, definition, *more]

    def with_saved(self, names: Iterable[str]) -> NeuronModel:
        """Return the model with more quantities that each step stores, for learning rules.

        `names` are states (before the reset), "I", "z" and "refractory".
        """
        wanted = tuple(sorted({*names, *self.also_keeps}))
        if wanted == self.also_keeps:
            return self
        return self._copy_with(also_keeps=wanted)

    def learning_through(self, through: str) -> NeuronModel:
        """Return the model with traces that use a part of its derivatives: "all", "no own spike" or "leak"."""
        return self if through == self.through else self._copy_with(through=through)

    def _copy_with(self, **attributes: AnyValue) -> NeuronModel:
        other = copy(self)
        other.__dict__.pop("digest", None)
        vars(other).update(attributes)
        return other

    def with_surrogate(self, surrogate: str) -> NeuronModel:
        """Return the model with another surrogate gradient, a name or an expression."""
        return (
            self
            if surrogate == self.surrogate
            else self.from_dict(self.name, self.to_dict() | {"surrogate": surrogate})
        )

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and isinstance(other, NeuronModel) and self.positive == other.positive

    __hash__ = entries.Definition.__hash__

    def __repr__(self) -> str:
        return f"NeuronModel({self.name!r}, states={list(self.states)}, ports={list(self.ports)})"


def models_of(given: object, origin: str) -> dict[str, NeuronModel]:
    """Return the models of a table `neuron_models`.

    Parameters
    ----------
    given : Mapping
        Name to definition.
    origin : str
        Where it stands, for messages.

    Returns
    -------
    dict of str to NeuronModel
        The models by name.

    Raises
    ------
    InputError
        If one is wrong.
    """
    return entries.make_definitions("neuron_models", NeuronModel.from_dict, given, origin)

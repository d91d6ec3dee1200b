"""Learning rules and transmission of projections: what they ask of the populations, and which of them share numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, quote
from ..neurons import built_in
from ..neurons.derive import derive
from ..neurons.expressions import is_kept
from ..neurons.model import NeuronModel
from ..rules import library
from ..rules.bound import Bound, list_read
from ..rules.definition import Eprop, LearningRule, Rule
from ..values import AnyValue, Given
from .parameters import Distribution, Frozen, Value, nearest

if TYPE_CHECKING:
    from .connectivity import Population, Projection
    from .model import Model

PLAIN = Eprop()  # of projections that name no rule


class ShortTerm(Frozen):
    """Short-term plasticity of a projection by source (Tsodyks et al. 1998, doi 10.1162/089976698300017502).

    At each spike, a time t after the one before: x = 1 + (x - x u - 1) exp(-t/tau_rec), then
    u = U + u (1 - U) exp(-t/tau_fac); what arrives is multiplied by x u. It is NEST's `tsodyks2_synapse`.

    Attributes
    ----------
    U : float, array_like or Distribution
        Share of the resources that a spike uses, above 0 and at most 1; one value, or one for each source.
    tau_rec, tau_fac : float, array_like or Distribution
        Time constants of recovery and facilitation in ms; without facilitation 0.
    u, x : float, array_like, Distribution or None
        Values at the first spike; None: `U` and 1.
    """

    bounds = ("U > 0", "U <= 1", "tau_rec > 0", "tau_fac >= 0", "u > 0", "u <= 1", "x > 0", "x <= 1")

    U: Value
    tau_rec: Value
    tau_fac: Value = 0.0
    u: Value | None = None
    x: Value | None = None


@dataclass(frozen=True, eq=False)
class RuleAt:
    """A rule with its parameters at one population.

    Attributes
    ----------
    rule : LearningRule
        The rule.
    post : Population
        The targets.
    parameters : Mapping
        Those that are no defaults.
    place : int
        Which arrays it has among those of the rule: rules at other populations share them.
    """

    rule: LearningRule
    post: Population
    parameters: Given
    place: int

    @property
    def name(self) -> str:
        """What its arrays are called."""
        return f"{self.rule.name}_{self.place}"


def rule_of(projection: Projection) -> Rule:
    """Return the rule by which a projection learns."""
    return projection.learning_rule or PLAIN


def is_plain(projection: Projection) -> bool:
    """Return whether a projection learns by e-prop as it is without options."""
    rule = rule_of(projection)
    return isinstance(rule, Eprop) and rule.is_plain


def find_rule(name: object, own: Mapping[str, Rule]) -> Rule:
    """Return a rule by its name: e-prop, one of a script's or file's own, or one of the package."""
    if isinstance(name, LearningRule | Eprop):
        return name
    if not isinstance(name, str):
        raise InputError(f"learning_rule = {quote(name)} must be a rule or the name of one")
    if name == PLAIN.name:
        return PLAIN
    if name in own:
        return own[name]
    if name in library.names():
        return library.get(name)
    raise InputError(f"unknown learning_rule {quote(name)}{nearest(name, [PLAIN.name, *own, *library.names()])}")


def definition_of(population: Population) -> NeuronModel:
    """Return the equations of a population of neurons."""
    params = population.params
    given = getattr(params, "definition", None)
    return given or built_in.find(params.equations(), params.surrogate_gradient_function)


def origin_of(population: Population) -> str:
    """Return the parameter from which kernels count voltages of a population, "" for none."""
    return "" if hasattr(population.params, "definition") else built_in.ORIGIN


def check_rule(here: str, rule: Rule, projection: Projection) -> None:
    """Raise `InputError` unless a rule fits the targets of a projection."""
    parameters = projection.learning_parameters or {}
    if projection.post.role == "readout" or projection.pre.role not in ("input", "recurrent"):
        if not (isinstance(rule, Eprop) and rule.is_plain) or parameters:
            raise InputError(f"{here}: learning: readouts learn by eprop or not at all")
        return
    known = rule.defaults if isinstance(rule, LearningRule) else {}
    for name in parameters:
        if name not in known:
            raise InputError(f"{here}: learning_parameters: unknown parameter {quote(name)}{nearest(str(name), known)}")
        value = parameters[name]
        if np.ndim(value) and not isinstance(value, Distribution) and len(value) != projection.post.size:
            raise InputError(
                f"{here}: learning_parameters: {name} has {len(value)} values, must have {projection.post.size}, one "
                f"for each neuron of '{projection.post.name}'"
            )
    definition = definition_of(projection.post)
    if isinstance(rule, LearningRule):
        list_read(rule, definition)
    elif rule.through == "leak":
        by, place = derive(definition), projection.port_index
        seen = [k for (k, port) in by.U if port == place and k in by.h]
        if not seen:
            raise InputError(
                f"{here}: eprop through leak: a spike at port {projection.post.ports[place]} of model {definition.name} "
                "reaches no state that its spike test reads; nothing would be learned"
            )


def tell_leaks(definition: NeuronModel) -> list[str]:
    """Return the states of a model whose own entry of the step varies, so that "leak" keeps them for one step."""
    by = derive(definition)
    return [name for k, name in enumerate(definition.states) if (k, k) in by.J and not is_kept(by, k)]


def list_rules(model: Model) -> list[RuleAt]:
    """Return the rules of all populations, each once with the same parameters, in order of the projections."""
    found: dict[tuple[str, str, str], RuleAt] = {}
    for item in _learning(model):
        rule = rule_of(item)
        if isinstance(rule, LearningRule) and (key := _key(item)) not in found:
            place = sum(other[:2] == key[:2] for other in found)
            found[key] = RuleAt(rule, item.post, item.learning_parameters or {}, place)
    return list(found.values())


def list_variants(model: Model, post: Population | None = None) -> list[Eprop]:
    """Return the kinds of e-prop by which projections (onto a population) learn, but for the plain one, each once."""
    rules = [rule_of(item) for item in _learning(model) if post is None or item.post.name == post.name]
    kinds = {(rule.through, rule.filter): rule for rule in rules if isinstance(rule, Eprop) and not rule.is_plain}
    return list(kinds.values())


def find_at(found: Iterable[RuleAt], projection: Projection) -> RuleAt | None:
    """Return which of some rules a projection learns by."""
    if not isinstance(rule_of(projection), LearningRule):
        return None
    return next(at for at in found if _key_of(at.post, at.rule, at.parameters) == _key(projection))


def _learning(model: Model) -> list[Projection]:
    """Return the projections onto neurons that learn."""
    return [item for item in model.projections if item.plastic and item.post.role == "recurrent"]


def _key(item: Projection) -> tuple[str, str, str]:
    rule = rule_of(item)
    assert isinstance(rule, LearningRule)
    return _key_of(item.post, rule, item.learning_parameters or {})


def _key_of(post: Population, rule: LearningRule, parameters: Given) -> tuple[str, str, str]:
    def plain(value: AnyValue) -> AnyValue:
        return np.asarray(value).tolist() if not isinstance(value, Distribution) else repr(value)

    return post.name, rule.digest, json.dumps({name: plain(value) for name, value in sorted(parameters.items())})


def list_kept(model: Model, population: Population) -> tuple[str, ...]:
    """Return what steps of a population keep for learning rules."""
    names: set[str] = set()
    for item in _learning(model):
        if item.post.name != population.name:
            continue
        rule = rule_of(item)
        if isinstance(rule, LearningRule):
            names |= {*list_read(rule, definition_of(population))}
        elif not rule.is_plain and origin_of(population):
            names |= {"z"}  # so that its program is compiled with what follows synapses
    return tuple(sorted(names))


def bind(at: RuleAt, definition: NeuronModel) -> Bound:
    """Return a rule at the model of its population, with all that this keeps."""
    return Bound(at.rule, definition, origin_of(at.post))


def rules_by_name(model: Model) -> dict[str, Rule]:
    """Return the rules that projections name, by name; `InputError` if one name means two."""
    found: dict[str, Rule] = {}
    for item in model.projections:
        rule = item.learning_rule
        if rule is not None and found.setdefault(rule.name, rule) != rule:
            raise InputError(f"two learning rules are named '{rule.name}'")
    return found


def reads(model: Model, signal: str) -> list[str]:
    """Return the names of the rules in a model that read a signal of the step."""
    return list(dict.fromkeys(at.rule.name for at in list_rules(model) if signal in at.rule.signals))

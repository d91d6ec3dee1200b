"""The learning rules of a model's projections, the data that these rules need, and the arrays that they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..neurons.model import NeuronModel
from ..rules.bound import BoundRule, list_read_names
from ..rules.definition import Eprop, LearningRule, Rule
from ..values import AnyValue, Given
from .connectivity import Population, Projection
from .model import Model
from .parameters import Distribution
from .rule_options import PLAIN, definition_of, origin_of

Key = tuple[str, str, tuple[tuple[str, bytes | str], ...]]  # population, rule and parameters


@dataclass(frozen=True, eq=False)
class RuleAt:
    """A learning rule with its parameters for one target population.

    Attributes
    ----------
    rule : LearningRule
        The rule.
    post : Population
        The targets.
    parameters : Mapping
        Parameters that differ from their defaults.
    place : int
        Index of this parameter set among the rule's sets at this population. Other populations share the arrays.
    """

    rule: LearningRule
    post: Population
    parameters: Given
    place: int

    @property
    def name(self) -> str:
        """Name of the rule's arrays."""
        return f"{self.rule.name}_{self.place}"


def rule_of(projection: Projection) -> Rule:
    """Return the rule by which a projection learns."""
    return projection.learning_rule or PLAIN


def is_plain(projection: Projection) -> bool:
    """Return whether a projection learns by e-prop without options."""
    rule = rule_of(projection)
    return isinstance(rule, Eprop) and rule.is_plain


def reads_signals(projection: Projection) -> bool:
    """Return whether the rule of a projection reads learning signals."""
    rule = rule_of(projection)
    return not isinstance(rule, LearningRule) or "L" in rule.signals


def lacks_rates(projection: Projection) -> bool:
    """Return whether the rule of a projection reads learning signals without firing rate regularization."""
    rule = rule_of(projection)
    return isinstance(rule, LearningRule) and "L" in rule.signals and "F" not in rule.signals


def list_rules(model: Model) -> list[RuleAt]:
    """Return the rules of all populations, once for each set of parameters, in order of the projections."""
    found: dict[Key, RuleAt] = {}
    places = Counter[tuple[str, str]]()
    for item in _list_learning(model):
        rule = rule_of(item)
        if isinstance(rule, LearningRule) and (key := _make_key(item)) not in found:
            found[key] = RuleAt(rule, item.post, item.learning_parameters or {}, places[key[:2]])
            places[key[:2]] += 1
    return list(found.values())


def index_rules(model: Model) -> dict[str, int]:
    """Return the name of each projection that learns by a rule, with the rule's index in `list_rules`."""
    places: dict[Key, int] = {}
    keys = {item.name: _make_key(item) for item in _list_learning(model) if isinstance(rule_of(item), LearningRule)}
    return {name: places.setdefault(key, len(places)) for name, key in keys.items()}


def list_eprop(model: Model) -> list[Eprop]:
    """Return each rule "eprop" with options by which projections learn, once."""
    rules = [rule_of(item) for item in _list_learning(model)]
    kinds = {(rule.through, rule.filter): rule for rule in rules if isinstance(rule, Eprop) and not rule.is_plain}
    return list(kinds.values())


def list_parts(model: Model) -> list[tuple[str, str]]:
    """Return pairs of a population and a part of its derivatives that rules "eprop" with options use."""
    rules = [(item.post.name, rule_of(item)) for item in _list_learning(model)]
    found = [(name, rule.through) for name, rule in rules if isinstance(rule, Eprop) and not rule.is_plain]
    return list(dict.fromkeys(found))


def find_at(found: Iterable[RuleAt], projection: Projection) -> RuleAt | None:
    """Return the rule by which a projection learns, out of `found`; None for e-prop."""
    if not isinstance(rule_of(projection), LearningRule):
        return None
    return next(at for at in found if _key_of(at.post, at.rule, at.parameters) == _make_key(projection))


def _list_learning(model: Model) -> list[Projection]:
    """Return the projections onto neurons that learn."""
    return [item for item in model.projections if item.plastic and item.post.role == "recurrent"]


def _make_key(item: Projection) -> Key:
    rule = rule_of(item)
    assert isinstance(rule, LearningRule)
    return _key_of(item.post, rule, item.learning_parameters or {})


def _key_of(post: Population, rule: LearningRule, parameters: Given) -> Key:
    def encode_value(value: AnyValue) -> bytes | str:
        return repr(value) if isinstance(value, Distribution) else np.asarray(value, float).tobytes()

    return post.name, rule.digest, tuple((name, encode_value(value)) for name, value in sorted(parameters.items()))


def list_kept(model: Model) -> dict[str, tuple[str, ...]]:
    """Return the names of the quantities that steps of each population store for its learning rules, by population."""
    names: dict[str, set[str]] = {item.name: set() for item in model.of_role("recurrent")}
    for item in _list_learning(model):
        rule = rule_of(item)
        if isinstance(rule, LearningRule):
            names[item.post.name] |= {*list_read_names(rule, definition_of(item.post))}
        elif not rule.is_plain and origin_of(item.post):
            names[item.post.name] |= {"z"}  # makes its program compile the traces of synapses
    return {name: tuple(sorted(kept)) for name, kept in names.items()}


def bind_rule(at: RuleAt, definition: NeuronModel) -> BoundRule:
    """Return a rule bound to the neuron model of its population."""
    return BoundRule(at.rule, definition, origin_of(at.post))


def rules_by_name(model: Model) -> dict[str, Rule]:
    """Return the learning rules that projections name, by name."""
    return {rule.name: rule for item in model.projections if (rule := item.learning_rule)}


def list_rules_reading(model: Model, signal: str) -> list[str]:
    """Return the names of the learning rules in a model that read a signal of the step."""
    rules = [rule_of(item) for item in _list_learning(model)]
    return list(dict.fromkeys(rule.name for rule in rules if isinstance(rule, LearningRule) and signal in rule.signals))

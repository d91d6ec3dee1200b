"""Options `learning_rule` and `transmission` of a connection, and checks that they fit its populations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import InputError, quote
from ..neurons import built_in
from ..neurons.derive import derive_model
from ..neurons.model import NeuronModel
from ..rules import library
from ..rules.bound import list_read_names
from ..rules.definition import Eprop, LearningRule, Rule
from ..values import AnyValue
from .parameters import Distribution, Frozen, Value, suggest_name

PLAIN = Eprop()  # the learning rule of projections that name none
SIGN = "sign_of_weights"  # parameter of rules that change the size of weights; its default is the projection's sign


class ShortTerm(Frozen):
    """Short-term plasticity of a projection by source (Tsodyks et al. 1998, doi 10.1162/089976698300017502).

    At each spike, a time t after the previous one: x = 1 + (x - x u - 1) exp(-t/tau_rec), then
    u = U + u (1 - U) exp(-t/tau_fac); the weight is multiplied by x u. It is NEST's `tsodyks2_synapse`.

    Attributes
    ----------
    U : float, array_like or Distribution
        Fraction of the resources that a spike uses, above 0 and at most 1; one value, or one for each source.
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


def find_rule(name: object, own: Mapping[str, Rule]) -> Rule:
    """Return a learning rule by its name: e-prop, a rule of the script or file (`own`), or of the package."""
    if isinstance(name, LearningRule | Eprop):
        return name
    if not isinstance(name, str):
        raise InputError(f"learning_rule = {quote(name)} must be a rule or the name of one")
    if name in own:
        return own[name]
    if name == PLAIN.name:
        return PLAIN
    if name in library.list_names():
        return library.get_definition(name)
    raise InputError(
        f"unknown learning_rule {quote(name)}{suggest_name(name, [PLAIN.name, *own, *library.list_names()])}"
    )


def definition_of(population: AnyValue) -> NeuronModel:
    """Return the equations of a population of neurons."""
    params = population.params
    given = getattr(params, "definition", None)
    return given or built_in.find_model(params.name_equations(), params.surrogate_gradient_function)


def origin_of(population: AnyValue) -> str:
    """Return the name of the parameter that is 0 mV in kernels, "" for custom models."""
    return "" if hasattr(population.params, "definition") else built_in.ORIGIN


def find_signless(projection: AnyValue) -> LearningRule | None:
    """Return the rule of a projection if it reads the sign of the weights, and the sign is not set."""
    rule = projection.learning_rule
    is_asked = isinstance(rule, LearningRule) and SIGN in {*rule.parameters} - {*(projection.learning_parameters or {})}
    return rule if is_asked else None


def check_rule(here: str, rule: Rule, projection: AnyValue) -> None:
    """Raise `InputError` unless a learning rule fits the targets of a projection."""
    parameters = projection.learning_parameters or {}
    if projection.post.role == "readout" or projection.pre.role not in ("input", "recurrent"):
        if not (isinstance(rule, Eprop) and rule.is_plain) or parameters:
            raise InputError(f"{here}: learning: readouts learn by eprop or not at all")
        return
    known = rule.defaults if isinstance(rule, LearningRule) else {}
    for name in parameters:
        if name not in known:
            raise InputError(
                f"{here}: learning_parameters: unknown parameter {quote(name)}{suggest_name(str(name), known)}"
            )
        value = parameters[name]
        if np.ndim(value) and not isinstance(value, Distribution) and len(value) != projection.post.size:
            raise InputError(
                f"{here}: learning_parameters: {name} has {len(value)} values, must have {projection.post.size}, one "
                f"for each neuron of '{projection.post.name}'"
            )
    definition = definition_of(projection.post)
    if isinstance(rule, LearningRule):
        list_read_names(rule, definition)
    elif rule.through == "leak":
        by, place = derive_model(definition), projection.port_index
        seen = [k for (k, port) in by.U if port == place and k in by.h]
        if not seen:
            raise InputError(
                f"{here}: eprop through leak: a spike at port {projection.post.ports[place]} of model "
                f"{definition.name} reaches no state that its spike test reads; nothing would be learned"
            )

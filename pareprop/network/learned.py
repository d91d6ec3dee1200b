"""Check the learned parameters of neurons: initial values, bounds and optimizers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..errors import InputError, quote
from ..neurons import library
from ..neurons.derive import NEVER_LEARNED
from ..neurons.model import NeuronModel
from ..values import AnyValue, Values
from .connectivity import Population
from .equations import CustomNeuron
from .neurons import Neuron
from .optimizers import OF_WEIGHTS, Optimizer, make_optimizer, require_no_decay
from .parameters import Distribution, list_bounds, suggest_name, validate_values


def convert_to_equations(kind: type[Neuron] | NeuronModel, values: Values, here: str) -> tuple[NeuronModel, Values]:
    """Return the equations of neurons that learn parameters, and their parameters with the equations' names.

    NEST's own neurons also run by their equations if they learn parameters: their kernels have no derivatives by
    parameters. Raises `InputError` for a parameter that the neurons have, but not their equations.
    """
    if isinstance(kind, NeuronModel):
        return kind, values
    taken = {name: value for name, value in values.items() if name not in ("V_m", "refractory_input")}
    start, rest = values.get("V_m"), values.get("E_L", kind.model_fields["E_L"].default)
    at_rest = isinstance(start, int | float) and isinstance(rest, int | float) and start == rest
    if start is not None and not at_rest:
        raise InputError(f"{here}: V_m = {quote(start)}: neurons that learn parameters start from E_L")
    if values.get("refractory_input"):
        raise InputError(f"{here}: refractory_input is not for neurons that learn parameters")
    if isinstance(regular := taken.get("regular_spike_arrival"), bool):
        taken["regular_spike_arrival"] = float(regular)
    defaults = {
        name: field.default
        for name, field in kind.model_fields.items()
        if name in library.get_definition(kind.name_equations()).defaults and isinstance(field.default, int | float)
    }
    return library.get_definition(kind.name_equations()), {
        name: float(value) for name, value in defaults.items()
    } | taken


def check_learned(here: str, params: CustomNeuron, learn: AnyValue) -> dict[str, Optimizer]:
    """Return the checked optimizers of learned parameters, in the order of their names.

    `learn` maps a parameter of `params` to its optimizer, or to a table of its settings. `InputError`, starting with
    `here`, names the parameter, the value and the bound.
    """
    if not isinstance(learn, Mapping):
        raise InputError(f"{here}: learn = {quote(learn)} must be a table of parameters and their optimizers")
    known = [name for name in type(params).model_fields if name not in NEVER_LEARNED]
    checked = {}
    for name in sorted(learn, key=str):
        if name in NEVER_LEARNED:
            raise InputError(f"{here}: learn: {name} cannot be learned: no gradient reaches it")
        if name not in known:
            raise InputError(f"{here}: learn: the model has no parameter {quote(name)}{suggest_name(str(name), known)}")
        checked[name] = _check_one(f"{here}: learn: {name}", name, params, learn[name])
    return checked


def _check_one(here: str, name: str, params: CustomNeuron, given: object) -> Optimizer:
    if not isinstance(given, Optimizer | Mapping):
        raise InputError(f"{here} = {quote(given)} must be an optimizer, such as Adam(eta=0.02, low=5.0, high=100.0)")
    optimizer = given if isinstance(given, Optimizer) else make_optimizer(given, here)
    for key in OF_WEIGHTS:
        if key in optimizer.model_fields_set:
            raise InputError(f"{here}: {key} = {quote(getattr(optimizer, key))} is for weights, not for parameters")
    require_no_decay(here, optimizer)
    low, high = optimizer.low, optimizer.high
    for key, value in (("low", low), ("high", high)):
        if value is None:
            raise InputError(f"{here}: {key} is missing: a parameter learns within bounds")
    assert low is not None and high is not None
    if low > high:
        raise InputError(f"{here}: low = {low:g} must not exceed high = {high:g}")
    if optimizer.scale == "log" and low <= 0:
        raise InputError(f"{here}: low = {low:g} must be above 0, as scale = 'log'")
    for bound in list_bounds(type(params)):
        if bound.name == name and not isinstance(bound.limit, str):
            for key, value in (("low", low), ("high", high)):
                if broken := bound.find_broken(value, bound.limit):
                    raise InputError(f"{here}: {key} = {value:g} {broken[2]}")
    if f"{name}_initial" in type(params).model_fields:
        raise InputError(f"{here}: the model has a parameter '{name}_initial', as results name its values at the start")
    value = getattr(params, name)
    if not isinstance(value, Distribution):
        require_start(here, np.atleast_1d(value), optimizer)
    if optimizer.shared and not (isinstance(value, Distribution) and value.is_constant) and _has_several_values(value):
        raise InputError(f"{here}: shared = true, but its values at the start differ: {quote(str(value))}")
    return optimizer


def set_parameters(here: str, population: Population, values: Mapping[str, np.ndarray]) -> None:
    """Set parameters of a population, name to (size,), in place: projections hold the same object."""
    given = {name: float(value[0]) if not np.ptp(value) else value for name, value in values.items()}
    kind = type(population.params)
    for name in given:
        if name not in kind.model_fields:
            raise InputError(f"{here}: its model has no parameter {quote(name)}{suggest_name(name, kind.model_fields)}")
    params = validate_values(kind, dict(population.params) | given, here)
    if population.learn:
        check_learned(here, params, population.learn)
    object.__setattr__(population, "params", params)


def _has_several_values(value: AnyValue) -> bool:
    return isinstance(value, Distribution) or bool(np.ndim(value) and np.ptp(value) > 0)


def require_start(here: str, values: np.ndarray, optimizer: Optimizer, first: int = 0) -> None:
    """Raise `InputError` for an initial value out of bounds; `values` (n,) belong to neurons from number `first` on."""
    low = -math.inf if optimizer.low is None else optimizer.low
    high = math.inf if optimizer.high is None else optimizer.high
    for k in np.flatnonzero((values < low) | (values > high))[:1]:
        where = f" of neuron {first + k}" if len(values) > 1 else ""
        raise InputError(f"{here}: its start{where}, {values[k]:g}, must lie in [low, high] = [{low:g}, {high:g}]")

"""NEST's neurons without e-prop that have equations in the package: their parameters, ports, and differences."""

from __future__ import annotations

import numpy as np

from ..network import of_nest
from ..network.connectivity import Population
from ..network.equations import make_parameters_class
from ..network.parameters import FLOAT_MAX
from ..neurons import library
from ..neurons.model import NeuronModel
from ..values import AnyValue, Given, Values
from .errors import make_refusal

LISTS = ("tau_syn", "asc_init", "asc_decay", "asc_amps", "asc_r")
#: NEST's name to the model of the package, NEST's defaults that are others there (None: NEST has no such parameter),
#: and parameters that cannot be changed, each with the advice that the refusal gives
MODELS: dict[str, tuple[str, Values, dict[str, str]]] = {
    "iaf_psc_exp": (
        "iaf_psc_exp", {"V_m": -70.0, "tau_syn_in": 2.0, "delta": 0.0, "rho": 0.01},
        {"delta": "spikes follow from the voltage alone", "rho": "spikes follow from the voltage alone"},
    ),
    "iaf_psc_alpha": ("iaf_psc_alpha", {"V_m": -70.0, "V_min": -FLOAT_MAX}, {"V_min": "there is no lowest voltage"}),
    "iaf_psc_delta": (
        "iaf_psc_delta", {"V_m": -70.0, "refractory_input": False},
        {"refractory_input": "use eprop_iaf_psc_delta, which has it"},
    ),
    "izhikevich": (
        "izhikevich", {"V_m": -65.0, "U_m": -13.0, "V_min": -FLOAT_MAX, "consistent_integration": True, "t_ref": None,
                       "V_rise": None},
        {"V_m": "neurons start from -65 mV", "U_m": "neurons start from b V_m", "V_min": "there is no lowest voltage",
         "consistent_integration": "the published integration, which is less stable, is not there"},
    ),
    "glif_psc": (
        "glif5", {"V_m": -78.85, "V_reset": -78.85, "tau_syn": [2.0], "asc_init": [0.0, 0.0], "I_e": None,
                  **dict.fromkeys(of_nest.FLAGS, False)},
        {"asc_init": "after-spike currents start from 0"},
    ),
}  # fmt: skip


def get_defaults(name: str) -> Values:
    """Return NEST's parameters of a model with their defaults, and parameters of learning with the package's."""
    core, own, _ = MODELS[name]
    values = of_nest.join_lists(library.get_definition(core).defaults) | own
    return {key: np.array(value) if key in LISTS else value for key, value in values.items() if value is not None}


def find_model(name: str, values: Given, here: str) -> tuple[NeuronModel, Values]:
    """Return the equations of nodes with NEST's model `name`, and their parameters.

    `values` has one value or one for each node by parameter; lists are the same for all. `here` is named in messages.
    Raises an `InputError` if the equations lack a requested parameter.
    """
    core, _, fixed = MODELS[name]
    chosen = {key: value for key, value in values.items() if key not in fixed}
    if name == "glif_psc":
        for key in LISTS:
            if key in chosen:
                chosen |= {f"{key}_{k}": float(item) for k, item in enumerate(chosen.pop(key), 1)}
        definition, chosen = of_nest.find_glif(chosen, here)
    else:
        definition, chosen = library.get_definition(core), of_nest.require_rest(chosen, here)
    known = make_parameters_class(definition).model_fields
    return definition, {key: value for key, value in chosen.items() if key in known}


def require_shared(key: str, value: AnyValue) -> AnyValue:
    """Return a list that all nodes of a block must have in common; other values as they are."""
    if key not in LISTS:
        return value
    if any(not np.array_equal(item, value[0]) for item in value[1:]):
        raise make_refusal(f"nodes of one call with different {key}", "create them by several calls")
    return value[0]


def split_by_port(population: Population, weight: np.ndarray, receptor: int) -> list[tuple[str | None, np.ndarray]]:
    """Return the ports at which connections arrive, and their places: by the sign of the weight, or by receptor."""
    ports = population.ports
    every = np.arange(len(weight))
    if ports[0].startswith(of_nest.RECEPTOR):
        if not 1 <= receptor <= len(ports):
            raise make_refusal(
                f"receptor_type = {receptor} of {population.model}", f"it has receptors 1 to {len(ports)}"
            )
        return [(f"{of_nest.RECEPTOR}{receptor}", every)]
    if ports != ("exc", "inh"):
        return [(None, every)]
    parts = [("exc", every[weight >= 0]), ("inh", every[weight < 0])]
    return [(port, places) for port, places in parts if len(places)]

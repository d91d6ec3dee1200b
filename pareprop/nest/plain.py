"""NEST's neurons without e-prop that have equations in the package: their parameters, ports, and what then differs."""

from __future__ import annotations

import numpy as np

from ..network import of_nest
from ..network.connectivity import Population
from ..network.equations import parameters_of
from ..network.parameters import FLOAT_MAX
from ..neurons import library
from ..neurons.model import COMMON, NeuronModel
from ..values import AnyValue, Given, Values
from .errors import refuse

LEARNING = [name for name in COMMON if name not in ("t_ref", "I_e")]
CELL = {
    "C_m": 250.0, "tau_m": 10.0, "E_L": -70.0, "V_m": -70.0, "V_th": -55.0, "V_reset": -70.0, "t_ref": 2.0, "I_e": 0.0
}  # fmt: skip
GLIF = {
    "C_m": 58.72, "g": 9.43, "E_L": -78.85, "V_m": -78.85, "V_th": -51.68, "V_reset": -78.85, "t_ref": 3.75,
    "th_spike_add": 0.37, "th_spike_decay": 0.009, "voltage_reset_fraction": 0.2, "voltage_reset_add": 18.51,
    "th_voltage_index": 0.005, "th_voltage_decay": 0.09, **dict.fromkeys(of_nest.FLAGS, False),
    "tau_syn": np.array([2.0]), "asc_init": np.zeros(2), "asc_decay": np.array([0.003, 0.1]),
    "asc_amps": np.array([-9.18, -198.94]), "asc_r": np.ones(2),
}  # fmt: skip
LISTS = ("tau_syn", "asc_init", "asc_decay", "asc_amps", "asc_r")
#: NEST's name to the model of the package, NEST's defaults, and parameters with what to do instead of changing them
MODELS: dict[str, tuple[str, Values, dict[str, str]]] = {
    "iaf_psc_exp": (
        "iaf_psc_exp", CELL | {"tau_syn_ex": 2.0, "tau_syn_in": 2.0, "delta": 0.0, "rho": 0.01},
        {"delta": "spikes follow from the voltage alone", "rho": "spikes follow from the voltage alone"},
    ),
    "iaf_psc_delta": (
        "iaf_psc_delta", CELL | {"V_min": -FLOAT_MAX, "refractory_input": False},
        {"refractory_input": "use eprop_iaf_psc_delta, which has it"},
    ),
    "izhikevich": (
        "izhikevich", {"a": 0.02, "b": 0.2, "c": -65.0, "d": 8.0, "V_th": 30.0, "I_e": 0.0, "V_m": -65.0, "U_m": -13.0,
                       "V_min": -FLOAT_MAX, "consistent_integration": True},
        {"V_m": "neurons start from -65 mV", "U_m": "neurons start from b V_m", "V_min": "there is no lowest voltage",
         "consistent_integration": "the published integration, which is less stable, is not there"},
    ),
    "glif_psc": ("glif5", GLIF, {"asc_init": "after-spike currents start from 0"}),
}  # fmt: skip


def defaults(name: str) -> Values:
    """Return NEST's parameters of a model with their defaults, and those of learning with the package's."""
    core, own, _ = MODELS[name]
    return {key: library.get(core).defaults[key] for key in LEARNING} | own


def find(name: str, values: Given, here: str) -> tuple[NeuronModel, Values]:
    """Return the equations of nodes and their parameters.

    Parameters
    ----------
    name : str
        NEST's name.
    values : Mapping
        Parameters of the nodes, one value or one for each; lists are the same for all.
    here : str
        Named in messages.

    Raises
    ------
    InputError
        If the equations do not have what the parameters ask for.
    """
    core, _, fixed = MODELS[name]
    chosen = {key: value for key, value in values.items() if key not in fixed}
    if name == "glif_psc":
        for key in LISTS:
            if key in chosen:
                chosen |= {f"{key}_{k}": float(item) for k, item in enumerate(chosen.pop(key), 1)}
        definition, chosen = of_nest.find_glif(chosen, here)
    else:
        definition, chosen = library.get(core), of_nest.at_rest(chosen, here)
    known = parameters_of(definition).model_fields
    return definition, {key: value for key, value in chosen.items() if key in known}


def shared(key: str, value: AnyValue) -> AnyValue:
    """Return a list that all nodes of a block must have in common; other values as they are."""
    if key not in LISTS:
        return value
    if any(not np.array_equal(item, value[0]) for item in value[1:]):
        raise refuse(f"nodes of one call with different {key}", "create them by several calls")
    return value[0]


def split_by_port(population: Population, weight: np.ndarray, receptor: int) -> list[tuple[str | None, np.ndarray]]:
    """Return the ports at which connections arrive, and their places: by the sign of the weight, or by receptor."""
    ports = population.ports
    every = np.arange(len(weight))
    if ports[0].startswith(of_nest.RECEPTOR):
        if not 1 <= receptor <= len(ports):
            raise refuse(f"receptor_type = {receptor} of {population.model}", f"it has receptors 1 to {len(ports)}")
        return [(f"{of_nest.RECEPTOR}{receptor}", every)]
    if ports != ("exc", "inh"):
        return [(None, every)]
    parts = [("exc", every[weight >= 0]), ("inh", every[weight < 0])]
    return [(port, places) for port, places in parts if len(places)]

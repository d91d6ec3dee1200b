"""Neurons and readouts as nodes of NIR, the Neuromorphic Intermediate Representation (Pedersen et al. 2024).

NIR's equations have continuous time, in seconds. As in simulators that read NIR, a spike is a current of height 1 for a
step, `dt`. So a membrane that decays by `alpha = exp(-dt/tau)` rises by `(1 - alpha) r w` with a spike, and pareprop's
rise by `w` corresponds to `r = 1/(1 - alpha)`. Voltages are in mV from `E_L`, where NIR's neurons start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType

import numpy as np

from .. import elementary
from ..errors import InputError
from ..neurons import library
from ..neurons.model import NeuronModel
from ..values import Foreign, Numbers, Values
from .parameters import FLOAT_MAX

MS_PER_S = 1000.0
ORDER = "order"  # metadata of a node: index of its population
PACKAGE_NEEDED = "NIR needs the package nir: install the extra `nir` of this package"
SAME = ("ports", "constants", "states", "step", "spike", "reset")  # entries in which definitions of one neuron agree
SUBTRACTS = "NIR's neurons reset to v_reset, those of model 'iaf' subtract V_th: spikes may differ"
Arrays = Mapping[str, np.ndarray]


def load() -> ModuleType:
    """Return the package nir; `InputError` says how to install it."""
    try:
        import nir
    except ImportError:
        raise InputError(PACKAGE_NEEDED) from None
    return nir


def round_digits(values: object) -> np.ndarray:
    """Return numbers rounded to 14 digits, to remove rounding errors of factors that cancel."""
    return np.vectorize(lambda value: float(f"{value:.14g}"), otypes=[float])(values)


def compute_gain(tau_ms: np.ndarray, dt_ms: float) -> np.ndarray:
    """Return the response of a leaky integrator to a constant input in a step, `1 - exp(-dt/tau)`."""
    return -elementary.expm1(-dt_ms / np.asarray(tau_ms, float))


def make_neuron_node(here: str, model: str, values: Arrays, dt_ms: float) -> tuple[Foreign, np.ndarray, list[str]]:
    """Return the node (nir.LIF or nir.CubaLIF) of a population of neurons, its constant input (size,), and notes.

    `values` are NEST's parameters, (size,) each, and for custom models `neuron_model`, the definition as JSON. `here`
    is the start of messages. The notes are differences in NIR. Raises `InputError` for features that NIR cannot
    express.
    """
    if model not in NODES or not _is_of_package(model, values):
        raise InputError(f"{here}: NIR has no neuron of model '{model}', only of {', '.join(NODES)}")
    _refuse_parameter(here, values, "t_ref", 0.0, "no refractory time")
    _refuse_parameter(here, values, "adapt_beta", 0.0, "no adaptive threshold")
    _refuse_parameter(here, values, "V_min", -FLOAT_MAX, "no lowest voltage")
    _refuse_parameter(here, values, "V_m", values["E_L"], "no voltage at the start, which is E_L")
    return NODES[model](here, values, dt_ms)


def _is_of_package(model: str, values: Arrays) -> bool:
    if "neuron_model" not in values:
        return True
    given = NeuronModel.from_json(model, str(values["neuron_model"][0])).to_dict()
    known = library.get_definition(model).to_dict()
    return all(given.get(key) == known.get(key) for key in SAME)


def _refuse_parameter(here: str, values: Arrays, name: str, wanted: object, lacks: str) -> None:
    """Raise `InputError` if a parameter has another value than NIR's equations assume."""
    given = np.asarray(values.get(name, wanted), float)
    wrong = given[given != wanted]
    if wrong.size:
        raise InputError(f"{here}: {name} = {wrong.flat[0]:g}: NIR's neurons have {lacks}")


def _make_lif(here: str, values: Arrays, dt_ms: float) -> tuple[Foreign, np.ndarray, list[str]]:
    tau, start = values["tau_m"], values["E_L"]
    r = _compute_resistance(values, dt_ms)
    subtracts = "V_reset" not in values
    reset = np.zeros_like(tau) if subtracts else values["V_reset"] - start
    node = load().LIF(
        tau=round_digits(tau / MS_PER_S),
        r=r,
        v_leak=np.zeros_like(tau),
        v_threshold=values["V_th"] - start,
        v_reset=reset,
    )
    return node, values["I_e"] * tau / values["C_m"] / r, [f"{here}: {SUBTRACTS}"] if subtracts else []


def _compute_resistance(values: Arrays, dt_ms: float) -> np.ndarray:
    """Return r such that a spike adds its weight, or weight (1 - exp(-dt/tau)) if arrival is not regular."""
    regular = np.asarray(values.get("regular_spike_arrival", True), bool)
    return np.where(regular, 1.0 / compute_gain(values["tau_m"], dt_ms), 1.0)


def _make_cuba_lif(here: str, values: Arrays, dt_ms: float) -> tuple[Foreign, np.ndarray, list[str]]:
    tau, start = values["tau_m"], values["E_L"]
    _refuse_parameter(here, values, "I_e", 0.0, "no constant current in addition to their synaptic current")
    if np.any(differ := values["tau_syn_ex"] != values["tau_syn_in"]):
        pair = " and ".join(f"{name} = {values[name][differ][0]:g}" for name in ("tau_syn_ex", "tau_syn_in"))
        raise InputError(f"{here}: {pair}: NIR's neurons have one synaptic time constant")
    node = load().CubaLIF(
        tau_syn=round_digits(values["tau_syn_ex"] / MS_PER_S),
        tau_mem=round_digits(tau / MS_PER_S),
        r=tau / values["C_m"],
        v_leak=np.zeros_like(tau),
        v_threshold=values["V_th"] - start,
        v_reset=values["V_reset"] - start,
        w_in=1.0 / compute_gain(values["tau_syn_ex"], dt_ms),
    )
    within = "a spike acts on the voltage a step after its arrival, other simulators differ by up to a step"
    return node, np.zeros_like(tau), [f"{here}: {within}"]


NODES: dict[str, Callable[[str, Arrays, float], tuple[Foreign, np.ndarray, list[str]]]] = {
    "iaf": _make_lif,
    "iaf_adapt": _make_lif,
    "iaf_psc_delta": _make_lif,
    "iaf_psc_delta_adapt": _make_lif,
    "iaf_psc_exp": _make_cuba_lif,
}


def make_readout_node(here: str, values: Arrays, dt_ms: float) -> tuple[Foreign, np.ndarray, list[str]]:
    """Return the node of a population of readouts, see `make_neuron_node`."""
    _refuse_parameter(here, values, "V_min", -FLOAT_MAX, "no lowest voltage")
    _refuse_parameter(here, values, "V_m", values["E_L"], "no voltage at the start, which is E_L")
    tau, r = values["tau_m"], _compute_resistance(values, dt_ms)
    node = load().LI(tau=round_digits(tau / MS_PER_S), r=r, v_leak=values["E_L"] + np.zeros_like(tau))
    loss = str(values["loss"][0]) if "loss" in values else ""
    notes = [] if loss == "mean_squared_error" else [f"{here}: outputs are voltages, without what loss '{loss}' makes"]
    return node, values["I_e"] * tau / values["C_m"] / r, notes


def convert_node(here: str, node: Foreign, dt_ms: float) -> tuple[str, Values, np.ndarray, np.ndarray]:
    """Return model, parameters, factors of weights and currents for a node (nir.LIF, nir.CubaLIF or nir.LI).

    The model is "iaf_psc_delta", "iaf_psc_exp" or "readout"; the parameters are NEST's: a number for all cells, or
    (size,). The factors (size,) multiply weights onto each cell. The currents (size,) are I_e in pA for a bias of 1,
    NaN if a bias has no counterpart. `here` is the start of messages.
    """
    kind = type(node).__name__
    tau = node.tau_mem if kind == "CubaLIF" else node.tau
    columns = {"tau": tau, "r": node.r} | ({"tau_syn": node.tau_syn} if kind == "CubaLIF" else {})
    for name, values in columns.items():
        if not np.all(np.isfinite(values) & (np.asarray(values) > 0)):
            raise InputError(f"{here}: {name} must be above 0 and finite")
    tau, r = round_digits(np.asarray(tau, float) * MS_PER_S), np.asarray(node.r, float)
    values_of_nest: Values = {"tau_m": tau, "E_L": np.asarray(node.v_leak, float)}
    if kind != "LI":
        values_of_nest |= {"V_th": np.asarray(node.v_threshold, float), "V_reset": np.asarray(node.v_reset, float)}
    if kind == "CubaLIF":
        tau_syn = round_digits(np.asarray(node.tau_syn, float) * MS_PER_S)
        values_of_nest |= {"C_m": round_digits(tau / r), "tau_syn_ex": tau_syn, "tau_syn_in": tau_syn}
        factor, current = (
            round_digits(np.asarray(node.w_in, float) * compute_gain(tau_syn, dt_ms)),
            np.full(tau.shape, np.nan),
        )
    else:
        values_of_nest["C_m"] = np.full(tau.shape, 250.0)  # NEST's default: only I_e / C_m matters
        factor, current = round_digits(r * compute_gain(tau, dt_ms)), r * values_of_nest["C_m"] / tau
    model = {"LIF": "iaf_psc_delta", "CubaLIF": "iaf_psc_exp", "LI": "readout"}[kind]
    return model, {name: reduce_shared(column) for name, column in values_of_nest.items()}, factor, current


def reduce_shared(values: np.ndarray) -> Numbers:
    """Return one number if all values are equal, else the values."""
    return float(values[0]) if np.all(values == values[0]) else values

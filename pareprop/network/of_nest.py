"""Find equations and parameters for NEST's neurons without e-prop, such as `iaf_psc_exp` and `glif_psc`."""

from __future__ import annotations

import re

import numpy as np

from ..errors import InputError
from ..neurons import library
from ..neurons.model import NeuronModel
from ..sonata.nodes import Nodes
from ..values import Given, Values

FLAGS = ("spike_dependent_threshold", "after_spike_currents", "adapting_threshold")
LEVELS = {(False, False, False): "glif1", (False, True, False): "glif3", (True, True, True): "glif5"}
LISTS = {"k": "asc_decay", "asc_amp": "asc_amps", "asc_r": "asc_r", "tau_syn": "tau_syn"}  # and how NEST calls them
RENAMED = {nest: own for own, nest in LISTS.items()}
RECEPTOR = "receptor_"
DYNAMICS = ("states", "constants", "dynamics", "jumps", "step", "spike", "reset", "ports")  # of equations
SAME = (
    "iaf_psc_exp",
    "iaf_psc_alpha",
    "izhikevich",
    "eprop_iaf_psc_delta",
    "eprop_iaf_psc_delta_adapt",
)  # in scripts, spike by spike
OTHERWISE = ("iaf_cond_exp",)  # which NEST integrates otherwise; weights are conductances, above 0 at both ports
WRITTEN = (
    "iaf_psc_exp",
    "iaf_psc_alpha",
    "glif_psc",
    "eprop_iaf_psc_delta",
    "eprop_iaf_psc_delta_adapt",
)  # to files of SONATA


def find_model(name: str, population: Nodes) -> tuple[NeuronModel, Values] | None:
    """Return the equations of a NEST neuron and the parameters of a population, None if the package has no such neuron.

    `name` is NEST's name, without the prefix of e-prop, such as "iaf_psc_exp" or "glif_psc". Raises `InputError` for
    parameters that require features without equations.
    """
    here = f"node population '{population.name}'"
    if name == "glif_psc":
        return find_glif(population.values, here)
    if name not in library.list_names() or library.get_definition(name).nest not in (name, f"eprop_{name}"):
        return None
    values = require_rest(population.values, here)
    if not _parse_flag(values.get("refractory_input", False)):  # the equations correspond to False
        values.pop("refractory_input", None)
    return library.get_definition(name), values


def find_name(model: str, given: Given) -> str:
    """Return NEST's name of a model of the package, if `given` has its dynamics and scripts can express it; else ""."""
    if model not in library.list_names() or library.get_definition(model).nest not in (*SAME, *OTHERWISE):
        return ""
    known = library.get_definition(model).to_dict()
    return known["nest"] if all(given.get(key) == known.get(key) for key in DYNAMICS) else ""


def set_receptors(model: NeuronModel, n: int) -> NeuronModel:
    """Return a GLIF model of the package with `n` receptors in place of two."""
    given = model.to_dict()

    def repeat_entries(table: Given, names: str) -> Values:
        kept = {key: value for key, value in table.items() if not re.fullmatch(f"({names})_[12]", key)}
        first = {key: value for key, value in table.items() if re.fullmatch(f"({names})_1", key)}
        own = {f"{key[:-1]}{k}": _renumber_names(value, k) for k in range(1, n + 1) for key, value in first.items()}
        return kept | own

    given["parameters"] = repeat_entries(given["parameters"], "tau_syn")
    given["constants"] = repeat_entries(given["constants"], "Q|x|near|beta|P32|P31|rise")
    given["states"], given["step"] = repeat_entries(given["states"], "y1|y2"), repeat_entries(given["step"], "y1|y2")
    arriving = " + ".join(f"P31_{k}*y1_{k} + P32_{k}*y2_{k}" for k in range(1, n + 1))
    of_two = " + ".join(f"P31_{k}*y1_{k} + P32_{k}*y2_{k}" for k in (1, 2))
    given["step"] = {key: text.replace(of_two, arriving) for key, text in given["step"].items()}
    given["ports"] = [f"{RECEPTOR}{k}" for k in range(1, n + 1)]
    return model if n == 2 else NeuronModel.from_dict(f"{model.name}_{n}_receptors", given)


def _renumber_names(value: object, k: int) -> object:
    """Return an entry of the first receptor, with the names of receptor k."""
    if not isinstance(value, str):
        return value
    return re.sub(r"\b(Q|x|near|beta|P32|P31|rise|y1|y2|tau_syn|receptor)_1\b", rf"\1_{k}", value)


def find_glif(given: Given, here: str) -> tuple[NeuronModel, Values]:
    """Return the level for the flags of NEST's `glif_psc`, and its parameters; messages begin with `here`."""
    values = require_rest({_rename_key(key): value for key, value in given.items()}, here)
    flags = tuple(_parse_flag(values.pop(name, False)) for name in FLAGS)
    if flags not in LEVELS:
        flags_given = ", ".join(f"{name} = {str(flag).lower()}" for name, flag in zip(FLAGS, flags, strict=True))
        raise InputError(f"{here}: {flags_given}: of NEST's glif_psc there are the levels 1, 3 and 5 alone")
    for name in [name for name in values if re.fullmatch(r"asc_init_\d+", name)]:
        if np.any(np.asarray(values.pop(name)) != 0.0):
            raise InputError(f"{here}: asc_init must be 0: after-spike currents start from there")
    n = len([name for name in values if re.fullmatch(r"tau_syn_\d+", name)]) or 2
    model = set_receptors(library.get_definition(LEVELS[flags]), n)
    unused = r"(th_\w+|voltage_reset_\w+|V_reset|asc_\w+|k_\d+)"  # for other levels: NEST does not read them either
    return model, {
        name: value for name, value in values.items() if name in model.parameters or not re.fullmatch(unused, name)
    }


def convert_to_nest(definition: NeuronModel, given: Given) -> Values:
    """Return a population's parameters in NEST's form for one of the models `WRITTEN`; inverse of `find_model`."""
    if definition.nest.startswith("eprop_"):
        return dict(given)
    own = {key: given[key] for key in definition.parameters}
    own["V_m"] = own["E_L"]  # neurons start at rest
    if definition.nest != "glif_psc":
        return own
    level = next(flags for flags, name in LEVELS.items() if definition.name.startswith(name))
    return join_lists(own) | dict(zip(FLAGS, level, strict=True))


def join_lists(given: Given) -> Values:
    """Return parameters with the values of all receptors and currents in NEST's lists; single neurons' values one by
    one.
    """
    own = dict(given)
    for stem, name in LISTS.items():
        items = [own.pop(key) for key in sorted(own) if re.fullmatch(rf"{stem}_\d+", key)]
        if any(np.ndim(item) for item in items):  # of single neurons, which files store one by one
            own |= {f"{name}_{k}": item for k, item in enumerate(items, 1)}
        elif items:
            own[name] = items
    return own


def _rename_key(key: str) -> str:
    stem, _, number = key.rpartition("_")
    return f"{RENAMED[stem]}_{number}" if stem in RENAMED else key


def _parse_flag(value: object) -> bool:
    return value if isinstance(value, bool) else str(value).lower() in ("true", "1", "1.0")


def require_rest(given: Given, here: str) -> Values:
    """Return parameters without V_m, which must be E_L: neurons start at rest."""
    values = dict(given)
    start = values.pop("V_m", None)
    if start is not None and "E_L" in values and np.any(np.asarray(start) != np.asarray(values["E_L"])):
        raise InputError(f"{here}: V_m must be E_L: these neurons start at rest")
    return values

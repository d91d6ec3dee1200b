"""SONATA networks whose neurons are given by equations."""

import json
import shutil
from pathlib import Path

import h5py
from case_files import SONATA

EXP = {
    "C_m": 3.0,
    "tau_m": 10.0,
    "E_L": -70.0,
    "V_m": -70.0,
    "V_th": -65.0,
    "V_reset": -70.0,
    "t_ref": 2.0,
    "tau_syn_ex": 2.0,
    "tau_syn_in": 4.0,
}
GLIF = {
    "C_m": 8.0, "g": 0.8, "E_L": -78.0, "V_m": -78.0, "V_th": -60.0, "V_reset": -75.0, "t_ref": 3.0,
    "spike_dependent_threshold": False, "after_spike_currents": True, "adapting_threshold": False,
    "asc_init": [0.0, 0.0], "asc_decay": [0.01, 0.1], "asc_amps": [-1.0, -5.0], "asc_r": [1.0, 0.9],
    "tau_syn": [2.0, 3.0, 5.0], "th_spike_add": 0.4, "th_spike_decay": 0.01, "voltage_reset_fraction": 0.2,
    "voltage_reset_add": 1.0, "th_voltage_index": 0.005, "th_voltage_decay": 0.09,
}  # fmt: skip
DELTA = {
    "C_m": 3.0,
    "tau_m": 10.0,
    "E_L": -70.0,
    "V_m": -70.0,
    "V_th": -65.0,
    "V_reset": -68.0,
    "t_ref": 3.0,
    "refractory_input": False,
}
KINDS = {
    "iaf_psc_exp": (EXP, {"I_e": 1.7}),
    "glif_psc": (GLIF, {"E_L": -55.0, "V_m": -55.0}),
    "iaf_psc_delta": (DELTA, {"I_e": 1.7}),
}
RECEPTORS = {"exc_to_exc": 1, "inh_to_exc": 2, "lgn_to_exc": 3}


def write(folder: Path, kind: str, change: dict | None = None, receptors: bool = True) -> Path:
    """The network `guide` with other neurons: a file of parameters for each type, one of synapses for each receptor."""
    shutil.copytree(SONATA / "guide", folder, copy_function=shutil.copy)
    params, inhibitory = KINDS[kind]
    params = {key: value for key, value in (params | (change or {})).items() if value is not None}
    with h5py.File(folder / "network" / "nodes.h5", "r+") as file:
        for group in file["nodes"].values():
            for key in [key for key in group if key.isdigit()]:
                group[key].pop("dynamics_params", None)
    with h5py.File(folder / "network" / "cortex_edges.h5", "r+") as file:  # which holds positive weights alone
        weight = file["edges/inh_to_exc/0/syn_weight"]
        weight[...] = -weight[()]
    cells, synapses = folder / "components" / "cell_models", folder / "components" / "synaptic_models"
    (cells / "exc.json").write_text(json.dumps(params))
    (cells / "inh.json").write_text(json.dumps(params | inhibitory))
    types = folder / "network" / "node_types.csv"
    types.write_text(types.read_text().replace("nest:iaf_psc_delta", f"nest:{kind}"))
    for name, number in RECEPTORS.items():
        (synapses / f"{name}.json").write_text(json.dumps({"receptor_type": number}))
    for path in (folder / "network").glob("*edge_types.csv"):
        rows = [line.split(" ") for line in path.read_text().splitlines()]
        for row in rows[1:] if receptors else ():
            row[-1] = f"{row[1]}.json"
        path.write_text("\n".join(map(" ".join, rows)) + "\n")
    return folder / "circuit_config.json"

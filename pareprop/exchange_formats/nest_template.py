"""Rebuild the network of a pareprop run in NEST 3.10 and simulate a recorded sample; needs numpy, h5py and nest.

    python SCRIPT.py [first|last]

"first" takes the initial weights, "last" the final ones; the network starts at rest and does not learn. The script
compares NEST's spikes with the run's spikes.

In the interval variant both are equal for the first sample, and for the last sample if it is a test without learning
(a last sample of the training ran with the weights before the last step). In the spike variant each sample continues
from the state after the sample before it, and weights change during a sample. There the script compares with spikes
that pareprop simulated from rest and without learning, in the file AT_REST: they are equal. Without such a file (for a
network of a script, rewired, or in closed loop) it compares with spikes of the run, which differ.

NEST runs some steps later: generators start with step 1, and each connection on the way takes a step. In the interval
variant, spikes that arrive in the first step of a sample are lost, as at NEST's e-prop synapses; static synapses lose
none, so that the script does not send these spikes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np

RESULTS = Path("results.h5")  # of the run
MODELS: dict[str, str] = {}  # NEST's models of populations of neurons
AT_REST = None  # file of spikes from rest and without learning
BEHIND = 3  # steps from a spike of the run to the spike of NEST's neuron
CHUNK = 1_000_000  # synapses connected at a time
KNOWN_SURROGATES = ("piecewise_linear", "exponential", "fast_sigmoid_derivative", "arctan")


def read_parameters(group: h5py.Group, known: dict[str, Any], sample: str) -> dict[str, Any]:  # Any: values of NEST
    """Return NEST's parameters of a population: all are single values, or all are lists with a value for each cell."""
    values = {name: value.item() if hasattr(value, "item") else value for name, value in group.attrs.items()}
    values |= {name: data[()].tolist() for name, data in group.items()}
    if sample == "first":  # before learning
        values |= {name: values[f"{name}_initial"] for name in list(values) if f"{name}_initial" in values}
    values |= {name: bool(values[name]) for name in values if isinstance(known.get(name), bool)}
    values.setdefault("V_m", values["E_L"] if "E_L" in values else known["V_m"])
    if "U_m" in known:  # of izhikevich, which starts at rest as here
        values["U_m"] = (np.asarray(values["b"]) * known["V_m"]).tolist()
    if values.get("surrogate_gradient_function") not in KNOWN_SURROGATES:  # unused without learning
        values.pop("surrogate_gradient_function", None)
    values = {name: value for name, value in values.items() if name in known and name != "model"}
    if any(isinstance(value, list) for value in values.values()):  # else NEST takes the letters of a text
        size = int(group.attrs["size"])
        values = {name: value if isinstance(value, list) else [value] * size for name, value in values.items()}
    return values


def build_network(
    nest: ModuleType, file: h5py.File, sample: str
) -> tuple[dict[str, Any], dict[str, Any]]:  # Any: of NEST
    """Create all cells and connect them; return the populations, and the parameters of neurons and readouts."""
    dt, spike = float(file.attrs["dt_ms"]), file.attrs["variant"] == "spike"
    steps, ids = (file[f"dynamics/{sample}/input_{key}"][()] for key in ("steps", "ids"))
    suffix, cells, given, first = "" if spike else "_bsshslm_2020", {}, {}, 0
    unlost = {}  # cells that also send the inputs of step 0: delays above one step do not lose them
    for name, group in sorted(file["populations"].items(), key=lambda item: item[1].attrs["order"]):
        size, role = int(group.attrs["size"]), group.attrs["role"]
        if role == "input":
            spike_steps = [np.unique(steps[ids == first + k]) for k in range(size)]
            if spike:
                cells[name] = create_parrots(nest, dt, spike_steps)
            else:
                cells[name] = create_parrots(nest, dt, [times[times > 0] for times in spike_steps])
                unlost[name] = create_parrots(nest, dt, spike_steps)
            first += size
            continue
        if role == "readout":
            model = f"eprop_readout{suffix}"
        else:
            model = MODELS[name]
        cells[name] = nest.Create(model, size)
        given[name] = read_parameters(group, nest.GetDefaults(model), sample)
        cells[name].set({key: value for key, value in given[name].items() if key != "I_e"})  # `simulate_start` sets it
    for group in file["projections"].values():
        pre, post = cells[group.attrs["pre"]], cells[group.attrs["post"]]
        if "readout" in (file[f"populations/{group.attrs['pre']}"].attrs["role"],):  # learning signals
            continue
        before = {key: f"{key}_initial" for key in ("source", "delay") if sample == "first"}  # of rewired synapses
        keys = [before[key] if key in before and before[key] in group else key for key in ("source", "target", "delay")]
        weights = group["weight_initial" if sample == "first" else "weight"]
        for low in range(0, len(weights), CHUNK):
            source, target, delay = (group[key][low : low + CHUNK] for key in keys)
            weight = weights[low : low + CHUNK]
            if MODELS.get(group.attrs["post"], "").split("_")[1:2] == ["cond"] and group.attrs.get("port") == "inh":
                weight = -weight  # NEST marks inhibition by the sign
            late = (delay > 1) & (group.attrs["pre"] in unlost)
            for begin, chosen in ((pre, ~late), (unlost.get(group.attrs["pre"]), late)):
                sources, targets, delays, values = (column[chosen] for column in (source, target, delay, weight))
                connect_cells(
                    nest, dt, begin, post, sources, targets, delays, values, read_transmission(group, sources)
                )
    return cells, given


def simulate_start(
    nest: ModuleType,
    dt: float,
    cells: dict[str, Any],  # Any: NEST's collections
    given: dict[str, Any],  # Any: values of NEST
    is_first: bool,
) -> None:
    """Simulate the steps before the sample; then all cells are at rest, and their constant currents flow.

    NEST's e-prop neurons take a current in the step after it is set: in the first sample the current starts late.
    """
    for is_last in (False, True):
        nest.Simulate(dt * (BEHIND - 1) / 2)
        for name in given if is_last or not is_first else ():
            cells[name].set({key: value for key, value in given[name].items() if key in ("I_e", "V_m", "U_m")})


def create_parrots(nest: ModuleType, dt: float, steps: list[np.ndarray]) -> Any:  # Any: NEST's collection
    """Create parrot neurons; cell k sends spikes in the steps `steps[k]`."""
    generators, cells = nest.Create("spike_generator", len(steps)), nest.Create("parrot_neuron", len(steps))
    generators.set([{"spike_times": dt * (1.0 + times)} for times in steps])
    nest.Connect(generators, cells, "one_to_one", {"delay": dt})
    return cells


def read_transmission(group: h5py.Group, source: np.ndarray) -> dict[str, Any]:  # Any: values of NEST
    """Return the synapse model, and values of short-term plasticity, of connections from some sources."""
    stem = "transmission_"
    values = {key.removeprefix(stem): value for key, value in group.attrs.items() if key.startswith(stem)}
    values = {key: np.full(len(source), float(value)) for key, value in values.items()}
    values |= {key.removeprefix(stem): data[()][source] for key, data in group.items() if key.startswith(stem)}
    if not values:
        return {}
    return {"synapse_model": "tsodyks2_synapse", "u": values["U"], "x": np.ones(len(source)), **values}


def connect_cells(
    nest: ModuleType,
    dt: float,
    pre: Any,  # Any: NEST's collection
    post: Any,  # Any: NEST's collection
    source: np.ndarray,
    target: np.ndarray,
    delay: np.ndarray,
    weight: np.ndarray,
    more: dict[str, Any],  # Any: values of NEST
) -> None:
    """Connect cells of two populations, with delays in steps and further parameters `more` of the synapses."""
    if len(source):
        options = {"weight": weight, "delay": dt * delay.astype(float), **more}
        nest.Connect(np.array(pre.tolist())[source], np.array(post.tolist())[target], "one_to_one", options)


def simulate_sample(nest: ModuleType, file: h5py.File, sample: str) -> tuple[np.ndarray, np.ndarray]:
    """Simulate a sample; return step and id of each spike, sorted by both; ids count the neurons of all populations."""
    dt, n_steps = float(file.attrs["dt_ms"]), len(file[f"dynamics/{sample}/V_m"])
    nest.ResetKernel()
    nest.set(resolution=dt)
    is_online = file.attrs["variant"] == "spike"
    if not is_online:
        nest.set(eprop_update_interval=n_steps * dt, eprop_learning_window=n_steps * dt)
    cells, given = build_network(nest, file, sample)
    neurons = [name for name in cells if file[f"populations/{name}"].attrs["role"] == "recurrent"]
    recorder = nest.Create("spike_recorder")
    number: dict[int, int] = {}
    for name in neurons:
        nest.Connect(cells[name], recorder)
        number |= {node: len(number) + k for k, node in enumerate(cells[name].tolist())}
    simulate_start(nest, dt, cells, given, is_online or sample == "first")
    nest.Simulate(dt * (n_steps + BEHIND))
    events = recorder.events
    step = np.rint(np.asarray(events["times"]) / dt).astype(np.int64) - BEHIND
    ids = np.array([number[node] for node in events["senders"]], np.int64)
    kept = (step >= 0) & (step < n_steps)
    order = np.lexsort((ids[kept], step[kept]))
    return step[kept][order], ids[kept][order]


def read_spikes(group: h5py.Group) -> set[tuple[int, int]]:
    """Return step and id of each recorded spike of a sample."""
    return set(zip(*(group[f"spike_{key}"][()].tolist() for key in ("steps", "ids")), strict=True))


def main(sample: str = "first") -> None:
    """Simulate, and print how many spikes equal the run's spikes."""
    import nest

    nest.verbosity = nest.VerbosityLevel.ERROR
    with h5py.File(RESULTS) as file:
        if f"dynamics/{sample}" not in file:
            sys.exit(f"{RESULTS} has no sample {sample!r}: it has {', '.join(file.get('dynamics', ())) or 'none'}")
        emitted = set(zip(*(part.tolist() for part in simulate_sample(nest, file, sample)), strict=True))
        expected = read_spikes(file[f"dynamics/{sample}"])
    if AT_REST:
        with h5py.File(AT_REST) as file:
            expected = read_spikes(file[sample])
    print(f"{len(emitted & expected)} of {len(expected)} spikes are equal, NEST has {len(emitted - expected)} more")


if __name__ == "__main__":
    main(*sys.argv[1:])

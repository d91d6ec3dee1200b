"""A case of plain arrays, as `reference.run_case` takes it, simulated by NEST 3.10; all delays are one step of 1 ms."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

FIRST_INPUT = 1  # NEST's time of an input spike of step 0: what comes later in its chain arrives a step later each
FIRST_SPIKE = 3  # of a recurrent spike in step 0
FIRST_TARGET = {"interval": 4, "spike": 2}  # of the target with which the readouts of step 0 are compared


def run_nest(case: dict[str, Any]) -> dict[str, np.ndarray]:
    """Simulate and learn; return `spike_steps`, `spike_ids` and the weights `w_in`, `w_rec`, `w_out`.

    NEST works off what a synapse owes when its source spikes next, so every source spikes once more at the end.
    """
    os.environ.setdefault("PYNEST_QUIET", "1")
    import nest

    interval, n_steps = case["variant"] == "interval", len(case["inputs"])
    suffix, end = "_bsshslm_2020" if interval else "", n_steps + (3 if interval else 2)
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.FATAL
    nest.resolution = 1.0
    if interval:
        nest.set(eprop_update_interval=float(case["interval"]), eprop_reset_neurons_on_update=True)
        nest.eprop_learning_window = float(case["learning_window"])
    pre, recurrent, readouts = _create_cells(nest, case, suffix)
    _drive(nest, case, pre, readouts)
    _connect(nest, case, suffix, pre, recurrent, readouts)
    recorder = nest.Create("spike_recorder")
    nest.Connect(recurrent, recorder)
    last = nest.Create("spike_generator", 1, {"spike_times": [float(end)]})
    nest.Connect(last, pre + recurrent, "all_to_all", {"weight": 1000.0, "delay": 1.0})
    nest.Simulate(end + 2.0)

    events = recorder.events
    steps = np.rint(events["times"]).astype(int) - FIRST_SPIKE
    ids = np.asarray(events["senders"]) - recurrent[0].global_id
    kept = (steps >= 0) & (steps < n_steps)
    order = np.lexsort((ids[kept], steps[kept]))
    found = {"spike_steps": steps[kept][order], "spike_ids": ids[kept][order]}
    for key, source, target in (("in", pre, recurrent), ("rec", recurrent, recurrent), ("out", recurrent, readouts)):
        found[f"w_{key}"] = np.full(case[f"w_{key}"].shape, np.nan)
        synapses = nest.GetConnections(source, target, f"eprop_synapse{suffix}").get(["source", "target", "weight"])
        row, column = np.asarray(synapses["target"]) - target[0].global_id, np.asarray(synapses["source"])
        found[f"w_{key}"][row, column - source[0].global_id] = synapses["weight"]
    return found


def _create_cells(nest: Any, case: dict[str, Any], suffix: str) -> tuple[Any, Any, Any]:
    pre, recurrent = nest.Create("parrot_neuron", case["inputs"].shape[1]), None
    for group in case["groups"]:
        cells = nest.Create(f"eprop_{group['model']}{suffix}", group["n"])
        for key, value in group["params"].items():  # one at a time: among several NEST mistakes a text for a list
            cells.set({key: value.tolist() if np.ndim(value) else value})
        recurrent = cells if recurrent is None else recurrent + cells
    return pre, recurrent, nest.Create(f"eprop_readout{suffix}", len(case["w_out"]), case["readout"])


def _drive(nest: Any, case: dict[str, Any], pre: Any, readouts: Any) -> None:
    """Inputs, targets, and the window in which readouts learn."""
    generators = nest.Create("spike_generator", len(pre))
    generators.set([{"spike_times": np.flatnonzero(row) + float(FIRST_INPUT)} for row in np.transpose(case["inputs"])])
    nest.Connect(generators, pre, "one_to_one", {"delay": 1.0})
    rate = {"synapse_model": "rate_connection_delayed", "delay": 1.0}
    times = np.arange(len(case["targets"])) + float(FIRST_TARGET[case["variant"]])
    targets = nest.Create("step_rate_generator", len(readouts))
    targets.set([{"amplitude_times": times, "amplitude_values": row} for row in np.array(case["targets"], float).T])
    nest.Connect(targets, readouts, "one_to_one", rate | {"receptor_type": 2})
    if case["variant"] == "spike":
        times, inside = np.append(times, times[-1] + 1.0), np.append(case["window"], False).astype(float)
        window = nest.Create("step_rate_generator", 1, {"amplitude_times": times, "amplitude_values": inside})
        nest.Connect(window, readouts, "all_to_all", rate | {"receptor_type": 1})
    elif case["readout"]["loss"] == "cross_entropy":  # the softmax needs the other readouts
        others = {"rule": "all_to_all", "allow_autapses": False}
        nest.Connect(readouts, readouts, others, rate | {"receptor_type": 1})


def _connect(nest: Any, case: dict[str, Any], suffix: str, pre: Any, recurrent: Any, readouts: Any) -> None:
    plastic, settings = f"eprop_synapse{suffix}", {"optimizer": case["optimizer"]}
    if case["variant"] == "interval":
        settings |= {"average_gradient": case["average_gradient"], "tau_m_readout": case["readout"]["tau_m"]}
    nest.SetDefaults(plastic, settings)
    ends = (
        ("w_in", pre, recurrent),
        ("w_rec", recurrent, recurrent),
        ("w_out", recurrent, readouts),
        ("w_fb", readouts, recurrent),
    )
    for key, source, target in ends:
        weights = np.asarray(case[key], float)
        there = np.nonzero(~np.isnan(weights))
        model = f"eprop_learning_signal_connection{suffix}" if key == "w_fb" else plastic
        nest.Connect(
            np.array(source.tolist())[there[1]],
            np.array(target.tolist())[there[0]],
            "one_to_one",
            {"synapse_model": model, "weight": weights[there], "delay": np.ones(len(there[0]))},
        )

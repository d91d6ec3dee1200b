"""Run a pareprop model and its inputs in NEST 3.10, from plain arrays, for comparisons.

NEST's steps lag behind pareprop's: generators start with step 1, and every hop takes one step.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from pareprop.engines.sample import Sample
from pareprop.machine import peak_rss_bytes
from pareprop.network.local import LocalNetwork
from pareprop.network.model import Model
from pareprop.network.optimizers import OF_VALUES

FIRST_SPIKE = 3  # NEST's time of a spike of the recurrent neurons in step 0
FIRST_TARGET = {"interval": 4, "spike": 2}  # NEST's time of the target of step 0
CHUNK = 1_000_000  # synapses connected at a time
UNKNOWN = {"interval": (), "spike": ("loss",)}  # parameters of readouts that NEST doesn't have


@dataclass(frozen=True)
class Case:
    """A network in plain arrays, with one sample that comes again and again.

    Attributes
    ----------
    variant : "interval" or "spike"
    groups : (model, size, parameters) of each group of recurrent neurons
    readout : (size, parameters)
    optimizer : NEST's dictionary
    synapses : (role of the source, role of the target) to source, target (int64) and weight, by target
    input_ids, input_steps : spikes of the inputs in one sample
    n_inputs : number of inputs
    target : float64 (n_steps, n_readouts)
    learning_window : steps
    synapse : NEST's name of the synapses onto neurons and their defaults, if these are not e-prop's
    """

    variant: str
    groups: list[tuple[str, int, dict[str, Any]]]
    readout: tuple[int, dict[str, Any]]
    optimizer: dict[str, Any]
    synapses: dict[tuple[str, str], tuple[np.ndarray, np.ndarray, np.ndarray]]
    input_ids: np.ndarray
    input_steps: np.ndarray
    n_inputs: int
    target: np.ndarray
    learning_window: int
    synapse: dict[str, dict[str, float]]


def case_of(
    model: Model, sample: Sample, learning_window: int, synapse: dict[str, dict[str, float]] | None = None
) -> Case:
    """Take the arrays out of `model`, whose readouts share one set of parameters."""
    network, parts = LocalNetwork(model, 0, 1), {}
    for table in network.list_tables().values():
        for span in table.spans:
            ends = span.projection.pre, span.projection.post
            for source, target, _, index in table.yield_chunks(span):
                synapses = model.offset(ends[0]) + source, model.offset(ends[1]) + target, table.weight[index]
                parts.setdefault((ends[0].role, ends[1].role), []).append(synapses)
    groups = [(item.model, item.size, _list_given(item.params)) for item in model.of_role("recurrent")]
    readouts = model.of_role("readout")
    readout = _list_given(readouts[0].params) if readouts else {}
    readout = {name: value for name, value in readout.items() if name not in UNKNOWN[model.variant]}
    steps, ids = sample.inputs.list_spikes(len(sample.target))
    return Case(
        model.variant,
        groups,
        (model.size("readout"), readout),
        model.optimizer.model_dump(exclude={*OF_VALUES}, exclude_none=True),
        {
            ends: tuple(np.concatenate(column) for column in zip(*synapses, strict=True))
            for ends, synapses in parts.items()
        },
        ids,
        steps,
        model.size("input"),
        sample.target,
        learning_window,
        synapse or {},
    )


def _list_given(params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.model_dump().items() if value is not None}


def run(case: Case, n_samples: int, learn: bool, threads: int = 1) -> dict[str, Any]:
    """Simulate in this process, which must be fresh; without `learn` all synapses are static ones.

    With learning every source spikes once more after the last sample, because NEST applies a synapse's update of
    a sample when its source spikes next: so NEST, too, does all the work of `n_samples`.

    Returns
    -------
    dict
        build_seconds, seconds (of `nest.Simulate` alone), bytes (grown from the start of building to the peak),
        spike_steps and spike_ids of the recurrent neurons, by step and id
    """
    os.environ.setdefault("PYNEST_QUIET", "1")
    import nest

    before, start = peak_rss_bytes(), time.perf_counter()
    suffix = _prepare(nest, case, threads)
    n_steps = n_samples * len(case.target)
    cells = _cells(nest, case, suffix, n_samples)
    _connect(nest, case, suffix, cells, learn)
    recorder = nest.Create("spike_recorder")
    nest.Connect(cells["recurrent"], recorder)
    end = n_steps + FIRST_SPIKE
    if learn:
        last = nest.Create("spike_generator", 1, {"spike_times": [float(end)]})
        nest.Connect(last, cells["input"] + cells["recurrent"], "all_to_all", {"weight": 1000.0, "delay": 1.0})
    middle = time.perf_counter()
    nest.Simulate(float(end + 2))
    seconds = time.perf_counter() - middle
    steps = np.rint(recorder.events["times"]).astype(np.int64) - FIRST_SPIKE
    ids = np.asarray(recorder.events["senders"], np.int64) - min(cells["recurrent"].tolist())
    kept = (steps >= 0) & (steps < n_steps)
    order = np.lexsort((ids[kept], steps[kept]))
    return {
        "build_seconds": middle - start,
        "seconds": seconds,
        "bytes": peak_rss_bytes() - before,
        "spike_steps": steps[kept][order],
        "spike_ids": ids[kept][order],
    }


def _prepare(nest: Any, case: Case, threads: int) -> str:
    """Set up NEST's kernel and synapse model; return the suffix of the variant's model names."""
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.FATAL
    nest.set(resolution=1.0, local_num_threads=threads)
    for name, values in case.synapse.items():
        nest.SetDefaults(name, values)
    if case.variant == "spike":
        nest.SetDefaults("eprop_synapse", {"optimizer": case.optimizer})
        return ""
    nest.set(
        eprop_update_interval=float(len(case.target)),
        eprop_learning_window=float(case.learning_window),
        eprop_reset_neurons_on_update=True,
    )
    settings = {"average_gradient": False, "optimizer": case.optimizer, "tau_m_readout": case.readout[1]["tau_m"]}
    nest.SetDefaults("eprop_synapse_bsshslm_2020", settings)
    return "_bsshslm_2020"


def _cells(nest: Any, case: Case, suffix: str, n_samples: int) -> dict[str, Any]:
    """Create inputs with their spikes, neurons, readouts with their targets."""
    length = len(case.target)
    starts = length * np.arange(n_samples)[:, None]
    generators, inputs = nest.Create("spike_generator", case.n_inputs), nest.Create("parrot_neuron", case.n_inputs)
    steps = [case.input_steps[case.input_ids == i] for i in range(case.n_inputs)]
    generators.set([{"spike_times": (1.0 + starts + mine).ravel()} for mine in steps])
    nest.Connect(generators, inputs, "one_to_one", {"delay": 1.0})
    recurrent = None
    for name, size, params in case.groups:
        known = nest.GetDefaults(name) if case.synapse else params  # neurons without e-prop
        kind = name if case.synapse else f"eprop_{name}{suffix}"
        nodes = nest.Create(kind, size, {key: value for key, value in params.items() if key in known})
        recurrent = nodes if recurrent is None else recurrent + nodes
    if not case.readout[0]:
        return {"input": inputs, "recurrent": recurrent}
    readouts = nest.Create(f"eprop_readout{suffix}", *case.readout)
    rate = {"synapse_model": "rate_connection_delayed", "delay": 1.0}
    times = np.arange(n_samples * length, dtype=float) + FIRST_TARGET[case.variant]
    targets = nest.Create("step_rate_generator", case.readout[0])
    targets.set([{"amplitude_times": times, "amplitude_values": np.tile(y, n_samples)} for y in case.target.T])
    nest.Connect(targets, readouts, "one_to_one", rate | {"receptor_type": 2})
    if case.variant == "spike":  # the window in which there is a learning signal
        inside = np.tile(np.arange(length) >= length - case.learning_window, n_samples).astype(float)
        window = nest.Create("step_rate_generator")
        window.set({"amplitude_times": np.append(times, times[-1] + 1.0), "amplitude_values": np.append(inside, 0.0)})
        nest.Connect(window, readouts, "all_to_all", rate | {"receptor_type": 1})
    return {"input": inputs, "recurrent": recurrent, "readout": readouts}


def _connect(nest: Any, case: Case, suffix: str, cells: dict[str, Any], learn: bool) -> None:
    ids = {role: np.array(nodes.tolist()) for role, nodes in cells.items()}
    for (pre, post), (source, target, weight) in case.synapses.items():
        model = next(iter(case.synapse), f"eprop_synapse{suffix}") if learn else "static_synapse"
        if pre == "readout":
            model = f"eprop_learning_signal_connection{suffix}"
            if not learn:
                continue
        for first in range(0, len(source), CHUNK):
            some = slice(first, first + CHUNK)
            syn = {"synapse_model": model, "weight": weight[some], "delay": np.ones(len(weight[some]))}
            nest.Connect(ids[pre][source[some]], ids[post][target[some]], "one_to_one", syn)

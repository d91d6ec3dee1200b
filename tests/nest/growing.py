"""Parts of small networks that learn and grow, for scripts on ranks, too."""

from typing import Any

import numpy as np


def begin(nest: Any, suffix: str, optimizer: dict) -> None:
    """A fresh kernel."""
    nest.ResetKernel()
    nest.set(resolution=1.0, eprop_update_interval=40.0, eprop_learning_window=30.0, eprop_nest_losses=True)
    nest.set(eprop_reset_neurons_on_update=False)
    nest.SetDefaults("eprop_synapse" + suffix, {"optimizer": {"eta": 1e-3} | optimizer})


def cell(suffix: str) -> dict:
    """Parameters of neurons."""
    own = {} if suffix else {"kappa": 0.9, "kappa_reg": 0.9}
    return own | {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "V_th": 0.6, "tau_m": 20.0, "c_reg": 0.1, "f_target": 20.0}


def synapse(suffix: str, weight: Any) -> dict:
    """A synapse that learns."""
    own = {"tau_m_readout": 12.0} if suffix else {}
    return own | {"synapse_model": "eprop_synapse" + suffix, "delay": 1.0, "weight": weight}


def feedback(suffix: str, weight: Any) -> dict:
    """A connection that brings learning signals."""
    return {"synapse_model": "eprop_learning_signal_connection" + suffix, "delay": 1.0, "weight": weight}


def make(nest: Any, suffix: str) -> tuple:
    """A network: spike times of its generators, parrots, neurons, readouts."""
    rng = np.random.default_rng(1)
    times = [np.flatnonzero(rng.random(150) < 0.25)[1:].astype(float) for _ in range(3)]
    generators, parrots = nest.Create("spike_generator", 3), nest.Create("parrot_neuron", 3)
    generators.set([{"spike_times": column} for column in times])
    neurons = nest.Create("eprop_iaf" + suffix, 3, cell(suffix))
    readouts = nest.Create("eprop_readout" + suffix, 2, {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "tau_m": 12.0})
    nest.Connect(generators, parrots, "one_to_one", {"delay": 1.0})
    nest.Connect(parrots, neurons, "all_to_all", synapse(suffix, rng.normal(0.25, 0.1, (3, 3))))
    nest.Connect(neurons, neurons, {"rule": "all_to_all", "allow_autapses": False}, synapse(suffix, 0.05))
    nest.Connect(neurons, readouts, "all_to_all", synapse(suffix, rng.normal(0.0, 0.3, (2, 3))))
    nest.Connect(readouts, neurons, "all_to_all", feedback(suffix, rng.normal(0.0, 0.5, (3, 2))))
    targets = nest.Create("step_rate_generator", 2)
    steps = np.arange(5.0, 120.0, 20.0)
    targets.set([{"amplitude_times": steps, "amplitude_values": rng.normal(size=len(steps))} for _ in range(2)])
    rate = {"synapse_model": "rate_connection_delayed", "delay": 1.0}
    nest.Connect(targets, readouts, "one_to_one", rate | {"receptor_type": 2})
    if not suffix:
        window = nest.Create("step_rate_generator", 1, {"amplitude_times": [1.0], "amplitude_values": [1.0]})
        nest.Connect(window, readouts, "all_to_all", rate | {"receptor_type": 1})
    return times, parrots, neurons, readouts


def watch(nest: Any, neurons: Any, readouts: Any) -> list:
    """Recorders of voltages and spikes."""
    meters = nest.Create("multimeter", 2)
    meters.set([{"record_from": ["V_m", "surrogate_gradient"]}, {"record_from": ["V_m", "error_signal"]}])
    nest.Connect(meters[0], neurons)
    nest.Connect(meters[1], readouts)
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    return [meters[0], meters[1], recorder]


def add(nest: Any, suffix: str, sources: Any, neurons: Any, readouts: Any, longest: int = 1) -> Any:
    """Two more neurons with synapses from some sources, which get some onto the others as well.

    Delays between neurons, and from the sources, are drawn up to the longest, those among the new ones apart.
    """
    rng, more = np.random.default_rng(2), nest.Create("eprop_iaf" + suffix, 2, cell(suffix))

    def connect(pre: Any, post: Any, weight: float) -> None:
        delay = rng.integers(1, longest + 1, (len(post), len(pre))).astype(float)
        nest.Connect(pre, post, "all_to_all", synapse(suffix, weight) | {"delay": delay})

    connect(sources, more, 0.3)
    nest.Connect(more, more, {"rule": "all_to_all", "allow_autapses": False}, synapse(suffix, 0.04))
    connect(more, neurons, 0.07)
    nest.Connect(more, readouts, "all_to_all", synapse(suffix, 0.07))
    nest.Connect(readouts, more, "all_to_all", feedback(suffix, 0.4))
    connect(sources, neurons, 0.11)
    return more

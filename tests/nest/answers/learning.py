"""Networks that learn, or grow in a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from asking import INTERVALS, attempt, events, feed_back, learn, meter, rate, rates, recorder, synapses

CELL = {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "V_th": 0.6, "tau_m": 20.0}
READOUT = {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "tau_m": 10.0}


def _relays(nest: Any, spikes: list[dict]) -> tuple[Any, Any]:
    """Generators, each with a parrot neuron that repeats it."""
    g, p = nest.Create("spike_generator", len(spikes), spikes), nest.Create("parrot_neuron", len(spikes))
    nest.Connect(g, p, "one_to_one", {"delay": 1.0})
    return g, p


def readouts_of_their_own(nest: Any, show: Callable) -> None:
    nest.set(resolution=0.5)
    times = [1.0 + 0.5 * (7 * k % 97) for k in range(60)]
    g = nest.Create("spike_generator", 2, [{"spike_times": sorted(times[k::2])} for k in range(2)])
    p, n = nest.Create("parrot_neuron", 2), nest.Create("eprop_iaf", 3, {"I_e": [500.0, 400.0, 550.0], "t_ref": 1.0})
    r = nest.Create("eprop_readout", 3, {"tau_m": [5.0, 20.0, 20.0], "C_m": [250.0, 100.0, 80.0]})
    r.set({"E_L": [0.0, 3.0, 0.0], "I_e": [0.0, 10.0, -5.0], "V_min": [-1e9, -1e9, -2.0]})
    r.eprop_isi_trace_cutoff = [1e3, 1e3, 4.0]
    t = nest.Create("step_rate_generator", 1, {"amplitude_times": [1.0, 20.0], "amplitude_values": [2.0, -1.0]})
    nest.CopyModel("eprop_synapse", "plastic", {"optimizer": {"eta": 1e-3}})
    nest.Connect(g, p, "one_to_one")
    learn(nest, p, n, 80.0, synapse_model="plastic", delay=0.5)
    learn(nest, n, r, 2.0, synapse_model="plastic", delay=0.5)
    feed_back(nest, r, n, 5.0, delay=0.5)
    for port in (1, 2):
        rate(nest, t, r, port, delay=0.5)
    m = meter(nest, r, "V_m", "error_signal", interval=7.0)
    nest.Simulate(60.0)
    show(events(m))
    show(nest.GetConnections(p, n).weight, nest.GetConnections(n, r).weight, r.tau_m, r.C_m)


def readouts_of_their_own_interval(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0, eprop_update_interval=20.0, eprop_learning_window=15.0)
    n = nest.Create("eprop_iaf_bsshslm_2020", 3, {"I_e": [800.0, 600.0, 700.0]})
    r = nest.Create("eprop_readout_bsshslm_2020", 3, {"C_m": [250.0, 100.0, 80.0], "E_L": [0.0, 3.0, 0.0]})
    r.set({"I_e": [0.0, 10.0, -5.0], "V_min": [-1e9, -1e9, 0.5], "regular_spike_arrival": [True, False, True]})
    nest.CopyModel("eprop_synapse_bsshslm_2020", "plastic", {"optimizer": {"eta": 1e-3}})
    learn(nest, n, r, 2.0, synapse_model="plastic")
    learn(nest, n, n, 20.0, synapse_model="plastic")
    feed_back(nest, r, n, 5.0, INTERVALS)
    m = meter(nest, r, "V_m", "error_signal", interval=11.0)
    nest.Simulate(100.0)
    show(events(m))
    show(nest.GetConnections(n, n).weight, nest.GetConnections(n, r).weight, r.C_m)


def _grow_static(nest: Any, tell: Callable, suffix: str, when: float) -> None:
    """Nodes and connections that do not learn, made while spikes are on their way through others."""
    nest.set(resolution=1.0, eprop_update_interval=80.0, eprop_learning_window=80.0)
    spikes = [{"spike_times": np.arange(first, 60.0, every)} for first, every in ((3.0, 2.0), (4.0, 5.0))]
    g, p = _relays(nest, spikes)
    n = nest.Create("eprop_iaf" + suffix, 2, {"I_e": 300.0})
    nest.Connect(p, n, "all_to_all", {"weight": 2000.0, "delay": 3.0})
    nest.Simulate(when)
    q = nest.Create("parrot_neuron", 2)
    more = nest.Create("eprop_iaf" + suffix, 2, {"V_m": -60.0, "I_e": [100.0, 400.0], "t_ref": 3.0})
    other = nest.Create("iaf_psc_exp", 1, {"I_e": 500.0})
    nest.Connect(g, q, "one_to_one", {"delay": 2.0})
    nest.Connect(p, q, "all_to_all", {"delay": 2.0})
    nest.Connect(p, more, "all_to_all", {"weight": 1500.0, "delay": 2.0})
    nest.Connect(q, other, "all_to_all", {"weight": 900.0, "delay": 3.0})
    nest.Connect(g, n, "all_to_all", {"weight": -300.0, "delay": 2.0})
    nest.Connect(n, more, "all_to_all", {"weight": 800.0, "delay": 1.0})
    nest.Connect(nest.Create("dc_generator", 1, {"amplitude": 50.0}), n + other, "all_to_all", {"delay": 1.0})
    m, s = meter(nest, n + more + other, interval=11.0), recorder(nest, q + n + more + other)
    nest.Simulate(1.0)
    nest.Simulate(35.0 - when)
    tell(events(m), events(s))


def static_network_grows(nest: Any, show: Callable) -> None:
    _grow_static(nest, show, "", 18.0)


def static_network_of_intervals_grows(nest: Any, show: Callable) -> None:
    _grow_static(nest, show, INTERVALS, 20.0)


def _grow_learning(nest: Any, tell: Callable, suffix: str) -> None:
    """As later NEST's synapses forget their traces whenever anything is made, none has any yet."""
    nest.set(resolution=1.0, eprop_update_interval=20.0, eprop_learning_window=20.0)
    plastic = "eprop_synapse" + suffix
    nest.SetDefaults(plastic, {"optimizer": {"type": "adam", "eta": 0.02}})
    cell = CELL | {"V_m": 0.2, "I_e": 0.01, "c_reg": 1.0}
    readout = READOUT | {"E_L": 0.1, "V_m": 0.3, "I_e": 0.02}
    spikes = [{"spike_times": [t for t in np.arange(first, 100.0, 4.0) if 6 < t % 20 < 18]} for first in (7.0, 9.0)]
    g, p = _relays(nest, spikes)
    n, r = nest.Create("eprop_iaf" + suffix, 2, cell), nest.Create("eprop_readout" + suffix, 1, readout)
    learn(nest, p, n, 0.4, suffix)
    learn(nest, n, r, 0.3, suffix)
    feed_back(nest, r, n, 0.5, suffix)
    nest.Simulate(5.0)
    more, q = nest.Create("eprop_iaf_adapt" + suffix, 2, cell | {"V_m": [0.0, 0.5]}), nest.Create("parrot_neuron")
    out = nest.Create("eprop_readout" + suffix, 1, readout)
    nest.Connect(g[0], q, "one_to_one", {"delay": 1.0})
    learn(nest, p + q, more, 0.3, suffix)
    learn(nest, q, n, 0.1, suffix)
    synapse = {"synapse_model": plastic, "delay": 1.0, "weight": 0.1}
    nest.Connect(more, more, {"rule": "all_to_all", "allow_autapses": False}, synapse)
    learn(nest, more, r + out, 0.2, suffix)
    feed_back(nest, out, n + more, -0.4, suffix)
    rates(nest, r + out, 2, [8.0, 30.0], [1.0, -1.0])
    if not suffix:
        rates(nest, r + out, 1, [10.0], [1.0])
    s = recorder(nest, q + n + more)
    nest.Simulate(93.0)
    tell(events(s))
    tell(synapses(nest, "weight", synapse_model=plastic))


def learning_network_grows(nest: Any, show: Callable) -> None:
    _grow_learning(nest, show, "")


def learning_network_of_intervals_grows(nest: Any, show: Callable) -> None:
    _grow_learning(nest, show, INTERVALS)


def windows_are_longer_than_intervals(nest: Any, show: Callable) -> None:
    """By default, where a script sets the interval alone: errors in all steps, and averages over the whole window."""
    name, kept = "eprop_synapse_bsshslm_2020", ("eprop_update_interval", "eprop_learning_window", "data_path")
    nest.set(eprop_update_interval=1000.0)
    nest.set(eprop_learning_window=900.0, data_path="")
    nest.set(resolution=1.0, eprop_update_interval=50.0)
    nest.SetDefaults(name, {"average_gradient": True, "optimizer": {"eta": 0.02}})
    _, p = _relays(nest, [{"spike_times": np.arange(first, 240.0, 5.0)} for first in (5.0, 6.0)])
    n, r = nest.Create("eprop_iaf" + INTERVALS, 2, CELL), nest.Create("eprop_readout" + INTERVALS, 1, READOUT)
    learn(nest, p, n, 0.4, INTERVALS)
    learn(nest, n, r, 0.3, INTERVALS)
    feed_back(nest, r, n, 0.5, INTERVALS)
    m = meter(nest, r, "error_signal", interval=10.0)
    nest.Simulate(230.0)
    show(events(m), synapses(nest, "weight", synapse_model=name))
    nest.ResetKernel()
    show(nest.get(kept), attempt(nest.set, eprop_learning_window=60.0), nest.resolution, nest.overwrite_files)
    show(attempt(nest.set, eprop_learning_window=60.0, eprop_update_interval=40.0))


def weights_are_set_between_spikes(nest: Any, show: Callable) -> None:
    """They change when the next spike arrives, also where the trace cutoff comes before it."""
    for optimizer in ({"type": "adam"}, {"type": "gradient_descent", "Wmin": -2.0, "Wmax": 2.0}):
        for cutoff in (5.0, 1000.0):
            nest.ResetKernel()
            nest.set(resolution=1.0)
            nest.SetDefaults("eprop_synapse", {"optimizer": optimizer | {"eta": 1e-3, "optimize_each_step": True}})
            _, p = _relays(nest, [{"spike_times": [5.0, 9.0, 60.0, 61.0, 90.0]}])
            cell = CELL | {"c_reg": 0.1, "I_e": 0.02, "kappa": 0.9, "kappa_reg": 0.9, "eprop_isi_trace_cutoff": cutoff}
            n, r = nest.Create("eprop_iaf", 2, cell), nest.Create("eprop_readout", 1, READOUT)
            learn(nest, p, n, 0.3)
            learn(nest, n, r, 0.3)
            feed_back(nest, r, n, 0.5)
            rates(nest, r, (1, 2), [1.0], [1.0])
            nest.Simulate(40.0)
            found = nest.GetConnections(p, n)
            show(found.weight)
            found.weight = [0.45, 0.2]
            for ms in (15.0, 60.0):
                nest.Simulate(ms)
                show(found.weight)

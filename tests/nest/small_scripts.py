"""Small scripts that ask odd things of NEST's interface, each in a fresh kernel; `cases/nest` has NEST's answers.

`python small_scripts.py FILE` asks the NEST that is installed, and writes its answers.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

DIGITS = 9  # of real numbers that are kept


def plain(value: Any) -> Any:
    """A value as JSON keeps it."""
    if isinstance(value, dict):
        return {str(key): plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(entry) for entry in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, int | str | None):
        return value
    kind = type(value).__name__
    if kind == "NodeCollection":
        return [kind, *value.tolist()] if len(value) else [kind]
    if kind == "SynapseCollection":
        return [kind, *sorted(map(list, zip(value.sources(), value.targets(), strict=True)))] if len(value) else [kind]
    return kind


def events(recorder: Any) -> list[tuple]:
    """Events of a recorder, by time, sender and what else they are."""
    found = recorder.events
    keys = ["times", "senders", *sorted(set(found) - {"times", "senders"})]
    return sorted(zip(*(plain(found[key]) for key in keys), strict=True))


def attempt(call: Callable, *args: Any, **named: Any) -> Any:
    """What a call returns, or the name of its error."""
    try:
        return call(*args, **named)
    except Exception as problem:
        return f"error: {type(problem).__name__}"


def run(script: Callable, nest: Any) -> list[Any]:
    """What a script shows, in a fresh kernel."""
    nest.ResetKernel()
    nest.set(eprop_update_interval=1000.0, eprop_reset_neurons_on_update=True)  # which ResetKernel leaves as they are
    nest.set(eprop_learning_window=1000.0)
    nest.verbosity = nest.VerbosityLevel.FATAL
    shown: list[Any] = []
    script(nest, lambda *values: shown.append(plain(values)))
    return shown


def meter_window_moved_after(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    n = nest.Create("eprop_iaf", 2, {"I_e": 300.0})
    m = nest.Create("multimeter", 1, {"record_from": ["V_m"], "start": 2.0, "stop": 5.0})
    nest.Connect(m, n)
    nest.Simulate(8.0)
    show(events(m))
    m.set(start=9.0, stop=12.0)
    nest.Simulate(8.0)
    show(events(m))
    show(m.n_events)


def meter_stop_extended_after_gap(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    n = nest.Create("eprop_iaf", 2, {"I_e": 300.0})
    m = nest.Create("multimeter", 1, {"record_from": ["V_m"], "stop": 3.0})
    nest.Connect(m, n)
    nest.Simulate(6.0)
    m.stop = 9.0
    show(events(m))
    nest.Simulate(6.0)
    show(events(m))


def meter_origin_moved(nest: Any, show: Callable) -> None:
    nest.set(resolution=0.5)
    n = nest.Create("eprop_iaf", 1, {"I_e": 300.0})
    m = nest.Create("multimeter", 1, {"record_from": ["V_m"], "interval": 1.0, "start": 1.0, "stop": 3.0})
    nest.Connect(m, n)
    for k in range(4):
        nest.Simulate(5.0)
        show(events(m))
        m.origin = 5.0 * (k + 1)


def meter_offset_and_window_moved(nest: Any, show: Callable) -> None:
    nest.set(resolution=0.1)
    n = nest.Create("eprop_iaf", 1, {"I_e": 300.0})
    m = nest.Create("multimeter", 1, {"record_from": ["V_m"], "interval": 0.7, "offset": 0.3, "stop": 3.0})
    nest.Connect(m, n)
    nest.Simulate(5.0)
    m.set({"start": 5.0, "stop": 8.0})
    nest.Simulate(5.0)
    show(events(m))


def meter_window_delay_3_steps(nest: Any, show: Callable) -> None:
    nest.set(resolution=0.1)
    n = nest.Create("eprop_iaf", 1, {"I_e": 300.0})
    m = nest.Create("multimeter", 1, {"record_from": ["V_m"], "interval": 0.1, "stop": 0.3})
    nest.Connect(m, n, syn_spec={"delay": 0.4})
    nest.Simulate(0.9)
    show(m.n_events)
    m.stop = 2.0
    show(m.n_events)
    nest.Simulate(0.1)
    show(events(m))
    nest.Simulate(0.9)
    show(events(m))
    m.stop = 1.8
    nest.Simulate(1.0)
    show(events(m))


def meter_window_readout(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    n = nest.Create("eprop_iaf", 2, {"I_e": 500.0, "t_ref": 2.0})
    r = nest.Create("eprop_readout", 1)
    m = nest.Create(
        "multimeter", 1, {"record_from": ["V_m", "readout_signal", "error_signal", "target_signal"], "stop": 30.0}
    )
    nest.Connect(m, r)
    nest.Connect(n, r, "all_to_all", {"synapse_model": "eprop_synapse", "delay": 1.0, "weight": 100.0})
    nest.Connect(r, n, "all_to_all", {"synapse_model": "eprop_learning_signal_connection", "delay": 1.0, "weight": 1.0})
    nest.Simulate(40.0)
    show(events(m))
    m.set(start=45.0, stop=60.0)
    nest.Simulate(40.0)
    show(events(m))


def meter_window_readout_bsshslm(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0, eprop_update_interval=20.0, eprop_learning_window=20.0)
    n = nest.Create("eprop_iaf_bsshslm_2020", 2, {"I_e": 800.0})
    r = nest.Create("eprop_readout_bsshslm_2020", 1)
    m = nest.Create(
        "multimeter", 1, {"record_from": ["V_m", "readout_signal", "error_signal", "target_signal"], "stop": 30.0}
    )
    nest.Connect(m, r)
    m2 = nest.Create("multimeter", 1, {"record_from": ["V_m", "learning_signal", "surrogate_gradient"], "stop": 30.0})
    nest.Connect(m2, n)
    nest.Connect(n, r, "all_to_all", {"synapse_model": "eprop_synapse_bsshslm_2020", "delay": 1.0, "weight": 100.0})
    nest.Connect(
        r,
        n,
        "all_to_all",
        {"synapse_model": "eprop_learning_signal_connection_bsshslm_2020", "delay": 1.0, "weight": 1.0},
    )
    nest.Simulate(41.0)
    show(events(m))
    show(events(m2))
    m.set(start=40.0, stop=60.0)
    m2.set(start=39.0, stop=53.0)
    nest.Simulate(40.0)
    show(events(m))
    show(events(m2))


def spike_recorder_window_moved(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    n = nest.Create("eprop_iaf", 2, {"I_e": 800.0})
    s = nest.Create("spike_recorder", 1, {"stop": 30.0})
    nest.Connect(n, s)
    nest.Simulate(40.0)
    show(events(s))
    s.set(start=50.0, stop=70.0)
    nest.Simulate(40.0)
    show(events(s))
    s.origin = 20.0
    nest.Simulate(40.0)
    show(events(s))


def spike_recorder_window_at_now(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    g = nest.Create("spike_generator", 1, {"spike_times": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})
    p = nest.Create("parrot_neuron")
    s = nest.Create("spike_recorder", 1, {"stop": 2.0})
    nest.Connect(g, p)
    nest.Connect(p, s)
    nest.Connect(g, s)
    nest.Simulate(4.0)
    s.stop = 100.0
    nest.Simulate(4.0)
    show(events(s))


def weight_recorder_window_moved(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    w = nest.Create("weight_recorder", 1, {"stop": 20.0})
    nest.CopyModel("static_synapse", "ws", {"weight_recorder": w})
    n = nest.Create("eprop_iaf", 2, {"I_e": 800.0})
    nest.Connect(n, n, "all_to_all", {"synapse_model": "ws", "weight": 2.0, "delay": 3.0})
    nest.Simulate(29.0)
    show(events(w))
    w.set(start=28.0, stop=60.0)
    nest.Simulate(40.0)
    show(events(w))


def weight_recorder_of_learning_synapses(nest: Any, show: Callable) -> None:
    """More of them than a table of what is recorded has columns, and one alone."""
    nest.set(resolution=1.0)
    both, one = nest.Create("weight_recorder"), nest.Create("weight_recorder")
    for name, recorder in (("watched", both), ("alone", one)):
        nest.CopyModel("eprop_synapse", name, {"weight_recorder": recorder, "optimizer": {"eta": 0.1}})
    n = nest.Create("eprop_iaf", 2, {"I_e": 800.0})
    out = nest.Create("eprop_readout", 1)
    rate, window = nest.Create("step_rate_generator", 2, {"amplitude_times": [1.0], "amplitude_values": [1.0]})
    nest.Connect(n, n, "all_to_all", {"synapse_model": "watched", "weight": 2.0, "delay": 1.0})
    nest.Connect(n[0], out, "one_to_one", {"synapse_model": "alone", "weight": 3.0, "delay": 1.0})
    learning = {"synapse_model": "eprop_learning_signal_connection", "weight": 10.0, "delay": 1.0}
    nest.Connect(out, n, "all_to_all", learning)
    for source, port in ((window, 1), (rate, 2)):
        nest.Connect(source, out, "one_to_one", {"synapse_model": "rate_connection_delayed", "receptor_type": port})
    nest.Simulate(26.0)
    show(events(both))
    show(events(one))


def recorder_set_in_prepare(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    n = nest.Create("eprop_iaf", 2, {"I_e": 800.0})
    s = nest.Create("spike_recorder")
    nest.Connect(n, s)
    nest.Prepare()
    show(attempt(s.set, {"stop": 3.0}))
    nest.Run(5.0)
    show(attempt(s.set, {"stop": 3.0}))
    show(attempt(s.set, {"n_events": 0}))
    nest.Cleanup()
    show(attempt(s.set, {"stop": 3.0}))
    show(s.stop)


def meter_connected_to_more_nodes_after_recording(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    n = nest.Create("eprop_iaf", 3, {"I_e": 300.0})
    m = nest.Create("multimeter", 1, {"record_from": ["V_m"]})
    nest.Connect(m, n[:2])
    nest.Simulate(4.0)
    nest.Connect(m, n[2:])
    nest.Simulate(4.0)
    show(events(m))


def set_same_value_late(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    n = nest.Create("eprop_iaf", 1, {"I_e": 300.0})
    m = nest.Create("multimeter", 1, {"record_from": ["V_m"]})
    nest.Connect(m, n)
    nest.Simulate(4.0)
    show(attempt(m.set, {"interval": 1.0}))
    show(attempt(m.set, {"record_from": ["V_m"]}))
    show(attempt(m.set, {"start": 1.5}))
    show(attempt(m.set, {"start": -1.0}))
    show(attempt(m.set, {"stop": 0.0}))
    show(m.stop)
    nest.Simulate(2.0)
    show(events(m))


def stop_below_start_late(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    s = nest.Create("spike_recorder", 1, {"start": 5.0})
    show(attempt(s.set, {"stop": 3.0}))
    show(s.get(["start", "stop"]))
    g = nest.Create(
        "spike_generator",
        1,
        {"start": 4.0, "stop": 8.0, "origin": 2.0, "spike_times": [5.0, 6.0, 7.0, 9.0, 10.0, 11.0]},
    )
    nest.Connect(g, s)
    nest.Simulate(20.0)
    show(events(s))


def generator_window_changed_late(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    s = nest.Create("spike_recorder")
    g = nest.Create("spike_generator", 1, {"spike_times": [float(k) for k in range(1, 30)], "stop": 4.0})
    nest.Connect(g, s)
    nest.Simulate(10.0)
    g.set(start=12.0, stop=15.0)
    nest.Simulate(10.0)
    show(events(s))
    g.origin = 10.0
    nest.Simulate(9.0)
    show(events(s))


def rate_generator_late_spike(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    n = nest.Create("eprop_iaf", 2, {"I_e": 500.0})
    r = nest.Create("eprop_readout", 2)
    nest.Connect(n, r, "all_to_all", {"synapse_model": "eprop_synapse", "delay": 1.0, "weight": 100.0})
    nest.Connect(r, n, "all_to_all", {"synapse_model": "eprop_learning_signal_connection", "delay": 1.0, "weight": 1.0})
    m = nest.Create("multimeter", 1, {"record_from": ["error_signal", "readout_signal", "target_signal"]})
    nest.Connect(m, r)
    nest.Simulate(40.0)
    g = nest.Create(
        "step_rate_generator",
        2,
        [
            {"amplitude_times": [45.0, 60.0], "amplitude_values": [3.0, 5.0]},
            {"amplitude_times": [42.0, 50.0], "amplitude_values": [1.0, 2.0]},
        ],
    )
    nest.Connect(g, r, "one_to_one", {"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": 2})
    g2 = nest.Create("step_rate_generator", 1, {"amplitude_times": [41.0], "amplitude_values": [1.0]})
    nest.Connect(g2, r, "all_to_all", {"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": 1})
    nest.Simulate(40.0)
    show(events(m))
    show(nest.GetConnections(n, r).weight)


def rate_generator_late_interval(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0, eprop_update_interval=20.0, eprop_learning_window=20.0)
    n = nest.Create("eprop_iaf_bsshslm_2020", 2, {"I_e": 800.0})
    r = nest.Create("eprop_readout_bsshslm_2020", 2)
    nest.Connect(n, r, "all_to_all", {"synapse_model": "eprop_synapse_bsshslm_2020", "delay": 1.0, "weight": 100.0})
    nest.Connect(
        r,
        n,
        "all_to_all",
        {"synapse_model": "eprop_learning_signal_connection_bsshslm_2020", "delay": 1.0, "weight": 1.0},
    )
    m = nest.Create("multimeter", 1, {"record_from": ["error_signal", "readout_signal", "target_signal"]})
    nest.Connect(m, r)
    nest.Simulate(40.0)
    g = nest.Create(
        "step_rate_generator",
        2,
        [
            {"amplitude_times": [45.0, 60.0], "amplitude_values": [3.0, 5.0]},
            {"amplitude_times": [42.0, 50.0], "amplitude_values": [1.0, 2.0]},
        ],
    )
    nest.Connect(g, r, "one_to_one", {"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": 2})
    nest.Simulate(40.0)
    show(events(m))
    show(nest.GetConnections(n, r).weight)


def rate_generator_late_replaces(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    nest.Create("eprop_iaf", 2, {"I_e": 500.0})
    r = nest.Create("eprop_readout", 1)
    g0 = nest.Create("step_rate_generator", 1, {"amplitude_times": [5.0], "amplitude_values": [3.0]})
    w0 = nest.Create("step_rate_generator", 1, {"amplitude_times": [1.0], "amplitude_values": [1.0]})
    nest.Connect(g0, r, syn_spec={"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": 2})
    nest.Connect(w0, r, syn_spec={"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": 1})
    m = nest.Create("multimeter", 1, {"record_from": ["error_signal", "readout_signal", "target_signal"]})
    nest.Connect(m, r)
    nest.Simulate(10.0)
    g = nest.Create("step_rate_generator", 1, {"amplitude_times": [15.0], "amplitude_values": [7.0]})
    nest.Connect(g, r, syn_spec={"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": 2})
    nest.Simulate(10.0)
    show(events(m))


def choices(nest: Any, show: Callable) -> None:
    a = nest.random.uniform()
    p = nest.logic.conditional(a < 0.5, 1.0, 2.0)
    show([p.GetValue() for _ in range(6)])
    q = nest.logic.conditional(nest.random.uniform() > 0.3, nest.random.normal(), -5.0)
    n = nest.Create("eprop_iaf", 6, {"V_m": q})
    show(n.V_m)
    n = nest.Create("eprop_iaf", 6, {"V_m": nest.logic.conditional(a >= 0.5, a, a * 10.0)})
    show(n.V_m)
    n = nest.Create("eprop_iaf", 6, {"V_m": -(nest.random.uniform() == 0.5)}) if 0 else None


def comparison_parameters(nest: Any, show: Callable) -> None:
    a = nest.random.uniform()
    show(type(a < 0.5).__name__ != "bool")
    n = nest.Create("eprop_iaf", 6, {"V_m": (a < 0.5) * 3.0})
    show(n.V_m)
    n = nest.Create("eprop_iaf", 6, {"V_m": (a != 0.5) + (a == 0.1) + (a <= 0.4) + (a > 0.7)})
    show(n.V_m)
    n = nest.Create("eprop_iaf", 6, {"V_m": 1.0 - a})
    show(n.V_m)
    n = nest.Create("eprop_iaf", 6, {"V_m": 1.0 / (a + 1.0)})
    show(n.V_m)
    n = nest.Create("eprop_iaf", 6, {"V_m": a**2})
    show(n.V_m)
    n = nest.Create("eprop_iaf", 6, {"V_m": abs(a)}) if 0 else None


def conditional_in_weights(nest: Any, show: Callable) -> None:
    nest.set(rng_seed=77)
    n = nest.Create("eprop_iaf", 5)
    nest.Connect(
        n,
        n,
        "all_to_all",
        {
            "weight": nest.logic.conditional(
                nest.random.uniform() < 0.3, nest.random.uniform(1.0, 2.0), nest.random.uniform(-2.0, -1.0)
            )
        },
    )
    show(sorted(nest.GetConnections().weight))
    nest.Connect(
        n,
        n,
        {"rule": "fixed_indegree", "indegree": 3},
        {"weight": nest.logic.conditional(nest.random.normal() > 0.0, 1.0, nest.random.normal())},
    )
    show(sorted(nest.GetConnections().weight))


def collocated_random(nest: Any, show: Callable) -> None:
    nest.set(rng_seed=5)
    n = nest.Create("eprop_iaf", 6)
    nest.Connect(
        n,
        n,
        {"rule": "fixed_indegree", "indegree": 2},
        nest.CollocatedSynapses({"weight": nest.random.uniform()}, {"weight": nest.random.normal(), "delay": 2.0}),
    )
    c = nest.GetConnections()
    show(sorted(zip(c.source, c.target, c.weight, c.delay, c.synapse_model, strict=False)))
    nest.Connect(
        n,
        n,
        {"rule": "pairwise_bernoulli", "p": 0.4},
        nest.CollocatedSynapses(
            {"weight": nest.random.uniform()}, {"weight": nest.random.normal(), "delay": nest.random.uniform(1.0, 3.0)}
        ),
    )
    c = nest.GetConnections()
    show(sorted(zip(c.source, c.target, c.weight, c.delay, c.synapse_model, strict=False)))


def collocated_by_other_rules(nest: Any, show: Callable) -> None:
    nest.set(rng_seed=9)
    n = nest.Create("eprop_iaf", 6)
    for rule in (
        {"rule": "fixed_outdegree", "outdegree": 2},
        {"rule": "fixed_total_number", "N": 7},
        {"rule": "one_to_one"},
    ):
        nest.Connect(
            n,
            n,
            rule,
            nest.CollocatedSynapses({"weight": nest.random.uniform()}, {"weight": nest.random.normal(), "delay": 2.0}),
        )
        c = nest.GetConnections()
        show(sorted(zip(c.source, c.target, c.weight, c.delay, c.synapse_model, strict=False)))


def step_current_origin(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    n = nest.Create("eprop_iaf", 1)
    d = nest.Create(
        "step_current_generator",
        1,
        {
            "amplitude_times": [1.0, 4.0, 9.0],
            "amplitude_values": [100.0, 50.0, 70.0],
            "origin": 3.0,
            "start": 1.0,
            "stop": 8.0,
        },
    )
    nest.Connect(d, n)
    m = nest.Create("multimeter", 1, {"record_from": ["V_m"]})
    nest.Connect(m, n)
    nest.Simulate(15.0)
    show(events(m))


def spike_generator_origin_more(nest: Any, show: Callable) -> None:
    nest.set(resolution=0.5)
    s = nest.Create("spike_recorder")
    g = nest.Create(
        "spike_generator",
        1,
        {
            "origin": 2.0,
            "start": 1.0,
            "stop": 7.0,
            "spike_times": [0.5, 1.0, 1.5, 2.0, 6.5, 7.0, 7.5],
            "spike_multiplicities": [1, 1, 2, 1, 1, 3, 1],
        },
    )
    nest.Connect(g, s)
    nest.Simulate(4.0)
    show(events(s))
    nest.Simulate(10.0)
    show(events(s))
    g.origin = 12.0
    nest.Simulate(14.0)
    show(events(s))


def spike_generator_origin_late(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    s = nest.Create("spike_recorder")
    g = nest.Create("spike_generator", 1, {"spike_times": [2.0, 5.0, 9.0]})
    nest.Connect(g, s)
    for k in range(4):
        nest.Simulate(10.0)
        g.origin = 10.0 * (k + 1)
    show(events(s))
    g.spike_times = [3.0, 41.0, 45.0]
    nest.Simulate(20.0)
    show(events(s))
    g.set(origin=60.0, spike_times=[1.0, 2.0])
    nest.Simulate(10.0)
    show(events(s))


def spike_generator_shift_now_origin(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    g = nest.Create("spike_generator", 1, {"origin": 2.0})
    nest.Simulate(3.0)
    show(attempt(g.set, {"shift_now_spikes": True, "spike_times": [0.0, 1.0, 3.0]}))
    show(g.spike_times)
    s = nest.Create("spike_recorder")
    nest.Connect(g, s)
    nest.Simulate(10.0)
    show(events(s))


def step_rate_window_late(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    r = nest.Create("eprop_readout")
    g = nest.Create(
        "step_rate_generator",
        1,
        {"amplitude_times": [1.0, 4.0, 8.0], "amplitude_values": [3.0, 5.0, 7.0], "start": 2.0, "stop": 9.0},
    )
    nest.Connect(g, r, syn_spec={"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": 2})
    g2 = nest.Create("step_rate_generator", 1, {"amplitude_times": [1.0], "amplitude_values": [1.0], "stop": 30.0})
    nest.Connect(g2, r, syn_spec={"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": 1})
    m = nest.Create("multimeter", 1, {"record_from": ["target_signal", "error_signal"]})
    nest.Connect(m, r)
    nest.Simulate(20.0)
    g.set(amplitude_times=[21.0, 26.0], amplitude_values=[1.0, 2.0])
    nest.Simulate(5.0)
    g.set(start=27.0, stop=40.0)
    nest.Simulate(20.0)
    show(events(m))


def step_rate_interval_variant_window(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0, eprop_update_interval=20.0, eprop_learning_window=20.0)
    r = nest.Create("eprop_readout_bsshslm_2020")
    nest.Create("eprop_iaf_bsshslm_2020")
    g = nest.Create(
        "step_rate_generator",
        1,
        {"amplitude_times": [1.0, 4.0, 8.0, 12.0], "amplitude_values": [3.0, 5.0, 7.0, 1.0], "start": 5.0, "stop": 9.0},
    )
    nest.Connect(g, r, syn_spec={"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": 2})
    m = nest.Create("multimeter", 1, {"record_from": ["target_signal", "error_signal"]})
    nest.Connect(m, r)
    nest.Simulate(30.0)
    show(events(m))


def inhomogeneous_poisson_start(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)

    def f(t, **k):
        g = nest.Create("inhomogeneous_poisson_generator", 1, {"rate_times": t, "rate_values": [1000000.0, 0.0], **k})
        p = nest.Create("parrot_neuron")
        s = nest.Create("spike_recorder")
        nest.Connect(g, p)
        nest.Connect(p, s)
        return s

    a = [
        (t, k, f(t, **k))
        for t in ([5.0, 10.0], [1.0, 10.0], [3.0, 6.0])
        for k in (
            {},
            {"origin": 3.0},
            {"start": 1.0},
            {"start": 4.0},
            {"start": 5.0},
            {"start": 6.0},
            {"stop": 7.0},
            {"stop": 10.0},
            {"origin": 2.0, "stop": 6.0},
            {"origin": 3.0, "start": 2.0},
        )
    ]
    nest.Simulate(40.0)
    for t, k, s in a:
        show(t, k, sorted(set(s.events["times"].tolist())))


def rate_bounds(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    r = []
    for _k, (start, stop, o) in enumerate(
        [
            (0.0, 8.0, 0.0),
            (0.0, 9.0, 0.0),
            (0.0, 7.0, 0.0),
            (4.0, 4.0, 0.0),
            (4.0, 5.0, 0.0),
            (3.0, 5.0, 0.0),
            (5.0, 9.0, 0.0),
            (1.0, 6.0, 2.0),
            (0.0, 1000000000.0, 3.0),
        ]
    ):
        r.append(nest.Create("eprop_readout"))
        g = nest.Create(
            "step_rate_generator",
            1,
            {
                "amplitude_times": [1.0, 4.0, 8.0],
                "amplitude_values": [3.0, 5.0, 7.0],
                "start": start,
                "stop": stop,
                "origin": o,
            },
        )
        nest.Connect(g, r[-1], syn_spec={"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": 2})
    g2 = nest.Create("step_rate_generator", 1, {"amplitude_times": [1.0], "amplitude_values": [1.0]})
    ms = []
    for x in r:
        nest.Connect(g2, x, syn_spec={"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": 1})
        m = nest.Create("multimeter", 1, {"record_from": ["target_signal"]})
        nest.Connect(m, x)
        ms.append(m)
    nest.Simulate(14.0)
    for m in ms:
        show(m.events["target_signal"])


def no_indegree_signals_interval(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0, eprop_update_interval=20.0, eprop_learning_window=20.0)
    n = nest.Create("eprop_iaf_bsshslm_2020", 2, {"I_e": 800.0})
    r = nest.Create("eprop_readout_bsshslm_2020", 1)
    m2 = nest.Create("multimeter", 1, {"record_from": ["V_m", "learning_signal", "surrogate_gradient"], "stop": 30.0})
    nest.Connect(m2, n)
    nest.Connect(n, r, "all_to_all", {"synapse_model": "eprop_synapse_bsshslm_2020", "delay": 1.0, "weight": 100.0})
    nest.Connect(
        r,
        n,
        "all_to_all",
        {"synapse_model": "eprop_learning_signal_connection_bsshslm_2020", "delay": 1.0, "weight": 1.0},
    )
    nest.Connect(
        n[:1], n[1:], "all_to_all", {"synapse_model": "eprop_synapse_bsshslm_2020", "delay": 1.0, "weight": 1.0}
    )
    nest.Simulate(41.0)
    show(events(m2))


def connections_compare(nest: Any, show: Callable) -> None:
    n = nest.Create("eprop_iaf", 2)
    nest.Connect(n, n)
    a, b = (nest.GetConnections(), nest.GetConnections())
    show(
        a == b,
        a[0] == b[0],
        a[0] == b[1],
        len(a[::2]),
        a[-1].get("target"),
        [x.get("source") for x in a],
        list(a.sources()),
        list(a.targets()),
        bool(nest.GetConnections(n[:1], n[:1], "eprop_synapse")),
    )
    show(str(nest.GetConnections(synapse_model="eprop_synapse")))
    show(
        a.get(["weight"]),
        a.get("weight"),
        nest.GetConnections(synapse_model="eprop_synapse").get("weight"),
        nest.GetConnections(synapse_model="eprop_synapse").get(),
    )


def parameters_again(nest: Any, show: Callable) -> None:
    nest.rng_seed = 3
    p = nest.random.normal()
    q = nest.random.normal()
    a = nest.Create("eprop_iaf", 3, {"V_m": p + q, "I_e": p})
    show(a.V_m, a.I_e)
    b = nest.Create("eprop_iaf", 3, {"V_m": q})
    show(b.V_m)
    show(p.GetValue(), q.GetValue())
    c = nest.Create("eprop_iaf", 2, {"V_th": nest.random.uniform(-60.0, -50.0), "E_L": -70.0})
    show(c.V_th)
    nest.Connect(a, b, "all_to_all", {"weight": p, "delay": nest.random.uniform(1.0, 3.0)})
    show(sorted(nest.GetConnections().weight), sorted(nest.GetConnections().delay))


def random_delay_and_weight_rules(nest: Any, show: Callable) -> None:
    nest.set(rng_seed=8, total_num_virtual_procs=3)
    n = nest.Create("eprop_iaf", 7)
    for rule in (
        {"rule": "fixed_indegree", "indegree": 2, "allow_autapses": False},
        {"rule": "fixed_outdegree", "outdegree": 2, "allow_multapses": False},
        {"rule": "pairwise_bernoulli", "p": 0.2},
        {"rule": "fixed_total_number", "N": 6},
    ):
        nest.Connect(
            n,
            n,
            rule,
            {"weight": nest.random.normal(1.0, 0.5), "delay": nest.math.redraw(nest.random.normal(2.0, 1.0), 0.5, 3.0)},
        )
        c = nest.GetConnections()
        show(sorted(zip(c.source, c.target, c.weight, c.delay, strict=False)))


def synapse_lists(nest: Any, show: Callable) -> None:
    n = nest.Create("eprop_iaf", 2)
    m = nest.Create("eprop_iaf", 3)
    nest.Connect(
        n,
        m,
        "all_to_all",
        {"weight": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "delay": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]},
    )
    c = nest.GetConnections()
    show(sorted(zip(c.source, c.target, c.weight, c.delay, strict=False)))
    show(attempt(nest.Connect, n, m, "all_to_all", {"weight": [[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]}))
    show(attempt(nest.Connect, n, m, "all_to_all", {"weight": [1.0, 2.0]}))
    show(attempt(nest.Connect, n, n, "one_to_one", {"weight": [1.0, 2.0, 3.0]}))
    show(attempt(nest.Connect, n, n, "one_to_one", {"weight": [1, 2]}))
    show(attempt(nest.Connect, n, n, "one_to_one", {"weight": (1.0, 2.0), "delay": np.array([1.0, 1.5])}))
    show(
        attempt(
            nest.Connect,
            n,
            m,
            {"rule": "fixed_indegree", "indegree": 2},
            {"weight": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]},
        )
    )
    show(attempt(nest.Connect, n, m, {"rule": "fixed_outdegree", "outdegree": 2}, {"weight": [[1.0, 2.0], [3.0, 4.0]]}))
    show(attempt(nest.Connect, n, m, {"rule": "fixed_total_number", "N": 2}, {"weight": [7.0, 8.0]}))
    show(
        attempt(
            nest.Connect,
            n,
            m,
            {"rule": "pairwise_bernoulli", "p": 1.0},
            {"weight": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]},
        )
    )
    show(sorted(nest.GetConnections().weight))


def prepare_run_cleanup(nest: Any, show: Callable) -> None:
    nest.resolution = 1.0
    n = nest.Create("eprop_iaf", 1, {"I_e": 800.0})
    s = nest.Create("spike_recorder")
    nest.Connect(n, s)
    show(attempt(nest.Run, 5.0))
    show(attempt(nest.Cleanup))
    nest.Prepare()
    show(attempt(nest.Prepare))
    show(attempt(nest.Simulate, 5.0))
    nest.Run(10.0)
    show(nest.biological_time, s.n_events)
    nest.Run(10.0)
    show(s.events["times"])
    nest.Cleanup()
    show(attempt(nest.Run, 5.0))
    nest.Simulate(10.0)
    show(nest.biological_time)
    with nest.RunManager():
        nest.Run(5.0)
        nest.Run(5.0)
    show(nest.biological_time, s.events["times"])
    try:
        with nest.RunManager():
            nest.Run(5.0)
            raise KeyError("x")
    except KeyError:
        show("left")
    show(attempt(nest.Simulate, 5.0))
    show(nest.biological_time)


def getnodes(nest: Any, show: Callable) -> None:
    nest.Create("eprop_iaf", 2, {"V_th": [-50.0, -55.0]})
    nest.Create("parrot_neuron", 2)
    nest.Create("spike_recorder")
    show(
        nest.GetNodes(),
        nest.GetNodes({"model": "parrot_neuron"}),
        nest.GetNodes({"V_th": -50.0}),
        nest.GetNodes({"element_type": "recorder"}),
        nest.GetNodes({"model": "zz"}),
        nest.GetNodes({"element_type": "neuron", "V_th": -55.0}),
    )
    show(attempt(nest.GetNodes, {"zz": 3}))
    show(attempt(nest.GetNodes, 5))


def connections_that_are_illegal(nest: Any, show: Callable) -> None:
    n = nest.Create("eprop_iaf")
    p = nest.Create("parrot_neuron")
    r = nest.Create("eprop_readout")
    g = nest.Create("spike_generator")
    b = nest.Create("eprop_iaf_bsshslm_2020")
    x = nest.Create("step_rate_generator")
    d = nest.Create("dc_generator")
    w = nest.Create("poisson_generator")
    names = {"n": n, "p": p, "r": r, "g": g, "b": b, "x": x, "d": d, "w": w}
    unlike = ("rate_connection_delayed", "r", "r"), ("rate_connection_delayed", "x", "r")  # refused when time goes on
    for model in ("static_synapse", "rate_connection_delayed"):
        synapse = {"synapse_model": model, "delay": nest.resolution}
        for (i, pre), (j, post) in itertools.product(names.items(), names.items()):
            if (model, i, j) not in unlike:
                show(model, i, j, attempt(nest.Connect, pre, post, "all_to_all", synapse))


def poisson_start(nest: Any, show: Callable) -> None:
    nest.resolution = 1.0
    q = []
    for k in ({}, {"start": 1.0}, {"stop": 4.0}, {"origin": 2.0}):
        g = nest.Create("poisson_generator", 1, {"rate": 1000000.0, **k})
        p = nest.Create("parrot_neuron")
        s = nest.Create("spike_recorder")
        nest.Connect(g, p)
        nest.Connect(p, s)
        q.append(s)
    nest.Simulate(8.0)
    for s in q:
        show(sorted(set(s.events["times"].tolist())))


def random_parameters(nest: Any, show: Callable) -> None:
    nest.rng_seed = 5
    u = nest.random.uniform
    for m in (
        "eprop_iaf",
        "eprop_iaf_adapt",
        "eprop_iaf_psc_delta_adapt",
        "eprop_iaf_adapt_bsshslm_2020",
        "eprop_readout",
    ):
        keys = [
            k
            for k in (
                "V_m",
                "I_e",
                "tau_m",
                "C_m",
                "V_th",
                "E_L",
                "c_reg",
                "adapt_beta",
                "adapt_tau",
                "surrogate_gradient_height",
                "surrogate_gradient_width",
            )
            if k in nest.GetDefaults(m)
        ]
        keys = [
            k
            for k in keys
            if not (
                m in ("iaf_psc_exp", "glif_psc")
                and k in ("c_reg", "surrogate_gradient_height", "surrogate_gradient_width", "V_m")
            )
        ]
        keys = [k for k in keys if not (m == "glif_psc" and k == "I_e")]
        lo = {
            "V_m": -60.0,
            "I_e": 1.0,
            "tau_m": 10.0,
            "C_m": 100.0,
            "V_th": -50.0,
            "E_L": -70.0,
            "c_reg": 0.1,
            "adapt_beta": 1.0,
            "adapt_tau": 10.0,
            "surrogate_gradient_height": 0.1,
            "surrogate_gradient_width": 0.5,
        }
        n = nest.Create(m, 3, {k: u(lo[k], lo[k] + 1.0) for k in keys})
        show(m, n.get(keys))


def random_parameters_on_processes(nest: Any, show: Callable) -> None:
    nest.set(rng_seed=5, total_num_virtual_procs=2)
    n = nest.Create(
        "eprop_iaf", 5, {"V_m": nest.random.normal(-60.0, 1.0), "tau_m": nest.random.lognormal(2.0, 0.2), "I_e": 3.0}
    )
    show(n.V_m, n.tau_m)
    n.set({"V_m": nest.random.uniform(), "C_m": nest.random.uniform(1.0, 2.0)})
    show(n.V_m, n.C_m)


def meters_two_intervals(nest: Any, show: Callable) -> None:
    nest.resolution = 0.5
    n = nest.Create("eprop_iaf_adapt", 2, {"I_e": [900.0, 400.0], "adapt_beta": 0.1})
    m = nest.Create("multimeter", 2, {"record_from": ["V_m", "adaptation", "V_th_adapt"]})
    m.interval = [0.5, 1.5] if 0 else 0.5
    m[1].interval = 1.5
    nest.Connect(m, n)
    nest.Simulate(12.0)
    show(events(m[0]))
    show(events(m[1]))
    show(m.n_events)
    show(len(m.events))
    show(m.get("events", "V_m")[1])


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
    nest.Connect(p, n, "all_to_all", {"synapse_model": "plastic", "delay": 0.5, "weight": 80.0})
    nest.Connect(n, r, "all_to_all", {"synapse_model": "plastic", "delay": 0.5, "weight": 2.0})
    nest.Connect(r, n, "all_to_all", {"synapse_model": "eprop_learning_signal_connection", "delay": 0.5, "weight": 5.0})
    for port in (1, 2):
        rate = {"synapse_model": "rate_connection_delayed", "delay": 0.5, "receptor_type": port}
        nest.Connect(t, r, "all_to_all", rate)
    m = nest.Create("multimeter", 1, {"record_from": ["V_m", "error_signal"], "interval": 7.0})
    nest.Connect(m, r)
    nest.Simulate(60.0)
    show(events(m))
    show(nest.GetConnections(p, n).weight, nest.GetConnections(n, r).weight, r.tau_m, r.C_m)


def readouts_of_their_own_interval(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0, eprop_update_interval=20.0, eprop_learning_window=15.0)
    n = nest.Create("eprop_iaf_bsshslm_2020", 3, {"I_e": [800.0, 600.0, 700.0]})
    r = nest.Create("eprop_readout_bsshslm_2020", 3, {"C_m": [250.0, 100.0, 80.0], "E_L": [0.0, 3.0, 0.0]})
    r.set({"I_e": [0.0, 10.0, -5.0], "V_min": [-1e9, -1e9, 0.5], "regular_spike_arrival": [True, False, True]})
    nest.CopyModel("eprop_synapse_bsshslm_2020", "plastic", {"optimizer": {"eta": 1e-3}})
    nest.Connect(n, r, "all_to_all", {"synapse_model": "plastic", "delay": 1.0, "weight": 2.0})
    nest.Connect(n, n, "all_to_all", {"synapse_model": "plastic", "delay": 1.0, "weight": 20.0})
    feedback = {"synapse_model": "eprop_learning_signal_connection_bsshslm_2020", "delay": 1.0, "weight": 5.0}
    nest.Connect(r, n, "all_to_all", feedback)
    m = nest.Create("multimeter", 1, {"record_from": ["V_m", "error_signal"], "interval": 11.0})
    nest.Connect(m, r)
    nest.Simulate(100.0)
    show(events(m))
    show(nest.GetConnections(n, n).weight, nest.GetConnections(n, r).weight, r.C_m)


def inputs_on_their_way_when_intervals_end(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0, eprop_update_interval=10.0, eprop_learning_window=10.0)
    g = nest.Create("spike_generator", 1, {"spike_times": np.arange(1.0, 40.0)})
    p, n = nest.Create("parrot_neuron"), nest.Create("eprop_iaf_bsshslm_2020", 2)
    nest.Connect(g, p, "one_to_one", {"delay": 1.0})
    nest.Connect(p, n, "all_to_all", {"weight": [[2.0], [3.0]], "delay": [[3.0], [5.0]]})
    nest.Connect(g, n, "all_to_all", {"weight": 1.0, "delay": 2.0})
    m = nest.Create("multimeter", 1, {"record_from": ["V_m"]})
    nest.Connect(m, n[1])
    s = nest.Create("spike_recorder")
    nest.Connect(n, s)
    for ms in (11.0, 13.0, 17.0):
        nest.Simulate(ms)
    show(m.events["V_m"], events(s))


def _grow_static(nest: Any, tell: Callable, suffix: str, when: float) -> None:
    """Nodes and connections that do not learn, made while spikes are on their way through others."""
    nest.set(resolution=1.0, eprop_update_interval=80.0, eprop_learning_window=80.0)
    g = nest.Create("spike_generator", 2)
    g.set([{"spike_times": np.arange(first, 60.0, every)} for first, every in ((3.0, 2.0), (4.0, 5.0))])
    p, n = nest.Create("parrot_neuron", 2), nest.Create("eprop_iaf" + suffix, 2, {"I_e": 300.0})
    nest.Connect(g, p, "one_to_one", {"delay": 1.0})
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
    m = nest.Create("multimeter", 1, {"record_from": ["V_m"], "interval": 11.0})
    nest.Connect(m, n + more + other)
    s = nest.Create("spike_recorder")
    nest.Connect(q + n + more + other, s)
    nest.Simulate(1.0)
    nest.Simulate(35.0 - when)
    tell(events(m), events(s))


def static_network_grows(nest: Any, show: Callable) -> None:
    _grow_static(nest, show, "", 18.0)


def static_network_of_intervals_grows(nest: Any, show: Callable) -> None:
    _grow_static(nest, show, "_bsshslm_2020", 20.0)


def _grow_learning(nest: Any, tell: Callable, suffix: str) -> None:
    """As later NEST's synapses forget their traces whenever anything is made, none has any yet."""
    nest.set(resolution=1.0, eprop_update_interval=20.0, eprop_learning_window=20.0)
    plastic, feedback = "eprop_synapse" + suffix, "eprop_learning_signal_connection" + suffix
    synapse = {"synapse_model": plastic, "delay": 1.0}
    nest.SetDefaults(plastic, {"optimizer": {"type": "adam", "eta": 0.02}})
    cell = {"C_m": 1.0, "E_L": 0.0, "V_m": 0.2, "I_e": 0.01, "V_th": 0.6, "tau_m": 20.0, "c_reg": 1.0}
    readout = {"C_m": 1.0, "E_L": 0.1, "V_m": 0.3, "I_e": 0.02, "tau_m": 10.0}
    g, p = nest.Create("spike_generator", 2), nest.Create("parrot_neuron", 2)
    g.set([{"spike_times": [t for t in np.arange(first, 100.0, 4.0) if 6 < t % 20 < 18]} for first in (7.0, 9.0)])
    n, r = nest.Create("eprop_iaf" + suffix, 2, cell), nest.Create("eprop_readout" + suffix, 1, readout)
    nest.Connect(g, p, "one_to_one", {"delay": 1.0})
    nest.Connect(p, n, "all_to_all", synapse | {"weight": 0.4})
    nest.Connect(n, r, "all_to_all", synapse | {"weight": 0.3})
    nest.Connect(r, n, "all_to_all", {"synapse_model": feedback, "delay": 1.0, "weight": 0.5})
    nest.Simulate(5.0)
    more, q = nest.Create("eprop_iaf_adapt" + suffix, 2, cell | {"V_m": [0.0, 0.5]}), nest.Create("parrot_neuron")
    out = nest.Create("eprop_readout" + suffix, 1, readout)
    nest.Connect(g[0], q, "one_to_one", {"delay": 1.0})
    nest.Connect(p + q, more, "all_to_all", synapse | {"weight": 0.3})
    nest.Connect(q, n, "all_to_all", synapse | {"weight": 0.1})
    nest.Connect(more, more, {"rule": "all_to_all", "allow_autapses": False}, synapse | {"weight": 0.1})
    nest.Connect(more, r + out, "all_to_all", synapse | {"weight": 0.2})
    nest.Connect(out, n + more, "all_to_all", {"synapse_model": feedback, "delay": 1.0, "weight": -0.4})
    t = nest.Create("step_rate_generator", 1, {"amplitude_times": [8.0, 30.0], "amplitude_values": [1.0, -1.0]})
    rate = {"synapse_model": "rate_connection_delayed", "delay": 1.0}
    nest.Connect(t, r + out, "all_to_all", rate | {"receptor_type": 2})
    if not suffix:
        w = nest.Create("step_rate_generator", 1, {"amplitude_times": [10.0], "amplitude_values": [1.0]})
        nest.Connect(w, r + out, "all_to_all", rate | {"receptor_type": 1})
    s = nest.Create("spike_recorder")
    nest.Connect(q + n + more, s)
    nest.Simulate(93.0)
    tell(events(s))
    found = nest.GetConnections(synapse_model=plastic)
    tell(sorted(zip(found.sources(), found.targets(), found.get("weight"), strict=True)))


def learning_network_grows(nest: Any, show: Callable) -> None:
    _grow_learning(nest, show, "")


def learning_network_of_intervals_grows(nest: Any, show: Callable) -> None:
    _grow_learning(nest, show, "_bsshslm_2020")


def delays_get_a_range(nest: Any, show: Callable) -> None:
    """Both ends at once, before there are connections; recorders are shown in slices of the smallest."""
    show(
        nest.min_delay,
        nest.max_delay,
        attempt(nest.set, min_delay=0.7),
        attempt(nest.set, min_delay=3.0, max_delay=2.0),
    )
    nest.set(min_delay=0.25, max_delay=5.03)
    show(nest.min_delay, nest.max_delay, attempt(nest.set, min_delay=0.05, max_delay=5.0))
    nest.ResetKernel()
    nest.set(resolution=0.5, min_delay=2.0, max_delay=8.0)
    n = nest.Create("parrot_neuron", 2)
    show(nest.min_delay, nest.max_delay, *(attempt(nest.Connect, n, n, "all_to_all", {"delay": d}) for d in (1.5, 8.5)))
    nest.Connect(n[0], n[1], "one_to_one", {"delay": 4.0})
    show(nest.min_delay, nest.max_delay, attempt(nest.set, min_delay=2.0, max_delay=9.0))
    meter, cell = nest.Create("multimeter", 1, {"record_from": ["V_m"]}), nest.Create("eprop_iaf", 1, {"I_e": 300.0})
    nest.Connect(meter, cell, "one_to_one", {"delay": 2.0})
    for _ in range(3):
        nest.Simulate(1.5)
        show(meter.events["times"], meter.n_events)
    show(*(attempt(nest.Connect, n, n, "all_to_all", {"delay": d}) for d in (1.0, 2.0, 8.0, 9.0)))


def windows_are_longer_than_intervals(nest: Any, show: Callable) -> None:
    """By default, where a script sets the interval alone: errors in all steps, and averages over the whole window."""
    name, kept = "eprop_synapse_bsshslm_2020", ("eprop_update_interval", "eprop_learning_window", "data_path")
    nest.set(eprop_update_interval=1000.0)
    nest.set(eprop_learning_window=900.0, data_path="")
    nest.set(resolution=1.0, eprop_update_interval=50.0)
    nest.SetDefaults(name, {"average_gradient": True, "optimizer": {"eta": 0.02}})
    g, p = nest.Create("spike_generator", 2), nest.Create("parrot_neuron", 2)
    g.set([{"spike_times": np.arange(first, 240.0, 5.0)} for first in (5.0, 6.0)])
    n = nest.Create("eprop_iaf_bsshslm_2020", 2, {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "V_th": 0.6, "tau_m": 20.0})
    r = nest.Create("eprop_readout_bsshslm_2020", 1, {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "tau_m": 10.0})
    nest.Connect(g, p, "one_to_one", {"delay": 1.0})
    nest.Connect(p, n, "all_to_all", {"synapse_model": name, "delay": 1.0, "weight": 0.4})
    nest.Connect(n, r, "all_to_all", {"synapse_model": name, "delay": 1.0, "weight": 0.3})
    feedback = {"synapse_model": "eprop_learning_signal_connection_bsshslm_2020", "delay": 1.0, "weight": 0.5}
    nest.Connect(r, n, "all_to_all", feedback)
    meter = nest.Create("multimeter", 1, {"record_from": ["error_signal"], "interval": 10.0})
    nest.Connect(meter, r)
    nest.Simulate(230.0)
    found = nest.GetConnections(synapse_model=name)
    show(events(meter), sorted(zip(found.sources(), found.targets(), found.get("weight"), strict=True)))
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
            g, p = (
                nest.Create("spike_generator", 1, {"spike_times": [5.0, 9.0, 60.0, 61.0, 90.0]}),
                nest.Create("parrot_neuron"),
            )
            cell = {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "V_th": 0.6, "tau_m": 20.0, "c_reg": 0.1, "I_e": 0.02}
            cell |= {"kappa": 0.9, "kappa_reg": 0.9, "eprop_isi_trace_cutoff": cutoff}
            n = nest.Create("eprop_iaf", 2, cell)
            r = nest.Create("eprop_readout", 1, {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "tau_m": 10.0})
            nest.Connect(g, p, "one_to_one", {"delay": 1.0})
            nest.Connect(p, n, "all_to_all", {"synapse_model": "eprop_synapse", "delay": 1.0, "weight": 0.3})
            nest.Connect(n, r, "all_to_all", {"synapse_model": "eprop_synapse", "delay": 1.0, "weight": 0.3})
            feedback = {"synapse_model": "eprop_learning_signal_connection", "delay": 1.0, "weight": 0.5}
            nest.Connect(r, n, "all_to_all", feedback)
            t = nest.Create("step_rate_generator", 1, {"amplitude_times": [1.0], "amplitude_values": [1.0]})
            for port in (1, 2):
                rate = {"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": port}
                nest.Connect(t, r, "all_to_all", rate)
            nest.Simulate(40.0)
            found = nest.GetConnections(p, n)
            show(found.weight)
            found.weight = [0.45, 0.2]
            for ms in (15.0, 60.0):
                nest.Simulate(ms)
                show(found.weight)


def short_term_values(nest: Any, show: Callable) -> None:
    model, keys = "tsodyks2_synapse", ["U", "tau_fac", "tau_rec", "u", "x"]
    show({key: nest.GetDefaults(model)[key] for key in [*keys, "weight", "delay", "synapse_modelid"]})
    for key, value in (("U", 1.1), ("U", -0.1), ("u", 1.2), ("tau_rec", 0.0), ("tau_fac", -1.0), ("tau_psc", 1.0)):
        nest.ResetKernel()
        n = nest.Create("iaf_psc_exp", 2)
        show(attempt(nest.Connect, n, n, "all_to_all", {"synapse_model": model, key: value}))
        show(attempt(nest.SetDefaults, model, {key: value}))
    nest.ResetKernel()
    nest.SetDefaults(model, {"U": 0.2})
    nest.CopyModel(model, "other", {"tau_fac": 50.0})
    show({key: nest.GetDefaults("other")[key] for key in keys})
    n, p, drawn = nest.Create("iaf_psc_exp", 3), nest.Create("parrot_neuron", 3), nest.random.uniform(0.1, 0.9)
    own = dict.fromkeys(("x", "u", "tau_rec", "U", "weight"), drawn) | {"delay": nest.random.uniform(1.0, 3.0)}
    nest.Connect(p, n, "one_to_one", {"synapse_model": "other"} | own)
    nest.Connect(n, p)
    made = nest.GetConnections(synapse_model="other")
    for key in (*keys, "weight"):
        show(made.get(key))
    show(nest.GetConnections(p[0], n).get("U"), sorted(nest.GetConnections().get("U"), key=str))
    made.set(U=0.4)
    made[1:].set([{"x": 0.5, "tau_rec": 10.0}, {"x": 0.6, "tau_rec": 20.0}])
    show(made.U, made.x, made.tau_rec, attempt(made.set, u=1.2), attempt(made.set, tau_fac=-1.0))
    for device in ("spike_generator", "poisson_generator", "dc_generator", "multimeter"):
        show(attempt(nest.Connect, nest.Create(device), n, "all_to_all", model))


def short_term_states_in_slices(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    rng = np.random.default_rng(4)
    g, p, n = nest.Create("spike_generator", 3), nest.Create("parrot_neuron", 3), nest.Create("iaf_psc_exp", 3)
    g.set([{"spike_times": np.sort(rng.choice(np.arange(1.0, 60.0), 20))} for _ in range(3)])
    nest.Connect(g, p, "one_to_one", {"delay": 3.0})
    nest.CopyModel("tsodyks2_synapse", "short", {"tau_rec": 40.0, "U": 0.3, "tau_fac": 30.0})
    delay = rng.integers(3, 9, (3, 3)).astype(float)
    nest.Connect(p, n, "all_to_all", {"synapse_model": "short", "weight": 3000.0, "delay": delay})
    nest.Connect(n, n, "all_to_all", {"synapse_model": "tsodyks2_synapse", "weight": 90.0, "delay": delay})
    more = {"synapse_model": "short", "u": [0.2, 0.3, 0.4], "weight": 600.0, "delay": 4.0}

    def states() -> None:
        made = nest.GetConnections(target=n)
        found = made.get(["source", "target", "u", "x"])
        show(sorted(zip(*found.values(), strict=True)))

    for k, piece in enumerate((5.0, 1.0, 13.0, 1.0, 1.0, 2.0, 20.0)):
        nest.Simulate(piece)
        states()
        if k == 3:
            n = n + nest.Create("iaf_psc_exp", 3)
            nest.Connect(p, n[3:], "one_to_one", more)
    m = nest.Create("multimeter", 1, {"record_from": ["V_m"]})
    nest.Connect(m, n, "all_to_all", {"delay": 3.0})
    nest.Simulate(30.0)
    show(events(m))


SCRIPTS = {name: script for name, script in globals().items() if getattr(script, "__annotations__", {}).get("show")}


if __name__ == "__main__":
    import nest as peer

    with open(sys.argv[1], "w") as file:
        answers = {name: run(script, peer) for name, script in SCRIPTS.items()}
        file.write(
            "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(shown)}" for name, shown in answers.items()) + "\n}\n"
        )

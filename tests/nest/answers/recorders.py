"""Recorders whose windows, origins and intervals change as time goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from asking import INTERVALS, attempt, events, feed_back, learn, meter, rates, recorder

SIGNALS = ("V_m", "readout_signal", "error_signal", "target_signal")


def meter_window_moved_after(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    m = meter(nest, nest.Create("eprop_iaf", 2, {"I_e": 300.0}), start=2.0, stop=5.0)
    nest.Simulate(8.0)
    show(events(m))
    m.set(start=9.0, stop=12.0)
    nest.Simulate(8.0)
    show(events(m))
    show(m.n_events)


def meter_stop_extended_after_gap(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    m = meter(nest, nest.Create("eprop_iaf", 2, {"I_e": 300.0}), stop=3.0)
    nest.Simulate(6.0)
    m.stop = 9.0
    show(events(m))
    nest.Simulate(6.0)
    show(events(m))


def meter_origin_moved(nest: Any, show: Callable) -> None:
    nest.set(resolution=0.5)
    m = meter(nest, nest.Create("eprop_iaf", 1, {"I_e": 300.0}), interval=1.0, start=1.0, stop=3.0)
    for k in range(4):
        nest.Simulate(5.0)
        show(events(m))
        m.origin = 5.0 * (k + 1)


def meter_offset_and_window_moved(nest: Any, show: Callable) -> None:
    nest.set(resolution=0.1)
    m = meter(nest, nest.Create("eprop_iaf", 1, {"I_e": 300.0}), interval=0.7, offset=0.3, stop=3.0)
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
    n, r = nest.Create("eprop_iaf", 2, {"I_e": 500.0, "t_ref": 2.0}), nest.Create("eprop_readout", 1)
    m = meter(nest, r, *SIGNALS, stop=30.0)
    learn(nest, n, r, 100.0)
    feed_back(nest, r, n, 1.0)
    nest.Simulate(40.0)
    show(events(m))
    m.set(start=45.0, stop=60.0)
    nest.Simulate(40.0)
    show(events(m))


def meter_window_readout_bsshslm(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0, eprop_update_interval=20.0, eprop_learning_window=20.0)
    n = nest.Create("eprop_iaf_bsshslm_2020", 2, {"I_e": 800.0})
    r = nest.Create("eprop_readout_bsshslm_2020", 1)
    m = meter(nest, r, *SIGNALS, stop=30.0)
    m2 = meter(nest, n, "V_m", "learning_signal", "surrogate_gradient", stop=30.0)
    learn(nest, n, r, 100.0, INTERVALS)
    feed_back(nest, r, n, 1.0, INTERVALS)
    nest.Simulate(41.0)
    show(events(m))
    show(events(m2))
    m.set(start=40.0, stop=60.0)
    m2.set(start=39.0, stop=53.0)
    nest.Simulate(40.0)
    show(events(m))
    show(events(m2))


def no_indegree_signals_interval(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0, eprop_update_interval=20.0, eprop_learning_window=20.0)
    n = nest.Create("eprop_iaf_bsshslm_2020", 2, {"I_e": 800.0})
    r = nest.Create("eprop_readout_bsshslm_2020", 1)
    m = meter(nest, n, "V_m", "learning_signal", "surrogate_gradient", stop=30.0)
    learn(nest, n, r, 100.0, INTERVALS)
    feed_back(nest, r, n, 1.0, INTERVALS)
    learn(nest, n[:1], n[1:], 1.0, INTERVALS)
    nest.Simulate(41.0)
    show(events(m))


def spike_recorder_window_moved(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    s = recorder(nest, nest.Create("eprop_iaf", 2, {"I_e": 800.0}), stop=30.0)
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
    nest.Connect(g, p)
    s = recorder(nest, p, stop=2.0)
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
    for name, of in (("watched", both), ("alone", one)):
        nest.CopyModel("eprop_synapse", name, {"weight_recorder": of, "optimizer": {"eta": 0.1}})
    n = nest.Create("eprop_iaf", 2, {"I_e": 800.0})
    out = nest.Create("eprop_readout", 1)
    learn(nest, n, n, 2.0, synapse_model="watched")
    learn(nest, n[0], out, 3.0, synapse_model="alone")
    feed_back(nest, out, n, 10.0)
    for port in (1, 2):
        rates(nest, out, port, [1.0], [1.0])
    nest.Simulate(26.0)
    show(events(both))
    show(events(one))


def recorder_set_in_prepare(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    s = recorder(nest, nest.Create("eprop_iaf", 2, {"I_e": 800.0}))
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
    m = meter(nest, n[:2])
    nest.Simulate(4.0)
    nest.Connect(m, n[2:])
    nest.Simulate(4.0)
    show(events(m))


def set_same_value_late(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    m = meter(nest, nest.Create("eprop_iaf", 1, {"I_e": 300.0}))
    nest.Simulate(4.0)
    for late in ({"interval": 1.0}, {"record_from": ["V_m"]}, {"start": 1.5}, {"start": -1.0}, {"stop": 0.0}):
        show(attempt(m.set, late))
    show(m.stop)
    nest.Simulate(2.0)
    show(events(m))


def meters_two_intervals(nest: Any, show: Callable) -> None:
    nest.resolution = 0.5
    n = nest.Create("eprop_iaf_adapt", 2, {"I_e": [900.0, 400.0], "adapt_beta": 0.1})
    m = nest.Create("multimeter", 2, {"record_from": ["V_m", "adaptation", "V_th_adapt"]})
    m.interval = 0.5
    m[1].interval = 1.5
    nest.Connect(m, n)
    nest.Simulate(12.0)
    show(events(m[0]))
    show(events(m[1]))
    show(m.n_events)
    show(len(m.events))
    show(m.get("events", "V_m")[1])


def inputs_on_their_way_when_intervals_end(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0, eprop_update_interval=10.0, eprop_learning_window=10.0)
    g = nest.Create("spike_generator", 1, {"spike_times": np.arange(1.0, 40.0)})
    p, n = nest.Create("parrot_neuron"), nest.Create("eprop_iaf_bsshslm_2020", 2)
    nest.Connect(g, p, "one_to_one", {"delay": 1.0})
    nest.Connect(p, n, "all_to_all", {"weight": [[2.0], [3.0]], "delay": [[3.0], [5.0]]})
    nest.Connect(g, n, "all_to_all", {"weight": 1.0, "delay": 2.0})
    m, s = meter(nest, n[1]), recorder(nest, n)
    for ms in (11.0, 13.0, 17.0):
        nest.Simulate(ms)
    show(m.events["V_m"], events(s))

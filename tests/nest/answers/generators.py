"""Generators whose windows, origins and tables change as time goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asking import INTERVALS, attempt, events, feed_back, learn, meter, rate, rates, recorder

SIGNALS = ("error_signal", "readout_signal", "target_signal")


def stop_below_start_late(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    s = nest.Create("spike_recorder", 1, {"start": 5.0})
    show(attempt(s.set, {"stop": 3.0}))
    show(s.get(["start", "stop"]))
    window = {"start": 4.0, "stop": 8.0, "origin": 2.0}
    g = nest.Create("spike_generator", 1, window | {"spike_times": [5.0, 6.0, 7.0, 9.0, 10.0, 11.0]})
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
    _late_rates(nest, show, {"I_e": 500.0}, "")


def rate_generator_late_interval(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0, eprop_update_interval=20.0, eprop_learning_window=20.0)
    _late_rates(nest, show, {"I_e": 800.0}, INTERVALS)


def _late_rates(nest: Any, tell: Callable, current: dict, suffix: str) -> None:
    n, r = nest.Create("eprop_iaf" + suffix, 2, current), nest.Create("eprop_readout" + suffix, 2)
    learn(nest, n, r, 100.0, suffix)
    feed_back(nest, r, n, 1.0, suffix)
    m = meter(nest, r, *SIGNALS)
    nest.Simulate(40.0)
    tables = [([45.0, 60.0], [3.0, 5.0]), ([42.0, 50.0], [1.0, 2.0])]
    tables = [{"amplitude_times": times, "amplitude_values": values} for times, values in tables]
    rate(nest, nest.Create("step_rate_generator", 2, tables), r, 2, "one_to_one")
    if not suffix:
        rates(nest, r, 1, [41.0], [1.0])
    nest.Simulate(40.0)
    tell(events(m))
    tell(nest.GetConnections(n, r).weight)


def rate_generator_late_replaces(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    nest.Create("eprop_iaf", 2, {"I_e": 500.0})
    r = nest.Create("eprop_readout", 1)
    rates(nest, r, 2, [5.0], [3.0])
    rates(nest, r, 1, [1.0], [1.0])
    m = meter(nest, r, *SIGNALS)
    nest.Simulate(10.0)
    rates(nest, r, 2, [15.0], [7.0])
    nest.Simulate(10.0)
    show(events(m))


def step_current_origin(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    n = nest.Create("eprop_iaf", 1)
    table = {"amplitude_times": [1.0, 4.0, 9.0], "amplitude_values": [100.0, 50.0, 70.0]}
    nest.Connect(nest.Create("step_current_generator", 1, table | {"origin": 3.0, "start": 1.0, "stop": 8.0}), n)
    m = meter(nest, n)
    nest.Simulate(15.0)
    show(events(m))


def spike_generator_origin_more(nest: Any, show: Callable) -> None:
    nest.set(resolution=0.5)
    s = nest.Create("spike_recorder")
    spikes = {"spike_times": [0.5, 1.0, 1.5, 2.0, 6.5, 7.0, 7.5], "spike_multiplicities": [1, 1, 2, 1, 1, 3, 1]}
    g = nest.Create("spike_generator", 1, {"origin": 2.0, "start": 1.0, "stop": 7.0} | spikes)
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
    s = recorder(nest, g)
    nest.Simulate(10.0)
    show(events(s))


def step_rate_window_late(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    r = nest.Create("eprop_readout")
    g = rates(nest, r, 2, [1.0, 4.0, 8.0], [3.0, 5.0, 7.0], start=2.0, stop=9.0)
    rates(nest, r, 1, [1.0], [1.0], stop=30.0)
    m = meter(nest, r, "target_signal", "error_signal")
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
    rates(nest, r, 2, [1.0, 4.0, 8.0, 12.0], [3.0, 5.0, 7.0, 1.0], start=5.0, stop=9.0)
    m = meter(nest, r, "target_signal", "error_signal")
    nest.Simulate(30.0)
    show(events(m))


def _relayed(nest: Any, generator: str, table: dict) -> Any:
    """A recorder of what a parrot neuron repeats of a generator."""
    g, p = nest.Create(generator, 1, table), nest.Create("parrot_neuron")
    nest.Connect(g, p)
    return recorder(nest, p)


def inhomogeneous_poisson_start(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    windows = [
        {},
        {"origin": 3.0},
        *({"start": start} for start in (1.0, 4.0, 5.0, 6.0)),
        {"stop": 7.0},
        {"stop": 10.0},
    ]
    windows += [{"origin": 2.0, "stop": 6.0}, {"origin": 3.0, "start": 2.0}]
    watched = []
    for times in ([5.0, 10.0], [1.0, 10.0], [3.0, 6.0]):
        for window in windows:
            table = {"rate_times": times, "rate_values": [1000000.0, 0.0]} | window
            watched.append((times, window, _relayed(nest, "inhomogeneous_poisson_generator", table)))
    nest.Simulate(40.0)
    for times, window, s in watched:
        show(times, window, sorted(set(s.events["times"].tolist())))


def poisson_start(nest: Any, show: Callable) -> None:
    nest.resolution = 1.0
    windows = ({}, {"start": 1.0}, {"stop": 4.0}, {"origin": 2.0})
    watched = [_relayed(nest, "poisson_generator", {"rate": 1000000.0, **window}) for window in windows]
    nest.Simulate(8.0)
    for s in watched:
        show(sorted(set(s.events["times"].tolist())))


def rate_bounds(nest: Any, show: Callable) -> None:
    nest.set(resolution=1.0)
    windows = [(0.0, 8.0), (0.0, 9.0), (0.0, 7.0), (4.0, 4.0), (4.0, 5.0), (3.0, 5.0), (5.0, 9.0)]
    readouts = []
    for start, stop, origin in [*((*window, 0.0) for window in windows), (1.0, 6.0, 2.0), (0.0, 1000000000.0, 3.0)]:
        readouts.append(nest.Create("eprop_readout"))
        rates(nest, readouts[-1], 2, [1.0, 4.0, 8.0], [3.0, 5.0, 7.0], start=start, stop=stop, origin=origin)
    g = nest.Create("step_rate_generator", 1, {"amplitude_times": [1.0], "amplitude_values": [1.0]})
    meters = []
    for r in readouts:
        rate(nest, g, r, 1)
        meters.append(meter(nest, r, "target_signal"))
    nest.Simulate(14.0)
    for m in meters:
        show(m.events["target_signal"])

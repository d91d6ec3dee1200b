"""What connects, what is refused, and what is found of it; nodes that are found; the kernel in parts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from asking import attempt, recorder, synapses


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
    none = nest.GetConnections(synapse_model="eprop_synapse")
    show(str(none))
    show(a.get(["weight"]), a.get("weight"), none.get("weight"), none.get())


def synapse_lists(nest: Any, show: Callable) -> None:
    n = nest.Create("eprop_iaf", 2)
    m = nest.Create("eprop_iaf", 3)
    pairs, two = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], {"rule": "fixed_outdegree", "outdegree": 2}
    nest.Connect(n, m, "all_to_all", {"weight": pairs, "delay": pairs})
    show(synapses(nest, "weight", "delay"))
    for post, rule, table in (
        (m, "all_to_all", {"weight": [[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]}),
        (m, "all_to_all", {"weight": [1.0, 2.0]}),
        (n, "one_to_one", {"weight": [1.0, 2.0, 3.0]}),
        (n, "one_to_one", {"weight": [1, 2]}),
        (n, "one_to_one", {"weight": (1.0, 2.0), "delay": np.array([1.0, 1.5])}),
        (m, {"rule": "fixed_indegree", "indegree": 2}, {"weight": pairs}),
        (m, two, {"weight": pairs[:2]}),
        (m, {"rule": "fixed_total_number", "N": 2}, {"weight": [7.0, 8.0]}),
        (m, {"rule": "pairwise_bernoulli", "p": 1.0}, {"weight": pairs}),
    ):
        show(attempt(nest.Connect, n, post, rule, table))
    show(sorted(nest.GetConnections().weight))


def prepare_run_cleanup(nest: Any, show: Callable) -> None:
    nest.resolution = 1.0
    s = recorder(nest, nest.Create("eprop_iaf", 1, {"I_e": 800.0}))
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
    wanted = [{"model": "parrot_neuron"}, {"V_th": -50.0}, {"element_type": "recorder"}, {"model": "zz"}]
    wanted.append({"element_type": "neuron", "V_th": -55.0})
    show(nest.GetNodes(), *map(nest.GetNodes, wanted))
    show(attempt(nest.GetNodes, {"zz": 3}))
    show(attempt(nest.GetNodes, 5))


def connections_that_are_illegal(nest: Any, show: Callable) -> None:
    kinds = {"n": "eprop_iaf", "p": "parrot_neuron", "r": "eprop_readout", "g": "spike_generator"}
    kinds |= {"b": "eprop_iaf_bsshslm_2020", "x": "step_rate_generator", "d": "dc_generator", "w": "poisson_generator"}
    names = {name: nest.Create(kind) for name, kind in kinds.items()}
    unlike = ("rate_connection_delayed", "r", "r"), ("rate_connection_delayed", "x", "r")  # refused when time goes on
    for model in ("static_synapse", "rate_connection_delayed"):
        synapse = {"synapse_model": model, "delay": nest.resolution}
        for (i, pre), (j, post) in itertools.product(names.items(), names.items()):
            if (model, i, j) not in unlike:
                show(model, i, j, attempt(nest.Connect, pre, post, "all_to_all", synapse))


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

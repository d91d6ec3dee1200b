"""Synapses with short-term plasticity."""

from collections.abc import Callable
from typing import Any

import numpy as np
from asking import attempt, events


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

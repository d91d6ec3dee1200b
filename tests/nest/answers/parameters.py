"""Parameters that are drawn, compared and chosen, of nodes and of connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asking import synapses

ALL = ("weight", "delay", "synapse_model")


def choices(nest: Any, show: Callable) -> None:
    a = nest.random.uniform()
    p = nest.logic.conditional(a < 0.5, 1.0, 2.0)
    show([p.GetValue() for _ in range(6)])
    q = nest.logic.conditional(nest.random.uniform() > 0.3, nest.random.normal(), -5.0)
    for value in (q, nest.logic.conditional(a >= 0.5, a, a * 10.0)):
        show(nest.Create("eprop_iaf", 6, {"V_m": value}).V_m)


def comparison_parameters(nest: Any, show: Callable) -> None:
    a = nest.random.uniform()
    show(type(a < 0.5).__name__ != "bool")
    for value in (
        lambda: (a < 0.5) * 3.0,
        lambda: (a != 0.5) + (a == 0.1) + (a <= 0.4) + (a > 0.7),
        lambda: 1.0 - a,
        lambda: 1.0 / (a + 1.0),
        lambda: a**2,
    ):
        show(nest.Create("eprop_iaf", 6, {"V_m": value()}).V_m)


def conditional_in_weights(nest: Any, show: Callable) -> None:
    nest.set(rng_seed=77)
    n, random = nest.Create("eprop_iaf", 5), nest.random
    weight = nest.logic.conditional(random.uniform() < 0.3, random.uniform(1.0, 2.0), random.uniform(-2.0, -1.0))
    nest.Connect(n, n, "all_to_all", {"weight": weight})
    show(sorted(nest.GetConnections().weight))
    weight = nest.logic.conditional(random.normal() > 0.0, 1.0, random.normal())
    nest.Connect(n, n, {"rule": "fixed_indegree", "indegree": 3}, {"weight": weight})
    show(sorted(nest.GetConnections().weight))


def collocated_random(nest: Any, show: Callable) -> None:
    nest.set(rng_seed=5)
    n, random = nest.Create("eprop_iaf", 6), nest.random
    both = nest.CollocatedSynapses({"weight": random.uniform()}, {"weight": random.normal(), "delay": 2.0})
    nest.Connect(n, n, {"rule": "fixed_indegree", "indegree": 2}, both)
    show(synapses(nest, *ALL))
    second = {"weight": random.normal(), "delay": random.uniform(1.0, 3.0)}
    both = nest.CollocatedSynapses({"weight": random.uniform()}, second)
    nest.Connect(n, n, {"rule": "pairwise_bernoulli", "p": 0.4}, both)
    show(synapses(nest, *ALL))


def collocated_by_other_rules(nest: Any, show: Callable) -> None:
    nest.set(rng_seed=9)
    n, random = nest.Create("eprop_iaf", 6), nest.random
    degrees = {"rule": "fixed_outdegree", "outdegree": 2}
    for rule in (degrees, {"rule": "fixed_total_number", "N": 7}, {"rule": "one_to_one"}):
        both = nest.CollocatedSynapses({"weight": random.uniform()}, {"weight": random.normal(), "delay": 2.0})
        nest.Connect(n, n, rule, both)
        show(synapses(nest, *ALL))


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
        delay = nest.math.redraw(nest.random.normal(2.0, 1.0), 0.5, 3.0)
        nest.Connect(n, n, rule, {"weight": nest.random.normal(1.0, 0.5), "delay": delay})
        show(synapses(nest, "weight", "delay"))


def random_parameters(nest: Any, show: Callable) -> None:
    nest.rng_seed = 5
    lowest = {"V_m": -60.0, "I_e": 1.0, "tau_m": 10.0, "C_m": 100.0, "V_th": -50.0, "E_L": -70.0, "c_reg": 0.1}
    lowest |= {"adapt_beta": 1.0, "adapt_tau": 10.0, "surrogate_gradient_height": 0.1, "surrogate_gradient_width": 0.5}
    kinds = ("iaf", "iaf_adapt", "iaf_psc_delta_adapt", "iaf_adapt_bsshslm_2020", "readout")
    for kind in (f"eprop_{name}" for name in kinds):
        keys = [key for key in lowest if key in nest.GetDefaults(kind)]
        made = nest.Create(kind, 3, {key: nest.random.uniform(lowest[key], lowest[key] + 1.0) for key in keys})
        show(kind, made.get(keys))


def random_parameters_on_processes(nest: Any, show: Callable) -> None:
    nest.set(rng_seed=5, total_num_virtual_procs=2)
    n = nest.Create(
        "eprop_iaf", 5, {"V_m": nest.random.normal(-60.0, 1.0), "tau_m": nest.random.lognormal(2.0, 0.2), "I_e": 3.0}
    )
    show(n.V_m, n.tau_m)
    n.set({"V_m": nest.random.uniform(), "C_m": nest.random.uniform(1.0, 2.0)})
    show(n.V_m, n.C_m)


def defaults_of_neurons(nest: Any, show: Callable) -> None:
    learning = "c_reg f_target kappa kappa_reg eprop_isi_trace_cutoff surrogate_gradient_height".split()
    not_shown = {*learning, "surrogate_gradient_width", "flush_event_send_interval"}  # NEST has them of e-prop alone
    not_shown |= {
        *nest.GetDefaults("parrot_neuron"),
        "ASCurrents",
        "has_connections",
        "threshold_spike",
        "threshold_voltage",
        "recordables",
    }
    for kind in ("iaf_psc_exp", "iaf_psc_delta", "izhikevich", "glif_psc"):
        shown = nest.GetDefaults(kind)
        show(kind, {key: shown[key] for key in sorted(shown.keys() - not_shown)})

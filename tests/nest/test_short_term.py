"""NEST's `tsodyks2_synapse` under `pareprop nest`: as in NEST, alone and beside synapses that learn."""

from pathlib import Path

import numpy as np
import pytest
from tutorials import assert_same, run

import pareprop.nest as nest

SCRIPT = """
import nest, numpy as np
nest.verbosity = nest.VerbosityLevel.FATAL
nest.ResetKernel()
nest.set(resolution={dt})
rng = np.random.default_rng(8)
generators, parrots = nest.Create("spike_generator", 6), nest.Create("parrot_neuron", 6)
generators.set([{{"spike_times": np.sort(rng.choice(np.arange(2, round(300 / {dt})), 50)) * {dt}}} for _ in range(6)])
plain = nest.Create("iaf_psc_exp", 6, {{"I_e": 320.0}})
neurons = nest.Create("eprop_iaf", 5, {{"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "V_th": 0.6, "c_reg": 1.0}})
readouts = nest.Create("eprop_readout", 2, {{"C_m": 1.0}})
nest.SetDefaults("eprop_synapse", {{"optimizer": {{"eta": 1e-2, "optimize_each_step": False}}}})
learning = {{"synapse_model": "eprop_synapse", "delay": {dt}}}
nest.SetDefaults("tsodyks2_synapse", {{"U": 0.3, "tau_rec": 120.0}})
nest.CopyModel("tsodyks2_synapse", "facilitating", {{"U": 0.1, "tau_fac": 200.0, "x": 0.9}})
short, up = ({{"synapse_model": name, "delay": 2 * {dt}}} for name in ("tsodyks2_synapse", "facilitating"))
others, delays = {{"rule": "all_to_all", "allow_autapses": False}}, {dt} * rng.integers(2, 9, (6, 6))
nest.Connect(generators, parrots, "one_to_one", {{"delay": 2 * {dt}}})
nest.Connect(parrots, plain, "all_to_all", short | {{"weight": rng.normal(300.0, 100.0, (6, 6)), "delay": delays}})
of_source = dict(zip(("U", "u", "tau_rec", "tau_fac"), rng.uniform(0.2, 0.8, (4, 1, 6)).repeat(6, axis=1)))
nest.Connect(plain, plain, others, up | of_source | {{"weight": rng.normal(0.0, 300.0, (6, 6)), "delay": delays}})
nest.Connect(plain, neurons, "all_to_all", up | {{"weight": rng.normal(0.5, 0.3, (5, 6)), "delay": {dt}}})
nest.Connect(parrots, neurons, "all_to_all", learning | {{"weight": 0.2}})
nest.Connect(neurons, neurons, others, learning | {{"weight": rng.normal(0.0, 0.3, (5, 5))}})
nest.Connect(neurons, neurons, others, short | {{"weight": rng.normal(0.0, 0.3, (5, 5))}})
nest.Connect(neurons, readouts, "all_to_all", learning | {{"weight": rng.normal(0.0, 0.3, (2, 5))}})
nest.Connect(neurons, readouts, "all_to_all", short | {{"weight": rng.normal(0.0, 0.3, (2, 5)), "delay": {dt}}})
signal = {{"synapse_model": "eprop_learning_signal_connection", "delay": {dt}}}
nest.Connect(readouts, neurons, "all_to_all", signal | {{"weight": rng.normal(0.0, 1.0, (5, 2))}})
window = nest.Create("step_rate_generator", 1, {{"amplitude_times": [5.0], "amplitude_values": [1.0]}})
rate = {{"synapse_model": "rate_connection_delayed", "receptor_type": 1, "delay": {dt}}}
nest.Connect(window, readouts, "all_to_all", rate)
mm = nest.Create("multimeter", {{"interval": {dt}, "record_from": ["V_m"]}})
sr = nest.Create("spike_recorder")
nest.Connect(mm, plain + neurons + readouts, "all_to_all", {{"delay": {dt}}})
nest.Connect(plain + neurons, sr, "all_to_all", {{"delay": {dt}}})

def read():
    found = []
    for model in ("tsodyks2_synapse", "facilitating"):
        of = nest.GetConnections(synapse_model=model).get(["source", "target", "U", "tau_rec", "tau_fac", "u", "x"])
        order = np.lexsort((of["target"], of["source"]))
        found.append(np.stack([np.array(column, float)[order] for column in of.values()], axis=1))
    return np.concatenate(found)

shown = [read()]
for piece in (1.0, 30.0, 2.0, 1.0, 116.0, 149.0, 1.0):
    nest.Simulate(piece)
    shown.append(read())
events_mm, events_sr = mm.get("events"), sr.get("events")
weights = nest.GetConnections(parrots, neurons, "eprop_synapse").get(["source", "target", "weight"])
weights = np.array(weights["weight"])[np.lexsort((weights["target"], weights["source"]))]
weights_post_train = {{"learned": {{"weight_matrix": weights}}, "states": {{"weight_matrix": np.array(shown)}}}}
"""


@pytest.mark.peer
@pytest.mark.parametrize("dt", [1.0, 0.5])
def test_as_in_nest(tmp_path: Path, dt: float) -> None:
    """Voltages, spikes, learned weights, and x and u of all synapses after each piece of time."""
    code = SCRIPT.format(dt=dt)
    options = ("--nest-losses",)  # for what NEST's `f_target` means at dt = 0.5 ms
    ours, peer = run(code, tmp_path, options=options), run(code, tmp_path, peer=True)
    assert_same(ours, peer, others=1e-10, weights=1e-10)
    assert len(np.unique(peer["events_sr/senders"])) > 8 and np.ptp(peer["weight_learned"]) > 1e-3
    assert np.ptp(peer["weight_states"][-1][:, -1]) > 0.1


@pytest.mark.slow
def test_the_same_on_two_ranks(tmp_path: Path) -> None:
    found = [run(SCRIPT.format(dt=1.0), tmp_path, ranks=n) for n in (1, 2)]
    for one, two in zip(found[0].items(), found[1].items(), strict=True):
        assert one[0] == two[0] == "told" or np.array_equal(one[1], two[1]), one[0]


def differing() -> None:
    nest.Connect(*make(), "all_to_all", {"synapse_model": MODEL, "U": [[0.2, 0.2], [0.2, 0.3], [0.2, 0.2]]})
    nest.Simulate(1.0)


def drawn() -> None:
    nest.Connect(*make(), "all_to_all", {"synapse_model": MODEL, "tau_rec": nest.random.uniform(50.0, 60.0)})
    nest.Simulate(1.0)


def in_intervals() -> None:
    nest.Connect(make()[0], nest.Create("eprop_iaf_bsshslm_2020"), syn_spec=MODEL)
    nest.Simulate(1.0)


def later() -> None:
    nest.Connect(*make(), syn_spec=MODEL)
    nest.Simulate(1.0)
    nest.GetConnections().set(x=0.5)


def watched() -> None:
    nest.CopyModel(MODEL, "watched", {"weight_recorder": nest.Create("weight_recorder")})


MODEL = "tsodyks2_synapse"
REFUSED = {
    "node 2\\) that differ in U: give them the same, or connect them by several models": differing,
    "node 1\\) that differ in tau_rec": drawn,
    "tsodyks2_synapse in the interval variant": in_intervals,
    "another x of connections after the first step": later,
    "a weight_recorder of watched": watched,
    "onto parrot neurons and recorders": lambda: nest.Connect(*make()[::-1], syn_spec=MODEL),
    "tsodyks2_synapse: U = 0 must be above 0": lambda: nest.SetDefaults(MODEL, {"U": 0.0}),
    "tsodyks2_synapse: x = 1.5 must not exceed 1": lambda: nest.Connect(
        *make(), "all_to_all", {"synapse_model": MODEL, "x": 1.5}
    ),
    "stdp_synapse": lambda: nest.Connect(*make(), syn_spec="stdp_synapse"),
    "'tsodyks_synapse'": lambda: nest.SetDefaults("tsodyks_synapse", {"U": 0.2}),
}


def make() -> tuple:
    return nest.Create("parrot_neuron", 2), nest.Create("iaf_psc_exp", 3)


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_refused(message: str) -> None:
    nest.ResetKernel()
    with pytest.raises(nest.NESTError, match=message) as problem:
        REFUSED[message]()
    assert "\n" not in str(problem.value)


def test_values_by_source_go_to_the_sources() -> None:
    """Silent sources, and such without connections, do not matter."""
    nest.ResetKernel()
    pre, post = make()
    nest.Connect(pre[1:], post, "all_to_all", {"synapse_model": MODEL, "U": np.full((3, 1), 0.2), "u": 0.2})
    nest.Connect(pre, post[:1], "all_to_all", {"synapse_model": MODEL, "U": [[0.7, 0.2]], "u": [[0.7, 0.2]]})
    nest.Simulate(1.0)
    (span,) = [span for table in nest.kernel.kernel.clock.network.list_tables().values() for span in table.spans]
    assert span.projection.transmission.U.tolist() == [0.7, 0.2] and span.projection.transmission.tau_rec == 800.0

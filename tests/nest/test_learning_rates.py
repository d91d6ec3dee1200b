"""A learning rate that changes between update intervals acts on each synapse when it does in NEST.

NEST's synapses take another rate with the update that a spike brings, for the update after it. A spike that was sent
before the script changed the rate may arrive behind it.
"""

from pathlib import Path

import numpy as np
import pytest
from tutorials import assert_same, find_shipped, run

pytestmark = pytest.mark.peer

SCRIPT = """
import nest, numpy as np
nest.verbosity = nest.VerbosityLevel.FATAL
T, suffix = 20, "{suffix}"
plastic = "eprop_synapse" + suffix
weights_post_train = {{}}
for batch, change in {cases}:
    nest.ResetKernel()
    nest.set(resolution=1.0, eprop_update_interval=1.0 * T, eprop_learning_window=1.0 * T)
    rng = np.random.default_rng(7)
    generators, parrots = nest.Create("spike_generator", 12), nest.Create("parrot_neuron", 12)
    values = {{"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "V_th": 0.6, "tau_m": 20.0, "t_ref": 0.0}}
    neurons = nest.Create("eprop_iaf" + suffix, 4, values | {{"c_reg": 3.0 if suffix else 0.01}})
    readouts = nest.Create("eprop_readout" + suffix, 2, {{"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "tau_m": 15.0}})
    synapse = {{"synapse_model": plastic, "delay": 1.0}} | ({{"tau_m_readout": 15.0}} if suffix else {{}})
    optimizer = {{"batch_size": batch, "eta": 1e-3}} if suffix else {{"optimize_each_step": False, "eta": 1e-5}}
    nest.SetDefaults(plastic, {{"optimizer": optimizer}})
    nest.Connect(generators, parrots, "one_to_one", {{"delay": 1.0}})
    nest.Connect(parrots, neurons, "all_to_all", synapse | {{"weight": rng.normal(0.3, 0.4, (4, 12))}})
    nest.Connect(neurons, neurons, {{"rule": "all_to_all", "allow_autapses": False}},
                 synapse | {{"weight": rng.normal(0, 0.3, (4, 4))}})
    nest.Connect(neurons, readouts, "all_to_all", synapse | {{"weight": rng.normal(0, 0.3, (2, 4))}})
    nest.Connect(readouts, neurons, "all_to_all", {{"delay": 1.0, "weight": rng.normal(0, 1.0, (4, 2)),
                 "synapse_model": "eprop_learning_signal_connection" + suffix}})
    rate = {{"delay": 1.0, "synapse_model": "rate_connection_delayed"}}
    targets = nest.Create("step_rate_generator", 2)
    times = np.arange(1.0, 400.0, 7.0)
    targets.set([{{"amplitude_times": times, "amplitude_values": rng.normal(size=len(times))}} for _ in range(2)])
    nest.Connect(targets, readouts, "one_to_one", rate | {{"receptor_type": 2}})
    if not suffix:
        window = nest.Create("step_rate_generator", 1, {{"amplitude_times": [2.0], "amplitude_values": [1.0]}})
        nest.Connect(window, readouts, "all_to_all", rate | {{"receptor_type": 1}})
    at = change * T
    free = [s for s in range(3, 300) if s % T > 2 and not at - T + 4 < s < at + 6]
    trains = []
    for k in range(12):  # a few intervals with spikes, and one spike around the change
        trains.append(sorted({{*rng.choice(free, 9, replace=False).tolist(), at - 4 + k % 9}} - {{at + 1}}))
    generators.set([{{"spike_times": np.array(train, float)}} for train in trains])
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    end = at + 4 * T + 2 * batch * T
    forced = nest.Create("spike_generator", 1, {{"spike_times": [end + 10.0]}})
    nest.Connect(forced, parrots + neurons, "all_to_all", {{"weight": 1000.0, "delay": 1.0}})
    nest.Simulate(1.0 * at)
    nest.SetDefaults(plastic, {{"optimizer": {{"eta": 3e-2 if suffix else 1e-4 * change}}}})
    nest.Simulate(4.0 * T)
    nest.SetDefaults(plastic, {{"optimizer": {{"eta": 0.0}}}})
    nest.Simulate(2.0 * batch * T + 15.0)
    name = f"{{batch}} {{change}}"
    globals()["events_sr_" + name] = recorder.get("events")
    for pre, post in ((parrots, neurons), (neurons, neurons), (neurons, readouts)):
        found = nest.GetConnections(pre, post).get(["source", "target", "weight"])
        matrix = np.zeros((40, 40))
        matrix[found["source"], found["target"]] = found["weight"]
        weights_post_train[f"{{name}} {{pre[0].global_id}} {{post[0].global_id}}"] = {{"weight_matrix": matrix}}
"""
CASES = {"_bsshslm_2020": ((1, 3), (1, 4), (2, 4), (2, 6), (3, 3), (3, 6), (4, 4)), "": ((1, 3), (1, 4), (1, 5))}


@pytest.mark.parametrize("suffix", CASES)
def test_rates_act_when_they_do_in_nest(suffix: str, tmp_path: Path) -> None:
    find_shipped("nest/__init__.py")
    code = SCRIPT.format(suffix=suffix, cases=CASES[suffix])
    ours, peer = run(code, tmp_path, options=("--nest-losses",)), run(code, tmp_path, peer=True)
    assert len(peer) == 5 * len(CASES[suffix])
    assert_same(ours, peer)
    assert all(np.any(peer[key]) for key in peer)

"""NEST's neurons without e-prop beside those of e-prop: as in NEST; and they learn where NEST has no synapses."""

import re
from pathlib import Path

import numpy as np
import pytest
from tutorials import assert_same, run

SCRIPT = """
import nest, numpy as np
nest.verbosity = nest.VerbosityLevel.FATAL
nest.ResetKernel()
nest.set(resolution={dt})
rng = np.random.default_rng(5)
generator, parrots = nest.Create("spike_generator", 6), nest.Create("parrot_neuron", 6)
free = np.arange(2, round(200 / {dt}))
generator.set([{{"spike_times": np.sort(rng.choice(free, 40, replace=False)) * {dt}}} for _ in range(6)])
plain = nest.Create("{model}", 5, {params})
neurons = nest.Create("eprop_iaf_psc_delta", 4, {{"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "V_th": 0.6, "V_reset": 0.0}})
readouts = nest.Create("eprop_readout", 1, {{"C_m": 1.0}})
nest.SetDefaults("eprop_synapse", {{"optimizer": {{"eta": 1e-2, "optimize_each_step": False, "Wmax": 1e3}}}})
synapse, delay = {{"synapse_model": "eprop_synapse", "delay": {dt}}}, {{"delay": {dt}}}
receptor = [{receptors}]
nest.Connect(generator, parrots, "one_to_one", delay)
for k, more in enumerate(receptor):
    nest.Connect(parrots, plain, "all_to_all", delay | more | {{"weight": {scale} * rng.normal(0.5, 0.8, (5, 6))}})
    nest.Connect(plain, plain, {{"rule": "all_to_all", "allow_autapses": False}},
                 more | {{"delay": 3 * {dt}, "weight": {scale} * rng.normal(0.0, 0.3, (5, 5))}})
nest.Connect(plain, neurons, "all_to_all", synapse | {{"weight": rng.normal(0.3, 0.3, (4, 5))}})
nest.Connect(neurons, readouts, "all_to_all", synapse | {{"weight": rng.normal(0, 0.3, (1, 4))}})
nest.Connect(readouts, neurons, "all_to_all",
             delay | {{"weight": 1.0, "synapse_model": "eprop_learning_signal_connection"}})
window = nest.Create("step_rate_generator", 1, {{"amplitude_times": [5.0], "amplitude_values": [1.0]}})
nest.Connect(window, readouts, "all_to_all", delay | {{"synapse_model": "rate_connection_delayed", "receptor_type": 1}})
mm = nest.Create("multimeter", {{"interval": {dt}, "record_from": ["V_m"]}})
sr = nest.Create("spike_recorder")
nest.Connect(mm, plain, "all_to_all", delay)
nest.Connect(plain + neurons, sr, "all_to_all", delay)
{extra}
for piece in (1.0, 20.0, 100.0, 79.0):
    nest.Simulate(piece)
events_mm, events_sr = mm.get("events"), sr.get("events")
read = nest.GetConnections(plain, neurons).get(["source", "target", "weight"])  # NEST has them in another order
read = np.array(read["weight"])[np.lexsort((read["target"], read["source"]))]
weights_post_train = {{"read": {{"weight_matrix": read}}}}
{more}
"""
DC = "nest.Connect(nest.Create('dc_generator', 1, {'amplitude': %g}), plain, 'all_to_all', delay)"
GLIF = {"tau_syn": [2.0, 4.0], "after_spike_currents": True, "asc_amps": [-5.0, -30.0]}
GLIF5 = GLIF | {"spike_dependent_threshold": True, "adapting_threshold": True, "tau_syn": [2.0, 4.0, 6.0]}
KINDS = {  # model: parameters, receptors, scale of the weights, current
    "iaf_psc_exp": ({"tau_syn_in": 5.0, "I_e": 300.0}, "{}", 400.0, 50.0),
    "iaf_psc_alpha": ({"tau_syn_in": 5.0, "I_e": 300.0}, "{}", 250.0, 50.0),
    "iaf_psc_delta": ({"I_e": 300.0, "V_reset": -68.0}, "{}", 6.0, 20.0),
    "izhikevich": ({"I_e": 3.0}, "{}", 8.0, 2.0),
    "glif_psc": (GLIF, "{'receptor_type': 1}, {'receptor_type': 2}", 60.0, 200.0),
    "glif_psc, level 5": (GLIF5, "{'receptor_type': 3}, {'receptor_type': 2}", 60.0, 200.0),
}
LEARN = """
nest.Connect(parrots, plain, "all_to_all", synapse | receptor[0] | {"weight": %g})
nest.Connect(plain, readouts, "all_to_all", synapse | {"weight": 0.1})
nest.Connect(readouts, plain, "all_to_all",
             delay | {"weight": 1.0, "synapse_model": "eprop_learning_signal_connection"})
"""
LEARNED = """
learned = nest.GetConnections(parrots, plain, "eprop_synapse").get("weight")
weights_post_train["learned"] = {"weight_matrix": np.array(learned)}
"""


def script(name: str, dt: float = 1.0, learn: bool = False) -> str:
    params, receptors, scale, current = KINDS[name]
    extra = DC % current + (LEARN % (scale / 2) if learn else "")
    values = {"params": params, "receptors": receptors, "scale": scale, "dt": dt, "extra": extra}
    return SCRIPT.format(model=name.split(",", maxsplit=1)[0], more=LEARNED if learn else "", **values)


@pytest.mark.peer
@pytest.mark.parametrize("dt", [1.0, 0.5])
@pytest.mark.parametrize("name", KINDS)
def test_as_in_nest(tmp_path: Path, name: str, dt: float) -> None:
    """Voltages, spikes, and weights of e-prop synapses whose sources are these neurons."""
    ours, peer = (run(script(name, dt), tmp_path, peer=peer) for peer in (False, True))
    assert_same(ours, peer)
    senders = np.unique(peer["events_sr/senders"])
    assert len(peer["events_sr/times"]) > 30 and len(senders) > 5
    assert np.ptp(peer["weight_read"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["iaf_psc_exp", "glif_psc"])
def test_they_learn_where_eprop_synapses_are_connected(tmp_path: Path, name: str) -> None:
    found = [run(script(name, learn=True), tmp_path / str(n), ranks=n) for n in (1, 2)]
    assert found[0]["digest"] == found[1]["digest"]
    scale = KINDS[name][2]
    assert np.all(found[0]["weight_learned"] != scale / 2) and np.ptp(found[0]["weight_learned"]) > 0
    assert re.search(rf"{name}: NEST has no e-prop synapses onto them; here such synapses learn", found[0]["told"])


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("iaf_psc_exp", {"delta": 1.0}, "spikes follow from the voltage alone"),
        ("iaf_psc_exp", {"V_m": -60.0}, "V_m must be E_L"),
        ("izhikevich", {"consistent_integration": False}, "consistent_integration"),
        ("glif_psc", {"adapting_threshold": True}, "levels 1, 3 and 5 alone"),
        ("iaf_psc_exp", {"tau_syn": 1.0}, "tau_syn"),
    ],
)
def test_what_is_refused(name: str, params: dict, message: str) -> None:
    from pareprop.nest import api as nest

    nest.ResetKernel()
    with pytest.raises(Exception, match=message) as problem:
        nest.Create(name, 2, params)
    assert "\n" not in str(problem.value)

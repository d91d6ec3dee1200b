"""Spike variant with rewards: weights that change within episodes, against the slow twin; samples, ranks, faults."""

import networks
import numpy as np
import pytest
import reward_reference
import spike_networks
from corridor import CorridorTask

from pareprop.engines import spike_rules
from pareprop.engines.spike import SpikeSettings
from pareprop.errors import InputError
from pareprop.network.reward import Reward
from pareprop.simulation.loop import Simulation

LOSS = {"gamma": 0.95, "lambda_": 0.9, "c_V": 0.6, "c_H": 0.1}


def random_case(seed: int, models: tuple[str, ...] = ("iaf",), **overrides) -> dict:
    """A case of the spike variant with the readouts of a corridor, without cutoffs."""
    rng = np.random.default_rng(seed)
    d_out, d_fb = (int(x) for x in rng.choice([1, 1, 2, 3], 2))
    kappas = {"kappa": float(rng.choice([0.9, 0.95])), "eprop_isi_trace_cutoff": np.inf}
    kappas["kappa_reg"] = kappas["kappa"]
    groups = [
        spike_networks.group(rng, int(rng.integers(2, 5)), d_out + d_fb - 1, model=model, **kappas, c_reg=0.3)
        for model in models
    ]
    for group in groups:
        group["params"]["tau_m"] = float(rng.choice([10.0, 20.0]))
    n_rec = sum(group["n"] for group in groups)
    optimizer = {"type": "gradient_descent", "eta": 3e-3, "optimize_each_step": False, "Wmin": -100.0, "Wmax": 100.0}
    return spike_networks._weights(rng, CorridorTask.n_inputs, n_rec, 3) | {
        "variant": "spike", "groups": groups, "dt": 1.0, "d_in": rng.integers(1, 4, (n_rec, CorridorTask.n_inputs)),
        "readout": {"C_m": 1.0, "E_L": 0.0, "I_e": 0.0, "tau_m": 12.0, "V_m": 0.0},
        "optimizer": optimizer, "d_rec": rng.integers(1, 4, (n_rec, n_rec)), "d_out": d_out, "d_fb": d_fb,
    } | overrides  # fmt: skip


def simulation(case: dict, task: CorridorTask, loss: dict, round_steps: int = 0) -> Simulation:
    model = networks.model(case)
    model.loss = Reward(**loss)
    return Simulation(model, task, settings=SpikeSettings(task.n_steps, round_steps=round_steps))


def compare(case: dict, n_episodes: int = 12, loss: dict | None = None, **settings) -> Simulation:
    """Run some episodes and compare spikes, actions, values and weights with the twin."""
    task, loss = CorridorTask(**settings), loss or LOSS
    run, happened = simulation(case, task, loss), []
    weights, expected, z = reward_reference.run_online(case, task, loss, n_episodes)
    for index in range(n_episodes):
        start = run.engine.time
        sample = run.episodes.play(index, "train", learn=True)
        run.engine.finish(sample, learn=True)
        rollout, value = sample.rollout, run.engine.evaluation.extra["value"]
        happened += zip([index] * len(value), rollout.actions, rollout.rewards, value, strict=True)
        spikes = np.stack(run.engine.log.spikes(run.engine.n))
        np.testing.assert_array_equal(spikes, np.nonzero(z[start : start + run.engine.n]))
    np.testing.assert_allclose(np.array(happened, float), np.array(expected, float), rtol=0, atol=1e-9)
    assert np.count_nonzero(z) > 50 and len(z) == run.engine.time
    found = spike_networks.shown(run)
    for key, wanted in weights.items():
        np.testing.assert_allclose(found[key], wanted, rtol=0, atol=1e-9, err_msg=key)
        assert np.nanmax(np.abs(wanted - case[f"w_{key}"])) > 1e-4, key
    return run


@pytest.mark.parametrize("sensor_delay", [1, 3])
@pytest.mark.parametrize("seed", range(6))
def test_sums_give_the_weights_of_the_rule(seed: int, sensor_delay: int) -> None:
    run = compare(random_case(seed), sensor_delay=sensor_delay)
    assert spike_networks.modes(run) >= {spike_rules.PREFIX, spike_rules.READOUT}


@pytest.mark.parametrize("seed", range(4))
def test_windows_give_the_weights_of_the_rule(seed: int) -> None:
    run = compare(random_case(seed, ("iaf_adapt", "iaf", "iaf_psc_delta_adapt")))
    assert spike_networks.modes(run) >= {spike_rules.LOOP, spike_rules.READOUT}

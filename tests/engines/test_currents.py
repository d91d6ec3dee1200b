"""Injected currents with delays above one step, within samples, across their ends and in checkpoints.

The slow twin knows delays of one step alone: a current that takes d steps is one injected d - 1 steps later.
"""

from pathlib import Path

import networks
import numpy as np
import pytest
import spike_networks
from reference import run_case

from pareprop.storage import checkpoint_read
from pareprop.storage.checkpoint_observer import Checkpoints

LONG = 70  # more than a sample of either kind


def add_delays(case: dict, delays: np.ndarray) -> tuple[dict, dict]:
    """The case with these delays of the currents, and what the twin makes of currents injected later."""
    rng = np.random.default_rng(7)
    n_steps, n_rec = case["step_currents"].shape
    currents, later = rng.normal(0.02, 0.15, (n_steps, n_rec)), np.zeros((n_steps, n_rec))
    for neuron, delay in enumerate(delays):
        later[delay - 1 :, neuron] = currents[: n_steps - delay + 1, neuron]
    return case | {"step_currents": currents, "d_currents": delays}, run_case(case | {"step_currents": later})


@pytest.mark.parametrize("reset", [False, True])
def test_interval_variant(reset: bool, tmp_path: Path) -> None:
    case = networks.random_case(5, reset=reset, average_gradient=True)
    case["readout"] |= {"loss": "mean_squared_error", "V_min": -1e300}
    n_rec, steps = case["step_currents"].shape[1], case["interval"]
    case, expected = add_delays(case, np.resize([1, 2, 5, LONG], n_rec))
    run = networks.simulation(case, keep_gradients=False)
    run.observers = [Checkpoints(tmp_path, {}, 3, every=2)]
    spikes, signals = [], []
    for index in range(3):
        run.train(index + 1)
        at, ids = run.engine.log.list_spikes(steps)
        spikes.append(np.stack([at + index * steps, ids]))
        signals.append(run.engine.show_signal().copy())
    assert LONG > steps and len(expected["spike_ids"]) > 50
    np.testing.assert_array_equal(np.hstack(spikes), [expected["spike_steps"], expected["spike_ids"]])
    inside = np.arange(3 * steps) % steps >= steps - case["learning_window"]
    np.testing.assert_allclose(np.vstack(signals)[inside], expected["readout_signal"][inside], rtol=1e-10, atol=1e-10)

    again = networks.simulation(case, keep_gradients=False)
    checkpoint_read.load(again, tmp_path, {})
    again.train(3)
    assert again.hexdigest() == run.hexdigest()


@pytest.mark.parametrize("n_steps", [40, 200])
def test_spike_variant(n_steps: int) -> None:
    case = spike_networks.random_case(4)
    n_rec = case["step_currents"].shape[1]
    case, expected = add_delays(case, np.resize([LONG, 1, 3, 2], n_rec))
    found = spike_networks.run_samples(spike_networks.simulation(case, n_steps))
    assert len(expected["spike_ids"]) > 50
    spike_networks.compare(case, found, expected)

"""What NEST loses in the interval variant is lost by synapses with NEST's only delay, one step."""

import numpy as np
import pytest

import pareprop.nest as nest

SUFFIX = "_bsshslm_2020"


def learn(losses: bool, delay: float) -> np.ndarray:
    """Weights from two inputs, one of which spikes in step 1 of each update interval."""
    nest.ResetKernel()
    nest.set(resolution=1.0, eprop_update_interval=20.0, eprop_learning_window=20.0)
    nest.set(eprop_nest_losses=losses, eprop_delays_above_one_step=True)
    generators, parrots = nest.Create("spike_generator", 2), nest.Create("parrot_neuron", 2)
    generators.set([{"spike_times": np.arange(2.0, 90.0, 5.0)}, {"spike_times": np.arange(5.0, 90.0, 5.0)}])
    cell = {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "V_th": 0.6, "tau_m": 20.0}
    neurons = nest.Create("eprop_iaf" + SUFFIX, 2, cell)
    readout = nest.Create("eprop_readout" + SUFFIX, 1, {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "tau_m": 12.0})
    plastic = {"synapse_model": "eprop_synapse" + SUFFIX, "tau_m_readout": 12.0}
    nest.Connect(generators, parrots, "one_to_one", {"delay": 1.0})
    nest.Connect(parrots, neurons, "all_to_all", plastic | {"weight": 0.2, "delay": delay})
    nest.Connect(neurons, readout, "all_to_all", plastic | {"weight": 0.5, "delay": 1.0})
    feedback = {"synapse_model": "eprop_learning_signal_connection" + SUFFIX, "weight": 0.5, "delay": 1.0}
    nest.Connect(readout, neurons, "all_to_all", feedback)
    nest.Simulate(85.0)
    return np.array(nest.GetConnections(parrots, neurons).get("weight"))


@pytest.mark.filterwarnings("ignore::pareprop.nest.errors.NESTWarning")
def test_longer_delays_lose_nothing() -> None:
    np.testing.assert_allclose(learn(True, 3.0), learn(False, 3.0), rtol=0, atol=1e-15)
    lost = np.abs(learn(True, 1.0) - learn(False, 1.0))
    assert np.all(lost[:2] > 1e-5) and np.all(lost[2:] < 1e-6)  # by the source that spikes in step 1; others follow

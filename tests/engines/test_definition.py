"""Each algorithm of e-prop gives what its definition, a rule of the library, gives when it is followed step by step."""

import numpy as np
import pytest
from small import Noise, network

from pareprop.engines.interval import IntervalSettings
from pareprop.engines.spike import SpikeSettings
from pareprop.network.model import Model
from pareprop.network.optimizers import Adam, GradientDescent
from pareprop.network.parameters import Normal, Uniform
from pareprop.simulation.loop import Simulation

STEPS, SAMPLES = 40, 3
DESCENT = GradientDescent(eta=1e-3, normalized=False)
SPIKE = {  # algorithm, neurons and their parameters, optimizer
    "prefix": ("iaf", {}, DESCENT),
    "prefix, two filters": ("iaf", {"kappa_reg": 0.7}, DESCENT),
    "prefix, delta": ("iaf_psc_delta", {}, DESCENT),
    "scan, drawn": ("iaf", {"tau_m": Uniform(low=15.0, high=25.0)}, DESCENT),
    "scan, adaptive": ("iaf_adapt", {"adapt_beta": 0.1, "adapt_tau": 50.0, "kappa_reg": 0.7}, DESCENT),
    "scan, Adam": ("iaf", {}, Adam(eta=1e-3, epsilon=1e-3, normalized=False, optimize_each_step=False)),
    "lines": ("iaf_adapt", {"adapt_beta": 0.1}, Adam(eta=1e-3, epsilon=1e-3, normalized=False)),
    "steps": ("iaf_psc_delta_adapt", {"adapt_beta": 0.1, "kappa_reg": 0.7}, DESCENT),
    "steps, Adam": ("iaf", {}, Adam(eta=1e-3, epsilon=1e-3, normalized=False)),
}
INTERVAL = {
    "equal constants": ("iaf", {}),
    "drawn": ("iaf", {"tau_m": Uniform(low=15.0, high=25.0)}),
    "irregular arrival": ("iaf", {"regular_spike_arrival": False, "V_th": 0.03}),
    "adaptive": ("iaf_adapt", {"adapt_beta": 0.1, "adapt_tau": 50.0}),
}


def build(variant: str, kind: str, cell: dict, optimizer: object, rule: str | None) -> Model:
    """A network whose synapses onto neurons learn by a rule; None: by e-prop's algorithms."""
    cell = {"c_reg": 0.3, "f_target": 50.0} | ({"kappa": 0.9, "kappa_reg": 0.9} if variant == "spike" else {}) | cell
    how = {"weight": Normal(mean=0.1, std=0.3), "delay": (1, 4), "learning_rule": rule}
    return network(variant, kind=kind, cell=cell, into=how, among=how, optimizer=optimizer, seed=5)


def train(model: Model, settings: object) -> dict[str, np.ndarray]:
    """Return the change of the weights by training, by projection."""
    simulation = Simulation(
        model, Noise(lambda draws: draws.normal(0.0, 1.0, (STEPS, 1))), settings=settings, quiet=True
    )
    before = {name: simulation.weights(name)["weight"] for name in ("in->rec", "rec->rec")}
    simulation.train(SAMPLES)
    return {name: simulation.weights(name)["weight"] - old for name, old in before.items()}


def compare(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    for name, change in wanted.items():
        largest = np.abs(change).max()
        assert largest > 1e-6
        np.testing.assert_allclose(found[name], change, rtol=0.0, atol=1e-10 * largest, err_msg=name)


@pytest.mark.parametrize("name", SPIKE)
def test_algorithms_of_the_spike_variant_evaluate_the_definition(name: str) -> None:
    kind, cell, optimizer = SPIKE[name]
    definition = "eprop_iaf_adapt" if "adapt" in kind else "eprop_iaf"
    algorithm = dict.fromkeys(("in->rec", "rec->rec"), name.split(",", maxsplit=1)[0])
    found = train(build("spike", kind, cell, optimizer, None), SpikeSettings(STEPS, algorithms=algorithm))
    compare(found, train(build("spike", kind, cell, optimizer, definition), SpikeSettings(STEPS)))


@pytest.mark.parametrize("name", INTERVAL)
def test_the_backward_sweep_evaluates_the_definition(name: str) -> None:
    kind, cell = INTERVAL[name]
    definition = f"eprop_{kind}_bsshslm_2020"
    found = train(build("interval", kind, cell, DESCENT, None), IntervalSettings(STEPS))
    compare(found, train(build("interval", kind, cell, DESCENT, definition), IntervalSettings(STEPS)))

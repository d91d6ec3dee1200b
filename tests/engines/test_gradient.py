"""The fast gradient, by one backward pass per neuron and O(1) per synaptic event, against
forward traces per synapse."""

import networks
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from params import first
from properties import examples
from reference import run_case

from pareprop.simulation.loop import Simulation

NAMES = ("in", "rec", "out")


def check(case: dict, round_steps: int = 0) -> dict:
    """Train a case in both ways; compare spikes, each interval's raw gradient, losses and final weights."""
    divisor = case["learning_window"] if case["average_gradient"] else 1

    def gradients(run: Simulation, index: int, expected: dict) -> None:
        found = networks.matrices(run, lambda table: run.engine.gradient.arrays[id(table)])
        for name in NAMES:
            wanted = expected[f"g_{name}"][index]
            # relative to the largest: single entries may cancel to nearly nothing
            scale = np.nanmax(np.abs(wanted), initial=0.0)
            np.testing.assert_allclose(found[name] / divisor, wanted, rtol=1e-12, atol=1e-12 * scale, err_msg=name)

    run = networks.simulation(case, round_steps=round_steps)
    expected = networks.compare_interval(case, run, gradients, 1e-11)
    other = networks.simulation(case, round_steps=round_steps, keep_gradients=False)
    other.train(len(case["inputs"]) // case["interval"])
    for name, found in networks.weights(other).items():
        np.testing.assert_allclose(found, expected[f"w_{name}"], rtol=1e-11, atol=1e-11, err_msg=name)
    return expected


@settings(max_examples=examples(100))
@given(seed=st.integers(0, 2**32 - 1), round_steps=st.sampled_from([0, 1]))
def test_random_networks(seed: int, round_steps: int) -> None:
    case = networks.random_case(seed)
    assume(np.all(np.isfinite(run_case(case)["losses"])))  # a softmax that rounds to 0 has no logarithm
    check(case, round_steps)


@pytest.mark.parametrize("kind", first(1, ["adam", "gradient_descent"]))
@pytest.mark.parametrize("feedback", first(1, ["adaptive", "symmetric"]))
def test_feedback_that_changes(feedback: str, kind: str) -> None:
    """The gradients of later intervals hang on feedback weights that followed the readouts, or learned like them."""
    different, optimizer = 0, {"type": kind, "eta": 1e-2}
    for seed in range(10):
        case = networks.random_case(seed, optimizer=optimizer, feedback=feedback)
        found, fixed = check(case), run_case(case | {"feedback": "random"})
        different += not np.array_equal(found["g_rec"][-1], fixed["g_rec"][-1], equal_nan=True)
        batches = case | {"optimizer": optimizer | {"batch_size": 2}}
        run, expected = networks.simulation(batches), run_case(batches)
        run.train(1)
        np.testing.assert_allclose(run.run_sample(2, "train", learn=True)[0], expected["losses"][2], rtol=1e-12)
    assert different >= 5


@pytest.mark.parametrize("loss", ["mean_squared_error", "cross_entropy"])
@pytest.mark.parametrize("regular", [True, False])
@pytest.mark.parametrize("surrogate", networks.ALL_SURROGATES)
def test_every_choice(loss: str, regular: bool, surrogate: str) -> None:
    """Each surrogate, loss and arrival convention in a network of both models that has something to learn."""
    rng = np.random.default_rng(4)
    params = {
        "C_m": 2.0,
        "E_L": 0.0,
        "V_th": 0.5,
        "tau_m": np.linspace(10.0, 30.0, 6),
        "t_ref": 2.0,
        "c_reg": 50.0,
        "surrogate_gradient_function": surrogate,
        "regular_spike_arrival": regular,
        "surrogate_gradient_width": 1.0,
    }
    adaptation = {"adapt_beta": 0.3, "adapt_tau": 100.0}
    case = networks.random_case(3)
    case["groups"] = [
        {"model": "iaf", "n": 6, "params": params},
        {"model": "iaf_adapt", "n": 6, "params": params | adaptation},
    ]
    strength = 0.3 if regular else 3.0
    for key, shape in (("w_in", (12, 6)), ("w_rec", (12, 12)), ("w_out", (2, 12)), ("w_fb", (12, 2))):
        case[key] = np.where(rng.random(shape) < 0.6, rng.normal(0.5 * strength, strength, shape), np.nan)
    n_steps = len(case["inputs"])
    case |= {
        "d_rec": rng.integers(1, 6, (12, 12)),
        "targets": rng.normal(size=(n_steps, 2)),
        "step_currents": rng.normal(0.0, 0.1, (n_steps, 12)),
        "learning_window": case["interval"] // 2,
    }
    case["readout"] |= {"loss": loss, "regular_spike_arrival": regular}
    expected = check(case)
    for group in range(2):
        assert 20 < np.sum(expected["spike_ids"] // 6 == group) < 2 * n_steps
    for name in NAMES:
        assert np.nanmax(np.abs(expected[f"g_{name}"][0])) > 1e-3, f"nothing to compare in g_{name}"


def test_random_networks_are_worth_comparing() -> None:
    """Most random networks spike, and all their gradients are far from 0."""
    lively = 0
    for seed in range(20):
        expected = run_case(networks.random_case(seed))
        sizes = [np.nanmax(np.abs(expected[f"g_{name}"]), initial=0.0) for name in NAMES]
        lively += min(sizes) > 1e-3 and len(expected["spike_ids"]) > 50
    assert lively >= 12


@pytest.mark.parametrize("loss", ["mean_squared_error", "cross_entropy"])
def test_gradient_of_readout_weights_is_the_derivative_of_the_loss(loss: str) -> None:
    """Readout weights do not change spikes of the same interval, so that central differences apply."""
    case = networks.random_case(16, average_gradient=False)
    case["readout"] |= {"loss": loss, "V_min": -1e300}
    case["w_out"] = np.nan_to_num(case["w_out"]) * 0.1
    case["targets"] = np.abs(case["targets"]) / np.abs(case["targets"]).sum(axis=1, keepdims=True)
    run = networks.simulation(case)
    run.run_sample(0, "train", learn=True)
    gradient = networks.matrices(run, lambda table: run.engine.gradient.arrays[id(table)])["out"]
    direction = np.random.default_rng(0).normal(size=gradient.shape)
    step = 1e-4
    losses = [
        networks.simulation(case | {"w_out": case["w_out"] + sign * step * direction}).run_sample(0, "train", False)[0]
        for sign in (1, -1)
    ]
    slope = (losses[0] - losses[1]) / (2.0 * step)
    assert abs(slope) > 0.1
    np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-6)

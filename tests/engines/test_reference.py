"""The slow NumPy twin against the golden cases, so that it may serve other tests as an oracle."""

import functools
from pathlib import Path

import numpy as np
import pytest
from case_files import CASES, GOLDEN
from params import first
from reference import load_case, run_case

# The peer misses one learning signal where sources spike in step 1 of an interval; weights, hence voltages, differ.
DEFECT = "sine-waves-interval"


# Those that take the twin seconds, and longer; the kernels run all of them in tests/runs/test_verify.py.
SLOW = ("sine-waves-interval", "delay-spike-mixed", "spike-psc-delta-arctan", "interval-sparse-160")
LONG = (
    "sine-waves-spike-60",
    "delay-spike-psc-no-cutoff",
    "delay-spike-adam-short-cutoff",
    "delay-spike-three-steps",
    "spike-lif-adam-per-spike",
    "spike-lif-no-cutoff",
)
FAST = [path for path in GOLDEN if Path(path).stem not in (*SLOW, *LONG)]
LATER = [path for name in (*SLOW, *LONG) for path in GOLDEN if Path(path).stem == name]
run_golden = functools.cache(lambda path: (load_case(path), run_case(load_case(path))))


@pytest.mark.parametrize(
    "path", first(len(FAST), FAST + LATER, rest=len(FAST + LATER) - len(LONG)), ids=lambda path: Path(path).stem
)
def test_golden_case(path):
    case, result = run_golden(path)
    expected = case["expected"]

    for name in ("spike_steps", "spike_ids"):
        np.testing.assert_array_equal(result[name], expected[name], err_msg=name)
    if "error_signal" not in expected:  # readout minus target where there is a learning signal
        window = np.asarray(case.get("window", result["error_signal"].any(axis=1)), bool)
        expected["error_signal"] = np.where(window[:, None], expected["readout_signal"] - case["targets"], 0.0)
    for name in ("readout_signal", "error_signal"):
        np.testing.assert_allclose(result[name], expected[name], rtol=0, atol=1e-9, err_msg=name)
    state_tolerance = 1e-4 if case["name"] == DEFECT else 1e-9
    for name in {"V_m", "surrogate_gradient"} & set(expected):
        recorded = result[name][:, expected["record"]]
        np.testing.assert_allclose(
            recorded[-len(expected[name]) :], expected[name], rtol=0, atol=state_tolerance, err_msg=name
        )
    for name in ("w_in", "w_rec", "w_out"):
        tolerance = case["weights_tolerance"]
        np.testing.assert_allclose(result[name], expected[name], rtol=0, atol=tolerance, err_msg=name)
        assert np.nanmax(np.abs(result[name] - case[name])) > 10 * tolerance, f"{name} did not learn"


@pytest.mark.slow
def test_published_losses():
    """First five losses of the sine-waves task as published for the TensorFlow code of Bellec et al. 2020."""
    losses = run_golden(str(CASES / f"golden/{DEFECT}.h5"))[1]["losses"]
    published = [101.964363098144, 103.466735839843, 103.340606689453, 103.680244445800, 104.412780761718]
    np.testing.assert_allclose(losses, published, rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# what no golden case holds, worked out by hand


def one_neuron(variant, *, readout=None, **overrides):
    """One input, one neuron that never spikes, one readout; tau_m so that voltages halve in each step."""
    tau = 1.0 / np.log(2.0)
    neuron = {"C_m": tau, "E_L": 0.0, "V_th": 100.0, "tau_m": tau, "t_ref": 0.0, "surrogate_gradient_width": 1e3}
    n_steps = 6
    return {
        "variant": variant,
        "groups": [{"model": "iaf", "n": 1, "params": neuron | overrides.pop("neuron", {})}],
        "readout": {"C_m": tau, "tau_m": tau} | (readout or {}),
        "optimizer": {"type": "gradient_descent", "eta": 0.0, "optimize_each_step": False},
        "w_in": [[1.0]],
        "w_rec": [[np.nan]],
        "w_out": [[np.nan]],
        "w_fb": [[1.0]],
        "inputs": np.zeros((n_steps, 1), bool),
        "targets": np.zeros((n_steps, 1)),
        "window": np.ones(n_steps, bool),
        "interval": 3,
        "learning_window": 3,
    } | overrides


@pytest.mark.parametrize(
    ("variant", "reset", "expected"),
    [
        ("spike", True, [0.0, 0.5, 0.75, 0.875, 0.9375, 0.96875]),
        ("interval", False, [0.0, 0.5, 0.75, 0.875, 0.9375, 0.96875]),
        # the voltage starts anew in step 3, the current of step 2 still counts
        ("interval", True, [0.0, 0.5, 0.75, 0.5, 0.75, 0.875]),
    ],
)
def test_constant_current_is_missing_in_step_0_of_the_run_alone(variant, reset, expected):
    result = run_case(one_neuron(variant, neuron={"I_e": 1.0}, readout={"I_e": 1.0}, reset=reset))
    np.testing.assert_allclose(result["V_m"][:, 0], expected, rtol=1e-14)
    np.testing.assert_allclose(result["readout_signal"][:, 0], expected, rtol=1e-14)


@pytest.mark.parametrize("model", ["iaf", "iaf_psc_delta"])
def test_injected_current_acts_one_step_later(model):
    currents = np.zeros((6, 1))
    currents[2] = 1.0
    case = one_neuron("spike", step_currents=currents)
    case["groups"][0]["model"] = model
    np.testing.assert_allclose(run_case(case)["V_m"][:, 0], [0.0, 0.0, 0.0, 0.5, 0.25, 0.125], rtol=1e-14)


def test_input_in_step_0_of_an_interval_is_lost():
    inputs = np.zeros((6, 1), bool)
    inputs[[0, 3, 4]] = True
    result = run_case(one_neuron("interval", inputs=inputs, reset=False))
    np.testing.assert_allclose(result["V_m"][:, 0], [0.0, 0.0, 0.0, 0.0, 1.0, 0.5], rtol=1e-14)


def test_initial_voltage():
    """It decays from step 0 on, counted from E_L; a reset puts every interval at E_L."""
    expected = -60.0 + 8.0 * 0.5 ** np.arange(1, 7)
    for variant, reset in (("spike", True), ("interval", False)):
        case = one_neuron(variant, neuron={"E_L": -60.0, "V_m": -52.0, "V_th": 0.0}, reset=reset)
        np.testing.assert_allclose(run_case(case)["V_m"][:, 0], expected, rtol=1e-14)
    case = one_neuron("interval", neuron={"E_L": -60.0, "V_m": -52.0, "V_th": 0.0})
    np.testing.assert_array_equal(run_case(case)["V_m"], -60.0)


@pytest.mark.parametrize("variant", ["spike", "interval"])
def test_cross_entropy(variant):
    """Two readouts that differ by log(3) in their constant voltage have the probabilities 1/4 and 3/4."""
    case = one_neuron(variant, readout={"loss": "cross_entropy", "tau_m": 1e12, "V_m": 0.0}, reset=False)
    case["w_out"], case["w_fb"] = [[0.0], [np.log(3.0)]], [[0.0, 0.0]]
    case["w_in"] = [[200.0]]
    case["inputs"] = np.arange(6)[:, None] == 1
    case["readout"]["regular_spike_arrival"] = True
    case["targets"] = np.tile([0.0, 1.0], (6, 1))
    result = run_case(case)
    assert result["spike_steps"][0] == 1
    probabilities = 3.0 ** np.cumsum(np.bincount(result["spike_steps"], minlength=6))
    if variant == "spike":  # the spikes take one step to the readouts
        probabilities = np.append(1.0, probabilities[:-1])
    probabilities = probabilities / (1.0 + probabilities)
    np.testing.assert_allclose(result["readout_signal"][:, 1], probabilities, rtol=1e-9)
    np.testing.assert_allclose(result["readout_signal"].sum(axis=1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(result["error_signal"][:, 1], probabilities - 1.0, rtol=0, atol=1e-9)
    if variant == "interval":
        np.testing.assert_allclose(result["losses"], -np.log(probabilities).reshape(2, 3).sum(axis=1), rtol=1e-9)

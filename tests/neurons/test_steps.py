"""Time derivatives become steps: linear systems exactly, others with the order of their method."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from pareprop import NeuronModel
from pareprop.neurons.calls import Cells
from pareprop.neurons.compile import compile

LINEAR = {
    "parameters": {"tau_m": [10.0, "ms"], "tau_s": [2.0, "ms"], "C_m": [250.0, "pF"], "E_L": [-70.0, "mV"],
                   "tau_a": [30.0, "ms"], "g": [3.0, "nS"], "t_ref": [2.0, "ms"]},
    "states": {"V_m": ["E_L", "mV"], "i_s": [0.0, "pA"], "a": [0.0, "pA"]},
    "dynamics": {"V_m": "where(refractory, 0, (E_L - V_m)/tau_m + (i_s - a + I)/C_m)", "i_s": "-i_s/tau_s",
                 "a": "(g*(V_m - E_L) - a)/tau_a"},
    "jumps": {"i_s": "arriving"},
    "spike": "V_m + 55",
    "reset": {"V_m": "E_L"},
}  # fmt: skip


@pytest.mark.parametrize("tau_s", [2.0, 10.0])
def test_a_linear_system_is_exact(tau_s: float) -> None:
    """Against the exponential of the matrix, also where two time constants are equal; refractory, the rest goes on."""
    definition = (
        LINEAR
        if tau_s == 2.0
        else {
            **LINEAR,
            "states": {key: LINEAR["states"][key] for key in ("V_m", "i_s")},
            "dynamics": {"V_m": "(E_L - V_m)/tau_m + (i_s + I)/C_m", "i_s": "-i_s/tau_s"},
        }
    )
    model = NeuronModel.from_dict("linear", definition)
    names, dt = list(model.states), 0.7
    A = np.array([[-1 / 10, 1 / 250, -1 / 250], [0, -1 / tau_s, 0], [3 / 30, 0, -1 / 30]])[: len(names), : len(names)]
    cells = Cells(compile(model), 1, {"tau_s": tau_s}, dt)
    draw, x, left, fired = np.random.default_rng(1), np.zeros(len(names)), 0, 0
    for _ in range(150):
        arriving, current = 900 * (draw.random() < 0.3), 300 * draw.random()
        still = left > 0 and len(names) == 3
        system = np.zeros((len(names) + 1, len(names) + 1))
        system[:-1, :-1], system[0, -1] = A, current / 250
        if still:
            system[0] = 0
        x = (expm(system * dt) @ [*x, 1])[:-1]
        x[1] += arriving
        left = max(left - 1, 0)
        z, _, _ = cells.step([[arriving]], [current])
        assert z[0] == (x[0] - 15 >= 0 and left == 0)
        if z[0]:
            x[0], left, fired = 0.0, round(2.0 / dt), fired + 1
        np.testing.assert_allclose(cells.state[:, 0] - [-70, 0, 0][: len(names)], x, rtol=1e-10, atol=1e-10)
    assert fired > 3


@pytest.mark.parametrize(("integrator", "order"), [("euler", 1), ("exponential_euler", 1), ("rk4", 4)])
def test_order_of_integrators(integrator: str, order: int) -> None:
    """Van der Pol's oscillator against SciPy: errors fall with the power of the step."""
    model = NeuronModel.from_dict(
        "oscillator",
        {
            "parameters": {"mu": [1.5, "1/ms"]},
            "states": {"u": [1.0, "1"], "v": [0.0, "1"]},
            "dynamics": {"u": "v", "v": "mu*(1 - u*u)*v - u"},
            "jumps": {"v": "arriving"},
            "integrator": integrator,
            "spike": "u - 100",
        },
    )
    exact = solve_ivp(lambda _, y: [y[1], 1.5 * (1 - y[0] ** 2) * y[1] - y[0]], (0, 4), [1, 0], rtol=1e-12, atol=1e-12)
    errors = []
    for dt in (0.1, 0.05):
        cells = Cells(compile(model), 1, {}, dt)
        for _ in range(round(4 / dt)):
            cells.step([[0.0]], [0.0])
        errors.append(np.abs(cells.state[:, 0] - exact.y[:, -1]).max())
    assert 2 ** (order - 0.4) < errors[0] / errors[1] < 2 ** (order + 0.5)


def test_the_system_that_is_linear_in_itself_is_exact_by_exponential_euler() -> None:
    model = NeuronModel.from_dict(
        "conductance",
        {
            "states": {"V_m": [-70.0, "mV"], "g": [2.0, "1/ms"]},
            "integrator": "exponential_euler",
            "dynamics": {"V_m": "-(0.1 + g)*V_m - 7", "g": "0*V_m*g"},
            "jumps": {"g": "arriving"},
            "spike": "V_m - 1",
        },
    )
    cells = Cells(compile(model), 1, {}, 0.5)
    cells.step([[0.0]], [0.0])
    rest = -7 / 2.1
    np.testing.assert_allclose(cells.state[0, 0], rest + (-70 - rest) * np.exp(-0.5 * 2.1), rtol=1e-12)


def test_names_that_integration_makes_miss_those_of_the_model() -> None:
    """A parameter, a port or a state may have the name that a propagator would have, and so may another propagator."""
    rates = {"a": 0.1, "b_c": 0.2, "a_b": 0.3, "c": 0.4}
    dynamics = {name: f"-{rate}*{name}" for name, rate in rates.items()}
    dynamics["a"] += " + P_v_v*b_c"  # propagator of a by b_c, of a_b by c
    dynamics["a_b"] += " + Q_a_a*c"
    model = NeuronModel.from_dict(
        "mine",
        {
            "parameters": {"P_v_v": [0.05, "1"], "Q_a_a": [-0.2, "1"], "P_c_c": [7.0, "1"]},
            "states": {name: [1.0, "1"] for name in rates} | {"v": [1.0, "1"]},
            "ports": ["P_a_a", "P_b_c_b_c"],
            "dynamics": dynamics | {"v": "-P_v_v*v"},
            "jumps": {"a": "P_a_a", "b_c": "P_b_c_b_c*P_c_c"},
            "spike": "v - 100",
        },
    )
    cells = Cells(compile(model), 1, {}, 0.5)
    cells.step([[0.25], [0.5]], [0.0])
    a, b_c, a_b, c = (np.exp(-0.5 * rate) for rate in rates.values())
    expected = [a + 0.05 * (a - b_c) / 0.1 + 0.25, b_c + 0.5 * 7, a_b - 0.2 * (a_b - c) / 0.1, c, np.exp(-0.5 * 0.05)]
    np.testing.assert_allclose(cells.state[:, 0], expected, rtol=1e-12)

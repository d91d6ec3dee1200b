"""Time derivatives become steps: linear systems exactly, others with the order of their method."""

import numpy as np
import pytest
from params import first
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from pareprop import InputError, NeuronModel
from pareprop.neurons.calls import Cells
from pareprop.neurons.compile import compile_model
from pareprop.neurons.derive import derive_model
from pareprop.neurons.language import evaluate_tree, with_terms
from pareprop.neurons.stored_terms import OLD

LINEAR = {
    "parameters": {
        "tau_m": [10.0, "ms"],
        "tau_s": [2.0, "ms"],
        "C_m": [250.0, "pF"],
        "E_L": [-70.0, "mV"],
        "tau_a": [30.0, "ms"],
        "g": [3.0, "nS"],
        "t_ref": [2.0, "ms"],
    },
    "states": {"V_m": ["E_L", "mV"], "i_s": [0.0, "pA"], "a": [0.0, "pA"]},
    "dynamics": {
        "V_m": "where(refractory, 0, (E_L - V_m)/tau_m + (i_s - a + I)/C_m)",
        "i_s": "-i_s/tau_s",
        "a": "(g*(V_m - E_L) - a)/tau_a",
    },
    "jumps": {"i_s": "arriving"},
    "spike": "V_m + 55",
    "reset": {"V_m": "E_L"},
}


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
    cells = Cells(compile_model(model), 1, {"tau_s": tau_s}, dt)
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
        cells = Cells(compile_model(model), 1, {}, dt)
        for _ in range(round(4 / dt)):
            cells.step([[0.0]], [0.0])
        errors.append(np.abs(cells.state[:, 0] - exact.y[:, -1]).max())
    assert 2 ** (order - 0.4) < errors[0] / errors[1] < 2 ** (order + 0.5)


def test_the_system_that_is_linear_in_itself_is_exact_by_exponential_euler() -> None:
    states, dynamics = {"V_m": [-70.0, "mV"], "g": [2.0, "1/ms"]}, {"V_m": "-(0.1 + g)*V_m - 7", "g": "0*V_m*g"}
    more = {"integrator": "exponential_euler", "jumps": {"g": "arriving"}, "spike": "V_m - 1"}
    model = NeuronModel.from_dict("conductance", {"states": states, "dynamics": dynamics} | more)
    cells = Cells(compile_model(model), 1, {}, 0.5)
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
    cells = Cells(compile_model(model), 1, {}, 0.5)
    cells.step([[0.25], [0.5]], [0.0])
    a, b_c, a_b, c = (np.exp(-0.5 * rate) for rate in rates.values())
    expected = [a + 0.05 * (a - b_c) / 0.1 + 0.25, b_c + 0.5 * 7, a_b - 0.2 * (a_b - c) / 0.1, c, np.exp(-0.5 * 0.05)]
    np.testing.assert_allclose(cells.state[:, 0], expected, rtol=1e-12)


# Traub and Miles 1991, as in NEST's hh_cond_exp_traub; u is the voltage above V_T
RATES = {
    "m": ("0.32*(13 - u)/(exp((13 - u)/4) - 1)", "0.28*(u - 40)/(exp((u - 40)/5) - 1)"),
    "h": ("0.128*exp((17 - u)/18)", "4/(1 + exp((40 - u)/5))"),
    "n": ("0.032*(15 - u)/(exp((15 - u)/5) - 1)", "0.5*exp((10 - u)/40)"),
}
TRAUB = {
    "parameters": {"g_Na": [20000.0, "nS"], "g_K": [6000.0, "nS"], "g_L": [10.0, "nS"], "C_m": [200.0, "pF"],
                   "E_Na": [50.0, "mV"], "E_K": [-90.0, "mV"], "E_L": [-60.0, "mV"], "V_T": [-63.0, "mV"],
                   "E_ex": [0.0, "mV"], "E_in": [-80.0, "mV"], "tau_ex": [5.0, "ms"], "tau_in": [10.0, "ms"],
                   "surrogate_gradient_width": [10.0, "mV"], "surrogate_gradient_height": [0.01, "1"]},
    "states": {"V_m": ["E_L", "mV"], "m": [0.05, "1"], "h": [0.6, "1"], "n": [0.3, "1"], "g_ex": [0.0, "nS"],
               "g_in": [0.0, "nS"]},
    "ports": ["exc", "inh"],
    "dynamics": {
        "V_m": "(g_Na*m**3*h*(E_Na - V_m) + g_K*n**4*(E_K - V_m) + g_L*(E_L - V_m) + g_ex*(E_ex - V_m)"
               " + g_in*(E_in - V_m) + I)/C_m",
        **{name: f"{alpha}*(1 - {name}) - {beta}*{name}".replace("u", "(V_m - V_T)")
           for name, (alpha, beta) in RATES.items()},
        "g_ex": "-g_ex/tau_ex",
        "g_in": "-g_in/tau_in",
    },
    "jumps": {"g_ex": "exc", "g_in": "inh"},
    "spike": "V_m + 20",
}  # fmt: skip
THREE = {
    "parameters": {"p": [0.7, "1"]},
    "states": {"a": [0.3, "1"], "b": [-0.2, "1"], "c": [0.5, "1"]},
    "dynamics": {
        "a": "tanh(b)*exp(-a*a) - p*a + c*tanh(a*b)",
        "b": "exp(-c)*tanh(a - b) - b",
        "c": "tanh(a*b*c) - p*exp(a)*c",
    },
    "jumps": {"a": "arriving"},
    "spike": "a - 1",
}


def slopes(definition, x, current):
    """Time derivatives by Python itself, of complex numbers as well."""
    names = dict(zip(definition["states"], x, strict=True)) | {"exp": np.exp, "tanh": np.tanh, "I": current}
    names |= {name: value for name, (value, _) in definition["parameters"].items()}
    return np.array([eval(text, {}, names) for text in definition["dynamics"].values()])


def advanced(integrator, f, x, dt):
    """A step by a method as textbooks have it."""
    if integrator == "euler":
        return x + dt * f(x)
    if integrator == "rk4":
        first = f(x)
        second = f(x + dt / 2 * first)
        third = f(x + dt / 2 * second)
        return x + dt / 6 * (first + 2 * second + 2 * third + f(x + dt * third))
    h = 1e-6  # of a difference; f is linear in each state of its own
    own = np.array([(f(x + h * unit)[k] - f(x - h * unit)[k]) / (2 * h) for k, unit in enumerate(np.eye(len(x)))])
    return x + f(x) * (np.exp(own * dt) - 1) / own


@pytest.mark.parametrize(
    ("definition", "integrator", "substeps"),
    [
        (TRAUB, "exponential_euler", 1),
        (TRAUB, "euler", 1),
        (TRAUB, "rk4", 1),
        (THREE, "rk4", 1),
        (TRAUB, "exponential_euler", 3),
        (TRAUB, "euler", 70),
        (THREE, "rk4", 2),
    ],
    ids=lambda value: "-".join(value["states"]) if isinstance(value, dict) else str(value),
)
def test_large_systems_are_derived(definition: dict, integrator: str, substeps: int) -> None:
    """Step and derivatives of systems whose expressions would be too long, if each stage repeated those before."""
    model = NeuronModel.from_dict("mine", definition | {"integrator": integrator, "substeps": substeps})
    equations, by, names = model.equations, derive_model(model), list(model.states)
    start = [-58.0, 0.06, 0.55, 0.33, 3.0, 2.0] if definition is TRAUB else [0.3, -0.2, 0.5]
    x, dt, current, fixed = np.array(start), 0.02, 100.0, model.complete_values({}, 0.02)
    now = fixed | dict(zip(names, start, strict=True)) | dict.fromkeys(model.ports, 0.0)
    now |= {"I": current, "z": 0.0, "refractory": 0.0}
    step = [evaluate_tree(tree, with_terms(now, equations.terms)) for tree in equations.step.values()]
    old = {OLD + name: value for name, value in zip(names, start, strict=True)}
    read = with_terms(now | old, by.constants | by.terms)
    J = np.zeros((len(names), len(names)))
    for place, tree in by.J.items():
        J[place] = evaluate_tree(tree, read)

    def advance(at):
        for _ in range(substeps):
            at = advanced(integrator, lambda y: slopes(definition, y, current), at, dt / substeps)
        return at

    exact = integrator != "exponential_euler"
    np.testing.assert_allclose(step, advance(x), rtol=1e-13 if exact else 1e-8)
    columns = (
        [advance(x + 1e-30j * unit).imag / 1e-30 for unit in np.eye(len(x))]
        if exact
        else [(advance(x + 1e-5 * unit) - advance(x - 1e-5 * unit)) / 2e-5 for unit in np.eye(len(x))]
    )
    np.testing.assert_allclose(J, np.array(columns).T, rtol=1e-10 if exact else 1e-4, atol=1e-13 if exact else 1e-6)


@pytest.mark.parametrize("integrator", first(0, ["exponential_euler", "euler", "rk4"], rest=2))
def test_hodgkin_and_huxley(integrator: str) -> None:
    """The compiled neuron follows SciPy's solution through its spikes."""
    model = NeuronModel.from_dict("traub", TRAUB | {"integrator": integrator})
    exact = solve_ivp(
        lambda _, x: slopes(TRAUB, x, 400.0),
        (0, 20),
        [-60.0, 0.05, 0.6, 0.3, 0.0, 0.0],
        "LSODA",
        rtol=1e-10,
        atol=1e-10,
    )
    cells = Cells(compile_model(model), 1, {}, 0.005)
    fired = sum(cells.step([[0.0], [0.0]], [400.0])[0][0] for _ in range(4000))
    assert fired == np.sum((exact.y[0, 1:] >= -20) & (exact.y[0, :-1] < -20)) > 0
    np.testing.assert_allclose(cells.state[0, 0], exact.y[0, -1], atol=1e-3 if integrator == "rk4" else 1.5)
    assert model.check(dt_ms=0.02).passed


@pytest.mark.parametrize(
    "text",
    [
        "where(V_m > -60, 1, 0) - V_m/tau",
        "(V_m > -60) - V_m/tau",
        "abs(V_m)/tau",
        "min(V_m, 0)",
        "-detach(V_m)/tau",
        "where(I > 0, -V_m, V_m)/tau",
        "z*V_m",
        "exp(V_m)",
        "V_m**2",
    ],
)
def test_what_is_linear_in_parts_is_not_linear(text: str) -> None:
    """Derivatives of conditions are 0, whatever they choose: they must not pass for constants."""
    given = {"parameters": {"tau": [10.0, "ms"]}, "states": {"V_m": [0.0, "mV"]}, "spike": "V_m - 1"}
    with pytest.raises(InputError, match="dynamics is not linear: name an integrator"):
        _ = NeuronModel.from_dict("mine", given | {"dynamics": {"V_m": text}}).equations


@pytest.mark.parametrize("text", ["g*V_m*(1 - V_m) + g*V_m**2", "where(g > 0, 2*g*V_m, g*V_m)", "V_m*g*V_m/V_m"])
def test_what_is_linear_is_seen_however_it_is_written(text: str) -> None:
    given = {"parameters": {"g": [-0.2, "1/ms"]}, "states": {"V_m": [0.5, "mV"]}, "spike": "V_m - 1"}
    model = NeuronModel.from_dict("mine", given | {"dynamics": {"V_m": f"{text} + I**2"}})
    found = evaluate_tree(model.equations.step["V_m"], model.complete_values({}, 0.5) | {"V_m": 0.5, "I": 3.0})
    np.testing.assert_allclose(found, 0.5 * np.exp(-0.1) + 9 * (1 - np.exp(-0.1)) / 0.2, rtol=1e-12)


def test_what_refractoriness_does_not_touch_takes_one_course() -> None:
    """The integrator is chosen once: synapses of a neuron that is refractory go on as those of one that is not."""
    given = {
        "parameters": {"V_th": [-55.0, "mV"], "tau_r": [1.0, "ms"], "tau_d": [6.0, "ms"], "tau_m": [15.0, "ms"]},
        "states": {"V_m": [-70.0, "mV"], "r": [0.0, "1"], "d": [0.0, "1"], "w": [0.0, "1"]},
        "dynamics": {
            "V_m": "where(refractory, 0, (-70 - V_m)/tau_m - d*V_m)",
            "r": "-r/tau_r",
            "d": "r/tau_r - d/tau_d",
            "w": "0.01*(V_m + 70) - w/30",
        },
        "jumps": {"r": "arriving"},
        "spike": "V_m - V_th",
        "reset": {"V_m": "-70"},
    }
    linear = given | {"dynamics": given["dynamics"] | {"V_m": "where(refractory, 0, (-70 - V_m)/tau_m + 50*d)"}}
    for definition in (given | {"integrator": "exponential_euler"}, given | {"integrator": "rk4"}, linear):
        model = NeuronModel.from_dict("mine", definition)
        cells = Cells(compile_model(model), 2, {"V_th": np.array([-55.0, 1e9])}, 0.5)
        arrivals, fired, held = [0.4, 0.0, 0.3, 0.0, 0.0], np.zeros(2), 0
        for t in range(60):
            refractory = cells.refractory[0] > 0
            fired += cells.step([[arrivals[t % 5]] * 2], [0.0, 0.0])[0]
            np.testing.assert_array_equal(cells.state[1:3, 0], cells.state[1:3, 1])
            held += refractory and cells.state[0, 0] == -70.0
        assert fired[0] > 2 and fired[1] == 0 and held > 5

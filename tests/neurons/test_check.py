"""What a check tells: numbers that are known otherwise, mistakes that it must find; the command and its picture."""

from pathlib import Path

import numpy as np
import pytest
from commands import command, refusal_of
from params import first, first_rows

from pareprop import InputError, NeuronModel
from pareprop.neurons import derive as deriving
from pareprop.neurons import library
from pareprop.neurons.units import unit_of, unit_of_port

LEAKY = {
    "parameters": {"tau_m": [20.0, "ms"], "R": [0.1, "GOhm"], "V_th": [15.0, "mV"]},
    "constants": {"alpha": "exp(-dt/tau_m)"},
    "states": {"V_m": [0.0, "mV"]},
    "step": {"V_m": "alpha*V_m + (1 - alpha)*R*I + arriving"},
    "spike": "V_m - V_th",
    "reset": {"V_m": "V_m - V_th"},
}


def line_of(found, key):
    (line,) = (item for item in found.lines if item.startswith(f"{key}: "))
    return line.removeprefix(f"{key}: ")


SHORT = ("iaf_psc_exp", "izhikevich", "adex", "two_compartment", "glif5")  # two fast, two with most ports and states


@pytest.mark.parametrize("name", first(2, dict.fromkeys((*SHORT, *library.list_names())), rest=5))
def test_models_of_the_package_pass(name: str) -> None:
    found = library.get_definition(name).check()
    assert found.passed and not [line for line in found.warnings if not line.startswith("parameter")], found.text()


@pytest.mark.parametrize("path", sorted((Path(__file__).parent / "user").glob("*.toml")), ids=lambda path: path.stem)
def test_models_of_papers_pass(path: Path) -> None:
    (model,) = library.load_definitions(path).values()
    found = model.check(dt_ms=0.05)
    assert found.passed, found.text()


@pytest.mark.slow
def test_a_leaky_neuron() -> None:
    """Rest, time constant, rheobase and rate of theory: V_th / R, and -1 / (tau log(1 - V_th / (R I)))."""
    found = NeuronModel.from_dict("leaky", LEAKY).check(dt_ms=0.1)
    assert line_of(found, "rest") == "V_m = 0 mV"
    assert line_of(found, "time constants at rest") == "20 ms"
    assert line_of(found, "kept per neuron and step") == "1 (psi)"
    assert float(line_of(found, "rheobase").split()[1]) == pytest.approx(150.0, rel=0.15)
    firing = found.rates > 5
    theory = 1000 / (20.0 * np.log(1 / (1 - 15.0 / (0.1 * found.drive[firing]))))
    np.testing.assert_allclose(found.rates[firing], theory, rtol=0.15)
    assert not found.warnings


def test_names_that_the_generated_code_has_too() -> None:
    names = ("spiked", "steps", "left", "fired", "n", "j", "stride", "constant", "psi", "R", "REAL")
    terms = " + ".join(f"{name}*0.01" for name in names)
    found = NeuronModel.from_dict(
        "while_1",
        {
            "parameters": dict.fromkeys(names, (1.0, "1")),
            "states": {"double": [0.0, "1"], "t0": [0.0, "1"]},
            "step": {
                "double": f"0.9*double*{names[0]} + 0.1*t0*t0 + I + arriving - {terms}",
                "t0": "0.5*t0*steps + 0.1*z",
            },
            "spike": "double - 1*fired",
            "reset": {"double": "0.2*double*left", "t0": "t0 + 0.1*n"},
            "follow": ["double", "t0"],
        },
    ).check()
    assert found.passed and float(line_of(found, "rate").split()[0]) > 10


def test_a_resonator() -> None:
    """The eigenvalues of a step give damping and frequency."""
    found = NeuronModel.from_dict(
        "resonator",
        {
            "states": {"u": [0.0, "1"], "v": [0.0, "1"]},
            "step": {"u": "0.99*(0.98*u - 0.198997487*v) + arriving", "v": "0.99*(0.198997487*u + 0.98*v)"},
            "spike": "u - 1",
        },
    ).check()
    tau, turn = -1 / np.log(0.99), 1000 * np.arctan2(0.198997487, 0.98) / (2 * np.pi)
    told = line_of(found, "time constants at rest")
    assert told.startswith(f"{tau:.4g} ms") and f"({turn:.3g} Hz)" in told


def test_a_firing_curve_that_falls() -> None:
    """Beyond 400 pA, of 0 to 600 that are shown, the neuron is blocked: the rate that is told is that of its input."""
    step = {"V_m": "where(I > 400, 0, alpha*V_m + (1 - alpha)*R*I) + arriving"}
    found = NeuronModel.from_dict("blocked", LEAKY | {"step": step}).check()
    rate, _, _, drive, unit = line_of(found, "rate").split()
    assert found.drive[-1] > 500 and unit == "pA" and 380 < float(drive) <= 400
    assert float(rate) == pytest.approx(-1000 / (20.0 * np.log(1 - 150.0 / float(drive))), rel=0.15)


@pytest.mark.parametrize(("changes", "told"), first_rows(2, [
    ({"states": {"V_m": [0.0, "mV"], "w": [0.0, "pA"]}, "step": LEAKY["step"] | {"w": "0.9*w + z"}},
     "state w is never read"),
    ({"parameters": LEAKY["parameters"] | {"extra": [1.0, "1"]}}, "parameter extra is never read"),
    ({"constants": LEAKY["constants"] | {"extra": "2*alpha"}}, "constant extra is never read"),
    ({"ports": ["arriving", "other"]}, "port other is never read"),
    ({"constants": {"alpha": "exp(-tau_m)"}}, "units: constants: alpha: exp(-tau_m): its argument has unit 10^-3 s"),
    ({"spike": "V_m - tau_m + 5"}, "units: spike: V_m has unit 10^-3 V, tau_m 10^-3 s; they stand side by side"),
    ({"step": {"V_m": "alpha*V_m + R*R*I + arriving"}}, "units: step: V_m: alpha*V_m has unit"),
    ({"step": None, "dynamics": {"V_m": "R*I - V_m"}, "jumps": {"V_m": "alpha*arriving*tau_m"}},
     "units: dynamics: V_m: has unit 10^-3 V, the state per ms V s^-1"),
    ({"parameters": LEAKY["parameters"] | {"R": [0.1, "GOmega"]}}, "units: unit 'GOmega' of R is not known"),
    ({"spike": "V_m - 1e30"}, "the neuron does not spike"),
    ({"spike": "V_m + 1", "reset": {"V_m": "V_m - 9"}}, "the neuron spikes without input"),
    ({"step": {"V_m": "V_m*1.05 + (1 - alpha)*R*I + arriving"}}, "rest is not stable"),
]), ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_warnings(changes: dict, told: str) -> None:
    found = NeuronModel.from_dict("mine", LEAKY | changes).check()
    assert any(line.startswith(told) for line in found.warnings), found.text()
    assert found.passed


def test_a_step_that_is_too_long_is_no_silence() -> None:
    """The interneuron of Wang and Buzsaki fires at 23.7 pA; with steps of 1 ms its sodium current runs away there."""
    (model,) = library.load_definitions(Path(__file__).parent / "user" / "wang_buzsaki.toml").values()
    told = "\n".join(model.check().warnings)
    assert "does not spike for any constant input up to 10 pA" in told
    assert (
        "not finite at a constant input of 17.8 pA, with steps of 1 ms; take a shorter --dt, or more substeps" in told
    )
    found = model.check(dt_ms=0.1)
    assert line_of(found, "rheobase") == "about 23.7 pA" and found.rates.max() > 100
    assert not any("finite" in line or "not spike" in line for line in found.warnings)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "changes",
    first(
        1,
        [
            {"spike": "1e200**V_m", "step": {"V_m": "V_m*0.9 + 1e-300*arriving"}},  # from inf to inf
            {"reset": {"V_m": "1/V_m/1e300*1e290/1e-200*1e290"}},
            {"step": {"V_m": "alpha*V_m + where(z, 1e200*arriving*1e200, 0) + arriving + I"}, "spike": "V_m - 1"},
            {"step": None, "dynamics": {"V_m": "-V_m/tau_m/1e-308"}, "jumps": {"V_m": "arriving"}},
        ],
        rest=3,
    ),
)
def test_what_is_not_finite_is_no_warning_of_numpy(changes: dict) -> None:
    try:
        NeuronModel.from_dict("mine", LEAKY | changes).check()
    except InputError as problem:
        assert "\n" not in str(problem)


def test_numbers_that_are_not_finite_end_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "mine.toml"
    for text in ("1/0", "sqrt(-1)", "log(0)", "exp(-log(0))", "9**9**9"):
        path.write_text(
            f'[neuron_models.mine]\nspike = "u - 1"\n[neuron_models.mine.constants]\nc = "{text}"\n'
            '[neuron_models.mine.states]\nu = [0.0, "1"]\n[neuron_models.mine.step]\nu = "c*u + arriving"\n'
        )
        code, _, errors = command(capsys, "check-model", path)
        assert code == 2 and "constants: c: at character" in errors and "must be a finite number" in errors
        assert errors.count("\n") == 1


def test_traces_that_explode() -> None:
    adex = library.get_definition("adex").to_dict()
    found = NeuronModel.from_dict("mine", adex | {"follow": ["w"]}).check()
    (line,) = found.warnings
    assert line.startswith("traces explode") and "let follow name V_m" in line


def test_traces_that_a_spike_ends() -> None:
    found = NeuronModel.from_dict("mine", LEAKY | {"reset": {"V_m": "detach(V_m)"}, "follow": ["V_m"]}).check()
    assert found.passed and line_of(found, "a spike ends traces of") == "V_m"
    assert not [line for line in library.get_definition("adex").check().lines if line.startswith("a spike ends")]


def test_a_wrong_derivative_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that could not fail would be worth nothing."""
    model = NeuronModel.from_dict("mine", LEAKY | {"step": {"V_m": "alpha*V_m*tanh(V_m) + (1 - alpha)*R*I + arriving"}})
    by = deriving.derive_model(model)
    monkeypatch.setitem(by.J, (0, 0), ("*", ("number", 1.01), by.J[0, 0]))
    found = model.check()
    assert not found.passed and "derivatives" in found.errors[0]


def test_parameters_that_can_be_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through what, and which ones cannot; a wrong derivative by one is found."""
    model = NeuronModel.from_dict("mine", LEAKY | {"states": {"V_m": ["V_th/3", "mV"]}})
    found = model.check()
    through = "I_e (step of V_m); R (step of V_m); V_th (spike, initial V_m); tau_m (step of V_m)"
    assert line_of(found, "can be learned, through") == through and found.passed
    assert line_of(library.get_definition("iaf_psc_delta").check(), "cannot be learned, no spike depends on them") == (
        "C_m, I_e, V_min, V_reset"
    )
    names = ("I_e", "R", "V_th", "tau_m")
    by = deriving.derive_model(model, deriving.Learns(names))
    monkeypatch.setitem(by.learned.q, (0, 3), ("*", ("number", 1.01), by.learned.q[0, 3]))
    (error,) = model.check().errors
    assert error.startswith("largest difference of derivatives by parameters")


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("mV", (-3, 1, 0, 0)),
        ("1/ms", (3, 0, 0, -1)),
        ("mV/ms", (0, 1, 0, -1)),
        ("pA/ms", (-9, 0, 1, -1)),
        ("nS", (-9, -1, 1, 0)),
        ("pF", (-12, -1, 1, 1)),
        ("1", (0, 0, 0, 0)),
        ("Hz", (0, 0, 0, -1)),
        ("furlong", None),
    ],
)
def test_units(text: str, unit: tuple | None) -> None:
    assert unit_of(text) == unit


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("iaf_psc_exp", ["pA", "pA"]),
        ("iaf_cond_exp", ["nS", "nS"]),
        ("glif5", ["pA", "pA"]),
        ("adex", ["pA"]),
        ("iaf", ["mV"]),
        ("iaf_adapt_bsshslm_2020", ["mV"]),
        ("iaf_psc_delta", ["mV"]),
        ("resonate_and_fire", ["1"]),
    ],
)
def test_units_of_weights_follow_the_port(name: str, units: list[str]) -> None:
    """As NEST documents them: jumps of a voltage, currents or conductances."""
    model = library.get_definition(name)
    assert [unit_of_port(model, port) for port in model.ports] == units


def test_units_of_ports_of_a_model_of_ones_own() -> None:
    own = NeuronModel(
        "own",
        parameters={
            "g": (10.0, "nS"),
            "C": (200.0, "pF"),
            "tau": (5.0, "ms"),
            "E": (0.0, "mV"),
            "odd": (1.0, "furlong"),
        },
        states={"V": (0.0, "mV"), "s": (0.0, "nS"), "odd_state": (0.0, "furlong")},
        dynamics={"V": "(-g*V + s*(E - V))/C", "s": "-s/tau", "odd_state": "-odd_state/tau"},
        jumps={"s": "2*exc", "V": "q/C", "odd_state": "strange"},
        ports=("exc", "q", "strange"),
        integrator="rk4",
        spike="V - 1",
    )
    assert [unit_of_port(own, port) for port in own.ports] == ["nS", "fC", ""]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    good = tmp_path / "good.toml"
    good.write_text(
        '[neuron_models.good]\nports = {arriving = "positive"}\n'
        'spike = "u - 1"\n[neuron_models.good.states]\nu = [0.0, "1"]\n'
        '[neuron_models.good.step]\nu = "0.5*u + arriving"\n'
    )
    code, output, _ = command(capsys, "check-model", good, "--out", tmp_path / "good.png")
    assert code == 0 and "model: good, states u, ports arriving (weights of at least 0)\n" in output
    assert (tmp_path / "good.png").read_bytes()[:4] == b"\x89PNG"
    for arguments, told in (
        (("nothing.toml",), "cannot read nothing.toml"),
        (("nothing",), "is not a file, and no neuron model"),
        ((good, "--model", "best"), "unknown neuron model 'best'"),
        ((good, "--set", "tau=1"), "unknown parameter"),
        (("adex", "--set", "C_m=0"), "neuron model 'adex': C_m = 0 must be above 0"),
        (("adex", "--set", "tau_w=-5"), "neuron model 'adex': tau_w = -5 must be above 0"),
        (("adex", "--set", "Delta_T=0"), "division by zero"),
    ):
        assert told in refusal_of(capsys, "check-model", *arguments)
    assert (
        "Change a parameter of the neurons" in command(capsys, "check-model", "--help")[1]
    )  # it reads no configuration

"""The files of NEST's e-prop neurons and the classes of their parameters tell the same; so do names of surrogates."""

import case_files
import numpy as np
import pytest
import sympy

from pareprop.errors import InputError
from pareprop.network import neurons
from pareprop.network.equations import make_parameters_class
from pareprop.network.model import Model
from pareprop.network.variants import VARIANTS
from pareprop.neurons import library
from pareprop.neurons.calls import Cells
from pareprop.neurons.compile import compile_model
from pareprop.neurons.model import COMMON
from pareprop.neurons.surrogates import SURROGATES
from pareprop.storage.self_description import UNITS

NAMES = [(variant, name) for variant, known in VARIANTS.items() for name in known.neurons]
BY_HAND = {"V_m", "refractory_input", "surrogate_gradient_function"}  # of the classes alone


@pytest.mark.parametrize(("variant", "name"), NAMES)
def test_file_and_class_agree(variant: str, name: str) -> None:
    known = VARIANTS[variant]
    suffix = known.nest_suffix
    definition = library.get_definition(f"{name}{suffix}")
    assert definition.nest == f"eprop_{name}{suffix}"
    fields = {key: item.default for key, item in known.neurons[name].model_fields.items() if key not in BY_HAND}
    learning = {"kappa", "kappa_reg", "eprop_isi_trace_cutoff"} if not known.is_online else set()
    assert set(definition.defaults) - learning == set(fields)
    for key, default in fields.items():
        assert definition.defaults[key] == float(default), key
        if key in UNITS:
            assert definition.units[key] == UNITS[key], key
    assert definition.surrogate == known.neurons[name].model_fields["surrogate_gradient_function"].default


@pytest.mark.parametrize("name", library.list_names())
def test_classes_have_docstrings_of_their_files(name: str) -> None:
    definition = library.get_definition(name)
    known = {f"{key}{item.nest_suffix}": kind for item in VARIANTS.values() for key, kind in item.neurons.items()}
    text = known.get(name, make_parameters_class(definition)).__doc__ or ""
    first, listed, source = text.split("\n\n")
    assert first.lower() == f"{definition.description}.".lower() and first[0].isupper()
    assert source == f"Source: {definition.source}."
    for (key, (value, _)), entry in zip(definition.parameters.items(), listed.split(", "), strict=True):
        assert entry.removeprefix("Parameters: ").startswith(f"{key} = {value:g}")


def test_names_of_surrogates_are_those_of_the_registry() -> None:
    assert list(neurons.SURROGATES) == list(SURROGATES)
    assert set(COMMON) >= {"surrogate_gradient_height", "surrogate_gradient_width"}


def test_surrogate_of_the_user() -> None:
    """An expression is compiled and acts; an unknown name is told with those that there are."""
    model = Model("interval")
    text = "surrogate_gradient_height*exp(-x*x/surrogate_gradient_width)"
    cells = model.neurons("rec", 2, "adex", surrogate_gradient_function=text)
    assert cells.params.surrogate_gradient_function == text
    with pytest.raises(InputError, match=r"surrogate: unknown name 'exponentiel', did you mean 'exponential'"):
        model.neurons("other", 2, "adex", surrogate_gradient_function="exponentiel")
    psi = cells.params.definition.equations.surrogate
    assert psi != library.get_definition("adex").equations.surrogate


@pytest.mark.slow
@pytest.mark.parametrize("real", [np.float64, np.float32])
def test_hodgkin_huxley_spikes_when_nests_does(real: type) -> None:
    """Within 0.1 ms over 300 ms, by constant currents and by spikes; `test_nest.py` has NEST write the file again."""
    case = np.load(case_files.CASES / "nest" / "hh_cond_exp_traub.npz")
    n, steps, weights = len(case["I_e"]), int(case["steps"]), case["weights"]
    arriving = np.zeros((steps, 2, n))
    for port, name in enumerate(("exc", "inh")):
        for j, times in enumerate(case[name]):
            np.add.at(arriving[:, port, j], times[times >= 0], weights[j, port])
    cells, fired = Cells(compile_model(library.get_definition("hh_cond_exp_traub")), n, {}, float(case["dt"]), real), []
    for sums in arriving:
        fired.append(cells.step(sums, case["I_e"])[0])
    for spikes, theirs in zip(np.array(fired).T, case["spikes"], strict=True):
        times = np.flatnonzero(spikes) + 1
        assert len(times) == np.sum(theirs >= 0) > 10
        assert np.abs(times - theirs[theirs >= 0]).max() <= 1


@pytest.mark.slow
def test_a_spike_ends_traces_of_hodgkin_huxley() -> None:
    """Up to the spike, and anew after it, traces are finite differences; an arrival before does not outlive it but in
    its conductance."""
    program, step = compile_model(library.get_definition("hh_cond_exp_traub")), 1e-6
    model = library.get_definition("hh_cond_exp_traub")
    states, rows = list(model.states), {name: list(model.states).index(name) for name in model.follow}
    assert list(rows) == ["V_m", "Act_m", "Inact_h", "Act_n"]
    first, second, spiked = 5, 250, []
    more = np.array([[step, 0.0], [-step, 0.0], [0.0, step], [0.0, -step], [0.0, 0.0]])  # at the two arrivals
    cells, traces = Cells(program, 5, {}, 0.1), [np.zeros((program.n_traces, 5)) for _ in range(2)]
    compared = {"before": 0, "after": 0, "again": 0}
    for t in range(700):
        ports = np.zeros((2, 5))
        for k, arrival in enumerate((first, second)):
            if t == arrival:
                ports[0] = 2.0 + more[:, k]
        before = cells.before
        z, psi, kept = cells.step(ports, np.full(5, 400.0))
        cells.before = kept
        assert np.all(z == z[0])
        spiked += [t] * bool(z[0])
        for k, (trace, arrival) in enumerate(zip(traces, (first, second), strict=True)):
            cells.advance_trace(0, before, kept, psi, float(t == arrival), trace)
            found = trace[: len(states), 4]
            wanted = (cells.state[:, 2 * k] - cells.state[:, 2 * k + 1]) / (2.0 * step)
            own = [s for s in spiked if s >= arrival]
            conductance = states.index("g_ex")
            np.testing.assert_allclose(found[conductance], wanted[conductance], rtol=1e-6, atol=1e-9)
            if t >= arrival and not own:
                compared["again" if spiked else "before"] += 1
                scale = np.abs(wanted).max()
                np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6 * scale)
            elif own and own[0] == t:
                compared["after"] += 1
                assert all(found[row] == 0.0 for row in rows.values()) and np.abs(wanted[rows["V_m"]]) > 1e-3
    assert compared["before"] > 20 and compared["again"] > 20 and compared["after"] == 2, (compared, spiked)


GAPS = [0.0, 1e-15, 1e-12, 1e-9, -1e-7, 1e-5, -1e-3, 0.03, 0.049, 0.051, -0.06, 0.5]  # of time constants


def propagators(C: float, tau_m: float, tau_syn: float, dt: float) -> tuple[float, float]:
    """What a current of 1 that decays by exp(-t/tau_syn), or rises as t exp(-t/tau_syn), adds to the voltage in a step.

    From the definition, the convolution with exp(-t/tau_m)/C_m, in 60 digits; by its Taylor series, which divides by
    no difference: sum_k x^k/(k + 1)! and sum_k x^k/(k + 2)! with x = dt/tau_syn - dt/tau_m.
    """
    tau_m, tau_syn, dt = (sympy.Float(sympy.Rational(value), 60) for value in (tau_m, tau_syn, dt))
    x, keep = dt / tau_syn - dt / tau_m, sympy.exp(-dt / tau_syn) / sympy.Rational(C)
    first = sum(x**k / sympy.factorial(k + 1) for k in range(60))
    second = sum(x**k / sympy.factorial(k + 2) for k in range(60))
    return float(dt * keep * first), float(dt**2 * keep * second)


@pytest.mark.parametrize("dt", [0.1, 1.0])
@pytest.mark.parametrize("gap", GAPS)
def test_time_constants_that_are_nearly_equal(gap: float, dt: float) -> None:
    C, tau = 250.0, 10.0
    near = tau * (1.0 + gap)
    found = library.get_definition("iaf_psc_exp").complete_values(
        {"C_m": C, "tau_m": tau, "tau_syn_ex": near, "tau_syn_in": near}, dt
    )
    wanted, rising = propagators(C, tau, near, dt)
    assert [found["P21ex"], found["P21in"]] == pytest.approx([wanted, wanted], rel=1e-11)
    for name in ("glif1", "glif3", "glif5"):
        own = {"C_m": C, "g": C / tau, "tau_syn_1": near, "tau_syn_2": near}
        found = library.get_definition(name).complete_values(own, dt)
        for k in (1, 2):
            assert found[f"P32_{k}"] == pytest.approx(wanted, rel=1e-11)
            assert found[f"P31_{k}"] == pytest.approx(rising, rel=1e-8)


@pytest.mark.parametrize("gap", [0.0, 1e-12, -1e-9, 1e-5])
def test_a_threshold_that_follows_as_fast_as_the_voltage(gap: float) -> None:
    """Of GLIF 5: what a voltage that decays by b adds to the threshold that decays by b, a dt exp(-b dt)."""
    a, b, dt = 0.005, 0.1, 0.1
    own = {"C_m": 100.0, "g": 100.0 * b, "th_voltage_index": a, "th_voltage_decay": b * (1.0 + gap)}
    found = library.get_definition("glif5").complete_values(own, dt)
    assert found["phi"] * (found["P33"] - found["D_voltage"]) == pytest.approx(a * dt * np.exp(-b * dt), rel=2e-7)

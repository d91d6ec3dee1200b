"""`Scaled`: weights by fan-in and constants of the targets."""

from typing import Any

import numpy as np
import pytest
import small
from params import first
from small import Noise

import pareprop
from pareprop import InputError, Model, NeuronModel, Normal, Scaled, Simulation

CELL = {"C_m": 1.0, "E_L": -3.0, "V_th": -2.4, "tau_m": 20.0, "t_ref": 2.0}


def spread(n_sources: float, distance: float, tau_ms: float, zeta: float, hz: float, dt_ms: float) -> float:
    """Standard deviation of weights with which a leaky integrator of Poisson spikes spreads by `distance`."""
    alpha, p = np.exp(-dt_ms / tau_ms), hz * dt_ms / 1000.0
    mean, noise = p * zeta / (1 - alpha), p * (1 - p) * zeta**2 / (1 - alpha**2)
    return distance / np.sqrt(n_sources * (mean**2 + noise))


@pytest.mark.parametrize("regular", [True, False])
def test_of_leaky_integrators_as_computed_by_hand(regular: bool) -> None:
    model = Model("interval", dt_ms=0.5)
    inputs = model.inputs("in", 40)
    rec = model.neurons("rec", 30, **CELL | {"tau_m": np.linspace(15.0, 25.0, 30), "regular_spike_arrival": regular})
    out = model.readouts("out", 2, tau_m=30.0, regular_spike_arrival=regular)
    zeta, zeta_out = (1.0 if regular else 1 - np.exp(-0.5 / tau) for tau in (20.0, 30.0))
    for pre, post, rule, options, gain, n, tau, wanted in (
        (inputs, rec, "all_to_all", {}, 1.0, 40, 20.0, spread(40, 0.6, 20.0, zeta, 25.0, 0.5)),
        (rec, rec, "fixed_indegree", {"indegree": 7}, 0.5, 7, 20.0, 0.5 * spread(7, 0.6, 20.0, zeta, 25.0, 0.5)),
        (rec, rec, "fixed_probability", {"probability": 0.2}, 2.0, 6, 20.0, 2 * spread(6, 0.6, 20.0, zeta, 25.0, 0.5)),
        (rec, out, "all_to_all", {}, 1.0, 30, 30.0, spread(30, 1.0, 30.0, zeta_out, 25.0, 0.5)),
    ):
        weight = Scaled(gain=gain, rate_hz=25.0)
        made = model.connect(pre, post, rule, weight=weight, name=f"{n} {gain} {tau}", **options)
        assert isinstance(made.weight, Normal) and made.weight.mean == 0.0
        assert made.weight.std == pytest.approx(wanted, rel=1e-3)


def poisson(n: int, hz: float, dt_ms: float) -> Noise:
    """Inputs that fire at a rate, and readouts that ought to be silent."""
    return Noise(np.zeros((400, 2)), n, hz * dt_ms / 1000.0)


@pytest.mark.parametrize(
    "case",
    first(
        2,
        [
            (50, 10.0, 1.0, "iaf", {}),
            (400, 10.0, 1.0, "iaf", {"E_L": -70.0, "V_th": -55.0, "C_m": 250.0}),
            (10, 40.0, 1.0, "iaf", {}),
            (50, 10.0, 0.5, "iaf", {}),
            (50, 10.0, 1.0, "iaf_adapt", {"adapt_beta": 0.02}),
        ],
        rest=3,
    ),
)
def test_a_first_network_fires(case: tuple[int, float, float, str, dict[str, Any]]) -> None:
    """About 0.3 / tau_m, here 15 Hz, whatever the fan-in, the unit of the voltage, the step and the rate of inputs."""
    n_in, hz, dt_ms, kind, changes = case
    weights = {
        "into": {"weight": Scaled(rate_hz=hz)},
        "among": {"weight": Scaled(gain=0.3)},
        "onto": {"weight": Scaled()},
    }
    cells = {"kind": kind, "cell": CELL | changes, "defaults": True}
    model = small.network("interval", n_in, 100, 2, **cells, **weights, seed=2, dt_ms=dt_ms)
    simulation = Simulation(model, poisson(n_in, hz, dt_ms))
    simulation.run_sample(0, "test", False)
    assert 7.0 < simulation.run_sample(1, "test", False)[1] < 30.0


def test_where_it_does_not_go() -> None:
    model = Model("interval")
    inputs, rec, out = model.inputs("in", 3), model.neurons("rec", 4), model.readouts("out", 1)
    with pytest.raises(InputError, match="Scaled is for projections that bring spikes"):
        model.connect(out, rec, weight=Scaled())
    with pytest.raises(InputError, match="'hot' spikes at rest, its threshold is -5 away"):
        model.connect(inputs, model.neurons("hot", 4, V_th=-75.0), weight=Scaled())
    with pytest.raises(InputError, match="gain = -1"):
        model.connect(inputs, rec, weight={"gain": -1.0})
    with pytest.raises(InputError, match="rate_hz"):
        pareprop.Scaled(rate_hz=0.0)
    with pytest.raises(InputError, match="explicit"):
        model.connect(inputs, rec, "explicit", source=[0], target=[1], weight=Scaled())


@pytest.mark.parametrize("fires_hz", first(1, [20.0, 8.0]))
@pytest.mark.parametrize("kind", ["iaf", "iaf_adapt"])
def test_a_first_network_fires_at_a_stated_rate(kind: str, fires_hz: float) -> None:
    """Within a factor of 2, over numbers of sources and their rates, in both variants."""
    for variant in ("interval", "spike"):
        for n_in, hz in ((50, 5.0), (50, 40.0), (1000, 5.0), (1000, 40.0)):
            more = {"adapt_beta": 0.1, "adapt_tau": 200.0} if kind == "iaf_adapt" else {}
            weights = {"into": {"weight": Scaled(fires_hz=fires_hz, rate_hz=hz)}, "onto": {"weight": Scaled()}}
            cells = {"kind": kind, "cell": CELL | more, "defaults": True}
            model = small.network(variant, n_in, 200, 2, **cells, **weights, back=None, seed=2)
            found = Simulation(model, poisson(n_in, hz, 1.0), quiet=True).run_sample(0, "test", False)[1]
            assert 0.5 * fires_hz < found < 2.0 * fires_hz, (variant, n_in, hz)


def test_stated_rates_that_are_refused() -> None:
    model = Model("interval")
    inputs, rec, out = model.inputs("in", 3), model.neurons("rec", 4), model.readouts("out", 1)
    with pytest.raises(InputError, match="gain and fires_hz are given"):
        Scaled(gain=1.0, fires_hz=10.0)
    with pytest.raises(InputError, match="fires_hz is for neurons"):
        model.connect(rec, out, weight=Scaled(fires_hz=10.0))
    with pytest.raises(InputError, match="fires_hz = 900 is out of reach of 'rec'"):
        model.connect(inputs, rec, weight={"fires_hz": 900.0})


def test_neurons_that_fire_by_themselves_are_refused() -> None:
    """From step 200 of 300 on they fire in every second or third step, whatever arrives."""
    late = NeuronModel(
        "late",
        parameters={"tau_m": (15.0, "ms"), "V_th": (1.0, "mV")},
        constants={"alpha": "exp(-dt/tau_m)"},
        states={"V_m": (0.0, "mV"), "b": (0.0, "mV")},
        step={"V_m": "alpha*V_m + arriving", "b": "b + 0.005"},
        spike="V_m + b - V_th",
        reset={"V_m": "0"},
        follow=["V_m"],
    )
    model = Model("interval")
    inputs, rec = model.inputs("in", 3), model.neurons("rec", 4, late, t_ref=2.0)
    with pytest.raises(InputError, match=r"'rec' fires 1\d\d.* Hz without input, fires_hz = 20 must be above"):
        model.connect(inputs, rec, weight=Scaled(fires_hz=20.0))

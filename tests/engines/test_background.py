"""Poisson background: what arrives is what a slow twin draws, Poisson distributed, independent, on any ranks."""

import json
import math
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import ranks
from commands import command, output_of, refusal_of
from params import first
from small import Noise, silence

import pareprop
from pareprop import rng
from pareprop.errors import InputError
from pareprop.network.model import Model
from pareprop.network.optimizers import GradientDescent
from pareprop.network.parameters import Normal, Uniform
from pareprop.neurons.model import NeuronModel
from pareprop.simulation.loop import Simulation

STEPS = 50
# Neurons whose states are what arrived in a step, by port.
METER = NeuronModel.from_dict(
    "meter",
    {
        "ports": ["one", "two"],
        "states": {"s": [0.0, "mV"], "u": [0.0, "mV"]},
        "step": {"s": "one", "u": "two"},
        "spike": "s - 1e9",
        "surrogate": "0*x",
    },
)


def arrivals(model: Model, n_samples: int) -> np.ndarray:
    """What arrives at all neurons in some samples: (port, step, neuron)."""
    simulation = Simulation(model, silence(STEPS))
    simulation.engine.record_neurons(np.arange(model.size("recurrent")))
    parts = []
    for index in range(n_samples):
        simulation.run_sample(index, "train", learn=False)
        states = simulation.engine.recorded.states
        parts.append(np.stack([states["s"], states["u"]]))
    return np.concatenate(parts, axis=1)


def slow_counts(seed: int, name: str, step: int, rates_hz: np.ndarray, dt_ms: float) -> np.ndarray:
    """Counts of a step by adding up probabilities until they pass the number of the neuron."""
    key, n = rng.make_key(seed, f"{name}/spikes"), len(rates_hz)
    raw = np.random.Philox(key=key, counter=[0, step, 0, 0]).random_raw(n // 2 + 1)
    numbers = [int(part) for value in raw for part in (int(value) & (2**32 - 1), int(value) >> 32)]
    counts = []
    for number, rate in zip(numbers, rates_hz, strict=False):
        mean, count = rate * dt_ms / 1000.0, 0
        chance = total = math.exp(-mean)
        while number >= total * 2**32:
            count += 1
            chance *= mean / count
            total += chance
        counts.append(count)
    return np.array(counts)


@pytest.mark.parametrize("precision", ["double", "single"])
@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_what_arrives_is_what_a_slow_twin_draws(variant: str, precision: str) -> None:
    """Two populations, both ports, rates and weights for all, given and drawn; samples go on where one ended."""
    model = Model(variant, seed=7, dt_ms=0.5, precision=precision)
    first, second = model.neurons("a", 13, METER), model.neurons("b", 600, METER)
    rates, weights = np.linspace(0.0, 40000.0, 13), np.linspace(-2.0, 2.0, 13)
    model.background(first, rate_hz=rates, weight=weights, port="two")
    model.background(second, rate_hz=3000.0, weight=0.5)
    model.background(second, rate_hz=Uniform(low=0.0, high=500.0), weight=Normal(mean=-1.0, std=0.1), name="more")
    found = arrivals(model, 2)
    assert found.shape == (2, 2 * STEPS, 613)
    drawn = Uniform(low=0.0, high=500.0).draw_values(rng.make_key(7, "b/more/rate_hz"), np.arange(600))[:, 0]
    heavy = Normal(mean=-1.0, std=0.1).draw_values(rng.make_key(7, "b/more/weight"), np.arange(600))[:, 0]
    tolerance = 1e-15 if precision == "double" else 1e-5
    for step in (0, 1, STEPS - 1, STEPS, 2 * STEPS - 1):
        expected = np.zeros((2, 613))
        expected[1, :13] = weights * slow_counts(7, "background->a", step, rates, 0.5)
        expected[0, 13:] = 0.5 * slow_counts(7, "background->b", step, np.full(600, 3000.0), 0.5)
        expected[0, 13:] += heavy * slow_counts(7, "more", step, drawn, 0.5)
        np.testing.assert_allclose(found[:, step], expected, rtol=tolerance, atol=tolerance)
    assert np.all(found[1, :, 13:] == 0) and np.all(found[0, :, :13] == 0)


@pytest.mark.parametrize("mean", [1e-3, 0.3, 1.6, 20.0, 100.0])
def test_counts_are_poisson_and_independent(mean: float) -> None:
    """Mean, variance, share of each count; no correlation between neurons, steps and backgrounds."""
    n, n_samples = 400, 10
    model = Model("interval", seed=3)
    cells = model.neurons("a", n, METER)
    model.background(cells, rate_hz=1000.0 * mean)
    model.background(cells, rate_hz=1000.0 * mean, port="two", name="other")
    counts, other = arrivals(model, n_samples)
    size = counts.size
    assert abs(counts.mean() - mean) < 5 * math.sqrt(mean / size)
    assert abs(counts.var() - mean) < 5 * math.sqrt((mean + 2 * mean**2) / size)
    for count in range(int(mean + 3 * math.sqrt(mean)) + 2):
        chance = math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
        sigma = math.sqrt(chance * (1 - chance) / size)
        assert abs(np.mean(counts == count) - chance) < 5 * sigma + 1 / size
    if mean < 0.1:
        return
    z = (counts - mean) / math.sqrt(mean)
    pairs = z.T @ z / len(z)
    np.fill_diagonal(pairs, 0.0)
    assert np.abs(pairs).max() < 6 / math.sqrt(len(z))
    assert abs(pairs.sum() / (n * (n - 1))) < 5 / math.sqrt(n * n * len(z) / 2)
    for later in (z[1:] * z[:-1], z[STEPS:] * z[:-STEPS], z * (other - mean) / math.sqrt(mean)):
        assert abs(later.mean()) < 5 / math.sqrt(later.size)


def learning(variant: str, precision: str = "double", batch_size: int = 1) -> Model:
    """A network that spikes by its background alone, and learns."""
    rule = GradientDescent(eta=1e-3 if batch_size == 1 else 1e-6, batch_size=batch_size)
    model = Model(variant, seed=2, precision=precision, optimizer=rule)
    cells = [model.neurons("a", 30, "iaf", C_m=1.0, E_L=0.0, V_th=0.6, tau_m=20.0, c_reg=0.1)]
    cells.append(model.neurons("b", 11, "iaf_psc_exp", c_reg=0.1))
    model.background(cells[0], rate_hz=400.0, weight=0.15)
    model.background(cells[1], rate_hz=8000.0, weight=100.0, port="exc")
    model.background(cells[1], rate_hz=Normal(mean=500.0, std=20.0), weight=-20.0, port="inh", name="inhibition")
    out = model.readouts("out", 1, C_m=1.0, E_L=0.0, tau_m=20.0)
    for k, pre in enumerate(cells):
        for post in cells:
            model.connect(pre, post, "fixed_indegree", indegree=5, weight=Normal(std=(0.1, 20.0)[k]), delay=2)
        model.connect(pre, out, weight=Normal(std=0.1))
        model.connect(out, pre, weight=Normal(std=0.5))
    return model


RAMP = Noise(np.linspace(0.0, 1.0, STEPS)[:, None], 0)


@pytest.mark.parametrize("what", ["background", "perturbations", "currents", "first step"])
@pytest.mark.parametrize(("variant", "batch_size"), [("interval", 1), ("interval", 2), ("spike", 2)])
def test_validation_changes_no_bit_of_a_training(variant: str, batch_size: int, what: str) -> None:
    """Samples that do not train draw from streams of their own; they neither start the run nor leave currents."""
    found, losses, task = [], list[list[float]](), RAMP
    for tests in (False, True):
        model = learning(variant, batch_size=batch_size)
        cells = model.populations[0]
        if what != "background":
            model.backgrounds.clear()
            model.inject(cells, mean=0.4, std=0.1 if what == "perturbations" else 0.0)
        if what == "perturbations":
            model.dropout(cells, p=0.2, phases=None)
        if what == "currents":
            model.connect(model.currents("current", 1), cells, weight=1.0, plastic=False, delay=3)
            task = Noise(RAMP.target, 0, currents=np.ones((STEPS, 1)))
        if what == "first step":
            more = model.neurons("more", 3, "iaf", C_m=1.0, E_L=0.0, V_th=0.6, tau_m=20.0, I_e=0.7, c_reg=0.1)
            model.connect(more, cells, weight=0.1)
        simulation = Simulation(model, task)
        for iteration in range(3):
            if tests:
                losses += [simulation.test(3, phase).losses for phase in ("test", "validate")]
            simulation.train(iteration + 1)
        found.append(simulation.hexdigest())
    assert found[0] == found[1]
    assert what in ("currents", "first step") or (losses[0] != losses[1] and len(set(losses[0])) == 3)


def test_a_test_draws_the_same_each_time() -> None:
    """Also before, after and between other samples, and on an opened run."""
    simulation = Simulation(learning("interval"), RAMP)
    found = [simulation.test(2).losses]
    simulation.test(1, "validate")
    found.append(simulation.test(2).losses)
    assert found[0] == found[1]


PAIRS = (("interval double", "spike single"), ("interval single", "spike double"))


def train(folder: str, words: list[str], exchange: object) -> None:
    for case in PAIRS[int(words[0])]:
        options = {"validate_every": 1, "validate_samples": 1}
        done = ranks.run_part(words, exchange, learning(*case.split()), RAMP, Path(folder, case), **options)
        if exchange.rank == 0:
            print(f"{case}: {done.digest}", flush=True)


@pytest.mark.parametrize("pair", first(0, ["0", "1"], rest=1))
def test_one_digest_on_1_2_3_ranks_and_after_a_restart(pair: str, tmp_path: Path) -> None:
    ranks.check_restart(__file__, tmp_path, pair)
    for case in PAIRS[int(pair)]:
        with h5py.File(tmp_path / "one" / case / "results.h5") as file:
            ids = file["dynamics/last/spike_ids"][()]
            assert np.sum(ids < 30) > 5 and np.sum(ids >= 30) > 2
            first, last = (file[f"dynamics/{key}/spike_steps"][()] for key in ("first", "last"))
            assert len(first) != len(last) or np.any(first != last)  # each sample has numbers of its own
            assert file["backgrounds/background->a"].attrs["rate_hz"] == 400.0
            assert file["backgrounds/inhibition/rate_hz"].shape == (11,)


def test_a_checkpoint_of_another_background_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options = {"iterations": 4, "figures": "none", "quiet": True}
    pareprop.run(learning("interval"), RAMP, tmp_path / "run", until=2, **options)
    other = learning("interval")
    other.backgrounds[0] = other.backgrounds[0].model_copy(update={"rate_hz": 401.0})
    with pytest.raises(InputError, match="background->a"):
        pareprop.run(other, RAMP, tmp_path / "run", restart=True, **options)
    code, output, _ = command(capsys, "info", tmp_path / "run")
    assert code == 0 and "background->a: rate_hz 400, weight 0.15, onto 30 a" in output
    assert "inhibition: rate_hz Normal(mean=500.0, std=20.0), weight -20, port inh, onto 11 b" in output
    assert "background 'background->a'" in refusal_of(
        capsys, "export", tmp_path / "run", tmp_path / "script.py", "--nest"
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rate_hz": -1.0}, "background 'background->a': rate_hz = -1 must be at least 0"),
        ({"rate_hz": [1.0, 2.0]}, "background 'background->a': rate_hz has 2 values for 5 neurons"),
        ({"rate_hz": 100001.0}, "rate_hz = 100001 must be at most 100000, 100 spikes per step of 1 ms"),
        ({"rate_hz": 10.0, "port": "tow"}, "must be one of one, two, the ports of model 'meter', did you mean 'two'?"),
        ({"rate_hz": 10.0, "wieght": 1.0}, "unknown parameter 'wieght', did you mean 'weight'?"),
        ({}, "background 'background->a': rate_hz: Field required"),
        ({"rate_hz": 10.0, "name": "a"}, "background 'a': that name is taken already; give another with name="),
    ],
)
def test_bad_values_name_the_bound(options: dict, expected: str) -> None:
    model = Model("interval")
    cells = model.neurons("a", 5, METER)
    with pytest.raises(InputError, match=re.escape(expected)):
        model.background(cells, **options)
    assert not model.backgrounds


def test_where_background_cannot_be() -> None:
    model = Model("interval")
    with pytest.raises(InputError, match="must be a population of neurons"):
        model.background(model.inputs("in", 3), rate_hz=1.0)
    cells = model.neurons("a", 5, METER)
    model.background(cells, rate_hz=Normal(mean=0.0, std=1.0))
    with pytest.raises(InputError, match=r"rate_hz of neuron \d is -\d.*must be at least 0"):
        Simulation(model, silence(STEPS))
    with pytest.raises(InputError, match="is not a population of the model"):
        Model("interval").background(cells, rate_hz=1.0)


def test_no_effect_is_told() -> None:
    model = Model("interval")
    cells = model.neurons("a", 5, METER)
    model.background(cells, rate_hz=0.0)
    model.background(cells, rate_hz=1.0, weight=0.0, name="light")
    assert model.notes == [
        "background 'background->a': rate_hz is 0, it has no effect",
        "background 'light': weight is 0, it has no effect",
    ]
    assert not arrivals(model, 1).any()


def test_a_configuration_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Tables of [[model.backgrounds]]; each problem is told with its place."""
    targets = np.zeros((2, STEPS, 1))
    np.savez(tmp_path / "data.npz", targets=targets, raster=np.zeros((2, STEPS, 20), bool))
    text = f"""
[task]
name = "data"
data = {json.dumps(str(tmp_path / "data.npz"))}
[run]
iterations = 1
figures = "none"
[[model.backgrounds]]
post = "rec"
rate_hz = 1000.0
weight = 0.1
"""
    path = tmp_path / "run.toml"
    path.write_text(text)
    output_of(capsys, "run", path, "--out", tmp_path / "run")
    with h5py.File(tmp_path / "run" / "results.h5") as file:
        assert len(file["dynamics/last/spike_ids"]) > 50  # there is no input
        assert json.loads(file.attrs["model"])["backgrounds"] == [
            "background->rec: rate_hz 1000, weight 0.1, onto 50 rec"
        ]
    path.write_text(text.replace('"rec"', '["rec", "rex"]').replace("1000.0", "-2"))
    assert "rate_hz = -2 must be at least 0" in refusal_of(capsys, "run", path, "--out", tmp_path / "other")
    path.write_text(text.replace('"rec"', '["rec", "rex"]'))
    assert "backgrounds[0]: post = 'rex' is not a population, did you mean 'rec'?" in refusal_of(
        capsys, "run", path, "--out", tmp_path / "other"
    )

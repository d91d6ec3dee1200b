"""Perturbations: silenced cells, injected currents, dropout, cut projections, against slow twins; on any ranks."""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import ranks
import small
from commands import output_of, refusal_of
from params import first
from small import Noise, ramp, silence

import pareprop
from pareprop import rng
from pareprop.engines.sample import Sample
from pareprop.errors import InputError
from pareprop.network.model import Model
from pareprop.network.optimizers import GradientDescent
from pareprop.network.parameters import Normal
from pareprop.parallel.spike_log import SpikeLog
from pareprop.simulation.loop import Simulation

STEPS, N = 60, 12
CELLS = {
    "iaf": {"V_th": 0.6},
    "iaf_adapt": {"V_th": 0.6, "adapt_beta": 0.1},
    "iaf_psc_delta": {"V_th": 0.6, "V_reset": 0.0, "V_min": -10.0, "t_ref": 2.0},
    "iaf_psc_delta_adapt": {"V_th": 0.6, "V_reset": 0.0, "V_min": -10.0, "t_ref": 2.0, "adapt_beta": 0.1},
}
MODELS = [
    *(("interval", name) for name in ("iaf", "iaf_adapt", "iaf_psc_exp")),
    *(("spike", name) for name in (*CELLS, "iaf_psc_exp")),
]


RAMP = ramp(STEPS, 20)
NOTHING = Noise(np.zeros((STEPS, 0)), 20)


def network(variant: str, kind: str, precision: str = "double", scale: float = 1.0, **more: object) -> Model:
    """Inputs, two populations that excite each other, a readout."""
    model = Model(variant, seed=4, precision=precision, optimizer=GradientDescent(eta=1e-4))
    inputs, out = model.inputs("in", 20), model.readouts("out", 1, C_m=1.0, E_L=0.0, tau_m=20.0)
    values = CELLS.get(kind)
    cell = {"C_m": 1.0, "E_L": 0.0, "tau_m": 20.0, **values, **more} if values else {"I_e": 300.0, **more}
    unit = 0.1 if values else 30.0
    cells = [model.neurons(name, N, kind, **cell) for name in ("a", "b")]
    for post in cells:
        model.connect(inputs, post, weight=Normal(mean=unit, std=0.3 * unit))
        model.connect(post, out, weight=Normal(std=0.1))
        model.connect(out, post, weight=Normal(std=1.0))
        for pre in cells:
            weight = scale if pre.name == "b" else 1.0
            model.connect(pre, post, weight=weight * 0.1 * unit, delay=2)
    return model


def population(model: Model, name: str) -> object:
    return next(item for item in model.populations if item.name == name)


def spikes(simulation: Simulation, index: int, phase: str) -> tuple[np.ndarray, np.ndarray]:
    """Raster (steps, 2 N) and surrogate gradients of a sample without learning."""
    simulation.engine.record_neurons(np.arange(2 * N))
    simulation.run_samples(index, 1, phase, learn=False)
    raster = small.raster(simulation.engine.log, STEPS, 2 * N)
    return raster, simulation.engine.recorded.surrogate_gradient


@pytest.mark.parametrize(("variant", "kind"), MODELS)
def test_silenced_neurons_do_not_spike(variant: str, kind: str) -> None:
    """In their steps alone; the others as if thresholds were out of reach; and psi is 0."""
    model = network(variant, kind)
    model.silence(population(model, "b"), cells=[7, 1, 2])
    model.silence(population(model, "a"), phases=["probe"], start_ms=20.0, stop_ms=40.0)
    ids = np.array([1, 2, 7]) + N
    found, psi = spikes(Simulation(model, RAMP), 0, "test")
    high = {"V_th": np.where(np.isin(np.arange(N), ids - N), 1e9, CELLS[kind]["V_th"] if kind in CELLS else -55.0)}
    twin = network(variant, kind)
    params = population(twin, "b").params
    object.__setattr__(population(twin, "b"), "params", params.model_copy(update=high))
    expected, _ = spikes(Simulation(twin, RAMP), 0, "test")
    intact, dynamics = spikes(Simulation(network(variant, kind), RAMP), 0, "test")
    assert intact[:, ids].any() and dynamics[:, ids].any() and np.any(found != intact)
    assert not found[:, ids].any() and not psi[:, ids].any()
    np.testing.assert_array_equal(found, expected)
    windowed, psi = spikes(Simulation(model, RAMP), 0, "probe")
    assert intact[20:40, :N].any() and not windowed[20:40, :N].any() and not psi[20:40, :N].any()
    np.testing.assert_array_equal(windowed[:20], intact[:20])
    assert windowed[41:, :N].any()


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_synapses_onto_silenced_neurons_do_not_learn(variant: str) -> None:
    model = network(variant, "iaf")
    model.silence(population(model, "b"), phases="train")
    simulation = Simulation(model, RAMP)
    before = {
        span.projection.name: simulation.network.incoming.weight[span.first : span.last].copy()
        for span in simulation.network.incoming.spans
    }
    simulation.train(2)
    for span in simulation.network.incoming.spans:
        name = span.projection.name
        same = np.array_equal(before[name], simulation.network.incoming.weight[span.first : span.last])
        assert same == (name in ("in->b", "b->a", "a->b", "b->b"))


@pytest.mark.parametrize("precision", ["double", "single"])
@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_noise_is_what_a_slow_twin_draws(variant: str, precision: str) -> None:
    """Voltages follow a current that changes every third step, drawn by neuron and interval of the run."""
    model = Model(variant, seed=9, dt_ms=0.5, precision=precision)
    still = model.neurons("first", 3, "iaf", V_th=1e6)
    noisy = model.neurons("noisy", 9, "iaf", C_m=100.0, tau_m=10.0, V_th=1e6)
    mean = np.linspace(-50.0, 50.0, 9)
    model.inject(noisy, mean=mean, std=Normal(mean=100.0, std=5.0), dt=1.5)
    model.inject(noisy, mean=30.0, start_ms=10.0, stop_ms=20.0, phases=["train"], name="step")

    simulation, parts = Simulation(model, silence(STEPS)), []
    for index in range(2):
        simulation.engine.record_neurons(np.arange(12))
        simulation.run_samples(index, 1, "train", learn=False)
        parts.append(simulation.engine.recorded.V_m)
    found = np.concatenate(parts)
    np.testing.assert_array_equal(found[:, : still.size], -70.0)
    key = rng.make_key(9, "inject->noisy/inject")
    std = Normal(mean=100.0, std=5.0).draw_values(rng.make_key(9, "noisy/inject->noisy/std"), np.arange(9))[:, 0]
    alpha, v = np.exp(-0.5 / 10.0), np.zeros(9)
    for step in range(2 * STEPS):
        if step == STEPS and variant == "interval":  # which is reset
            v = np.zeros(9)
        draws = Normal(std=1.0).draw_values(key, [step // 3], 9)[0]
        current = mean + std * draws + 30.0 * (20 <= step % STEPS < 40)
        v = alpha * v + 10.0 / 100.0 * (1.0 - alpha) * current
        np.testing.assert_allclose(found[step, 3:] + 70.0, v, rtol=1e-9, atol=1e-11 if precision == "double" else 1e-4)


def busy(variant: str, kind: str) -> Model:
    """Neurons that spike in every third step or more often, without synapses among each other."""
    model = Model(variant, seed=5, optimizer=GradientDescent(eta=1e-3))
    inputs = model.inputs("in", 20)
    if kind == "iaf":
        cells = model.neurons("a", 2 * N, "iaf", C_m=1.0, tau_m=20.0, E_L=0.0, V_th=0.6, I_e=0.3, c_reg=0.1)
    else:
        cells = model.neurons("a", 2 * N, kind, I_e=20000.0, t_ref=1.0, c_reg=0.1)
    model.connect(inputs, cells, weight=1e-9)
    return model


@pytest.mark.parametrize(
    ("variant", "kind"), [("interval", "iaf"), ("spike", "iaf"), ("interval", "iaf_psc_exp"), ("spike", "iaf_psc_exp")]
)
def test_dropout_is_what_a_slow_twin_draws(variant: str, kind: str) -> None:
    """Each spike by the number of its neuron and its step of the run; the neuron has spiked all the same."""
    full, model = busy(variant, kind), busy(variant, kind)
    model.dropout(model.populations[1], p=0.3, stop_ms=50.0)
    model.dropout(model.populations[0], p=0.5, name="inputs")
    intact, thinned = [], []
    for chosen, into in ((full, intact), (model, thinned)):
        simulation = Simulation(chosen, NOTHING)
        for index in range(2):
            simulation.run_samples(index, 1, "train", learn=False)
            raster = small.raster(simulation.engine.log, STEPS, 2 * N)
            into.append(raster)
    key = rng.make_key(5, "dropout->a/dropout")
    for index in range(2):
        draws = np.stack(
            [
                (np.random.Philox(key=key, counter=[0, index * STEPS + step, 0, 0]).random_raw(2 * N) >> 11) * 2.0**-53
                for step in range(STEPS)
            ]
        )
        stays = (draws >= 0.3) | (np.arange(STEPS) >= 50)[:, None]
        np.testing.assert_array_equal(thinned[index], intact[index] & stays)
        assert 0.2 < 1.0 - thinned[index][:50].sum() / intact[index][:50].sum() < 0.4


def test_lost_spikes_count_for_the_target_rate() -> None:
    """Regularisation alone changes the weights of a network without readouts: by the spikes before the dropout."""
    found = []
    for p in (0.0, 0.4):
        model = busy("interval", "iaf")
        if p:
            model.dropout(model.populations[1], p=p)
        simulation = Simulation(model, NOTHING)
        before = simulation.network.incoming.weight.copy()
        simulation.train(1)
        found.append(simulation.network.incoming.weight - before)
    assert np.any(found[0]) and np.array_equal(*found)


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_lost_and_silenced_inputs_are_those_of_a_slow_twin(variant: str) -> None:
    """What arrives is what a task without these spikes gives."""
    model = network(variant, "iaf")
    model.dropout(population(model, "in"), p=0.3)
    model.silence(population(model, "in"), cells=range(5), phases="train", start_ms=10.0)
    key = rng.make_key(4, "dropout->in/dropout")

    class Thinned(Noise):
        def sample(self, index: int, phase: str = "train") -> Sample:
            steps, ids = super().sample(index, phase).inputs.list_spikes(STEPS)
            draws = rng.draw_uniform(key, index * STEPS + np.arange(STEPS), 20)
            stays = (draws[steps, ids] >= 0.3) & ((ids >= 5) | (steps < 10))
            return Sample(SpikeLog.from_spikes(steps[stays], ids[stays], STEPS), super().sample(index, phase).target)

    perturbed, twin = Simulation(model, RAMP), Simulation(network(variant, "iaf"), Thinned(RAMP.target, 20, RAMP.p))
    assert perturbed.train(3) == twin.train(3)
    assert perturbed.hexdigest() == twin.hexdigest()


@pytest.mark.parametrize(("variant", "kind"), [("interval", "iaf"), ("spike", "iaf"), ("spike", "iaf_psc_exp")])
def test_a_cut_projection_brings_nothing(variant: str, kind: str) -> None:
    """A whole sample is that of weights of 0; steps before and after a cut are as they were; weights stay."""
    model = network(variant, kind)
    cuts = [item for item in model.projections if item.pre.name == "b" and item.post.name in "ab"]
    for item in cuts:
        model.cut(item)
    out = next(item for item in model.projections if item.name == "a->out")
    late = model.cut(out, phases=[], start_ms=30.0)
    simulation = Simulation(model, RAMP)
    weights = simulation.network.incoming.weight.copy(), simulation.network.outgoing.weight.copy()
    found, _ = spikes(simulation, 0, "test")
    expected, _ = spikes(Simulation(network(variant, kind, scale=0.0), RAMP), 0, "test")
    intact, _ = spikes(Simulation(network(variant, kind), RAMP), 0, "test")
    np.testing.assert_array_equal(found, expected)
    assert np.any(found != intact)
    other, signals = Simulation(model, RAMP), []
    for perturb in ([], [late]):
        other = Simulation(model, RAMP)
        other.test(1, perturb=perturb)
        signals.append(other.engine.show_signal().copy())
    first = 30
    np.testing.assert_array_equal(signals[0][:first], signals[1][:first])
    assert np.any(signals[0][first:] != signals[1][first:])
    for table, before in zip((simulation.network.incoming, simulation.network.outgoing), weights, strict=True):
        np.testing.assert_array_equal(table.weight, before)


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_perturbed_tests_leave_a_training_as_it_is(variant: str) -> None:
    plain, model = network(variant, "iaf"), network(variant, "iaf")
    silence = model.silence(population(model, "b"))
    cut = model.cut(model.projections[0], phases=())
    found = []
    for chosen in (plain, model):
        simulation = Simulation(chosen, RAMP)
        simulation.train(2)
        found.append(simulation.hexdigest())
        if chosen is model:
            with pytest.raises(InputError, match="cut 'cut->in->a': samples of phase 'train' are learned from"):
                simulation._asked = [cut.name]
                simulation.run_samples(0, 1, "train", learn=True)
            assert cut.format_line() == "cut->in->a: cut in->a; where a test asks for it"
            assert silence.format_line() == "silence->b: silence b; test"
    assert found[0] == found[1]


def learning(variant: str, precision: str = "double") -> Model:
    """A network with all kinds of perturbations."""
    model = network(variant, "iaf", precision)
    more = model.neurons("c", 11, "iaf_psc_exp", c_reg=0.1, I_e=300.0)
    model.connect(population(model, "a"), more, weight=20.0)
    model.connect(more, population(model, "a"), weight=0.01)
    model.inject(more, mean=100.0, std=300.0, dt=2.0)
    model.inject(population(model, "a"), std=0.1, stop_ms=40.0)
    model.dropout(population(model, "a"), p=0.2)
    model.dropout(population(model, "in"), p=0.1)
    model.silence(more, phases=["train", "test"], start_ms=20.0, stop_ms=25.0)
    model.cut(model.projections[-1])
    return model


PAIRS = (("interval double", "spike single"), ("interval single", "spike double"))


def train(folder: str, words: list[str], exchange: object) -> None:
    for case in PAIRS[int(words[0])]:
        done = ranks.run_part(words, exchange, learning(*case.split()), RAMP, Path(folder, case), test_samples=2)
        if exchange.rank == 0:
            print(f"{case}: {done.digest} {done.test.losses if done.test else ''}", flush=True)


@pytest.mark.parametrize("pair", first(0, ["0", "1"], rest=1))
def test_one_digest_on_1_2_3_ranks_and_after_a_restart(pair: str, tmp_path: Path) -> None:
    ranks.check_restart(__file__, tmp_path, pair)


def test_results_and_commands_name_them(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The run directory has all; another dropout is another training, another silence in tests is not."""
    options = {"iterations": 2, "figures": "none", "quiet": True}
    pareprop.run(learning("interval"), RAMP, tmp_path / "run", until=1, **options)
    other = learning("interval")
    other.silence(population(other, "b"))
    pareprop.run(other, RAMP, tmp_path / "run", restart=True, **options)
    other.dropout(population(other, "b"), p=0.5)
    with pytest.raises(InputError, match="dropout->b"):
        pareprop.run(other, RAMP, tmp_path / "run", restart=True, **options)
    output = output_of(capsys, "info", tmp_path / "run")
    assert "silence->c: silence c; train, test, 20 to 25 ms; cut->c->a: cut c->a; test; silence->b" in output
    assert "inject->c: inject c, mean 100 pA, std 300 pA; all phases" in output
    with h5py.File(tmp_path / "run" / "results.h5") as file:
        assert dict(file["perturbations/dropout->a"].attrs) == {
            "kind": "dropout",
            "of": "a",
            "phases": '["train"]',
            "start": 0,
            "stop": -1,
            "p": 0.2,
        }
    assert "it acts in training" in refusal_of(capsys, "export", tmp_path / "run", tmp_path / "script.py", "--nest")
    again = pareprop.open_run(tmp_path / "run").simulation(RAMP)
    assert [item.name for item in again.model.perturbations] == [item.name for item in other.perturbations[:-1]]


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("silence", {"cells": [12]}, "silence 'silence->a': cells: 12 must lie in 0 to 11, 'a' has no more"),
        ("silence", {"cells": [0.5]}, "cells = [0.5] must be whole numbers"),
        ("silence", {"start_ms": 0.25}, "start_ms = 0.25 must be whole steps of 1 ms"),
        ("silence", {"start_ms": 5.0, "stop_ms": 5.0}, "stop_ms = 5 must be above start_ms = 5"),
        ("silence", {"phases": 3}, "phases = 3: must be names of phases"),
        ("silence", {"start_ms": -1.0}, "start_ms = -1 must be at least 0"),
        ("silence", {"pahses": "test"}, "unknown parameter 'pahses', did you mean 'phases'?"),
        ("inject", {"std": -1.0}, "inject 'inject->a': std = -1 must be at least 0"),
        ("inject", {"mean": [1.0, 2.0]}, "mean has 2 values for 12 neurons"),
        ("inject", {"dt": 0.0}, "dt = 0 must be above 0"),
        ("dropout", {"p": 1.5}, "dropout 'dropout->a': p = 1.5"),
        ("dropout", {}, "p: Field required"),
        ("dropout", {"p": 0.5, "name": "b"}, "dropout 'b': that name is taken already"),
    ],
)
def test_bad_values_name_the_bound(kind: str, options: dict, expected: str) -> None:
    model = network("interval", "iaf")
    with pytest.raises(InputError, match=re.escape(expected)):
        getattr(model, kind)(population(model, "a"), **options)
    assert not model.perturbations


def test_what_can_be_perturbed() -> None:
    model = network("interval", "iaf")
    with pytest.raises(InputError, match="inject: 'in' must be a population of neurons of the model"):
        model.inject(population(model, "in"), mean=1.0)
    with pytest.raises(InputError, match="cut: 'a' must be a projection of the model"):
        model.cut(population(model, "a"))
    with pytest.raises(InputError, match="carries learning signals, not spikes"):
        model.cut(next(item for item in model.projections if item.pre.role == "readout"))
    with pytest.raises(InputError, match="phases must not have 'train'"):
        model.cut(model.projections[0], phases="all")
    with pytest.raises(InputError, match="'a' is not of the model"):
        Model("interval").silence(population(model, "a"))
    model.silence(population(model, "a"), phases="tset")
    model.inject(population(model, "a"))
    model.dropout(population(model, "a"), p=0.0)
    assert model.notes == [
        "silence 'silence->a': phase 'tset' is not one of a run, did you mean 'test'?",
        "inject 'inject->a': mean and std are 0, it has no effect",
        "dropout 'dropout->a': p is 0, it has no effect",
    ]
    with pytest.raises(InputError, match=r"has no perturbation 'silence', did you mean 'silence->a'\?"):
        Simulation(model, RAMP).test(1, perturb=["silence"])
    model.inject(population(model, "b"), std=Normal(mean=0.0, std=1.0))
    with pytest.raises(InputError, match=r"std of neuron \d+ is -\d.*must be at least 0"):
        Simulation(model, RAMP)


def test_a_configuration_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Tables of [[model.perturbations]]; each problem is told with its place."""
    np.savez(tmp_path / "data.npz", targets=np.zeros((2, STEPS, 1)), raster=np.ones((2, STEPS, 20), bool))
    text = f"""
[task]
name = "data"
data = {json.dumps(str(tmp_path / "data.npz"))}
[run]
iterations = 1
figures = "none"
[[model.perturbations]]
kind = "silence"
of = ["rec", "in"]
phases = "all"
start_ms = 30.0
[[model.perturbations]]
kind = "cut"
of = "rec->rec"
"""
    path = tmp_path / "run.toml"
    path.write_text(text)
    output_of(capsys, "run", path, "--out", tmp_path / "run")
    with h5py.File(tmp_path / "run" / "results.h5") as file:
        assert np.ptp(file["dynamics/last/spike_steps"]) < 30  # there would be spikes in all steps
        assert json.loads(file.attrs["model"])["perturbations"] == [
            "silence->rec: silence rec; all phases, 30 on ms",
            "silence->in: silence in; all phases, 30 on ms",
            "cut->rec->rec: cut rec->rec; test",
        ]
    for old, new, expected in (
        ('"rec", "in"', '"rex"', "perturbations[0]: of = 'rex' is not a population, did you mean 'rec'?"),
        ('of = "rec->rec"', 'of = "rec->rex"', "perturbations[1]: of = 'rec->rex' is not a projection, did you mean"),
        ('"silence"', '"silense"', "perturbations[0]: kind = 'silense' must be one of silence, inject, dropout, cut"),
        ("30.0", "0.1", "start_ms = 0.1 must be whole steps of 1 ms"),
    ):
        path.write_text(text.replace(old, new))
        assert expected in refusal_of(capsys, "run", path, "--out", tmp_path / "other")

"""Parameters of neurons that learn: golden cases, gradients, optimizers, any ranks, runs, what is refused.

`neurons/test_generated.py` compares the derivatives by each parameter with complex steps.
"""

import math
import tomllib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest
import ranks
from case_files import find
from commands import command, verify_on_ranks

import pareprop
from pareprop import (
    Adam,
    GradientDescent,
    LearningRate,
    Model,
    NeuronModel,
    Normal,
    Observer,
    Sample,
    Simulation,
    Uniform,
)
from pareprop.algorithms.choice import choose_algorithms
from pareprop.engines.spike import SpikeSettings
from pareprop.errors import InputError, StateError
from pareprop.exchange_formats import nest_template, sonata_network_writer
from pareprop.network import from_tables, to_tables
from pareprop.network.optimizers import SgdMomentum
from pareprop.network.reward import Reward
from pareprop.parallel import launcher
from pareprop.parallel.exact_sums import sum_exactly
from pareprop.plots.figures import FIGURES

CASES = find("learned")
VARIANTS = ["interval", pytest.param("spike", marks=pytest.mark.slow)]  # which takes seconds to compile
TAU = Adam(eta=0.02, low=5.0, high=100.0, scale="log")
CELL = {"C_m": 1.0, "E_L": 0.0, "V_th": 0.6, "t_ref": 5.0, "c_reg": 1.0}
LEARN: dict = {"adapt_beta": GradientDescent(eta=1e-4, low=0.0, high=2.0, shared=True), "tau_m": TAU}
PASSIVE = {  # a spike of weight w is a current w in the step in which it arrives
    "parameters": {"tau_m": [10.0, "ms"], "V_th": [1.0, "mV"]},
    "constants": {"alpha": "exp(-dt/tau_m)"},
    "states": {"V_m": [0.0, "mV"]},
    "step": {"V_m": "alpha*V_m + (1 - alpha)*(I + arriving)"},
    "spike": "V_m - V_th",
    "reset": {"V_m": "V_m - V_th"},
}


def network(
    variant: str,
    learn: Mapping = LEARN,
    batch: int = 1,
    precision: str = "double",
    feedback: str = "random",
    **more: object,
) -> Model:
    rule = Adam(eta=1e-3, batch_size=batch, optimize_each_step=variant == "interval")  # else another algorithm
    model = Model(variant, seed=3, precision=precision, optimizer=rule)
    inputs, out = model.inputs("in", 8), model.readouts("out", 1, C_m=1.0, tau_m=20.0)
    values = {**CELL, "tau_m": Uniform(low=15.0, high=25.0), "adapt_tau": 100.0, "adapt_beta": 0.05, **more}
    cells = model.neurons("rec", 9, "iaf_adapt", learn=learn, **values)
    model.connect(inputs, cells, weight=Normal(mean=0.1, std=0.3))
    model.connect(cells, cells, weight=Normal(std=0.1), delay=(2, 3))
    model.connect(cells, out, weight=Normal(std=0.05), delay=2 if variant == "spike" else 1)
    model.connect(out, cells, weight=Normal(std=0.5), delay=2 if variant == "spike" else 1, feedback=feedback)
    return model


class Noise:
    """Random spikes, and a target that changes half-way."""

    n_samples, n_steps, learning_window = 4, 50, 50

    def sample(self, index: int, phase: str = "train") -> Sample:
        raster = np.random.default_rng([index, len(phase)]).random((self.n_steps, 8)) < 0.2
        return Sample.from_raster(raster, np.repeat([[0.5], [-0.5]], self.n_steps // 2, axis=0))


def values_of(simulation: Simulation) -> dict[str, np.ndarray]:
    return {item.name: item.values.copy() for item in simulation.engine.parameters.items}


# ---- cases -----------------------------------------------------------------------------------------------------------


def test_a_case_holds(capsys: pytest.CaptureFixture) -> None:
    code, output, _ = command(capsys, "verify", next(path for path in CASES if "tau-m-threshold" in path))
    assert code == 0 and all(word in output for word in ("learned", "gradients", "losses", ": holds"))


@pytest.mark.slow
@pytest.mark.mpi
def test_cases_hold_on_any_number_of_ranks() -> None:
    verify_on_ranks(CASES, "", (2, 1))


# ---- gradients and steps ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("reset", [True, False])
def test_batches_of_the_spike_variant_take_the_mean_of_gradients(reset: bool) -> None:
    """Those of samples in which nothing changes, each in a run of its own or all in one."""
    learn = {name: GradientDescent(eta=0.0, low=0.01, high=100.0, shared=name == "adapt_beta") for name in LEARN}

    def simulate(samples: range, batch: int) -> list[list[np.ndarray]]:
        model = network("spike", learn, batch)
        model.optimizer = Adam(eta=0.0, batch_size=batch)
        run = Simulation(model, Noise(), settings=SpikeSettings(50, reset=reset if batch > 1 else None))
        run.engine.parameters.kept = []
        for index in samples:
            run.run_sample(index, "train", learn=True)
            if batch == 1 or index % batch:
                run.engine.step_optimizers()
        return run.engine.parameters.kept

    alone = [*simulate(range(1), 1), *simulate(range(1, 2), 1)] if reset else simulate(range(2), 1)
    (batch,) = simulate(range(2), 2)
    for found, *parts in zip(batch, *alone, strict=True):
        np.testing.assert_allclose(found, sum(parts) / 2, rtol=1e-12, atol=0)
        assert np.abs(found).max() > 0


def test_a_current_learns_like_a_source_that_always_fires() -> None:
    """The gradient by `I_e` is that by the weight of such a source: other code, the same current from step 1 on."""
    model = Model("interval", seed=2, optimizer=GradientDescent(eta=0.0))
    always, out = model.inputs("always", 1), model.readouts("out", 1, C_m=1.0, tau_m=20.0)
    learn = {"I_e": GradientDescent(eta=0.0, low=0.0, high=9.0)}
    cells = model.neurons("rec", 6, NeuronModel.from_dict("passive", PASSIVE), learn=learn, I_e=1.0, c_reg=0.5)
    model.connect(always, cells, weight=Normal(mean=1.0, std=0.2))
    model.connect(cells, out, weight=Normal(std=0.5))
    model.connect(out, cells, weight=Normal(std=1.0))

    class Always(Noise):
        def sample(self, index: int, phase: str = "train") -> Sample:
            return Sample.from_raster(np.ones((self.n_steps, 1), bool), np.ones((self.n_steps, 1)))

    simulation = Simulation(model, Always())
    simulation.engine.gradient.keep_gradients()
    simulation.engine.parameters.kept = kept = []
    simulation.run_sample(0, "train", learn=True)
    table = simulation.network.incoming
    of_weights = simulation.engine.gradient.arrays[id(table)][np.argsort(table.target)].copy()
    simulation.engine.step_optimizers()
    assert np.abs(of_weights).min() > 0
    np.testing.assert_allclose(kept[0][0], of_weights, rtol=1e-12)


def test_a_step_may_read_the_parameter_in_place_of_the_current() -> None:
    """Which is the same where the current is there from the first step on."""
    found = []
    for current in ("I", "I_e"):
        step = {"V_m": PASSIVE["step"]["V_m"].replace("I", current)}
        definition = NeuronModel.from_dict("passive", PASSIVE | {"step": step, "current_from": 0})
        model = Model("interval", seed=2, optimizer=GradientDescent(eta=0.0))
        out = model.readouts("out", 1, C_m=1.0, tau_m=20.0)
        learn = {"I_e": GradientDescent(eta=0.01, low=0.0, high=9.0), "V_th": GradientDescent(eta=0.01, low=0, high=2)}
        cells = model.neurons("rec", 6, definition, learn=learn, I_e=1.5, c_reg=0.5)
        model.connect(model.inputs("in", 8), cells, weight=0.3)
        model.connect(cells, out, weight=Normal(std=0.5))
        model.connect(out, cells, weight=Normal(std=1.0))
        simulation = Simulation(model, Noise())
        simulation.train(2)
        found.append(np.concatenate(list(values_of(simulation).values())))
    np.testing.assert_allclose(*found, rtol=1e-12)
    assert np.ptp(found[0][:6]) > 0 and np.ptp(found[0][6:]) > 0


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (GradientDescent(eta=0.5, low=1.0, high=9.0), [1.0, 5.5, 9.0]),
        (GradientDescent(eta=0.01, low=1.9, high=9.0, scale="log"), [1.9, 4.5 * math.exp(0.09), 9.0]),
        (SgdMomentum(eta=0.25, low=1.0, high=9.0, momentum=0.0), [1.0, 5.0, 8.75]),
        (Adam(eta=0.25, low=1.0, high=9.0, epsilon=1e-12), [1.75, 4.75, 8.75]),
        (Adam(eta=0.25, low=1.0, high=9.0, scale="log", epsilon=1e-12), [2 * math.exp(-0.25), 4.5 * math.exp(0.25), 9]),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_steps_of_optimizers(rule: object, expected: list[float]) -> None:
    """A step by hand: gradients 8, -4 and -2, of two samples; in "log" scale the gradient by the logarithm counts."""
    model = Model("interval", optimizer=Adam(batch_size=2))
    cells = model.neurons("rec", 3, "iaf", tau_m=[2.0, 4.5, 8.5], learn={"tau_m": rule})
    out = model.readouts("out", 1)
    model.connect(cells, out)
    item = Simulation(model, Noise()).engine.parameters.items[0]
    item.step(np.array([8.0, -4.0, -2.0]), 2.0)
    np.testing.assert_allclose(item.values, expected, rtol=1e-9)


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_values_act(variant: str) -> None:
    """A run from learned values makes the spikes that a network with these values from the start makes."""
    algorithms = "steps" if variant == "spike" else None  # which compiles fast
    trained = Simulation(network(variant), Noise(), algorithms=algorithms)
    trained.train(3)
    learned = values_of(trained)
    fixed = network(variant, {}, tau_m=learned["rec.tau_m"], adapt_beta=float(learned["rec.adapt_beta"][0]))
    plain, values = Simulation(fixed, Noise()), Simulation(network(variant), Noise(), algorithms=algorithms)
    for item in values.engine.parameters.items:
        item.values[:] = learned[item.name]
    values.engine.parameters.refresh_derived()
    for simulation in (plain, values):
        simulation.run_sample(7, "test", learn=False)
    assert len(plain.engine.log.ids) > 20
    np.testing.assert_array_equal(plain.engine.log.ids, values.engine.log.ids)


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_alone_learn_as_before(variant: str) -> None:
    """With rates of 0 all is as without: neurons by equations differ from NEST's kernels by rounding alone."""
    still = {name: rule.model_copy(update={"eta": 0.0}) for name, rule in LEARN.items()}
    without, rates_of_0 = (Simulation(network(variant, learn), Noise()) for learn in ({}, still))
    np.testing.assert_allclose(rates_of_0.train(3), without.train(3), rtol=1e-9)
    assert np.ptp(values_of(rates_of_0)["rec.tau_m"]) > 0


@pytest.mark.slow
def test_ways_agree() -> None:
    """Spike variant: synapses that follow each step read what parameters were then, as those by composed maps do."""
    losses = [Simulation(network("spike"), Noise(), algorithms=algorithm).train(4) for algorithm in ("scan", "steps")]
    np.testing.assert_allclose(*losses, rtol=1e-9)


def test_feedback_that_learns_is_the_same_however_often_ranks_meet() -> None:
    """Spike variant: parameters learn through the feedback of the step in which the learning signal arrives."""
    found = []
    for steps in (1, 2):
        model, settings = network("spike", feedback="adaptive"), SpikeSettings(learning_window=50, round_steps=steps)
        simulation = Simulation(model, Noise(), settings=settings, algorithms="steps")
        simulation.train(2)
        found.append(values_of(simulation))
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name])


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_who_looks_at_weights_changes_nothing(variant: str) -> None:
    """Spike variant: to show weights, synapses are brought up to date for a moment, and parameters learn nothing."""

    class Look(Observer):
        def after_sample(self, simulation: Simulation, outcome: object) -> None:
            simulation.engine.show_weights()

    algorithms, found = "steps" if variant == "spike" else None, []
    for observers in ([], [Look()]):
        simulation = Simulation(network(variant), Noise(), observers=observers, algorithms=algorithms)
        simulation.train(2)
        found.append(values_of(simulation))
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name])


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_a_failure_within_a_batch_is_told(variant: str, tmp_path: Path) -> None:
    """The checkpoint of the last good state holds the parameters, which a batch changes at its end alone."""

    class Torn(Noise):
        def sample(self, index: int, phase: str = "train") -> Sample:
            if index == 3:
                raise InputError("sample 3 is bad")
            return super().sample(index, phase)

    model = network(variant, {"I_e": GradientDescent(eta=1e-3, low=-9.0, high=9.0)}, batch=2, I_e=0.1)
    with pytest.raises(InputError, match=r"^sample 3 is bad; safe: .*iteration-00000001"):
        pareprop.run(model, Torn(), tmp_path / "run", iterations=3, figures="none", quiet=True)


def test_rates_can_be_scheduled() -> None:
    simulation = Simulation(network("interval"), Noise(), observers=[LearningRate(lambda _: 0.0, "rec.tau_m")])
    before = values_of(simulation)
    simulation.train(2)
    after = values_of(simulation)
    np.testing.assert_array_equal(before["rec.tau_m"], after["rec.tau_m"])
    assert before["rec.adapt_beta"] != after["rec.adapt_beta"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_single_precision(variant: str) -> None:
    """The first step of gradient descent, before spikes differ, is the same to a few digits."""
    learn = {"tau_m": GradientDescent(eta=1e-3, low=5.0, high=100.0), "V_th": GradientDescent(eta=0, low=0.5, high=0.7)}
    changes = []
    for precision in ("double", "single"):
        simulation = Simulation(network(variant, learn, precision=precision), Noise())
        simulation.engine.parameters.kept = kept = []
        simulation.train(1)
        changes.append(np.concatenate(kept[0]))
    np.testing.assert_allclose(*changes, rtol=1e-3, atol=1e-3 * np.abs(changes[0]).max())


@pytest.mark.parametrize("variant", ["interval", "spike"])
@pytest.mark.parametrize(("shared", "neuron"), [(False, 4), (True, 0)])
def test_a_value_that_is_not_finite_ends_the_run(variant: str, shared: bool, neuron: int) -> None:
    learn = {"V_th": GradientDescent(eta=1e-3, low=0.1, high=9.0, shared=shared)}
    simulation = Simulation(network(variant, learn), Noise())
    simulation.engine.parameters.step([np.where(np.arange(9) == neuron, np.nan, 0.0)[: 1 if shared else 9]], 1.0, None)
    with pytest.raises(StateError, match=rf"^rec\.V_th = nan in neuron {neuron} of population 'rec'"):
        simulation.train(1)


def test_a_constant_that_is_not_finite_ends_the_run() -> None:
    """Two time constants meet, whose difference the model divides by."""
    meets = PASSIVE | {"constants": {"alpha": "exp(-dt/tau_m) + 0*1/(tau_m - 12)"}}
    model = Model("interval")
    learn = {"tau_m": GradientDescent(eta=1.0, low=5.0, high=20.0)}
    cells = model.neurons("rec", 3, NeuronModel.from_dict("passive", meets), learn=learn)
    model.connect(model.inputs("in", 8), cells)
    model.connect(cells, model.readouts("out", 1))
    simulation = Simulation(model, Noise())
    simulation.engine.parameters.step([np.array([0.0, -2.0, 0.0])], 1.0, None)
    with pytest.raises(StateError, match="= nan in neuron 1 of population 'rec'"):
        simulation.train(1)


def test_sums_do_not_depend_on_order() -> None:
    """And are exact to 60 bits below the largest number, here of 40 binary orders."""
    draw = np.random.default_rng(4)
    values = draw.normal(size=3000) * 2.0 ** draw.integers(-40, 1, 3000)
    exact = float(sum(map(Fraction, values.tolist())))

    class Ranks:
        """Ranks that have parts of the numbers, one after the other; tells the first one what all tell."""

        def __init__(self, parts: list[np.ndarray]) -> None:
            self.parts, self.told = parts, []

        def allgather(self, mine: object) -> list:
            self.told.append(mine)
            if len(self.told) == 1:
                return [np.array([np.abs(part).max(initial=0.0)]) for part in self.parts]
            exponent = int(np.frexp(np.abs(values).max())[1])
            return [[sum(round(Fraction(x) * 2 ** (60 - exponent)) for x in part.tolist())] for part in self.parts]

    sums = {float(sum_exactly(None, order[None])[0]) for order in (values, values[::-1], np.sort(values))}
    parts = np.array_split(values, [100, 100, 2000])
    sums |= {float(sum_exactly(Ranks(parts), parts[0][None])[0])}
    assert len(sums) == 1 and abs(sums.pop() - exact) <= 1e-13
    assert np.isnan(sum_exactly(None, np.array([[1.0, np.inf], [0.0, 2.0]]))).tolist() == [True, False]
    assert sum_exactly(None, np.zeros((1, 3))).tolist() == [0.0]


# ---- ranks, replicas, runs -------------------------------------------------------------------------------------------


def train(folder: str, words: list[str], exchange: object) -> None:
    if "groups" in words:
        shared = launcher.split_into_replicas(exchange, int(words[1]))
        for variant in ("interval", "spike"):
            simulation = Simulation(network(variant, batch=4), Noise(), shared)
            simulation.train(2)
            digest = simulation.hexdigest()
            print(f"{variant}: {digest}\n" * (not shared.rank and not shared.replicas.index), end="", flush=True)
        return
    for variant, batch in (("interval", 1), ("spike", 1), ("spike", 2)):
        record, out = {"every": 1, "what": ["parameters"], "neurons": 3}, Path(folder, f"{variant}{batch}")
        done = ranks.run_part(words, exchange, network(variant, batch=batch), Noise(), out, record=record)
        if exchange.rank == 0:
            with h5py.File(out / "results.h5") as file:
                summary = [file[f"learned/rec.{name}/{key}"][()].tolist() for name in LEARN for key in ("mean", "std")]
            with h5py.File(out / "record.h5") as file:
                kept = [file[f"parameters/rec.{name}/value"][()].tolist() for name in LEARN]
            print(f"{variant}{batch}: {done.digest} {summary} {kept}", flush=True)


@pytest.mark.slow
def test_goes_on_after_a_restart_on_other_ranks(tmp_path: Path) -> None:
    """The digest holds the values."""
    ranks.check_restart(__file__, tmp_path)


@pytest.mark.slow
@pytest.mark.mpi
def test_one_digest_with_replicas(tmp_path: Path) -> None:
    places = ((1, "1"), (2, "2"), (4, "2"))
    assert len({ranks.train(n, __file__, tmp_path, "groups", groups) for n, groups in places}) == 1


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    pareprop.run(network("interval"), Noise(), folder, iterations=3, figures="none", quiet=True)
    return folder


def test_results_tell_what_was_learned(done: Path, capsys: pytest.CaptureFixture) -> None:
    run, trained = pareprop.open_run(done), Simulation(network("interval"), Noise())
    start = values_of(trained)
    trained.train(3)
    end = values_of(trained)
    columns = run.parameters("rec")
    np.testing.assert_array_equal(columns["tau_m_initial"], start["rec.tau_m"])
    np.testing.assert_array_equal(columns["tau_m"], end["rec.tau_m"])
    assert run.attributes_of("rec")["adapt_beta"] == end["rec.adapt_beta"][0]
    assert run.attributes["digest"] == trained.hexdigest()
    with h5py.File(done / "results.h5") as file:
        summary = file["learned/rec.tau_m"]
        assert summary["mean"].shape == (3,) and summary.attrs["low"] == 5.0
        np.testing.assert_allclose(summary["mean"][-1], end["rec.tau_m"].mean(), rtol=1e-14)
        np.testing.assert_allclose(summary["std"][-1], end["rec.tau_m"].std(), rtol=1e-12)
        assert [summary[key][-1] for key in ("min", "max")] == [end["rec.tau_m"].min(), end["rec.tau_m"].max()]
        figure = FIGURES["learned"](file)
        figure.draw_without_rendering()
        ticks = [[text.get_text() for text in ax.get_xticklabels()] for ax in figure.axes]
        assert len(ticks) == 4 and ["5", "10", "20", "50", "100"] in ticks  # of tau_m, in log scale, bound to bound
        assert not any(ax.get_xticklabels(minor=True) for ax in figure.axes)
    code, output, _ = command(capsys, "info", done)
    assert code == 0 and "learned rec.tau_m: mean" in output and "learned rec.adapt_beta: mean 0.05" in output


def test_a_run_is_taken_up(done: Path) -> None:
    """By a simulation where it ended, by fine-tuning, and by another model."""
    run, end = pareprop.open_run(done), pareprop.open_run(done).parameters("rec")["tau_m"]
    for simulation in (run.simulation(Noise()), run.simulation(Noise(), fine_tune=True)):
        np.testing.assert_array_equal(values_of(simulation)["rec.tau_m"], end)
    other = network("interval", {})
    assert other.copy_parameters(run) == ["rec.adapt_beta", "rec.tau_m"]
    np.testing.assert_array_equal(other.populations[2].params.tau_m, end)
    narrow = network("interval", {"tau_m": TAU.model_copy(update={"high": 25.0, "low": 24.9})}, tau_m=25.0)
    with pytest.raises(InputError, match=r"must lie in \[low, high\] = \[24.9, 25\]"):
        narrow.copy_parameters(run)


def test_exports_take_final_values(done: Path, tmp_path: Path) -> None:
    """SONATA files; and the script for NEST, which takes those of the start for the first sample."""
    end = pareprop.open_run(done).parameters("rec")
    sonata_network_writer.export_network(done / "results.h5", network("interval"), tmp_path / "net")
    params = Model.from_sonata(tmp_path / "net" / "circuit_config.json").populations[1].params
    np.testing.assert_array_equal(params.tau_m, end["tau_m"])
    assert (params.adapt_beta, params.regular_spike_arrival) == (end["adapt_beta"][0], True)
    known = {"tau_m": 10.0, "adapt_beta": 1.0, "regular_spike_arrival": True}
    with h5py.File(done / "results.h5") as file:
        first, last = (nest_template.read_parameters(file["populations/rec"], known, key) for key in ("first", "last"))
    assert first["tau_m"] == end["tau_m_initial"].tolist() and last["tau_m"] == end["tau_m"].tolist()
    assert first["adapt_beta"] == [0.05] * 9 and last["adapt_beta"] == end["adapt_beta"].tolist()
    assert last["regular_spike_arrival"] == [True] * 9


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_a_configuration_says_it(variant: str) -> None:
    """Tables of a model make the same model again; those of a file may be written with dots."""
    tables, _ = to_tables.describe_model(network(variant))
    assert tables["populations"][2]["learn"]["tau_m"] == {"type": "adam", **TAU.model_dump(exclude_unset=True)}
    text = 'name = "rec"\nrole = "recurrent"\nsize = 3\nlearn.tau_m = { eta = 0.02, low = 5.0, high = 100.0 }'
    entry, model = tomllib.loads(text), Model(variant)
    regular = {"regular_spike_arrival": False} if variant == "interval" else {}
    assert from_tables.add_populations(model, [entry | regular], ()) == []
    assert model.populations[0].learn == {"tau_m": GradientDescent(eta=0.02, low=5.0, high=100.0)}
    problems = from_tables.add_populations(model, [entry | {"name": "in", "role": "input"}], ())
    assert problems == ["populations[0] 'in': learn is for neurons, not for role 'input'"]


# ---- what is refused -------------------------------------------------------------------------------------------------

ADAM = {"type": "adam", "eta": 0.1, "low": 5.0, "high": 100.0}
BAD = {
    "no table": ({"learn": ["tau_m"]}, "learn = ['tau_m'] must be a table of parameters and their optimizers"),
    "no optimizer": ({"learn": {"tau_m": 0.1}}, "learn: tau_m = 0.1 must be an optimizer"),
    "unknown": ({"learn": {"tau": ADAM}}, "learn: the model has no parameter 'tau', did you mean 'tau_m'?"),
    "surrogate": ({"learn": {"surrogate_gradient_width": ADAM}}, "surrogate_gradient_width cannot be learned"),
    "no low": ({"learn": {"tau_m": {"type": "adam", "high": 9.0}}}, "learn: tau_m: low is missing"),
    "order": ({"learn": {"tau_m": ADAM | {"low": 200.0}}}, "low = 200 must not exceed high = 100"),
    "log of 0": ({"learn": {"V_th": ADAM | {"low": -1.0, "scale": "log"}}}, "low = -1 must be above 0, as scale"),
    "bound of the model": ({"learn": {"tau_m": ADAM | {"low": 0.0}}}, "tau_m: low = 0 must be above 0"),
    "start": ({"learn": {"tau_m": ADAM}, "tau_m": 3.0}, "its start, 3, must lie in [low, high] = [5, 100]"),
    "shared": ({"learn": {"tau_m": ADAM | {"shared": True}}, "tau_m": [9.0, 9.0, 8.0]}, "values at the start differ"),
    "Wmin": ({"learn": {"tau_m": ADAM | {"Wmin": 0.0}}}, "Wmin = 0.0 is for weights, not for parameters"),
    "decay": ({"learn": {"tau_m": ADAM | {"type": "adamw"}}}, "optimizer 'adamw' decays weights; take adam"),
    "switch": ({"learn": {"regular_spike_arrival": ADAM}}, "regular_spike_arrival cannot be learned"),
    "V_m": ({"learn": {"tau_m": ADAM}, "V_m": -60.0}, "neurons that learn parameters start from E_L"),
}


@pytest.mark.parametrize("case", BAD)
def test_refused(case: str) -> None:
    values, told = BAD[case]
    with pytest.raises(InputError) as caught:
        Model("interval").neurons("rec", 3, "iaf", **values)
    assert str(caught.value).startswith("population 'rec': ") and told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refused_elsewhere() -> None:
    for model, told in (
        (network("interval", {"tau_m": TAU}, tau_m=Normal(mean=4.0, std=0.1)), "must lie in [low, high] = [5, 100]"),
        (network("interval", {"V_min": Adam(low=-1e308, high=0.0)}, V_min=-1.0), "'V_min' cannot be learned"),
    ):
        with pytest.raises(InputError) as caught:
            Simulation(model, Noise())
        assert told in str(caught.value)
    with pytest.raises(InputError, match=r"low = 1\.0 is for learned parameters; bounds of weights are Wmin and Wmax"):
        Model("interval", optimizer=Adam(low=1.0))
    model = network("spike", {"tau_m": TAU})
    model.loss = Reward()
    with pytest.raises(
        InputError, match=r"go with .* parameters that learn \(rec\.tau_m\): parameters learn from targets"
    ):
        choose_algorithms(model)
    own = PASSIVE["parameters"] | {"tau_m_initial": [1.0, "ms"]}
    twice = NeuronModel.from_dict("twice", PASSIVE | {"parameters": own})
    with pytest.raises(InputError, match="learn: tau_m: the model has a parameter 'tau_m_initial'"):
        Model("interval").neurons("rec", 3, twice, learn={"tau_m": ADAM})
    model = network("interval", {"tau_m": TAU})
    model.connect(model.populations[0], model.populations[2], name="rec.tau_m")
    with pytest.raises(InputError, match=r"'rec\.tau_m' names 2 of what learns"):
        Simulation(model, Noise()).set_eta(0.5, "rec.tau_m")
    with pytest.raises(InputError, match="unknown parameter 'learn'"):
        Model("interval").readouts("out", 1, learn={"tau_m": TAU})

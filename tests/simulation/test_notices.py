"""What has no effect, or goes wrong without being wrong, is told once a run; and nothing is told where all is well."""

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import ranks
import small
from params import first
from small import Once

from pareprop import (
    Adam,
    GradientDescent,
    Model,
    NeuronModel,
    Normal,
    Observer,
    Outcome,
    Sample,
    ShortTerm,
    Simulation,
    Uniform,
    run,
)
from pareprop.engines.firing import find_rates
from pareprop.errors import ParepropWarning
from pareprop.network.optimizers import default_optimizer
from pareprop.neurons import library
from pareprop.parallel import collectives
from pareprop.runs import report

N_STEPS = 40


class Task:
    """Two spikes in each of rows 5 to 9, and what a test changes."""

    n_steps = learning_window = N_STEPS

    def __init__(self, change: Callable[[np.ndarray], None] = lambda raster: None, target: float = 1.0, **more) -> None:
        self.change, self.target, self.more = change, target, more

    def sample(self, index: int, phase: str = "train") -> Sample:
        raster = np.zeros((N_STEPS, 10))
        raster[5:10, :2] = 1
        self.change(raster)
        n_out = self.more.get("n_out", 2)
        more = {name: value for name, value in self.more.items() if name != "n_out"}
        return Sample.from_raster(raster, np.full((N_STEPS, n_out), self.target), **more)


def model(
    variant: str = "interval",
    feedback: bool = True,
    currents: dict | None = None,
    delay_in: int = 1,
    transmission: ShortTerm | None = None,
    delay: object = 1,
    optimizer: object = None,
    weight_back: object = None,
    kind: str = "random",
    **neurons: object,
) -> Model:
    into = {"weight": Normal(std=0.5), "delay": delay_in, "transmission": transmission}
    among = {"rule": "fixed_indegree", "indegree": 4, "weight": Normal(std=0.2), "delay": delay}
    back = {"feedback": kind} | ({} if weight_back is None else {"weight": weight_back}) if feedback else None
    stds = {"into": into, "among": among, "onto": 0.2, "back": back}
    made = small.network(
        variant,
        n_out=2,
        cell=neurons,
        seed=3,
        optimizer=optimizer or Adam(eta=1e-3, optimize_each_step=variant == "interval"),
        **stds,
    )
    if currents is not None:
        made.connect(made.currents("cur", 2), made.of_role("recurrent")[0], weight=0.1, **currents)
    return made


def perturbed(**options: object) -> Model:
    made = model()
    made.silence(made.of_role("recurrent")[0], **options)
    return made


def stacked(feedback: bool = False, **cell: object) -> Model:
    """Two layers, the second of which alone brings spikes to the readouts; feedback to it, or to each."""
    made = Model(seed=3, optimizer=Adam(eta=1e-3))
    inputs, out = made.inputs("in", 10), made.readouts("out", 2, **small.READOUT)
    first, second = (made.neurons(name, 20, "iaf", **small.CELL | cell) for name in ("first", "second"))
    for pre, post in ((inputs, first), (first, second), (second, out), (out, second)):
        made.connect(pre, post, weight=Normal(std=0.5))
    if feedback:
        made.connect(out, first, weight=Normal(std=0.5))
    return made


def local() -> Model:
    made = small.network(n_out=0, seed=3)
    made.local_readouts("own", made.of_role("recurrent")[0], tau_m=20.0)
    return made


def local_task(**more: object) -> Task:
    return Task(n_out=0, local_targets=lambda first, last: np.zeros((N_STEPS, last - first)), **more)


def with_currents() -> Task:
    return Task(currents=np.zeros((N_STEPS, 2)))


def put(row: int, column: int, value: float) -> Callable[[np.ndarray], None]:
    return lambda raster: raster.__setitem__((row, column), value)


def every_step(raster: np.ndarray) -> None:
    """Put one spike into each step, a share of which is lost that noise loses as well."""
    raster[:] = np.tile(np.eye(10), (4, 1))


def short_term(variant: str = "interval", **options: object) -> Model:
    optimizer = Adam(eta=1e-3, optimize_each_step=variant == "interval")
    return model(variant, transmission=ShortTerm(U=0.5, tau_rec=100.0), optimizer=optimizer, **options)


def two_inputs() -> Model:
    """Inputs of two populations; of those with spikes in row 0 transmission is plain."""
    made = Model(seed=3, optimizer=Adam(eta=1e-3))
    first, second, rec = made.inputs("first", 5), made.inputs("second", 5), made.neurons("rec", 20, "iaf", **small.CELL)
    out = made.readouts("out", 2, **small.READOUT)
    made.connect(first, rec, weight=Normal(std=0.5))
    made.connect(second, rec, weight=Normal(std=0.5), transmission=ShortTerm(U=0.5, tau_rec=100.0))
    made.connect(rec, out, weight=Normal(std=0.5))
    made.connect(out, rec, weight=Normal(std=0.5))
    return made


def many_delays(delays: list[int]) -> Model:
    made = model(feedback=True)
    rec = made.of_role("recurrent")[0]
    ids = np.arange(len(delays))
    made.connect(rec, rec, "explicit", source=ids, target=ids, weight=0.1, delay=np.array(delays), name="more")
    return made


def unread(variant: str) -> Model:
    """No readouts, and weights that are not meant to learn."""
    return small.network(variant, n_out=0, into={"weight": Normal(std=0.5), "plastic": False}, optimizer=SMALL)


def upstrokes(variant: str, follow: list[str], optimizer: object = None, precision: str = "double") -> Model:
    """AdEx neurons, whose upstrokes are unstable: traces explode unless they follow the reset of the voltage."""
    kind = NeuronModel.from_dict("own", library.get_definition("adex").to_dict() | {"follow": follow})
    rule = optimizer or Adam(eta=1e-3, optimize_each_step=variant == "interval", Wmin=-1e4, Wmax=1e4)
    options = {"seed": 3, "optimizer": rule, "dt_ms": 0.5, "precision": precision}
    return small.network(variant, n_out=2, kind=kind, into={"weight": Uniform(low=500.0, high=1500.0)}, **options)


def volleys() -> Once:
    """Inputs that make neurons spike again and again."""
    raster = np.zeros((150, 10))
    raster[1::4, ::3] = 1
    return Once(Sample.from_raster(raster, np.ones((150, 2))), 150)


EXPLODE = (
    r"projection 'in->rec': traces explode: gradients of .*e\+\d+ at weights up to 1\.\d+e\+03 and a loss of .*; check"
)
SMALL = GradientDescent(eta=1e-4)
FALLS = GradientDescent(eta=1e3, Wmin=-1e9, Wmax=1e9)
TOLD: dict[str, tuple[Callable[[], tuple[Model, object]], str]] = {
    "row 0": (
        lambda: (model(), Task(put(0, 3, 1.0))),
        "sample 0 of 'train': 1 of 11 input spikes never arrive: as in NEST, spikes that arrive in the first step of "
        "an interval (row 0 of a raster, delay 1) are lost",
    ),
    "delays": (
        lambda: (many_delays([1, 39, 40, 41, 90]), Task()),
        "projection 'more': 3 of 5 synapses never bring a spike: their delays are above 39 steps, samples have 40",
    ),
    "input delays": (
        lambda: (model(delay_in=41), Task()),
        "projection 'in->rec': 200 of 200 synapses never bring a spike: their delays are above 40 steps, samples "
        "have 40",
    ),
    "untaught": (
        lambda: (model(feedback=False), Task()),
        "'in->rec', 'rec->rec': learns nothing, as no learning signal reaches its targets: connect readouts to them, "
        "as by connect(out, rec, weight=Normal(std=0.1)), or give plastic=False",
    ),
    "first layer": (
        lambda: (stacked(), Task()),
        "'in->first': learns nothing, as no learning signal reaches its targets: connect readouts to them, as by "
        "connect(out, first, weight=Normal(std=0.1)), or give plastic=False",
    ),
    "first layer with rates": (
        lambda: (stacked(c_reg=1.0), Task()),
        "'in->first': learns from its firing rates alone, as no learning signal reaches its targets: connect readouts "
        "to them, as by connect(out, first, weight=Normal(std=0.1)), or give plastic=False",
    ),
    "currents": (
        lambda: (model(currents={}), with_currents()),
        "projection 'cur->rec': weights of currents never learn; plastic=False says that it is meant",
    ),
    "label": (
        lambda: (local(), local_task(label=3)),
        "sample 0 of 'train': label = 3 is not used: the model has no readouts that predict it",
    ),
    "rates": (
        lambda: (model(), Task(put(7, 4, 0.25))),
        "sample 0 of 'train': the raster holds 0.25, which counts as one spike like all but 0; Sample.from_rates draws "
        "spikes from rates",
    ),
    "counts": (lambda: (model("spike"), Task(put(7, 4, 2))), "sample 0 of 'train': the raster holds 2, which"),
    "symmetric": (
        lambda: (model(kind="symmetric", weight_back=Normal(std=0.1)), Task()),
        "projection 'out->rec': its weight is not used: symmetric feedback has the weights onto the readouts",
    ),
    "late perturbation": (
        lambda: (perturbed(start_ms=40.0), Task()),
        "silence 'silence->rec': no effect, as start_ms = 40 is not before the end of samples, 40 ms",
    ),
    "loss": (lambda: (model(optimizer=FALLS), Task()), "the training diverges; eta is 1000, of which 1e-5 to 1e-3 is"),
    "short-term plasticity": (
        lambda: (short_term(delay_in=1), Task(every_step)),
        "sample 0 of 'train': x and u of 'in->rec' do not count 1 of 40 input spikes: as in NEST, spikes that arrive "
        "in the first step of an interval (row 0 of a raster, delay 1) are lost; synapses with longer delays count "
        "them",
    ),
}
TOLD |= {  # in the spike variant as well
    "untaught spike": (lambda: (model("spike", feedback=False, optimizer=SMALL), Task()), TOLD["untaught"][1]),
    "currents spike": (lambda: (model("spike", currents={}, optimizer=SMALL), with_currents()), TOLD["currents"][1]),
    "rates spike": (lambda: (model("spike", optimizer=SMALL), Task(put(7, 4, 0.25))), TOLD["rates"][1]),
    "label spike": (lambda: (unread("spike"), Task(n_out=0, label=3)), TOLD["label"][1]),
    "symmetric spike": (
        lambda: (model("spike", kind="symmetric", weight_back=Normal(std=0.1), optimizer=SMALL), Task()),
        TOLD["symmetric"][1],
    ),
    "loss spike": (
        lambda: (model("spike", optimizer=FALLS), Task()),
        "that of silent readouts would be 40: the training",
    ),
}
WELL: dict[str, Callable[[], tuple[Model, object]]] = {
    "plain": lambda: (model(), Task()),
    "spike": lambda: (model("spike", optimizer=GradientDescent(eta=1e-4)), Task(put(0, 3, 1.0))),
    "noise": lambda: (model(), Task(every_step)),
    "short-term plasticity late": lambda: (short_term(delay_in=2), Task(every_step)),
    "short-term plasticity spike": lambda: (short_term("spike", delay_in=1), Task(every_step)),
    "short-term plasticity of other inputs": lambda: (two_inputs(), Task(every_step)),
    "row 0 late": lambda: (model(delay_in=2), Task(put(0, 3, 1.0))),
    "delays that just arrive": lambda: (many_delays([1, 39]), Task()),
    "delays of an endless run": lambda: (model("spike", optimizer=GradientDescent(eta=1e-4), delay=60), Task()),
    "taught by its rate": lambda: (model(feedback=False, c_reg=1.0), Task()),
    "feedback to each layer": lambda: (stacked(feedback=True), Task()),
    "taught by its own readouts": lambda: (local(), local_task()),
    "currents that are meant to stay": lambda: (model(currents={"plastic": False}), with_currents()),
    "symmetric": lambda: (model(kind="symmetric"), Task()),
    "label": lambda: (model(), Task(label=1)),
    "a target rate that squares to inf": lambda: (model(f_target=1e300), Task()),
    "a step that is as long as possible": lambda: (
        small.network(n_out=2, dt_ms=1e9, seed=3, cell={"t_ref": 0.0}),
        Task(),
    ),
    "a perturbation of the last step": lambda: (perturbed(start_ms=39.0, stop_ms=60.0), Task()),
    "truth values": lambda: (model(), Task(put(7, 4, True))),
}


def told(made: Model, task: object) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        simulation = Simulation(made, task)
        simulation.train(4)
    found = [str(entry.message) for entry in caught if issubclass(entry.category, ParepropWarning)]
    assert found == simulation.notices.lines
    assert all(entry.filename == __file__ for entry in caught)  # the user's line
    return found


@pytest.mark.parametrize("what", TOLD)
def test_it_is_told_once(what: str) -> None:
    make, line = TOLD[what]
    found = told(*make())
    assert len(found) == 1 and line in found[0] and "\n" not in found[0], found


@pytest.mark.parametrize("what", WELL)
def test_nothing_is_told_where_all_is_well(what: str) -> None:
    assert told(*WELL[what]()) == []


def weak(variant: str) -> Model:
    """Neurons that inputs do not reach."""
    options = {"defaults": True, "into": {"weight": 1.0}, "onto": 0.2, "optimizer": GradientDescent(eta=0.0)}
    return small.network(variant, n_out=2, out=small.READOUT, seed=3, **options)


@pytest.mark.parametrize("precision", first(1, ["double", "single"]))
@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_traces_that_explode_are_told(variant: str, precision: str) -> None:
    """Adam's steps are small whatever the gradient, so that neither losses nor weights show it."""
    (line,) = told(upstrokes(variant, ["w"], precision=precision), volleys())
    assert re.match(EXPLODE, line), line
    assert told(upstrokes(variant, ["V_m", "w"], precision=precision), volleys()) == []


class Labelled(Task):
    """Samples whose class follows from phase and index."""

    def __init__(self, train: list[int], test: list[int], **more: object) -> None:
        super().__init__()
        self.labels = {"train": train, "test": test}
        for name, value in more.items():
            setattr(self, name, value)

    def sample(self, index: int, phase: str = "train") -> Sample:
        labels = self.labels[phase]
        return replace(super().sample(index, phase), label=labels[index % len(labels)])


def lines_of_test(task: Task, n_train: int, n_test: int) -> list[str]:
    simulation = Simulation(model(), task)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        simulation.train(n_train)
        simulation.test(n_test)
    return simulation.notices.lines


ABSENT = "6 of 12 samples of 'test' are of class 1, of which none of {} training samples was"
SINGLE = "all {} samples of 'test' are of class 1: their accuracy does not say how well classes are told apart"


def test_classes_that_were_never_trained_are_told() -> None:
    absent, both = Labelled([0], [0, 1]), Labelled([0, 1], [0, 1])
    assert lines_of_test(absent, 20, 12) == [ABSENT.format(20)]
    assert lines_of_test(absent, 19, 12) == []  # chance may leave out a class in fewer than ten for each
    assert lines_of_test(Labelled([0], [0, 1], available={"train": 4, "test": 12}), 4, 12) == [ABSENT.format(4)]
    assert lines_of_test(both, 20, 12) == []


def test_a_test_of_a_single_class_is_told() -> None:
    assert lines_of_test(Labelled([0, 1], [1]), 20, 10) == [SINGLE.format(10)]
    assert lines_of_test(Labelled([0, 1], [1]), 20, 9) == []
    assert lines_of_test(Labelled([0, 1], [1], available={"train": 9, "test": 3}), 2, 3) == [SINGLE.format(3)]
    assert lines_of_test(Labelled([0, 1], [1], available={"train": 9, "test": 1}), 2, 1) == []


def test_a_resumed_training_knows_the_classes_of_what_was_before(tmp_path: Path) -> None:
    """The class of the first samples comes no more."""
    options = {"figures": "none", "test_samples": 12, "iterations": 30}
    for train, lines in (([1] * 10 + [0] * 20, []), ([0], [ABSENT.format(30)])):
        folder, task = tmp_path / str(len(train)), Labelled(train, [0, 1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run(model(), task, folder, until=10, **options)
            run(model(), task, folder, restart=True, **options)
        with h5py.File(folder / "results.h5") as file:
            assert file.attrs["notices"].splitlines() == lines


def train(folder: str, words: list[str], exchange: object) -> None:
    """Print what is told on how many ranks."""
    for variant in ("interval", "spike"):
        simulation = Simulation(upstrokes(variant, ["w"]), volleys(), exchange)
        with warnings.catch_warnings(record=True):
            simulation.train(3)
        lines = collectives.gather_values(exchange.comm, simulation.notices.lines)
        if exchange.rank == 0:
            print(len(lines), {len(each) for each in lines}, {each[0] for each in lines})


@pytest.mark.slow
def test_traces_that_explode_on_one_rank_are_told_on_all(tmp_path: Path) -> None:
    lines = ranks.train(3, __file__, tmp_path).splitlines()
    assert len(lines) == 2
    for line in lines:
        assert re.match(r"3 \{1\} \{\"" + EXPLODE, line), line


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_a_network_that_never_spikes_is_told(variant: str) -> None:
    def lines(task: Task, n: int) -> list[str]:
        simulation = Simulation(weak(variant), task)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            simulation.train(n)
        return simulation.notices.lines

    way = "stronger weights from the inputs, a lower V_th or a current I_e make them"
    assert lines(Task(), 9) == []
    assert lines(Task(), 12) == [f"no neuron has spiked in 10 iterations; {way}"]
    nothing = Task(lambda raster: raster.fill(0.0))
    assert lines(nothing, 12) == ["neither inputs nor neurons have spiked in 10 iterations"]


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_a_default_optimizer_that_learns_too_slowly_is_told(variant: str) -> None:
    slow = Task(target=0.0)
    with pytest.warns(ParepropWarning):
        simulation = Simulation(model(variant, optimizer=default_optimizer()), slow)
        simulation.train(110)
    (line,) = simulation.notices.lines
    assert re.fullmatch(
        r"100 iterations have changed the loss by [+-]\d %: no optimizer was given, and the default takes small steps; "
        r"give one with a larger eta, or Adam",
        line,
    )
    chosen = Simulation(model(variant, optimizer=GradientDescent(eta=1e-9)), slow)
    chosen.train(110)
    assert chosen.notices.lines == []


def test_settings_that_need_validations_are_told(tmp_path: Path) -> None:
    settings = {"validate_every": 5, "validate_samples": 2, "keep_best": True, "stop_below": 0.5, "figures": "none"}
    told = "keep_best, stop_below: no effect, as nothing is validated: val"
    with pytest.warns(ParepropWarning, match=told) as caught:
        run(model(), Task(), tmp_path / "run", iterations=3, quiet=True, **settings)
    assert [entry.filename for entry in caught] == [__file__]  # the user's line
    done = run(model(), Task(), tmp_path / "other", iterations=6, quiet=True, **settings)
    assert done.simulation.notices.lines == []


def test_a_run_counts_the_inputs_that_are_lost(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """In a line at its end, also if they are so few that noise is their cause; in the spike variant none are lost."""
    noise = Task(lambda raster: raster.__setitem__(slice(None), np.tile(np.eye(10), (4, 1))))
    for variant in ("interval", "spike"):
        options = {"test_samples": 2, "figures": "none"}
        done = run(model(variant, optimizer=SMALL), noise, tmp_path / variant, iterations=3, **options)
        assert done.simulation.notices.lines == []
        line = "lost inputs: 3 of 120 spikes (2.50%) in training: as in NEST, spikes that arrive in the first step"
        assert (line in capsys.readouterr().out) == (variant == "interval")
    run(model(optimizer=SMALL), noise, tmp_path / "interval", iterations=5, restart=True, **options)
    line = "lost inputs: 2 of 80 spikes (2.50%) in training since the resume after iteration 3: as in NEST"
    assert line in capsys.readouterr().out


def test_a_run_names_the_populations_that_never_spiked(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """At its end, those of the whole training, also if it was resumed."""

    def build() -> Model:
        made = model(optimizer=SMALL)
        for name, current in (("still", 0.0), ("driven", 1e4), ("still too", 0.0)):
            made.neurons(name, 3, "iaf", I_e=current)
        return made

    options = {"iterations": 2, "figures": "none", "out": tmp_path / "run"}
    task = Task(lambda raster: raster.__setitem__(slice(None), 1))
    run(build(), task, until=1, **options)
    assert "never spiked: still, still too\n" in capsys.readouterr().out
    done = run(build(), task, restart=True, **options)
    assert "never spiked: still, still too\n" in capsys.readouterr().out
    spikes = find_rates(done.simulation.engine)
    assert (spikes > 0).tolist() == [True, False, True, False]


def test_log_results_and_report_hold_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.warns(ParepropWarning, match="learns nothing"):
        run(model(feedback=False), Task(put(0, 3, 1.0)), tmp_path / "run", iterations=3, figures="none")
    lines = TOLD["untaught"][1], TOLD["row 0"][1]
    log = (tmp_path / "run" / "run.log").read_text()
    with h5py.File(tmp_path / "run" / "results.h5") as file:
        assert tuple(file.attrs["notices"].splitlines()) == lines
    assert all(log.count(f"notice: {line}") == 1 for line in lines)
    page = report.write([tmp_path / "run"]).read_text()
    assert "learns nothing, as no learning signal" in page and "input spikes never arrive" in page


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_arrays_that_observers_keep_stay_as_they_were(variant: str) -> None:
    kept, copies = [], []

    class Keep(Observer):
        def after_sample(self, simulation: Simulation, outcome: Outcome) -> None:
            engine = simulation.engine
            arrays = [outcome.error, outcome.signal, outcome.evaluation.error, engine.log.ids, engine.log.ptr]
            names = ("V_m", "adaptation", "surrogate_gradient", "learning_signal")
            arrays += [getattr(engine.recorded, name) for name in names]
            kept.append(arrays)
            copies.append([array.copy() for array in arrays])

    class Noise(Task):
        def sample(self, index: int, phase: str = "train") -> Sample:
            raster = np.random.default_rng([5, index]).random((N_STEPS, 10)) < 0.3
            raster[0] = False
            return Sample.from_raster(raster, np.full((N_STEPS, 2), float(index)))

    simulation = Simulation(model(variant, optimizer=GradientDescent(eta=1e-4)), Noise(), observers=[Keep()])
    simulation.engine.record_neurons(np.arange(3))
    simulation.train(4)
    assert any(len(arrays[3]) for arrays in copies)
    for arrays, wanted in zip(kept, copies, strict=True):
        for array, copy in zip(arrays, wanted, strict=True):
            np.testing.assert_array_equal(array, copy)

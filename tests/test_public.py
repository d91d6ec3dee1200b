"""Every public class and function refuses bad input with `InputError`, in one line that names the value."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small

import pareprop
from pareprop import (
    Adam,
    AdamW,
    Correlation,
    Eprop,
    GradientDescent,
    InputError,
    LearningRate,
    LearningRule,
    LogNormal,
    Model,
    Normal,
    Observer,
    Optimizer,
    Reply,
    Reward,
    Rollout,
    Sample,
    Scaled,
    SgdMomentum,
    ShortTerm,
    Simulation,
    TrialAverage,
    Uniform,
    open_run,
    run,
    sweep,
)

RASTER, TARGET = np.zeros((50, 10), bool), np.zeros((50, 3))


class Task:
    def __init__(self, n_steps: object = 50, learning_window: object = 50, **sample: object) -> None:
        self.n_steps, self.learning_window, self.given = n_steps, learning_window, sample

    def sample(self, index: int, phase: str = "train") -> Sample:
        given = {"raster": RASTER, "target": TARGET} | self.given
        return Sample.from_raster(given.pop("raster"), given.pop("target"), **given)


def model(variant: str = "interval") -> Model:
    return small.network(variant, n_out=3, into=0.2, onto=0.2, back=0.2, seed=1)


def simulation(task: object = None, **more: object) -> Simulation:
    return Simulation(model(), task or Task(), **more)


def train(**task: object) -> Callable[[], object]:
    return lambda: simulation(Task(**task)).train(1)


def rollout(**changes: object) -> Rollout:
    values = {"when": [3], "actions": [0], "rewards": [1.0], "acting": [True], "terminated": True, "bootstrap": 0.0}
    return Rollout(**(values | {"n_steps": 4} | changes))


def changed(value: object) -> np.ndarray:
    raster = np.zeros((50, 10))
    raster[7, 4] = value
    return raster


# what is called, and what the message must hold
BAD: dict[str, tuple[Callable[[], object], str]] = {
    "Adam eta": (lambda: Adam(eta=-1), "Adam: eta = -1: "),
    "Adam text": (lambda: Adam(eta="high"), "eta = 'high': must be a number"),
    "Adam unknown": (lambda: Adam(rate=1.0), "Adam: unknown parameter 'rate'"),
    "Adam two": (lambda: Adam(eta=-1, beta_1=2.0), "beta_1 = 2.0: "),
    "AdamW decay": (lambda: AdamW(weight_decay=-0.1), "AdamW: weight_decay = -0.1: "),
    "SgdMomentum all": (lambda: SgdMomentum(momentum=1.0), "SgdMomentum: momentum = 1.0: "),
    "GradientDescent order": (lambda: GradientDescent(Wmin=1.0, Wmax=0.0), "Wmin = 1 must not exceed Wmax = 0"),
    "GradientDescent batch": (lambda: GradientDescent(batch_size=0), "batch_size = 0: "),
    "Optimizer": (lambda: Optimizer(eta=-1), "Optimizer: eta = -1: "),
    "Normal": (lambda: Normal(std=-1.0), "Normal: std = -1.0: "),
    "Normal nan": (lambda: Normal(mean=float("nan"), std=1.0), "mean = nan: "),
    "Uniform": (lambda: Uniform(low=2, high=1), "Uniform: low = 2 must not exceed high = 1"),
    "LogNormal": (lambda: LogNormal(std=-1), "LogNormal: std = -1"),
    "Scaled": (lambda: Scaled(gain=-1), "Scaled: gain = -1"),
    "Scaled both": (lambda: Scaled(gain=1.0, fires_hz=10.0), "Scaled: gain and fires_hz are given: give one of them"),
    "Uniform missing": (lambda: Uniform(low=2), "Uniform: high"),
    "LearningRate": (lambda: LearningRate(0.1), "eta = 0.1 must be a function"),
    "LearningRate name": (lambda: LearningRate(lambda k: 0.1, 3), "projection = 3 must be the name"),
    "LearningRate value": (
        lambda: simulation(observers=[LearningRate(lambda k: "a")]).train(1),
        "eta = 'a' must be a number",
    ),
    "LearningRate unknown": (
        lambda: simulation(observers=[LearningRate(lambda k: 0.1, "a->b")]).train(1),
        "no plastic projection 'a->b'",
    ),
    "Eprop": (lambda: Eprop(through="some"), "through = 'some' must be one of"),
    "LearningRule": (lambda: LearningRule("mine"), "rule mine: gradient or change, one of them"),
    "ShortTerm": (lambda: ShortTerm(U=0.0, tau_rec=10.0), "U = 0 must be above 0"),
    "Correlation": (lambda: Correlation(0), "Correlation: trials = 0 must be a whole number of at least 1"),
    "TrialAverage": (lambda: TrialAverage("a"), "TrialAverage: trials = 'a' must be a whole number of at least 1"),
    "Model": (lambda: Model("both"), "variant = 'both'"),
    "Model activity": (lambda: Model(activity=5), "activity = 5 must be a function of firing rates and their targets"),
    "Reward": (lambda: Reward(gamma="a"), "gamma = a must lie in [0, 1]"),
    "Reply": (lambda: Reply.from_raster(np.zeros(3)), "raster (3,) must be (n_steps, n)"),
    "Reply text": (lambda: Reply.from_raster([["a"]]), "must hold numbers or truth values"),
    "Rollout": (lambda: rollout(rewards=["a"]), "rewards = ['a'] must hold numbers"),
    "Rollout steps": (lambda: rollout(n_steps=4.0), "n_steps = 4.0 must be a whole number"),
    "Rollout bootstrap": (lambda: rollout(bootstrap="a"), "bootstrap = 'a' must be a number"),
    "Sample": (lambda: Sample(RASTER, TARGET), "must be a SpikeLog"),
    "Sample target": (train(target=[["a"] * 3] * 50), "target = [['a'"),
    "Sample ragged": (lambda: Sample.from_raster([[0], [0, 1]], TARGET), "rows have different lengths"),
    "Sample currents": (train(currents=np.full((50, 0), 1j)), "currents = "),
    "Sample window": (train(window=np.full(50, np.nan)), "window holds NaN"),
    "Sample rollout": (train(rollout=3), "rollout = 3 must be a Rollout"),
    "Sample local": (train(local_targets=TARGET), "must be a function"),
    "raster NaN": (train(raster=changed(np.nan)), "raster holds nan in step 7 of input 4"),
    "raster inf": (train(raster=changed(-np.inf)), "raster holds -inf in step 7 of input 4"),
    "raster text": (train(raster=np.full((50, 10), "False")), "must hold numbers or truth values, not <U5"),
    "raster objects": (train(raster=np.full((50, 10), None)), "must hold numbers or truth values, not object"),
    "raster complex": (train(raster=np.full((50, 10), 1j)), "must hold numbers or truth values, not complex128"),
    "rates text": (lambda: Sample.from_rates(["a"], TARGET, 1, 0), "rates_hz = ['a'] must hold numbers"),
    "rates seed": (lambda: Sample.from_rates([1.0], TARGET, "a", 0), "seed = 'a' must be a whole number"),
    "rates step": (lambda: Sample.from_rates([1.0], TARGET, 1, 0, dt_ms=0.0), "dt_ms = 0.0 must be a number above 0"),
    "label 99": (train(label=99), "label = 99 must lie in [0, 2], as there are 3 readouts"),
    "label -1": (train(label=-1), "label = -1 must lie in [0, 2]"),
    "label large": (train(label=2**70), "label = 1180591620717411303424 must lie in [0, 2]"),
    "label true": (train(label=True), "label = True must be a whole number"),
    "label 1.0": (train(label=1.0), "label = 1.0 must be a whole number"),
    "label 1.5": (train(label=1.5), "label = 1.5 must be a whole number"),
    "label NaN": (train(label=np.nan), "label = nan must be a whole number"),
    "label text": (train(label="1"), "label = '1' must be a whole number"),
    "label array": (train(label=np.array([1])), "label = array([1]) must be a whole number"),
    "label no window": (train(label=1, learning_window=0), "a label needs learning_window of at least 1"),
    "label empty window": (train(label=1, window=np.zeros(50, bool)), "a label needs a window"),
    "Simulation no steps": (train(n_steps=0, learning_window=0), "task Task: n_steps = 0 must be at least 1"),
    "n_steps 50.0": (train(n_steps=50.0), "n_steps = 50.0 must be a whole number"),
    "n_steps text": (train(n_steps="50"), "n_steps = '50' must be a whole number"),
    "window 50.0": (train(learning_window=50.0), "learning_window = 50.0 must be a whole number"),
    "window long": (train(learning_window=51), "learning_window = 51 must lie in [0, 50]"),
    "Simulation task class": (lambda: Simulation(model(), Task), "task Task is a class"),
    "Simulation no model": (lambda: Simulation("model", Task()), "model = 'model' must be a pareprop.Model"),
    "Simulation settings": (lambda: simulation(settings={"round_steps": 1}), "{'round_steps': 1} must be of type"),
    "Simulation observers": (lambda: simulation(observers=3), "observers = 3 must be a list of observers"),
    "Simulation observer": (lambda: simulation(observers=[Observer]), "observer Observer is a class"),
    "Simulation exchange": (lambda: simulation(exchange="mpi"), "exchange = 'mpi' must be"),
    "Simulation train": (lambda: simulation().train("all"), "n_iterations = 'all' must be a whole number"),
    "Simulation train -1": (lambda: simulation().train(-1), "n_iterations = -1 must be at least 0"),
    "Simulation test": (lambda: simulation().test(1.5), "n_samples = 1.5 must be a whole number"),
    "open_run": (lambda: open_run("/no/such/run"), "/no/such/run"),
    "open_run kind": (lambda: open_run(3), "3"),
    "sweep": (lambda: sweep("sine-waves", "runs", jobs=0), "sweep: jobs = 0 must be a whole number from 1 to"),
    "run": (lambda: run(3, Task()), "model must be a pareprop.Model, not 3"),
    "run task": (lambda: run(model(), 3), "task int: n_steps is missing"),
    "run setting": (lambda: run(model(), Task(), iterations=-1), "iterations = -1"),
    "run observers": (lambda: run(model(), Task(), Path("/tmp/none"), observers=3), "observers = 3 must be a list"),
    "run out": (lambda: run(model(), Task(), 3), "out = 3 must be"),
    "run until": (lambda: run(model(), Task(), until="a"), "until = 'a' must be a whole number"),
    "run replicas": (lambda: run(model(), Task(), replicas="a"), "replicas = 'a' must be a power of two"),
    "run exchange": (lambda: run(model(), Task(), exchange="mpi"), "exchange = 'mpi' must be"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused_in_one_line(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    action, text = BAD[what]
    with pytest.raises(InputError) as raised:
        action()
    assert text in str(raised.value) and "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())  # nothing is begun


# Descriptions without a method of their own; what they are made of is checked where it is used.
UNCHECKED = {
    "ClosedTask",
    "Context",
    "Episode",
    "Loss",
    "NeuronModel",
    "Observer",
    "OpenTask",
    "Outcome",
    "Score",
    "Task",
    "Trained",
    "exchange",
}


def test_every_public_name_is_tried() -> None:
    tried = {name.split()[0] for name in BAD}
    errors = {"InputError", "ParepropError", "StateError"}
    assert set(pareprop.__all__) - tried - errors == UNCHECKED


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_a_window_of_the_sample_counts(variant: str) -> None:
    """Errors are zero outside of it, in both variants."""
    inside = (np.arange(50) % 7 == 3) & (np.arange(50) < 30)
    raster = np.random.default_rng(3).random((50, 10)) < 0.3
    errors = []

    class Look(Observer):
        def after_sample(self, simulation: Simulation, outcome: pareprop.Outcome) -> None:
            errors.append(outcome.error.copy())

    task = Task(raster=raster, window=inside, target=np.ones((50, 3)))
    Simulation(model(variant), task, observers=[Look()]).train(1)
    assert not errors[0][~inside].any() and errors[0][inside].all()


def test_what_draws_is_loaded_when_something_is_drawn() -> None:
    """On each rank, and for each command, it would take a third of the start."""
    script = "import sys, pareprop.cli; print(*({'matplotlib', 'sympy', 'jinja2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"

"""Losses and optimizers against NumPy, learning rates between phases, learning switched off."""

import ctypes
import importlib.util
import subprocess
import sys
import types
from pathlib import Path

import networks
import numpy as np
import pytest
import reference
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from pareprop.errors import InputError, StateError
from pareprop.network.losses import LOSSES
from pareprop.network.model import Model
from pareprop.network.optimizers import OPTIMIZERS, GradientDescent, Optimizer, make_optimizer
from pareprop.runs.benchmark import BenchTask
from pareprop.simulation.loop import Simulation
from pareprop.simulation.observer import Observer

GENERATOR = Path(__file__).parents[2] / "cython_core" / "generate_optimizers.py"


@given(seed=st.integers(0, 2**31))
def test_errors_are_derivatives_of_the_loss(seed: int) -> None:
    """Of each loss, by central differences; targets sum to 1, as cross-entropy needs."""
    rng = np.random.default_rng(seed)
    signal, target = 2.0 * rng.normal(size=(4, 3)), rng.dirichlet(np.ones(3), 4)
    for loss in LOSSES.values():
        error = loss.evaluate(signal, target, slice(0, 4)).error
        for place in np.ndindex(signal.shape):
            step = np.zeros_like(signal)
            step[place] = 1e-5
            ends = [loss.evaluate(signal + sign * step, target, slice(0, 4)).loss for sign in (1, -1)]
            np.testing.assert_allclose(error[place], (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-5)


def test_huber_loss() -> None:
    signal = np.array([[0.3, -4.0], [1.0, 2.5], [9.0, 9.0]])
    told = LOSSES["huber"].evaluate(signal, np.zeros((3, 2)), slice(0, 2))
    np.testing.assert_array_equal(told.error, [[0.3, -1.0], [1.0, 1.0], [0.0, 0.0]])
    assert told.loss == pytest.approx(scipy.special.huber(1.0, signal[:2]).sum(), rel=1e-14)


class Halved(Optimizer):
    """A step of its own, in Python."""

    type: str = "halved"

    def step(self, eta: float, divisor: float, n_step: int, gradient: np.ndarray, weight: np.ndarray, **_) -> None:
        weight -= 0.5 * eta * gradient
        gradient[:] = 0.0


@pytest.mark.parametrize(("where", "owner"), [("optimizer", ""), ("projection", "projection 'in->rec': ")])
def test_a_step_in_python_is_not_for_the_spike_variant(where: str, owner: str) -> None:
    model = Model("spike", optimizer=Halved() if where == "optimizer" else GradientDescent())
    inputs, neurons = model.inputs("in", 2), model.neurons("rec", 2)
    model.readouts("out", 1)
    model.connect(inputs, neurons, optimizer=Halved() if where == "projection" else None)
    message = (
        f"^{owner}optimizer 'halved' has a step of its own in Python, which .* gradient_descent, adam, sgd_momentum"
    )
    with pytest.raises(InputError, match=message):
        Simulation(model, BenchTask(2, 10, 1))


def test_a_step_in_python_after_batches_of_the_spike_variant() -> None:
    """With the sum of the gradients of two samples; that of gradient descent takes their mean."""
    weights = []
    for rule in (Halved(eta=1e-6, batch_size=2), GradientDescent(eta=1e-6, batch_size=2)):
        model = Model("spike", optimizer=rule)
        inputs, neurons = model.inputs("in", 5), model.neurons("rec", 4, I_e=400.0)
        out = model.readouts("out", 1)
        for pair in ((inputs, neurons), (neurons, out), (out, neurons)):
            model.connect(*pair, weight=5.0)
        run = Simulation(model, BenchTask(5, 60, 1))
        run.train(2)
        weights.append([table.weight.copy() for table in (run.network.incoming, run.network.outgoing)])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)
        assert np.all(one != 5.0)


def test_equations_that_were_not_compiled() -> None:
    """A class in the package is compiled with it; one that came, or was changed, since then is told."""

    class Doubled(Optimizer):
        weight = "weight - 2*eta*g"
        type: str = "doubled"

    with pytest.raises(
        InputError, match="optimizer 'doubled': its equations are not in the kernels: build the package"
    ):
        Doubled().step(0.1, 1.0, 1, np.ones(3), np.ones(3))


@settings(max_examples=examples(50))
@given(seed=st.integers(0, 2**31), n_steps=st.integers(1, 6), bound=st.sampled_from([0.3, 100.0]))
def test_optimizers(seed: int, n_steps: int, bound: float) -> None:
    """Several steps of each as the twin's optimizer makes them; gradients are consumed."""
    rng = np.random.default_rng(seed)
    divisor = float(rng.integers(1, 5))
    own = {"sgd_momentum": {"momentum": 0.8}, "adamw": {"weight_decay": 0.5}}
    for kind in OPTIMIZERS:
        rule = {"type": kind, "eta": 0.1, "Wmin": -bound, "Wmax": bound} | own.get(kind, {})
        made, weight = make_optimizer(rule, "test"), rng.normal(size=9)
        twin, expected = reference.Optimizer(reference.OPTIMIZER_DEFAULTS | rule, (9,)), weight.copy()
        moments = {name: np.zeros(9) for name in made.moments}
        for step in range(1, n_steps + 1):
            gradient = rng.normal(size=9) * (rng.random(9) < 0.7)
            expected = twin.step(expected, gradient / divisor, step)
            made.step(made.eta, divisor, step, gradient, weight, **moments)
            assert not gradient.any()
            np.testing.assert_allclose(weight, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.peer
@pytest.mark.parametrize(
    ("kind", "peer", "own"),
    [
        ("gradient_descent", "SGD", {}),
        ("sgd_momentum", "SGD", {"momentum": 0.8}),
        ("adamw", "AdamW", {"weight_decay": 0.5}),
    ],
)
def test_optimizers_of_pytorch(kind: str, peer: str, own: dict) -> None:
    """SGD without dampening, and AdamW with NEST's defaults. Its Adam has another place of epsilon than NEST's."""
    torch = pytest.importorskip("torch")
    rng, made = np.random.default_rng(1), make_optimizer({"type": kind, "eta": 0.1} | own, "test")
    weight = rng.normal(size=9)
    theirs = torch.tensor(weight, requires_grad=True)
    defaults = {"betas": (0.9, 0.999), "eps": 1e-7} if kind == "adamw" else {}
    rule = getattr(torch.optim, peer)([theirs], lr=0.1, **defaults, **own)
    moments = {name: np.zeros(9) for name in made.moments}
    for step in range(1, 30):
        gradient = rng.normal(size=9) * (rng.random(9) < 0.7)
        theirs.grad = torch.tensor(gradient)
        rule.step()
        made.step(0.1, 1.0, step, gradient, weight, **moments)
        np.testing.assert_allclose(weight, theirs.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.fixture
def generator() -> types.ModuleType:
    """What writes the C of optimizers when the package is built."""
    spec = importlib.util.spec_from_file_location("generate_optimizers", GENERATOR)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


ADDED = """
class Added(Adam):
    kept: ClassVar[dict[str, str]] = {
        "moment": "beta_1*moment + (1 - beta_1)*g",
        "largest": "where(decay > 0.5, decay, 0.5)*largest + sqrt(g*g)",
    }
    weight: ClassVar[str] = "weight - eta/bias_1*(-moment - lag*g)/(largest + 1)"
    of_step: ClassVar[dict[str, str]] = {"bias_1": "1 - beta_1**n"}
    idle: ClassVar[dict[str, str]] = {}
    series: ClassVar[dict[str, str]] = {}
    negligible: ClassVar[dict[str, str]] = {}
"""
STEP = """
#define REAL double
#define NAMED(name) name
#include "optimizer_steps.h"
void step(int64_t kind, const double *constant, double eta, int64_t n_step, int64_t n, double *gradient, double *weight,
          double **kept)
{
    step_mean(kind, constant, eta, n_step, 2.0, -1e9, 1e9, n, gradient, weight, kept);
}
"""


def test_an_optimizer_is_one_class(tmp_path: Path, generator: types.ModuleType) -> None:
    """Its equations in the file of optimizers become a kernel, to the order of operations."""
    path, n = tmp_path / "optimizers.py", 5
    path.write_text(generator.EQUATIONS.read_text() + ADDED)
    (tmp_path / "optimizer_steps.h").write_text(generator.write_source(path))
    (tmp_path / "step.c").write_text(STEP)
    flags = ["-O2", "-Werror", "-Wall", "-shared", "-fPIC", "-ffp-contract=off", f"-I{GENERATOR.parent}"]
    subprocess.run(["cc", *flags, "step.c", "-o", "step.so"], cwd=tmp_path, check=True, timeout=300)
    added = generator.read(path)[-1]
    assert (added.name, added.constants) == ("Added", ["beta_1", "decay", "lag"])
    rng, (beta, decay, lag) = np.random.default_rng(3), (0.8, 0.7, 0.3)
    weight, moment, largest = rng.normal(size=n), np.zeros(n), np.zeros(n)
    expected, m, top = weight.copy(), np.zeros(n), np.zeros(n)
    pointer = ctypes.POINTER(ctypes.c_double)
    kept = (pointer * 4)(*(array.ctypes.data_as(pointer) for array in (moment, largest)))
    constants, run = np.array([beta, decay, lag]), ctypes.CDLL(tmp_path / "step.so").step
    for step in range(1, 6):
        gradient = rng.normal(size=n)
        g = gradient / 2.0
        m = beta * m + (1 - beta) * g
        top = decay * top + np.sqrt(g * g)
        expected = expected - 0.1 / (1 - beta**step) * (-m - lag * g) / (top + 1)
        given = [array.ctypes.data_as(pointer) for array in (gradient, weight)]
        run(len(generator.read()), constants.ctypes.data_as(pointer), ctypes.c_double(0.1), step, n, *given, kept)
        np.testing.assert_allclose(weight, expected, rtol=1e-15)
        assert not gradient.any()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ("weight: ClassVar[str] = 'exp(weight)'", "Added: exp cannot stand in an equation of an optimizer"),
        ("weight: ClassVar[str] = 'weight % g'", r"Added: weight: weight: at character 8 .near '% g'.: '%' is not"),
        (f"kept: ClassVar[dict] = {dict.fromkeys('abcde', '0*g')}", "Added: more than 8 settings in equations, or 4 "),
    ],
)
def test_equations_that_cannot_be_compiled(
    tmp_path: Path, generator: types.ModuleType, changed: str, told: str
) -> None:
    path = tmp_path / "optimizers.py"
    path.write_text(f"{generator.EQUATIONS.read_text()}\n\nclass Added(GradientDescent):\n    {changed}\n")
    with pytest.raises((ValueError, InputError), match=told):
        generator.read(path)


def changing(case: dict) -> dict:
    """A case that learns quickly, so that a changed weight is seen."""
    return case | {"optimizer": {"type": "gradient_descent", "eta": 0.01}, "average_gradient": False}


@pytest.mark.parametrize("keep_gradients", [True, False])
def test_learning_rate_changed_between_phases(keep_gradients: bool) -> None:
    """Gradient descent: half the rate, half the change; a rate of 0 none; one projection alone."""
    case = changing(networks.random_case(16))

    def change(*, eta: float | None = None, projection: str | None = None) -> dict[str, np.ndarray]:
        run = networks.simulation(case, keep_gradients=keep_gradients)
        if eta is not None:
            run.set_eta(eta, projection)
        before = networks.weights(run)
        run.train(1)
        after = networks.weights(run)
        return {name: after[name] - before[name] for name in after}

    full, half, none, part = change(), change(eta=0.005), change(eta=0.0), change(eta=0.0, projection="in->rec0")
    n_first = case["groups"][0]["n"]
    for name in full:
        assert np.nanmax(np.abs(full[name])) > 1e-6
        np.testing.assert_allclose(half[name], 0.5 * full[name], rtol=1e-9, atol=1e-14)
        assert not np.nan_to_num(none[name]).any()
    assert not np.nan_to_num(part["in"][:n_first]).any()
    np.testing.assert_array_equal(part["in"][n_first:], full["in"][n_first:])
    np.testing.assert_array_equal(part["rec"], full["rec"])


def test_learning_rates_are_checked() -> None:
    run = networks.simulation(networks.random_case(16))
    for eta in (-1.0, np.nan, np.inf):
        with pytest.raises(InputError, match=f"eta = {eta} must be a number of at least 0"):
            run.set_eta(eta)
    with pytest.raises(InputError, match=r"no plastic projection 'in->rec', did you mean 'in->rec\d'"):
        run.set_eta(0.1, "in->rec")


def test_learning_switched_off() -> None:
    """A test changes no weight and no gradient, gives the losses of a training, and does not disturb one."""
    case = changing(networks.random_case(16, reset=True))
    case["groups"] = [group | {"params": group["params"] | {"I_e": 0.0}} for group in case["groups"]]
    case["readout"]["I_e"] = 0.0
    del case["step_currents"]
    run, plain = networks.simulation(case), networks.simulation(case)
    before = networks.weights(run)
    loss = run.test(1)
    for name, matrix in networks.weights(run).items():
        np.testing.assert_array_equal(matrix, before[name])
    assert not any(gradient.any() for gradient in run.engine.gradient.arrays.values())
    assert run.train(3) == plain.train(3)
    assert loss == plain.losses[0]
    assert len(set(plain.losses)) == 3
    with pytest.raises(InputError, match="n_samples = 0 must be at least 1"):
        run.test(0)


def test_projection_that_does_not_learn() -> None:
    case = changing(networks.random_case(16))
    run = networks.simulation(case)
    model = networks.model(case)
    model.projections = [
        item.model_copy(update={"plastic": item.plastic and item.pre != model.populations[0]})
        for item in model.projections
    ]
    other = type(run)(model, run.task, settings=run.engine.settings)
    before = networks.weights(other)
    other.train(1)
    after = networks.weights(other)
    np.testing.assert_array_equal(after["in"], before["in"])
    assert np.nanmax(np.abs(after["rec"] - before["rec"])) > 1e-6


@pytest.mark.parametrize("batch_size", [2, 3])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_batches(kind: str, batch_size: int) -> None:
    case = networks.random_case(16, optimizer={"type": kind, "eta": 0.01, "batch_size": batch_size})
    expected = reference.run_case(case)
    run = networks.simulation(case)
    losses = run.train(3 // batch_size)
    np.testing.assert_allclose(losses, np.mean(expected["losses"][:batch_size]), rtol=1e-12)
    weights = networks.weights(run)
    for name, matrix in weights.items():
        np.testing.assert_allclose(matrix, expected[f"w_{name}"], rtol=1e-10, atol=1e-12)
        assert np.nanmax(np.abs(matrix - case[f"w_{name}"])) > 1e-5


def test_divergence_ends_the_run() -> None:
    case = networks.random_case(16, optimizer={"type": "gradient_descent", "eta": 1e200, "Wmax": 1e300, "Wmin": -1e300})
    case["readout"]["loss"] = "mean_squared_error"
    with pytest.raises(StateError, match=r"(inf|e\+\d+).* a smaller learning rate"):
        networks.simulation(case).train(3)


def test_observers_are_told_in_order() -> None:
    told = []

    class Teller(Observer):
        def start(self, simulation) -> None:
            told.append("start")

        def before_sample(self, simulation, index, phase) -> None:
            told.append(f"{phase} {index}")

        def after_sample(self, simulation, outcome) -> None:
            told.append(outcome.index)
            assert np.isfinite(outcome.loss)

        def after_iteration(self, simulation, iteration, loss) -> None:
            told.append(f"iteration {iteration}")
            simulation.stop_requested = iteration == 1

        def finish(self, simulation) -> None:
            told.append("finish")

    run = networks.simulation(networks.random_case(16))
    run.observers = [Teller(), Observer()]
    assert len(run.train(3)) == run.iteration == 2
    assert told == ["start", "train 0", 0, "iteration 0", "train 1", 1, "iteration 1", "finish"]


class Same(GradientDescent):
    """A step of its own under the name of another."""

    step = Halved.step


def test_an_optimizer_with_the_type_of_another_is_refused() -> None:
    """Descriptions of runs hold the type, so that a resumed run would step as the other one."""
    with pytest.raises(InputError, match="Same: type = 'gradient_descent' is that of GradientDescent; give Same a "):
        Same(eta=1e-3)

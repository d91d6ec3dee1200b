"""Losses of a script: a function of outputs and targets, or an object of a class of `Loss`."""

import copy
import functools
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import ranks
import small
from small import Noise

import pareprop
from pareprop import (
    Adam,
    Correlation,
    GradientDescent,
    InputError,
    Loss,
    Model,
    Observer,
    Simulation,
    StateError,
    TrialAverage,
)
from pareprop.network.losses import LOSSES
from pareprop.simulation.loop import check_replicas


def steps(draws: np.random.Generator) -> np.ndarray:
    return 3.0 * draws.standard_normal((1, 2)) * np.ones((50, 1))


STEPS = Noise(steps, learning_window=30)


def squared(output: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    return output - target, 0.5 * np.sum(np.square(output - target))


def huber(output: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    distance = np.abs(output - target)
    loss = np.where(distance <= 1.0, 0.5 * distance**2, distance - 0.5).sum()
    return np.clip(output - target, -1.0, 1.0), loss


def quartic(output: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    output -= target  # a function may write into its arguments
    return output**3, float(np.sum(output**4) / 4)


class Absolute(Loss):
    def error(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        return np.sign(output - target)

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        return float(np.sum(np.abs(output - target)))


def network(
    loss: object = None, named: str = "mean_squared_error", variant: str = "interval", **options: object
) -> Model:
    rule = Adam(eta=1e-2, batch_size=4) if variant == "interval" else GradientDescent(eta=1e-4)
    sizes = {"n": 15, "n_out": 2, "cell": {"V_th": 0.4}, "out": {"tau_m": 10.0, "loss": named}}
    stds = dict.fromkeys(("into", "among", "onto", "back"), 0.3)
    return small.network(variant, **sizes, **stds, seed=2, optimizer=rule, loss=loss, **options)


@pytest.mark.parametrize(("function", "named"), [(squared, "mean_squared_error"), (huber, "huber")])
@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_a_function_equals_the_named_loss(variant: str, function: object, named: str) -> None:
    """In the spike variant those of the kernel, and those that are called."""
    own, known = (Simulation(network(*loss, variant=variant), STEPS) for loss in ((function,), (None, named)))
    assert own.train(6) == pytest.approx(known.train(6), rel=1e-12)
    assert own.hexdigest() == known.hexdigest()
    assert own.test(4) == pytest.approx(known.test(4), rel=1e-12)


def test_losses_are_what_the_function_returned() -> None:
    """Of outputs within the window alone; errors are their derivatives, and 0 outside of it."""
    simulation = Simulation(network(quartic), STEPS)
    simulation.train(1)
    engine = simulation.engine
    target = STEPS.sample(3).target  # the last sample of the batch
    output = engine.show_signal()
    assert engine.evaluation.loss == pytest.approx(np.sum((output[20:] - target[20:]) ** 4) / 4, rel=1e-14)
    assert engine.evaluation.error[20:] == pytest.approx((output[20:] - target[20:]) ** 3, rel=1e-14)
    assert not engine.evaluation.error[:20].any()
    up, down = (engine.loss.evaluate(output + shift, target, slice(20, 50)).loss for shift in (1e-5, -1e-5))
    assert engine.evaluation.error.sum() == pytest.approx((up - down) / 2e-5, rel=1e-7)


RANKS = """
import sys
sys.path[:0] = {path!r}
from test_own_loss import STEPS, huber, network
from pareprop import Simulation, exchange
from pareprop.parallel import launcher
group = launcher.split_into_replicas(exchange(), int(sys.argv[1]))
simulation = Simulation(network(huber, variant=sys.argv[2]), STEPS, group)
simulation.train(4)
digest = simulation.hexdigest()
if simulation.exchange.rank + simulation.replicas.index == 0:
    print(digest, simulation.losses)
"""


@pytest.mark.slow
def test_one_digest_on_any_number_of_ranks(tmp_path: Path) -> None:
    here = Path(__file__).parent
    (tmp_path / "script.py").write_text(RANKS.format(path=[str(here), str(here.parent)]))
    for variant in ("interval", "spike"):
        alone = Simulation(network(huber, variant=variant), STEPS)
        alone.train(4)
        for n, replicas in ((3, 1), (4, 2)) if variant == "interval" else ((2, 1),):
            done = ranks.run(n, tmp_path / "script.py", replicas, variant)
            assert done.stdout == f"{alone.hexdigest()} {alone.losses}\n", done.stderr


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda y, t: y - t, r"loss <lambda> returned .*, must return the errors and the loss"),
        (lambda y, t: (y[:-1], 0.0), r"loss <lambda>: errors have shape \(29, 2\), must be \(30, 2\)"),
        (lambda y, t: (y - t, y), r"loss <lambda>: the loss .* must be one number"),
    ],
)
def test_what_a_function_returns_is_checked(function: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Simulation(network(function), STEPS).train(1)


@pytest.mark.parametrize("loss", ["huber", 5, Absolute, LOSSES])
def test_what_is_no_loss_is_refused(loss: object) -> None:
    with pytest.raises(InputError, match=r"loss = .* must be a function of outputs and targets, or a Loss"):
        Model("interval", loss=loss)


def test_the_spike_variant_learns_from_each_step() -> None:
    """Of outputs and targets of one step, within the window alone; the loss is the sum."""
    simulation, seen = Simulation(network(quartic, variant="spike"), STEPS), []
    simulation.train(1)
    engine, target = simulation.engine, STEPS.sample(0).target
    distance = engine.show_signal() - target
    assert engine.evaluation.loss == pytest.approx(np.sum(distance[20:] ** 4) / 4, rel=1e-12)
    assert engine.evaluation.error[20:] == pytest.approx(distance[20:] ** 3, rel=1e-12)
    assert not engine.evaluation.error[:20].any()

    def watching(output: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
        seen.append(output.shape)
        return squared(output, target)

    Simulation(network(watching, variant="spike"), STEPS).train(2)
    assert seen == [(1, 2)] * 60
    digests = set()
    for loss in (squared, huber, quartic, Absolute()):
        simulation = Simulation(network(loss, variant="spike"), STEPS)
        simulation.train(3)
        digests.add(simulation.hexdigest())
    assert len(digests) == 4


def test_a_function_that_fails_ends_the_run_of_the_spike_variant() -> None:
    def fails(output: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
        raise InputError("no loss today")

    with pytest.raises(InputError, match="no loss today"):
        Simulation(network(fails, variant="spike"), STEPS).train(1)
    with pytest.raises(InputError, match="must return the errors and the loss"):
        Simulation(network(lambda y, t: y - t, variant="spike"), STEPS).train(1)


# ---- losses with a state ---------------------------------------------------------------------------------------------


class Running(Loss):
    """Errors in units of their running size, which each call changes."""

    def __init__(self) -> None:
        self.size, self.calls = np.ones(2), 0

    def error(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        found = (output - target) / self.size
        self.size *= 0.9  # in place: what `state` returns must be copied
        self.size += 0.1 * np.abs(output - target).mean(axis=0)
        self.calls += 1
        return found

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        return float(0.5 * np.sum(error * (output - target)))


class Kept(Running):
    def state(self) -> dict:
        return {"size": self.size, "calls": self.calls}

    def load_state(self, state: dict) -> None:
        self.size, self.calls = state["size"], state["calls"]


class KeptFunction:
    """As `Kept`, an object that is called."""

    def __init__(self) -> None:
        self.own = Kept()
        self.state, self.load_state = self.own.state, self.own.load_state

    def __call__(self, output: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
        error = self.own.error(output, target)
        return error, self.own.value(output, target, error)


def train(folder: str, words: list[str], exchange: object) -> None:
    options = {"validate_every": 1, "validate_samples": 2, "test_samples": 2}
    for variant, loss in (("interval", Kept()), ("spike", KeptFunction())):
        model = network(loss, variant=variant)
        done = ranks.run_part(words, exchange, model, STEPS, Path(folder, variant), **options)
        if exchange.rank == 0:
            tests = done.test.losses if done.test else ""
            print(f"{variant}: {done.digest} {done.losses} {done.validations} {tests}", flush=True)


@pytest.mark.slow
def test_a_state_goes_on_after_a_restart(tmp_path: Path) -> None:
    """On other ranks, with validations in between."""
    ranks.check_restart(__file__, tmp_path)


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_tests_leave_the_state_that_training_sees(variant: str) -> None:
    """And each of their samples sees that of training."""
    plain, tested = (Simulation(network(Kept(), variant=variant), STEPS) for _ in range(2))
    plain.train(3)
    tested.train(1)
    before = copy.deepcopy(tested.engine.loss.state())
    score = tested.test(2)
    if variant == "interval":  # else neurons go on from sample to sample
        assert score.losses[1] == tested.run_sample(1, "test", learn=False)[0]
        tested.train(3)
        assert tested.losses == plain.losses and tested.hexdigest() == plain.hexdigest()
        before = copy.deepcopy(tested.engine.loss.state())
    tested.run_samples(0, 2, "validate", learn=True)  # as with eta_validate
    after = tested.engine.loss.state()
    assert after["calls"] == before["calls"] > 0 and np.array_equal(after["size"], before["size"])


def changing(output: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    changing.calls = getattr(changing, "calls", 0) + 1
    return squared(output, target)


def counting() -> object:
    calls, rng = 0, np.random.default_rng(1)

    def function(output: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
        nonlocal calls
        calls += 1
        return squared(output + 1e-9 * rng.random(), target)

    return function


class Lazy(Absolute):
    """What is derived once is no state."""

    @functools.cached_property
    def factor(self) -> float:
        return 1.0

    def error(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        return self.factor * np.sign(output - target)


@pytest.mark.parametrize(
    ("loss", "names"),
    [
        (Running(), "Running: size, calls change"),
        (changing, "changing: calls changes"),
        (counting(), "function: calls, rng change"),
        (Kept(), ""),
        (KeptFunction(), ""),
        (Lazy(), ""),
        (huber, ""),
        (None, ""),
    ],
    ids=["attributes", "of a function", "around a function", "state", "state of an object", "derived", "none", "named"],
)
def test_a_loss_that_changes_without_a_state_is_told(loss: object, names: str) -> None:
    simulation = Simulation(network(loss), STEPS)
    with warnings.catch_warnings(record=True):
        simulation.test(1)
        assert not simulation.notices.lines
        simulation.train(2)
    why = "as samples are learned from; no checkpoint keeps that, and tests change it: give it state() and load_state()"
    assert simulation.notices.lines == ([f"loss {names} {why}"] if names else [])


class OfBefore(Absolute):
    """Losses had no context: it is a name of its script."""

    def __init__(self) -> None:
        self.context = 0

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        self.context += 1
        return super().value(output, target, error)


class Called:
    context = 0

    def __call__(self, output: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
        self.context += 1
        return squared(output, target)


@pytest.mark.parametrize("loss", [OfBefore(), Called()])
def test_a_script_may_have_a_context_of_its_own(loss: object) -> None:
    simulation = Simulation(network(loss), STEPS)
    with pytest.warns(match=f"loss {type(loss).__name__}: context changes as samples are learned from"):
        simulation.train(2)
    assert loss.context >= 2


class Reading(Absolute):
    def error(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        self.seen = self.context.phase, self.context.index
        return super().error(output, target)

    def state(self) -> dict:
        return {}

    def load_state(self, state: dict) -> None:
        pass


def test_a_class_of_losses_reads_its_context() -> None:
    loss = Reading()
    simulation = Simulation(network(loss), STEPS)
    simulation.train(2)
    assert loss.seen == ("train", 7)
    simulation.test(1)
    assert loss.seen == ("test", 0)


class Half(Running):
    def state(self) -> dict:
        return {"calls": self.calls}


class Word(Kept):
    load_state = "b"


class Stuck(Kept):
    def state(self) -> dict:
        return {"size": iter([1.0])}


def test_a_state_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^loss Half has state\(\), but no load_state\(\): it needs both$"):
        network(Half())
    with pytest.raises(InputError, match=r"^loss Word: load_state = 'b' must be a method$"):
        network(Word())
    with pytest.raises(InputError, match=r"^loss Stuck: state\(\)\['size'\] = .* is a list_iterator; a checkpoint"):
        pareprop.run(network(Stuck()), STEPS, tmp_path / "run", iterations=1, figures="none", quiet=True)
    assert not list((tmp_path / "run").glob("checkpoints/*"))
    train_part = {"iterations": 2, "figures": "none", "quiet": True}
    pareprop.run(network(KeptFunction()), STEPS, tmp_path / "kept", until=1, **train_part)
    with pytest.raises(InputError, match="loss squared takes no state back, and there is one of calls, size"):
        pareprop.run(network(squared), STEPS, tmp_path / "kept", restart=True, **train_part)


def test_replicas_need_a_loss_without_a_state() -> None:
    model = network(Kept())
    with pytest.raises(
        InputError, match=r"^replicas = 2 does not go with loss Kept, which has a state: samples change it one after"
    ):
        check_replicas(2, model, model.eprop.engine.settings_type(30))
    check_replicas(2, network(huber), model.eprop.engine.settings_type(30))


class Failing(Kept):
    """Infinite in the second sample of the second iteration."""

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        return np.inf if self.calls == 6 else super().value(output, target, error)


def test_a_checkpoint_after_a_failure_has_the_state_of_its_iteration(tmp_path: Path) -> None:
    options = {"iterations": 3, "figures": "none", "quiet": True}
    with pytest.raises(StateError, match="the loss of sample 5 is inf"):
        pareprop.run(network(Failing()), STEPS, tmp_path / "run", **options)
    model = network(Failing())
    seen = []
    observer = type("Seen", (Observer,), {"start": lambda self, simulation: seen.append(simulation.engine.loss.calls)})
    with pytest.raises(StateError, match="the loss of sample 5 is inf"):
        pareprop.run(model, STEPS, tmp_path / "run", restart=True, observers=[observer()], **options)
    assert seen == [4]


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_a_restart_takes_the_state_back(variant: str, tmp_path: Path) -> None:
    """Of a new loss, and of one whose state is no longer that of the beginning."""
    options = {"iterations": 2, "figures": "none", "quiet": True}
    model = network(Kept(), variant=variant)
    whole = pareprop.run(network(Kept(), variant=variant), STEPS, tmp_path / "whole", **options)
    for again in (model, network(Kept(), variant=variant)):
        pareprop.run(model, STEPS, tmp_path / "run", until=1, overwrite=True, **options)
        done = pareprop.run(again, STEPS, tmp_path / "run", restart=True, **options)
        assert (done.losses, done.digest) == (whole.losses, whole.digest)
        model = network(Kept(), variant=variant)


# ---- errors that are not the derivative ------------------------------------------------------------------------------


def of_distance(error: Callable, loss: Callable) -> Callable:
    """A loss by functions of the distance from the target."""
    return lambda output, target: (error(output - target), float(loss(output - target)))


def half_square(distance: np.ndarray) -> float:
    return 0.5 * np.sum(np.square(distance))


backwards = of_distance(np.negative, half_square)


class WrongSoftmax(Loss):
    """The derivative by the probabilities, not by the voltages."""

    def output(self, signal: np.ndarray) -> np.ndarray:
        return LOSSES["cross_entropy"].output(signal)

    def error(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        return 2.0 * (output - target)

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        return float(np.sum(np.square(output - target)))


WRONG = {
    "their sign is wrong": backwards,
    r"they are \d+ times as large": of_distance(np.copy, lambda d: 0.25 * np.mean(np.square(d))),
    "by the outputs": of_distance(lambda d: d * [1.0, 0.0], half_square),
    "it does not change with the outputs": of_distance(np.copy, lambda d: 1.0),
}
RIGHT = {"squared": squared, "huber": huber, "quartic": quartic, "absolute": Absolute(), "state": Kept(), **LOSSES}
RIGHT |= {
    f"times {factor}": of_distance(lambda d, f=factor: f**2 * d, lambda d, f=factor: half_square(f * d))
    for factor in (1e-6, 1e6)
}
RIGHT["single"] = of_distance(np.float32, lambda d: half_square(np.float32(d)))  # as of PyTorch


@pytest.mark.parametrize("variant", ["interval", "spike"])
@pytest.mark.parametrize("what", WRONG)
def test_errors_that_are_not_the_derivative_are_told(what: str, variant: str) -> None:
    """At the first sample: not as a training that diverges."""
    simulation = Simulation(network(WRONG[what], variant=variant), STEPS)
    words = what.replace(r"\d+", "4") if variant == "spike" else what  # each step is a mean of two
    with warnings.catch_warnings(record=True):
        simulation.train(4)
    (told,) = simulation.notices.lines
    assert re.match(
        rf"loss <lambda>: errors are not the derivative of the loss(:| by) {words.removeprefix('by ')}", told
    ), told


@pytest.mark.parametrize("what", RIGHT)
def test_check_of_a_loss(what: str) -> None:
    """Also near the target, where errors are a millionth of the outputs; it leaves the state."""
    rng, model = np.random.default_rng(1), network(RIGHT[what])
    signal, target, state = rng.normal(size=(20, 2)), rng.random((20, 2)), copy.deepcopy(model.loss.state())
    target /= target.sum(axis=1, keepdims=True)  # classes, for the cross-entropy
    assert model.loss.check(signal, target) == ""
    if what != "cross_entropy":
        assert model.loss.check(target + 1e-6 * signal, target, slice(5, 20)) == ""
    assert str(model.loss.state()) == str(state)
    assert "their sign is wrong" in network(backwards).loss.check(signal, target)
    assert "along them it changes by " in WrongSoftmax().check(signal, target)


# ---- losses of whole courses -----------------------------------------------------------------------------------------


def one_minus_r(output: np.ndarray, target: np.ndarray, trials: int) -> float:
    """The sum of 1 - r over the readouts, as NumPy correlates."""
    means = [values.reshape(trials, -1, values.shape[1]).mean(axis=0).T for values in (output, target)]
    return sum(1.0 - np.corrcoef(*pair)[0, 1] for pair in zip(*means, strict=True))


def square_of_means(output: np.ndarray, target: np.ndarray, trials: int) -> float:
    means = [values.reshape(trials, -1, values.shape[1]).mean(axis=0) for values in (output, target)]
    return 0.5 * float(np.sum(np.square(means[0] - means[1])))


@pytest.mark.parametrize("trials", [1, 3])
@pytest.mark.parametrize(("kind", "wanted"), [(Correlation, one_minus_r), (TrialAverage, square_of_means)])
def test_losses_of_courses_by_finite_differences(kind: type, wanted: Callable, trials: int) -> None:
    draws = np.random.default_rng(3)
    output, target = draws.normal(size=(2, 24, 2))
    window = slice(6, None)
    evaluation = kind(trials).evaluate(output, target, window)
    assert evaluation.loss == pytest.approx(wanted(output[window], target[window], trials), rel=1e-12)
    assert not evaluation.error[:6].any()
    step, slopes = 1e-6, np.zeros((18, 2))
    for place in np.ndindex(18, 2):
        up, down = output[window].copy(), output[window].copy()
        up[place] += step
        down[place] -= step
        slopes[place] = (wanted(up, target[window], trials) - wanted(down, target[window], trials)) / (2 * step)
    np.testing.assert_allclose(evaluation.error[window], slopes, atol=1e-8)
    assert kind(trials).check(output, target, window) == ""


def test_a_silent_readout_has_no_correlation() -> None:
    target = np.random.default_rng(1).normal(size=(20, 2))
    output = target.copy()
    output[:, 1] = 0.0
    found = Correlation().evaluate(output, target, slice(None))
    assert found.loss == pytest.approx(1.0) and not found.error[:, 1].any()


def test_a_correlation_is_learned() -> None:
    """Targets of another scale and offset than voltages have."""
    wave = 500.0 + 100.0 * np.sin(np.arange(60)[:, None] / np.array([6.0, 9.0]))
    simulation = Simulation(network(Correlation()), Noise(wave, p=0.3, frozen=1))
    before, after = (simulation.train(n)[-1] for n in (1, 40))
    assert after < before - 0.3


def test_losses_of_courses_are_refused() -> None:
    for make, words in (
        (lambda: Correlation(0), "Correlation: trials = 0 must be a whole number of at least 1"),
        (
            lambda: network(Correlation(), variant="spike"),
            "loss Correlation does not go with the spike variant: the loss needs all steps of a sample at once",
        ),
        (lambda: TrialAverage(4).evaluate(*np.zeros((2, 30, 1)), slice(None)), "trials = 4 must divide 30, the steps"),
    ):
        with pytest.raises(InputError, match=words):
            make()

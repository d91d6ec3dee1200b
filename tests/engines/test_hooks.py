"""Losses that see their sample, hooks between errors and neurons, and losses of firing rates."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import ranks
import small
from corridor import CorridorTask
from small import Noise

from pareprop import Adam, Context, GradientDescent, InputError, Model, Reward, Simulation
from pareprop.engines.spike import SpikeSettings

STEP = 1e-3  # of finite differences
KAPPA = float(np.exp(-1.0 / 20.0))  # of `small.READOUT`
VARIANTS = ["interval", "spike"]


def target(draws: np.random.Generator) -> np.ndarray:
    return 3.0 * draws.standard_normal((1, 2)) * np.ones((50, 1))


TASK = Noise(target, learning_window=30, label=1)
FACTORS = np.array([0.5, 2.0])  # by label


def by_label(output: np.ndarray, target: np.ndarray, context: Context) -> tuple[np.ndarray, float]:
    factor = FACTORS[context.label]
    return factor * (output - target), 0.5 * factor * np.sum(np.square(output - target))


def gated(signal: np.ndarray, error: np.ndarray, context: Context) -> np.ndarray:
    """Neurons differ, large errors count less, and labels count."""
    assert signal.shape == (len(error), len(context.neurons))
    return (
        np.tanh(signal) * (1.0 + context.neurons) * (1.0 + context.label) / (1.0 + np.abs(error).max(axis=1))[:, None]
    )


def too_much(rate_hz: np.ndarray, target_hz: np.ndarray) -> tuple[np.ndarray, float]:
    """Rates above the target, to the third power."""
    above = np.maximum(rate_hz - target_hz, 0.0)
    return 1e-6 * above**2, 1e-6 * np.sum(above**3) / 3.0


def network(variant: str, rule: Any = None, cell: dict | None = None, **options: Any) -> Model:
    rule = rule or (Adam(eta=1e-2, batch_size=4) if variant == "interval" else GradientDescent(eta=1e-4))
    stds = {"into": 0.3, "onto": 0.3, "back": 0.3} | {
        key: options.pop(key) for key in ("among", "back") if key in options
    }
    return small.network(
        variant,
        n=15,
        n_out=2,
        cell={"V_th": 0.4, "f_target": 3.0} | (cell or {}),
        **stds,
        seed=2,
        optimizer=rule,
        **options,
    )


# ---- context ---------------------------------------------------------------------------------------------------------


SEEN: list[tuple[str, int, int, int | None]] = []


def seeing(output: np.ndarray, target: np.ndarray, context: Context) -> tuple[np.ndarray, float]:
    place = context.phase, context.index, context.batch, context.label
    if SEEN[-1:] != [place]:
        SEEN.append(place)
    return by_label(output, target, context)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_loss_sees_its_sample(variant: str) -> None:
    SEEN.clear()
    simulation = Simulation(network(variant, GradientDescent(eta=1e-6, batch_size=2), loss=seeing), TASK)
    simulation.train(2)
    simulation.test(1, "validate")
    assert SEEN == [("train", k, k // 2, 1) for k in range(4)] + [("validate", 0, 0, 1)]
    simulation.advance(30)
    simulation.advance(20)
    assert SEEN[5:] == [("train", 4, 2, 1)]
    assert not simulation.notices.lines


# ---- finite differences ----------------------------------------------------------------------------------------------


def filtered(x: np.ndarray, keep: float) -> np.ndarray:
    out = np.array(x, float)
    for t in range(1, len(out)):
        out[t] += keep * out[t - 1]
    return out


def gradients(variant: str, **options: Any) -> tuple[Simulation, np.ndarray, np.ndarray, np.ndarray]:
    """Two equal samples: gradient onto neurons, eligibilities (steps, targets, sources), spikes."""
    cell = {"kappa": KAPPA, "kappa_reg": KAPPA} if variant == "spike" else {}
    rule = GradientDescent(eta=1e-9, batch_size=2)
    task = Noise(target, frozen=3, p=0.1)
    simulation = Simulation(network(variant, rule, cell, **options), task)
    engine = simulation.engine
    engine.keep_gradients()
    engine.record_neurons(np.arange(15))
    simulation.train(1)
    found = networks.matrices(simulation, lambda table: engine.get_gradients({})[id(table)])["in"]
    arriving = small.raster(task.sample(0).inputs, 50, 10).astype(float)
    if variant == "interval":
        arriving[0] = 0.0  # lost
    e = engine.recorded.surrogate_gradient[:, :, None] * filtered(arriving, float(np.exp(-1.0 / 20.0)))[:, None, :]
    spikes = small.raster(engine.log, 50, 15).astype(float)
    assert 30 < spikes.sum() < 300
    return simulation, found, e, spikes


def differences(value: Any, spikes: np.ndarray) -> np.ndarray:
    """Derivatives of a function of spikes by each of them, by central differences."""
    slopes = np.zeros_like(spikes)
    for place in np.ndindex(spikes.shape):
        up, down = spikes.copy(), spikes.copy()
        up[place] += STEP
        down[place] -= STEP
        slopes[place] = (value(up) - value(down)) / (2.0 * STEP)
    return slopes


@pytest.mark.parametrize("variant", VARIANTS)
def test_signals_of_a_hook_teach_the_derivative_of_the_loss(variant: str) -> None:
    """Without connections among neurons, signals through the weights of the readouts are its derivative by spikes.

    Feedback itself is 0. Each spike adds to a readout, which leaks; times the eligibility of its step, e-prop's sum.
    """
    weights: list[np.ndarray] = []

    def hook(signal: np.ndarray, error: np.ndarray, context: Context) -> np.ndarray:
        assert not signal.any()
        return error @ weights[0][:, context.neurons] / (1.0 - KAPPA if variant == "interval" else 1.0)

    def look(table: Any) -> np.ndarray:
        return table.weight.copy()

    model_only = Simulation(network(variant), TASK)
    weights.append(networks.matrices(model_only, look)["out"])
    simulation, found, e, spikes = gradients(variant, learning_signal=hook, back={"weight": 0.0})
    late, wanted = int(variant == "spike"), simulation.task.sample(0).target

    def signal_of(spikes: np.ndarray) -> np.ndarray:
        arriving = np.concatenate([np.zeros((late, 15)), spikes[: 50 - late]])
        return filtered(arriving @ weights[0].T, KAPPA)

    np.testing.assert_allclose(signal_of(spikes), simulation.engine.show_signal(), rtol=1e-6, atol=1e-6)
    slopes = differences(lambda spikes: 0.5 * np.sum(np.square(signal_of(spikes) - wanted)), spikes)
    expected = np.einsum("tj,tji->ji", slopes, e)
    assert np.abs(expected).max() > 1.0
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    assert simulation.engine.recorded.learning_signal.any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_loss_of_firing_rates_teaches_its_derivative(variant: str) -> None:
    """In the interval variant of the rate in a sample, in the spike variant of the filtered rate in each step."""
    simulation, found, e, spikes = gradients(variant, activity=too_much, back={"weight": 0.0})

    def value(spikes: np.ndarray) -> float:
        if variant == "interval":
            return too_much(spikes.sum(axis=0) / 0.05, np.full(15, 3.0))[1]
        return too_much(1000.0 * (1.0 - KAPPA) * filtered(spikes, KAPPA), np.full((50, 15), 3.0))[1]

    expected = np.einsum("tj,tji->ji", differences(value, spikes), e)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    assert not [line for line in simulation.notices.lines if "derivative" in line]


# ---- against what the package has ------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_hooks_do_as_options_of_the_package(variant: str) -> None:
    """Twice the signals are twice the feedback, the square of rates is `c_reg`; also beside each other."""

    def twice(signal: np.ndarray, error: np.ndarray, context: Context) -> np.ndarray:
        return 2.0 * signal

    def squared(rate_hz: np.ndarray, target_hz: np.ndarray) -> tuple[np.ndarray, float]:
        away = (rate_hz - target_hz) / 1000.0  # `c_reg` counts spikes per step
        return 20.0 * away / 1000.0, 10.0 * np.sum(away**2)

    own = Simulation(network(variant, cell={"c_reg": 5.0}, among=0.2, learning_signal=twice, activity=squared), TASK)
    known = Simulation(network(variant, cell={"c_reg": 25.0}, among=0.2, back=0.6), TASK)
    assert own.train(3) == pytest.approx(known.train(3), rel=1e-9)
    for name, weight in networks.weights(known).items():
        np.testing.assert_allclose(networks.weights(own)[name], weight, rtol=1e-9, err_msg=name)


def test_a_wrong_derivative_of_rates_is_told() -> None:
    def wrong(rate_hz: np.ndarray, target_hz: np.ndarray) -> tuple[np.ndarray, float]:
        return target_hz - rate_hz, 0.5 * np.sum(np.square(rate_hz - target_hz))

    with pytest.warns(match="loss wrong: errors are not the derivative of the loss: their sign is wrong"):
        Simulation(network("interval", activity=wrong), TASK).train(1)


ON_ONE_RANK = f"""
import sys, warnings
sys.path[:0] = {[str(Path(__file__).parents[k]) for k in range(2)]}
import numpy as np
from pareprop import InputError, Simulation
from pareprop.parallel import collectives, launcher
from test_hooks import TASK, network

def activity(rate_hz, target_hz, context):
    if checks and context.neurons[-1] == 14:
        raise InputError("told to fail")
    signs = np.where(context.neurons >= 8, -1.0, 1.0)
    return signs * (rate_hz - target_hz), 0.5 * np.sum(np.square(rate_hz - target_hz))

exchange, checks = launcher.exchange(), []
first, second = (Simulation(network("interval", activity=activity), TASK, exchange) for _ in range(2))
with warnings.catch_warnings(record=True):
    first.train(1)
lines = collectives.gather_values(exchange.comm, first.notices.lines)
check = second.engine.check_activity
second.engine.check_activity = lambda: (checks.append(1), check())[1]
try:
    second.train(1)
except InputError as problem:
    print(lines[0] == lines[1], len(lines), *lines[0], problem, flush=True)
"""


@pytest.mark.mpi
def test_what_is_wrong_with_rates_of_one_rank_is_told_on_all() -> None:
    lines = ranks.output(2, "-c", ON_ONE_RANK, env={"PAREPROP_SHARE_ABOVE": "0"}).splitlines()
    assert len(lines) == 2
    for line in lines:
        assert re.match(r"True 2 loss activity: errors are not the derivative of .* told to fail \(rank 1\)$", line), (
            line
        )


def train(folder: str, words: list[str], exchange: Any) -> None:
    for variant in VARIANTS:
        model = network(variant, among=0.2, loss=by_label, learning_signal=gated, activity=too_much)
        done = ranks.run_part(words, exchange, model, TASK, Path(folder, variant), validate_every=2, validate_samples=2)
        if exchange.rank == 0:
            print(f"{variant}: {done.digest} {done.losses} {done.validations}", flush=True)


@pytest.mark.slow
def test_one_digest_on_any_number_of_ranks_and_after_a_restart(tmp_path: Path) -> None:
    ranks.check_restart(__file__, tmp_path)


# ---- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_hook_returns_is_checked(variant: str) -> None:
    told = r"learning_signal returned float64 of shape \(\d+, 3\), must return numbers of shape \(\d+, 15\)"
    with pytest.raises(InputError, match=told):
        Simulation(network(variant, learning_signal=lambda signal, error, context: signal[:, :3]), TASK).train(1)
    with pytest.raises(InputError, match=r"loss <lambda>: errors have shape \(3,\), must be \(1, 15\)"):
        Simulation(network(variant, activity=lambda rate, target: (rate[0, :3], 0.0)), TASK).train(1)


class Running:
    def __call__(self, rate: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
        return rate, 0.5 * np.sum(rate**2)

    def state(self) -> dict:
        return {}

    def load_state(self, state: dict) -> None:
        pass


class Failing:
    """A hook, or a loss of firing rates, that fails where it is told to."""

    def __init__(self, gives: Callable) -> None:
        self.gives, self.fails = gives, False

    def __call__(self, values: np.ndarray, *others: object) -> Any:
        if self.fails:
            raise InputError("told to fail")
        return self.gives(values)


def test_a_hook_that_fails_as_weights_are_shown_is_told() -> None:
    """The network stays as it was, and its next sample does not tell it again."""
    hooks = Failing(np.copy), Failing(np.copy)
    simulation, whole = (Simulation(network("spike", learning_signal=hook), TASK) for hook in hooks)
    simulation.train(1)
    hooks[0].fails = True
    with pytest.raises(InputError, match="told to fail"):
        simulation.weights("in->rec")
    hooks[0].fails = False
    assert simulation.train(2) == whole.train(2)
    assert simulation.hexdigest() == whole.hexdigest()


def test_a_hook_that_fails_as_a_batch_is_collected_is_told() -> None:
    hook, rule = Failing(np.copy), GradientDescent(eta=1e-4, batch_size=2)
    simulation = Simulation(
        network("spike", rule, learning_signal=hook), TASK, settings=SpikeSettings(learning_window=30, reset=False)
    )
    simulation.run_samples(0, 2, "train", learn=True)
    hook.fails = True
    with pytest.raises(InputError, match="told to fail"):
        simulation.engine.step_optimizers()


def test_a_loss_of_firing_rates_that_fails_in_an_episode_is_told() -> None:
    failing = Failing(lambda rate: (np.zeros_like(rate), 0.0))
    model = small.network("spike", n_in=6, n_out=3, loss=Reward(), activity=failing)
    simulation = Simulation(model, CorridorTask())
    simulation.train(1)
    failing.fails = True
    with pytest.raises(InputError, match="told to fail"):
        simulation.train(2)


def test_a_label_of_numpy_reaches_checkpoints() -> None:
    """Their manifest is JSON; a flush asks the hook once more, with the label of the latest sample."""
    task = Noise(target, learning_window=30, label=np.int64(1))
    simulation = Simulation(network("spike", learning_signal=gated), task)
    simulation.run_sample(np.int64(2), "train", learn=True)
    assert json.loads(json.dumps(simulation.state().numbers))["engine"]["context"] == [2, "train", 1, 1]


def test_what_does_not_go_together_is_refused() -> None:
    for wrong, message in (
        ({"activity": Running()}, "activity = .* must be a loss without a state"),
        ({"activity": Reward()}, "activity = .* must be a loss without a state"),
        ({"activity": 5}, "activity = 5 must be a function of firing rates and their targets, or a Loss"),
        ({"learning_signal": "x"}, "learning_signal = 'x' must be a function of signals, errors and context"),
    ):
        with pytest.raises(InputError, match=message):
            Model(**wrong)
    model = network("interval", learning_signal=gated)
    model.connect(model.of_role("recurrent")[0], model.readouts("slow", 1, tau_m=50.0))
    with pytest.raises(
        InputError,
        match=r"^learning_signal does not go with the interval variant and readouts of different tau_m \(.*, 50\)",
    ):
        Simulation(model, TASK)
    learn = {"learn": {"tau_m": Adam(eta=0.1, low=5.0, high=50.0)}}
    with pytest.raises(
        InputError, match=r"^learning_signal does not go with the spike variant and parameters that learn \(.*tau_m\)"
    ):
        Simulation(network("spike", cell=learn, learning_signal=gated), TASK)

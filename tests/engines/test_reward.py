"""Reward-based e-prop: the loss against sums written out, gradients against the online rule and policy gradients.

One file, because all tests use the same network and twin.
"""

import itertools

import networks
import numpy as np
import pytest
import reward_reference
import small
from hypothesis import given
from hypothesis import strategies as st

from pareprop.engines.interval import IntervalSettings
from pareprop.engines.online_rewards import OnlineRewards
from pareprop.engines.sample import Sample
from pareprop.engines.spike import SpikeSettings
from pareprop.errors import InputError
from pareprop.network.reward import Reward, Rollout
from pareprop.parallel.spike_log import SpikeLog
from pareprop.simulation.loop import Simulation


def draw_rollout(seed: int, n_steps: int, n_actions: int, period: int = 3, **others) -> dict:
    """What happens in an episode: an action in some of the TD steps, sometimes a value after an end that must not
    count.
    """
    rng = np.random.default_rng(seed)
    when = np.arange(rng.integers(0, period), n_steps, period)
    n = len(when)
    return {
        "when": when,
        "actions": rng.integers(0, n_actions, n),
        "rewards": rng.normal(size=n),
        "acting": rng.random(n) < 0.7,
        "terminated": bool(rng.integers(2)),
        "bootstrap": float(rng.normal()),
        "n_steps": n_steps,
    } | others


@given(seed=st.integers(0, 2**31))
def test_a_scale_is_a_factor_of_the_rewards(seed: int) -> None:
    """As a whole, and decision by decision in the spike variant."""
    episode, signal = draw_rollout(seed, 12, 2), np.random.default_rng(seed).normal(size=(12, 3))
    smaller = episode | {"rewards": 0.25 * episode["rewards"]}
    found, expected = (
        Reward(**loss).evaluate(signal, None, slice(None), Rollout(**given))
        for loss, given in (({"scale": 0.25}, episode), ({}, smaller))
    )
    np.testing.assert_array_equal(found.error, expected.error)
    assert found.loss == expected.loss
    online = OnlineRewards(Reward(scale=0.25)), OnlineRewards(Reward())
    told = [
        [
            rewards.compute_td_error(signal[0], 1, 0.0),
            rewards.compute_td_error(signal[1], 0, reward),
            rewards.end_episode(reward, 0.5),
        ]
        for rewards, reward in zip(online, (1.2, 0.3), strict=True)
    ]
    for one, other in zip(*told, strict=True):
        np.testing.assert_allclose(one[0], other[0])
        assert one[1:] == pytest.approx(other[1:], rel=1e-15)


@given(seed=st.integers(0, 2**31))
def test_errors_are_derivatives_where_the_advantage_stands_still(seed: int) -> None:
    """E_k of the policy by central differences of sum_n [- A_n log pi(a_n) - c_H H_n], of the value - c_V A_n."""
    rng = np.random.default_rng(seed)
    K, T = int(rng.integers(1, 4)), int(rng.integers(2, 30))
    loss = {"gamma": rng.random(), "lambda_": rng.random(), "c_V": rng.random(), "c_H": rng.random()}
    episode, signal = draw_rollout(seed, T, K), rng.normal(size=(T, K + 1))
    told = Reward(**loss).evaluate(signal, None, slice(None), Rollout(**episode))
    after = 0.0 if episode["terminated"] else episode["bootstrap"]
    when = episode["when"]
    delta, A = reward_reference.returns(signal[when, -1], episode["rewards"], loss["gamma"], loss["lambda_"], after)
    np.testing.assert_allclose(told.extra["td_error"], delta, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(told.extra["advantage"], A, rtol=1e-12, atol=1e-12)

    def policy_part(y: np.ndarray) -> float:
        total = 0.0
        for n, u in enumerate(when):
            if episode["acting"][n]:
                pi = reward_reference.softmax(y[u, :-1])
                total -= A[n] * np.log(pi[episode["actions"][n]]) - loss["c_H"] * np.sum(pi * np.log(pi))
        return total

    expected = np.zeros_like(signal)
    expected[when, -1] = -loss["c_V"] * A
    for t, k in itertools.product(range(T), range(K)):
        step = np.zeros_like(signal)
        step[t, k] = 1e-5
        expected[t, k] = (policy_part(signal + step) - policy_part(signal - step)) / 2e-5
    np.testing.assert_allclose(told.error, expected, rtol=1e-6, atol=1e-8)
    assert told.loss == pytest.approx(policy_part(signal) + 0.5 * loss["c_V"] * np.sum(A**2), rel=1e-10, abs=1e-10)


# ---- gradients -------------------------------------------------------------------------------------------------------

LOSS = {"gamma": 0.93, "lambda_": 0.85, "c_V": 0.6, "c_H": 0.05}


class Episodes:
    """Episodes of a case, whatever the network does."""

    def __init__(self, case: dict, episodes: list[dict]) -> None:
        self.case, self.episodes = case, episodes
        self.n_steps = self.learning_window = case["interval"]

    def sample(self, index: int, phase: str = "train") -> Sample:
        inputs = self.case["inputs"][index * self.n_steps : (index + 1) * self.n_steps]
        return Sample(SpikeLog.from_raster(inputs), rollout=Rollout(**self.episodes[index]))


def random_case(seed: int, feedback: str = "random") -> dict:
    rng = np.random.default_rng(seed)
    rule = {"type": "gradient_descent", "eta": 1e-3, "batch_size": 3}
    fixed = {"dt": 1.0, "average_gradient": False, "reset": True, "w_fb": None}
    case = networks.random_case(seed, **fixed, feedback=feedback, optimizer=rule)
    n_rec, K = len(case["w_rec"]), int(rng.integers(2, 4))
    case["w_out"] = rng.normal(0.0, 0.5, (K + 1, n_rec))
    case["w_fb"] = rng.normal(0.0, 1.0, (n_rec, K + 1))
    case["targets"] = np.zeros((len(case["inputs"]), K + 1))
    case["readout"] |= {"loss": "mean_squared_error", "I_e": 0.0, "E_L": 0.0, "V_m": 0.0}
    del case["step_currents"]
    for group in case["groups"]:  # the first step of a run takes no constant current: nor may the others
        group["params"] |= {"I_e": 0.0, "c_reg": 20.0}
        group["params"].pop("V_m")
        group["params"]["regular_spike_arrival"] = True
    case["learning_window"] = case["interval"]
    return case


def simulation(case: dict, episodes: list[dict], loss: dict) -> Simulation:
    model = networks.model(case)
    model.loss = Reward(**loss)
    run = Simulation(model, Episodes(case, episodes), settings=IntervalSettings(case["interval"]))
    run.engine.gradient.keep_gradients()
    return run


def engine_gradients(case: dict, episodes: list[dict], loss: dict) -> list[dict[str, np.ndarray]]:
    """Gradients of each episode alone, run one after the other in the given order by one engine."""
    run, found, before = simulation(case, episodes, loss), [], None
    for index in range(len(episodes)):
        run.run_sample(index, "train", learn=True)
        arrays = run.engine.gradient.arrays
        total = networks.matrices(run, lambda table, arrays=arrays: arrays[id(table)])
        found.append(total if before is None else {key: total[key] - before[key] for key in total})
        before = {key: total[key].copy() for key in total}
    return found


def lengths_of(case: dict) -> list[int]:
    """Of three episodes: the longest first, so that arrays keep what it left; one that ends early; one at once."""
    return [case["interval"], case["interval"] * 2 // 3, 4]


def largest_difference(found: list[dict], expected: list[dict]) -> float:
    pairs = [(one[key], other[key]) for one, other in zip(found, expected, strict=True) for key in one]
    scale = max(np.nanmax(np.abs(one), initial=0.0) for one, _ in pairs)
    return max(np.nanmax(np.abs(one - other), initial=0.0) for one, other in pairs) / scale


@pytest.mark.parametrize("feedback", ["random", "symmetric"])
@pytest.mark.parametrize("seed", [3, 7, 11, 16])
def test_gradients_are_those_of_the_online_rule(seed: int, feedback: str) -> None:
    case = random_case(seed, feedback)
    n_actions = len(case["w_out"]) - 1
    episodes = [draw_rollout(seed + k, n, n_actions, period=1 + seed % 4) for k, n in enumerate(lengths_of(case))]
    expected = [reward_reference.gradients(case, k, episode, LOSS)[0] for k, episode in enumerate(episodes)]
    assert all(np.any(one["rec"]) and np.any(one["out"]) for one in expected[:2])
    assert largest_difference(engine_gradients(case, episodes, LOSS), expected) < 1e-12


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gamma": 1.5}, "gamma = 1.5 must lie in"),
        ({"lambda_": -0.1}, "lambda_ = -0.1"),
        ({"c_V": np.nan}, "c_V"),
        ({"c_H": np.inf}, "c_H = inf"),
        ({"c_V": "x"}, "c_V = x"),
    ],
)
def test_bad_parameters(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Reward(**values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_steps": 0}, "n_steps = 0"),
        ({"n_steps": 31}, "n_steps = 31"),
        ({"when": [3, 3]}, "must ascend"),
        ({"when": [3, 30]}, "must ascend within"),
        ({"actions": [0, 2]}, "actions must lie in"),
        ({"actions": [-1, 0]}, "actions must lie in"),
        ({"rewards": [0.0, np.nan]}, "finite"),
        ({"bootstrap": np.inf}, "finite"),
        ({"rewards": [1.0]}, "shapes"),
    ],
)
def test_bad_rollouts(change: dict, message: str) -> None:
    good = {
        "when": [3, 20],
        "actions": [0, 1],
        "rewards": [0.0, 1.0],
        "acting": [True, True],
        "terminated": True,
        "bootstrap": 0.0,
        "n_steps": 25,
    }
    Rollout(**good).check(30, 2)
    with pytest.raises(InputError, match=message):
        Rollout(**(good | change)).check(30, 2)


def test_a_sample_without_what_its_loss_needs() -> None:
    case = random_case(3)
    episodes = [draw_rollout(1, 20, len(case["w_out"]) - 1)]
    run = simulation(case, episodes, LOSS)
    run.task.sample = lambda index, phase: Sample(SpikeLog(case["interval"]))
    with pytest.raises(InputError, match="rollout is missing"):
        run.run_sample(0, "train", learn=True)
    currents = np.zeros((case["interval"], 0))
    sample = Sample(SpikeLog(case["interval"]), currents=currents, rollout=Rollout(**episodes[0]))
    with pytest.raises(
        InputError, match="sample: loss 'reward' does not go with field 'currents': an episode has input"
    ):
        sample.check(case["interval"], run.model)
    model = networks.model(case)
    other = Simulation(model, run.task, settings=IntervalSettings(case["interval"]))
    with pytest.raises(InputError, match="target is missing"):
        other.run_sample(0, "train", learn=True)


def test_the_spike_variant_refuses() -> None:
    model = small.network("spike", 2, 2, 3, loss=Reward())
    with pytest.raises(
        InputError, match="loss 'reward' does not go with the spike variant and task Once, which has no episodes"
    ):
        Simulation(model, small.Once(None, 10), settings=SpikeSettings(10))

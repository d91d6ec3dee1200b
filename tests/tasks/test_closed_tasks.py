"""Tasks with rewards, and store-recall: rules and spikes by independent counts, cart and pole by Gymnasium, spaces."""

from types import ModuleType

import numpy as np
import pytest
from commands import as_options, command, refusal_of
from small import raster
from test_recordings import task

from pareprop import rng
from pareprop.errors import InputError
from pareprop.simulation.episodes import choose_action
from pareprop.tasks.cart_pole import Cart
from pareprop.tasks.gym import ClosedGym
from pareprop.tasks.gym_spaces import SpaceCode
from pareprop.tasks.population_code import EpisodeSpikes, PopulationCode

pytestmark = pytest.mark.usefixtures("no_figures")


# ---- actions and codes -----------------------------------------------------------------------------------------------


def test_actions_have_the_probabilities_of_the_policy() -> None:
    signal = np.array([0.3, -1.0, 1.2])
    draws = rng.draw_uniform(rng.make_key(1, "x"), [0], 40000)[0]
    found = np.bincount([choose_action(signal, draw, False) for draw in draws], minlength=3) / len(draws)
    np.testing.assert_allclose(found, np.exp(signal) / np.exp(signal).sum(), atol=0.01)
    assert choose_action(signal, 0.0, True) == 2 and choose_action(np.array([1.0, 2.0, 2.0]), 0.99, True) == 1
    assert choose_action(signal, 1.0 - 2**-53, False) == 2 and choose_action(signal, 0.0, False) == 0


def test_population_code() -> None:
    code = PopulationCode((-1.0, 0.0), (1.0, 3.0), cells=4, sigma=0.5, peak=0.3)
    found = code.compute_probabilities(np.array([-1.0, 2.0])).reshape(2, 4)
    for k in range(4):
        assert found[0, k] == pytest.approx(0.3 * np.exp(-((2 / 3 * k) ** 2) / (2 * (0.5 * 2 / 3) ** 2)), rel=1e-12)
        assert found[1, k] == pytest.approx(0.3 * np.exp(-((2.0 - k) ** 2) / (2 * 0.5**2)), rel=1e-12)


def test_spikes_have_their_probabilities_and_do_not_depend_on_how_they_are_taken() -> None:
    probability = np.array([0.0, 0.1, 0.5, 1.0])
    whole = raster(EpisodeSpikes(1, "a", 4, 5000).draw_spikes(probability, 5000), 5000, 4)
    np.testing.assert_allclose(whole.mean(axis=0), probability, atol=0.03)
    parts = EpisodeSpikes(1, "a", 4, 5000)
    taken = np.concatenate([raster(parts.draw_spikes(probability, n), n, 4) for n in (7, 1, 4992)])
    np.testing.assert_array_equal(taken, whole)
    assert not raster(parts.draw_spikes(probability, 3), 3, 4).any()  # beyond the longest episode


@pytest.mark.parametrize("values", [((0.0,), (np.inf,)), ((1.0,), (1.0,)), ((0.0, 1.0), (1.0,))])
def test_bad_ranges(values: tuple) -> None:
    with pytest.raises(InputError):
        PopulationCode(*values)


@pytest.mark.parametrize("sigma", [1e-300, 1e300])
def test_widths_whose_square_is_no_number(sigma: float) -> None:
    """Found by hand: a warning of NumPy, then probabilities that are NaN."""
    with pytest.raises(InputError, match="component 1 of the observation: sigma"):
        PopulationCode((0.0, 0.0), (1e200 if sigma < 1 else 1e-200, 1.0), sigma=sigma)


# ---- reach -----------------------------------------------------------------------------------------------------------


def test_reach_by_its_rules() -> None:
    chosen, n_near = task("reach"), 0
    moves = {0: (0.1, 0.0), 1: (-0.1, 0.0), 2: (0.0, 0.1), 3: (0.0, -0.1)}
    starts = []
    for index in range(300):
        plane = chosen.make_environment(index, "train")
        observation, info = plane.reset()
        position, goal = np.array([info["x"], info["y"]]), np.array([info["goal_x"], info["goal_y"]])
        starts.append(position)
        np.testing.assert_allclose(observation, goal - position)
        assert np.any(np.abs(goal - position) >= 0.2)
        for n in range(30):
            action = (
                (index + n // 3) % 4 if index % 2 else int(np.argmax([(goal - position) @ moves[k] for k in moves]))
            )
            position = np.clip(position + moves[action], 0, 1)
            observation, reward, terminated, truncated, _ = plane.step(action)
            np.testing.assert_allclose(observation, goal - position, atol=1e-12)
            near = bool(np.all(np.abs(goal - position) < 0.1))
            assert (terminated, truncated) == (near, n == 29 and not near)
            assert reward == pytest.approx(1.0 * near - 0.02)
            if near:
                n_near += 1
                break
    assert n_near > 150  # those who go straight for the goal
    np.testing.assert_allclose(np.mean(starts, axis=0), 0.5, atol=0.06)
    assert (chosen.n_steps, chosen.first) == (300, 9)


def test_episodes_differ_by_index_phase_and_seed_alone() -> None:
    def start(seed: int, phase: str, index: int) -> tuple:
        reply = task("reach", f"seed={seed}").episode(index, phase).reset()
        return (*reply.observation, *reply.spikes.ids)

    assert start(1, "train", 3) == start(1, "train", 3)
    assert len({start(1, "train", 3), start(1, "train", 4), start(1, "test", 3), start(2, "train", 3)}) == 4


# ---- cart and pole ---------------------------------------------------------------------------------------------------


def test_cart_and_pole_is_that_of_gymnasium_bit_for_bit(gymnasium: ModuleType) -> None:
    made = gymnasium.make("CartPole-v1").unwrapped
    for index in range(20):
        cart = Cart(rng.make_key(1, str(index)), 200, 0.05)
        assert np.all(np.abs(cart.state) <= 0.05) and len(set(cart.state)) == 4
        made.reset(seed=0)
        made.state = cart.state.copy()
        draws = np.random.default_rng(index).integers(0, 2, 200)
        for n, action in enumerate(draws):
            state, reward, terminated, truncated, _ = cart.step(int(action))
            _, _, fallen, _, _ = made.step(int(action))
            np.testing.assert_array_equal(state, np.array(made.state))
            assert (terminated, truncated, reward) == (fallen, n == 199 and not fallen, 0.05)
            if fallen:
                break
        assert n < 199


# ---- delayed choice, store and recall --------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_cues", "pause"), [(1, 300), (3, 100)])
def test_delayed_choice_by_its_spikes(n_cues: int, pause: int) -> None:
    chosen = task("delayed-choice", f"n_cues={n_cues}", f"pause={pause}", "spike_probability=0.2")
    T, rights = 75 * n_cues + pause + 50, 0
    assert (chosen.n_steps, chosen.first) == (T, T - 1)
    for index in range(60):
        episode = chosen.episode(index)
        spikes = raster(episode.reset().spikes, T, 40).reshape(T, 4, 10)
        cues = [spikes[75 * k + 25 : 75 * k + 75, :2].any(axis=(0, 2)) for k in range(n_cues)]
        assert all(cue.sum() == 1 for cue in cues)
        outside = np.ones(T, bool)
        for k in range(n_cues):
            outside[75 * k + 25 : 75 * k + 75] = False
        assert not spikes[outside, :2].any() and not spikes[:-50, 2].any() and spikes[-50:, 2].any()
        right = int(2 * sum(int(cue[1]) for cue in cues) > n_cues)
        rights += right
        reply = episode.step(index % 2)
        assert (reply.reward, reply.terminated) == (float(index % 2 == right), True)
    assert 15 < rights < 45


def test_store_recall_by_its_spikes() -> None:
    chosen = task("store-recall", "spike_probability=0.2")
    labels = []
    for index in range(60):
        sample = chosen.sample(index)
        spikes = raster(sample.inputs, 1000, 40).reshape(5, 200, 4, 10).any(axis=(1, 3))  # frame, group
        assert np.all(spikes[:4, :2].sum(axis=1) == 1) and not spikes[4, :3].any()
        assert spikes[:4, 2].sum() == 1 and list(spikes[:, 3]) == [False] * 4 + [True]
        stored = int(np.argmax(spikes[:4, 2]))
        assert sample.label == int(spikes[stored, 1])
        labels.append((stored, sample.label))
    assert len(set(labels)) == 8


# ---- Gymnasium -------------------------------------------------------------------------------------------------------


def test_spaces(gymnasium: ModuleType) -> None:
    spaces = gymnasium.spaces
    space = spaces.Tuple((spaces.Discrete(3, start=5), spaces.Dict({"x": spaces.Box(-1.0, 1.0, (2,), np.float64)})))
    code = SpaceCode(space, (), (), 4, 0.7, 0.2)
    assert code.n_sources == 2 * 4 + 3 * 4
    flat = code.flatten_observation((7, {"x": np.array([-1.0, 0.5])}))
    np.testing.assert_array_equal(flat, [-1.0, 0.5, 2.0])
    found = code.compute_probabilities(flat)
    np.testing.assert_allclose(found[:8], PopulationCode((-1, -1), (1, 1), 4, 0.7, 0.2).compute_probabilities(flat[:2]))
    np.testing.assert_array_equal(found[8:], [0.0] * 8 + [0.2] * 4)
    with pytest.raises(InputError, match="is not in its space"):
        code.flatten_observation((8, {"x": np.zeros(2)}))
    for bad in (spaces.Box(0, 1, (2, 2)), spaces.MultiBinary(3), spaces.Text(3)):
        with pytest.raises(InputError, match="must be Box of one dimension, Discrete"):
            SpaceCode(bad, (), (), 4, 0.7, 0.2)
    with pytest.raises(InputError, match="component 1 of the observation has the range -inf to inf"):
        SpaceCode(spaces.Box(np.array([0, -np.inf]), np.array([1, np.inf]), dtype=np.float64), (), (), 4, 0.7, 0.2)
    with pytest.raises(InputError, match="the observations have 1000001 numbers, must have at most 1000000"):
        SpaceCode(spaces.Tuple((spaces.Box(0, 1, (10**6,)), spaces.Box(0, 1, (1,)))), (), (), 4, 0.7, 0.2)
    with pytest.raises(InputError, match="low has 1 values, the observations have 2 numbers"):
        SpaceCode(spaces.Box(0, 1, (2,)), (0.0,), (), 4, 0.7, 0.2)


def test_an_object_of_gymnasium_with_wrappers(gymnasium: ModuleType) -> None:

    def made():
        inner = gymnasium.wrappers.TransformReward(gymnasium.make("CartPole-v1"), lambda reward: 0.05 * reward)
        return gymnasium.wrappers.TimeLimit(inner, 3)

    closed = ClosedGym(made, low=(-2.4, -2.5, -0.21, -2.5), high=(2.4, 2.5, 0.21, 2.5), period=7)
    assert (closed.n_actions, closed.code.n_sources, closed.first) == (2, 40, 6)
    assert closed.n_steps == 6 + 500 * 7 + 1  # room for the period after an episode that is cut off
    first, same = closed.episode(0), []
    for episode in (first, closed.episode(0)):
        replies = [episode.reset(), *(episode.step(action) for action in (1, 0, 1))]
        assert [len(reply.spikes.ptr) - 1 for reply in replies] == [7, 7, 7, 7]
        assert [reply.reward for reply in replies] == [0.0, 0.05, 0.05, 0.05]
        assert [(reply.terminated, reply.truncated) for reply in replies[1:]] == [(False, False)] * 2 + [(False, True)]
        same.append([(tuple(reply.observation), tuple(reply.spikes.ids)) for reply in replies])
    assert same[0] == same[1]


def test_rewards_are_divided_by_the_spread_of_returns(gymnasium: ModuleType) -> None:
    """Each decision of CartPole is worth 1, so the returns of an episode are 1, 1 + gamma, 1 + gamma + gamma^2 ..."""
    closed, returns = ClosedGym(lambda: gymnasium.make("CartPole-v1"), 4, low=(-3,) * 4, high=(3,) * 4), []
    for index in range(20):
        made, length, over = gymnasium.make("CartPole-v1"), 0, False
        made.reset(seed=int(rng.make_key(4, f"spread/{index}/environment")[0]) & 0xFFFFFFFF)
        draws = rng.draw_uniform(rng.make_key(4, f"spread/{index}/actions"), [0], 500)[0]
        while not over:
            over = any(made.step(int(2 * draws[length]))[2:4])
            length += 1
        returns += [(1 - 0.9**n) / 0.1 for n in range(1, length + 1)]
    assert closed.estimate_return_spread(0.9) == pytest.approx(np.std(returns), rel=1e-12)
    told = task("gym", "normalize_rewards=true", "reward_scale=2", "gamma=0.9", "seed=4", "n_rec=2").build_model().loss
    assert told.scale == pytest.approx(2 / np.std(returns), rel=1e-12)
    assert task("gym", "n_rec=2").build_model().loss.scale == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["env=Pendulum-v1"], "action space Box"),
        (["env=No-v0"], "env = 'No-v0': "),
        (["env=CartPole-v1", "low=[]", "high=[]"], "component 1 of the observation has the range"),
        (["env=FrozenLake-v1", "env_arguments={ nothing = 1 }"], "env = 'FrozenLake-v1': "),
    ],
)
@pytest.mark.usefixtures("gymnasium")
def test_environments_that_cannot_be_used(capsys: pytest.CaptureFixture, settings: list[str], message: str) -> None:
    assert message in refusal_of(capsys, "run", "gym", *as_options(*settings))


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((np.zeros(2, np.float32), 1.0, "no", False, {}), "terminated = 'no' must be true or false"),
        ((np.zeros(2, np.float32), 1.0, False, None, {}), "truncated = None must be true or false"),
        ((np.zeros(2, np.float32), "x", False, False, {}), "reward = 'x' must be a number"),
        ((np.zeros(2, np.float32), 10**400, False, False, {}), "OverflowError"),
        ((np.zeros((2, 1), np.float32), 1.0, False, False, {}), "observation [[0.] [0.]] is not in its space"),
        ((np.zeros(2, np.float32), 1.0, False, {}), "ValueError"),
        (GeneratorExit(), "the environment raised GeneratorExit: without a text"),
    ],
)
def test_odd_replies(capsys, monkeypatch, tmp_path, gymnasium, reply: object, message: str) -> None:
    """Found by hand: text for a switch counted as true, some kinds of errors were tracebacks."""

    class Odd(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return np.zeros(2, np.float32), {}

        def step(self, action):
            if isinstance(reply, BaseException):
                raise reply
            return reply

    monkeypatch.setattr(gymnasium, "make", lambda *_, **__: Odd())
    settings = as_options("env=Odd-v0", "n_rec=10", "iterations=1", "decisions=4")
    told = refusal_of(capsys, "run", "gym", *settings, "--out", tmp_path / "run")
    assert "decision 0" in told and message in told


def test_an_environment_without_spaces(capsys, monkeypatch, gymnasium) -> None:
    monkeypatch.setattr(gymnasium, "make", lambda *_, **__: object())
    code, output, errors = command(capsys, "run", "gym", "--set", "env=Odd-v0")
    assert (code, output, errors) == (2, "", "pareprop: error: the environment has no action_space\n")


class Mute(Exception):
    """An error without a text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (SystemExit(0), "SystemExit: 0"),
        (Mute(), "Mute: without a text"),
        (ValueError("x\ny " * 10**6), "ValueError: x y"),
    ],
)
def test_environments_that_end_the_process(capsys, monkeypatch, gymnasium, raised: BaseException, message: str) -> None:
    """Found by hand: `exit` while it is made ended the run with code 0, an error without a text with a traceback."""

    def refuse(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(gymnasium, "make", refuse)
    code, output, errors = command(capsys, "run", "gym")
    assert (code, output) == (2, "") and message in errors and errors.count("\n") == 1 and len(errors) < 2000


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("reach", ["stop_below=0.5"], "set stop_above"),
        ("reach", ["indegree=60"], "indegree = 60 must be below"),
        ("reach", ["act=best"], "act = 'best'"),
        ("reach", ["gamma=1.1"], "gamma"),
        ("reach", ["cells=1"], "cells"),
        ("cart-pole", ["sensor_delay=0"], "sensor_delay"),
        ("delayed-choice", ["period=2"], "period"),
    ],
)
def test_settings_that_cannot_be(capsys: pytest.CaptureFixture, name: str, settings: list[str], message: str) -> None:
    assert message in refusal_of(capsys, "run", name, *as_options(*settings))

"""Environments of Gymnasium in closed loop: discrete actions, observations as a population code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from inspect import signature
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from .. import elementary, rng
from ..errors import InputError, describe, quote, shorten
from ..network.parameters import is_number, is_whole
from ..values import AnyValue, Foreign, Values
from .base import LEARNING
from .closed import ClosedBase, CodedEpisode
from .gym_spaces import SpaceCode, name_space_kind
from .population_code import EpisodeSpikes


class Seeded:
    """One episode of a Gymnasium environment, reset with a seed, with observations as float64 (n,).

    `code` flattens the observations; `first_action` is the number of the environment's first action.
    """

    def __init__(self, made: Foreign, code: SpaceCode, seed: int, first_action: int) -> None:
        self._made, self._code, self._seed, self._first = made, code, seed, first_action

    def reset(self) -> tuple[np.ndarray, dict[str, float]]:
        """Reset the environment with the seed of the episode."""
        observation, _ = self._made.reset(seed=self._seed)
        return self._code.flatten_observation(observation), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, float]]:
        """Take an action."""
        observation, reward, terminated, truncated, _ = self._made.step(self._first + action)
        ends = _require_flag("terminated", terminated), _require_flag("truncated", truncated)
        return self._code.flatten_observation(observation), _require_number(reward), *ends, {}


def _require_flag(name: str, value: AnyValue) -> bool:
    if isinstance(value, bool | np.bool_) or (is_whole(value) and value in (0, 1)):
        return bool(value)
    raise InputError(f"{name} = {quote(value)} must be true or false")


def _require_number(reward: AnyValue) -> float:
    if is_number(reward) or isinstance(reward, bool | np.bool_) or (isinstance(reward, np.ndarray) and not reward.ndim):
        return float(reward)
    raise InputError(f"reward = {quote(reward)} must be a number")


class ClosedGym:
    """Episodes of an environment of Gymnasium that the user makes, with whatever wrappers.

    Parameters
    ----------
    make : callable
        Returns the environment; called once in each process that steps it.
    seed : int
        Seed of the run.
    n_decisions : int
        Decisions after which an episode is cut off, unless the environment ends it earlier.
    period : int
        Steps between decisions.
    sensor_delay : int
        Steps from a decision to the first one that the reply drives.
    replicated, bootstrap : bool
        As in `simulation.task.ClosedTask`.
    act : str
        "sample" or "greedy".
    low, high, cells, sigma, peak : object
        As in `SpaceCode`.

    Attributes
    ----------
    n_actions : int
        Number of actions; the network needs a readout for each, and one for the value.
    code : SpaceCode
        Code of the observations; `code.n_sources` is the number of inputs that the network needs.

    Raises
    ------
    InputError
        If the actions are not `Discrete`, or the observations have no code.
    """

    def __init__(
        self,
        make: Callable[[], Foreign],
        seed: int = 1,
        n_decisions: int = 500,
        period: int = 10,
        sensor_delay: int = 1,
        replicated: bool = False,
        bootstrap: bool = True,
        act: str = "sample",
        low: Sequence[float] = (),
        high: Sequence[float] = (),
        cells: int = 10,
        sigma: float = 0.7,
        peak: float = 0.2,
    ) -> None:
        self._made = make()
        for name in ("action_space", "observation_space"):
            if not hasattr(self._made, name):
                raise InputError(f"the environment has no {name}")
        actions = self._made.action_space
        if name_space_kind(actions) != "Discrete":
            raise InputError(f"action space {shorten(str(actions), 200)}: must be Discrete")
        self.code = SpaceCode(self._made.observation_space, low, high, cells, sigma, peak)
        self.seed, self.n_decisions, self.period, self.sensor_delay = seed, n_decisions, period, sensor_delay
        self.replicated, self.bootstrap, self.act = replicated, bootstrap, act
        self.n_actions, self._first_action = int(actions.n), int(actions.start)
        self.first = period - 1
        self.n_steps = self.first + (n_decisions - 1 + bootstrap) * period + 1
        self.learning_window = self.n_steps

    def make_environment(self, index: int, phase: str) -> Seeded:
        """Return the environment of an episode; it is one object for all episodes, so the previous one ends."""
        key = rng.make_key(self.seed, f"{phase}/{index}/environment")
        return Seeded(self._made, self.code, int(key[0]) & 0xFFFFFFFF, self._first_action)

    def estimate_return_spread(self, gamma: float, n_episodes: int = 20) -> float:
        """Return the standard deviation of the discounted returns from each decision to the end, with random actions.

        `gamma` is the discount per decision. The value depends on the seed alone; 1 if all returns are equal.
        """
        try:
            returns = np.concatenate([self._draw_returns(index, gamma) for index in range(n_episodes)])
        except InputError:
            raise
        except Exception as problem:  # a foreign package may raise anything
            raise InputError(f"normalize_rewards: the environment raised {describe(problem)}") from None
        apart = returns - elementary.mean_in_order(returns)
        spread = float(np.sqrt(elementary.mean_in_order(apart * apart)))
        return spread if np.isfinite(spread) and spread > 0 else 1.0

    def _draw_returns(self, index: int, gamma: float) -> np.ndarray:
        """Return the discounted returns from each decision of an episode to its end, with uniformly drawn actions."""
        episode = self.make_environment(index, "spread")
        episode.reset()
        rewards: list[float] = []
        for draw in rng.draw_uniform(rng.make_key(self.seed, f"spread/{index}/actions"), [0], self.n_decisions)[
            0
        ].tolist():
            _, reward, terminated, truncated, _ = episode.step(int(draw * self.n_actions))
            rewards.append(reward)
            if terminated or truncated:
                break
        returns = np.array(rewards)
        for n in range(len(returns) - 2, -1, -1):
            returns[n] += gamma * returns[n + 1]
        return returns

    def episode(self, index: int, phase: str = "train") -> CodedEpisode:
        """Return an episode."""
        spikes = EpisodeSpikes(self.seed, f"{phase}/{index}/spikes", self.code.n_sources, self.n_steps)
        return CodedEpisode(
            self.make_environment(index, phase), self.code, spikes, self.first + self.sensor_delay, self.period
        )


class Gym(ClosedBase):
    """Times are in steps of 1 ms."""

    name: ClassVar[str] = "gym"
    summary: ClassVar[str] = "an environment of Gymnasium with discrete actions, in closed loop (extra `gym`)"
    bootstrap: ClassVar[bool] = True
    imports: ClassVar[tuple[str, ...]] = ("env", "env_arguments")

    replicated: bool = Field(
        False, description="step the environment on every rank; else on the first one, which broadcasts the replies"
    )
    env: str = Field("CartPole-v1", min_length=1, description="name of the environment, also MODULE:NAME")
    env_arguments: Values = Field({}, description="arguments of gymnasium.make")
    decisions: int = Field(500, ge=1, description="decisions of an episode at most, if the environment sets no limit")
    low: tuple[float, ...] = Field((), description="lowest values of the observation [range of its space]")
    high: tuple[float, ...] = Field((), description="highest values of the observation [range of its space]")
    cells: int = Field(10, ge=2, le=10**6, description="input cells of each number, sources of each state")
    sigma: float = Field(0.7, gt=0, description="width of their tuning in distances of their centres")
    peak: float = Field(0.2, ge=0, le=1, description="highest probability of an input spike per step")
    reward_scale: float = Field(
        1.0, gt=0, json_schema_extra=LEARNING, description="factor of the rewards that the network learns from"
    )
    normalize_rewards: bool = Field(
        False,
        json_schema_extra=LEARNING,
        description="divide these rewards by the spread of discounted returns with random actions",
    )

    @model_validator(mode="before")
    @classmethod
    def _add_default_ranges(cls, values: object) -> object:
        """Use the ranges of the task cart-pole for CartPole-v1, whose own are infinite, unless others are given."""
        if isinstance(values, Mapping) and values.get("env", "CartPole-v1") == "CartPole-v1":
            return {"low": (-2.4, -2.5, -0.21, -2.5), "high": (2.4, 2.5, 0.21, 2.5), **values}
        return values

    @cached_property
    def _task(self) -> ClosedGym:
        shared = signature(ClosedGym).parameters.keys() - {"make", "n_decisions"}
        return ClosedGym(self._make_gym, n_decisions=self.decisions, **{name: getattr(self, name) for name in shared})

    def _make_gym(self) -> Foreign:
        try:
            import gymnasium
        except ImportError:
            raise InputError("task 'gym' needs Gymnasium: install the extra `gym` of this package") from None
        spec = gymnasium.registry.get(self.env)
        is_own = spec is not None and str(spec.entry_point).startswith("gymnasium.envs.")
        if self._untrusted_origin and not is_own:
            what = "is code that is not of Gymnasium"
            raise InputError(
                f"{self._untrusted_origin}: env = {quote(self.env)} {what}; --trust, or trust=True, imports it"
            )
        try:
            return gymnasium.make(self.env, disable_env_checker=True, **self.env_arguments)
        except (Exception, SystemExit) as problem:  # a foreign package may raise anything
            raise InputError(f"env = {quote(self.env)}: {describe(problem)}") from None

    @property
    def n_decisions(self) -> int:
        """Most decisions of an episode."""
        return self.decisions

    @property
    def n_actions(self) -> int:
        """Number of actions of the environment."""
        return self._task.n_actions

    @property
    def code(self) -> SpaceCode:
        """The population code of observations."""
        return self._task.code

    @cached_property
    def reward_factor(self) -> float:
        """Factor of the rewards that the network learns from; returns are reported without it."""
        return self.reward_scale / (self._task.estimate_return_spread(self.gamma) if self.normalize_rewards else 1.0)

    def make_environment(self, index: int, phase: str) -> Seeded:
        """Return the environment of an episode."""
        return self._task.make_environment(index, phase)

    def list_attributes(self) -> Values:
        """Return the parameters of the loss, and the environment with the versions of its packages."""
        from importlib.metadata import version

        return super().list_attributes() | {"env": self.env, "gymnasium": version("gymnasium")}

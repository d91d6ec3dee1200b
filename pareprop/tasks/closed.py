"""Base of tasks with rewards: their settings, their network, and episodes whose observations drive input cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field, model_validator

from .. import elementary, rng
from ..engines.base import Settings
from ..engines.episode import Episode, Reply
from ..engines.sample import Sample
from ..errors import InputError
from ..machine import require_bytes
from ..network.connectivity import Population
from ..network.model import Model
from ..network.optimizers import Adam, GradientDescent, Optimizer
from ..network.parameters import Normal
from ..network.reward import Reward
from ..values import Given, Values
from .base import LEARNING, MODEL, RUN, TaskBase, list_feedback_options
from .population_code import EpisodeSpikes, PopulationCode

V_TH = 0.6


class Environment(Protocol):
    """Environment of an episode, with Gymnasium's interface and observations as float64 (n,)."""

    def reset(self) -> tuple[np.ndarray, dict[str, float]]:
        """Start; return observation and info (further numbers by name)."""

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, float]]:
        """Take an action; return observation, reward, terminated (at the end), truncated (out of time), info."""


class Code(Protocol):
    """Spike probabilities of input cells for an observation, see `PopulationCode`."""

    @property
    def n_sources(self) -> int:
        """Number of input cells."""

    def compute_probabilities(self, observation: np.ndarray) -> np.ndarray:
        """Return the probability of a spike of each cell in a step."""


class CodedEpisode:
    """An episode of an environment whose observations drive input cells.

    The first observation drives `n_first` steps, each later one `period` steps.
    """

    def __init__(self, environment: Environment, code: Code, spikes: EpisodeSpikes, n_first: int, period: int) -> None:
        self._environment, self._code, self._spikes = environment, code, spikes
        self._n_first, self._period = n_first, period

    def reset(self) -> Reply:
        """Reset the environment; return its reply."""
        observation, info = self._environment.reset()
        spikes = self._spikes.draw_spikes(self._code.compute_probabilities(observation), self._n_first)
        return Reply(spikes, 0.0, info=info, observation=np.array(observation, float))

    def step(self, action: int) -> Reply:
        """Take an action; return the environment's reply."""
        observation, reward, terminated, truncated, info = self._environment.step(action)
        spikes = self._spikes.draw_spikes(self._code.compute_probabilities(observation), self._period)
        return Reply(spikes, float(reward), bool(terminated), bool(truncated), info, np.array(observation, float))


class ClosedBase(TaskBase):
    """Settings of a task with rewards. A subclass adds its own, and `n_actions`, `code` and `environment`."""

    figure: ClassVar[str] = "reward"
    variant_defaults: ClassVar[Mapping[str, Given]] = {
        "spike": {"batch_size": 1, "iterations": 3200, "eta": 0.05, "c_reg": 0.5}
    }
    replicated: bool = Field(
        True, description="step the environment on every rank; else on the first one, which broadcasts the replies"
    )
    iterations: int = Field(400, ge=0, description="training iterations")
    batch_size: int = Field(16, ge=1, description="episodes per optimizer step")
    eta: float = Field(5e-3, ge=0, description="learning rate of Adam, or of gradient descent in the spike variant")
    stop_above: float | None = Field(
        None, json_schema_extra=RUN, description="stop when the mean return of a validation is above it"
    )
    test_samples: int = Field(320, ge=0, description="episodes of the test after training, 0 for none")
    act: Literal["sample", "greedy"] = Field(
        "sample", json_schema_extra=RUN, description="how validation and test choose actions; training samples"
    )
    gamma: float = Field(0.99, ge=0, le=1, json_schema_extra=LEARNING, description="discount per decision")
    lambda_: float = Field(1.0, ge=0, le=1, json_schema_extra=LEARNING, description="decay of the traces of TD(lambda)")
    c_V: float = Field(0.5, ge=0, json_schema_extra=LEARNING, description="factor of the value loss")
    c_H: float = Field(0.01, ge=0, json_schema_extra=LEARNING, description="factor of the entropy bonus")
    c_H_end: float | None = Field(
        None, ge=0, json_schema_extra=LEARNING, description="last factor of the entropy bonus, by the schedule"
    )
    c_reg: float = Field(
        5.0, ge=0, json_schema_extra=LEARNING, description="coefficient of the firing-rate regularisation"
    )
    f_target: float = Field(10.0, ge=0, json_schema_extra=LEARNING, description="target firing rate in Hz")
    feedback: Literal["symmetric", "random", "adaptive"] = Field(
        "symmetric", json_schema_extra=MODEL, description="feedback weights"
    )
    n_rec: int = Field(60, ge=1, json_schema_extra=MODEL, description="recurrent neurons")
    indegree: int = Field(0, ge=0, json_schema_extra=MODEL, description="recurrent synapses per neuron, 0 for all")
    readout_std: float = Field(
        0.1, ge=0, json_schema_extra=MODEL, description="standard deviation of the first weights onto the readouts"
    )
    eta_out: float = Field(0.0, ge=0, json_schema_extra=LEARNING, description="learning rate of these weights, 0: eta")
    tau_out: float = Field(10.0, gt=0, json_schema_extra=MODEL, description="time constant of the readouts in ms")
    sensor_delay: int = Field(
        1, ge=1, json_schema_extra=MODEL, description="steps from a decision to the first one that the reply drives"
    )
    period: int = Field(10, ge=1, description="steps between decisions")

    bootstrap: ClassVar[bool] = False

    @model_validator(mode="after")
    def _check_stop(self) -> ClosedBase:
        if self.stop_below:
            raise ValueError(f"stop_below = {self.stop_below:g} is for tasks without rewards; set stop_above")
        return self

    def list_scheduled(self) -> dict[str, tuple[float, float]]:
        """Return the settings that follow the schedule, see `TaskBase.list_scheduled`."""
        return super().list_scheduled() | ({} if self.c_H_end is None else {"c_H": (self.c_H, self.c_H_end)})

    @property
    def first(self) -> int:
        """Step of the first decision."""
        return self.period - 1

    @property
    def n_decisions(self) -> int:
        """Most decisions of an episode."""
        raise NotImplementedError

    @property
    def n_actions(self) -> int:
        """Number of actions."""
        raise NotImplementedError

    @property
    def n_steps(self) -> int:
        """Steps of the longest episode."""
        return self.first + (self.n_decisions - 1 + self.bootstrap) * self.period + 1

    @property
    def reward_factor(self) -> float:
        """Factor of the rewards that the network learns from."""
        return 1.0

    @property
    def code(self) -> Any:  # Any: a `Code`, or without observations any object with `n_sources`
        """The population code of observations."""
        raise NotImplementedError

    def make_environment(self, index: int, phase: str) -> Environment:
        """Return the environment of an episode."""
        raise NotImplementedError

    def make_key(self, index: int, phase: str) -> np.ndarray:
        """Return the key of the draws of an environment."""
        return rng.make_key(self.seed, f"{phase}/{index}/environment")

    def episode(self, index: int, phase: str = "train") -> Episode:
        """Return an episode."""
        spikes = EpisodeSpikes(self.seed, f"{phase}/{index}/spikes", self.code.n_sources, self.n_steps)
        return CodedEpisode(
            self.make_environment(index, phase), self.code, spikes, self.first + self.sensor_delay, self.period
        )

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Raise `InputError`: inputs depend on the network."""
        raise InputError(f"task '{self.name}' runs in closed loop: it has episodes, not samples")

    def make_settings(self) -> Settings:
        """Return the settings of the variant."""
        return self.eprop.make_settings(self.n_steps)

    def list_attributes(self) -> Values:
        """Return the parameters of the loss, and names for the figures."""
        constants = {"gamma": self.gamma, "lambda": self.lambda_, "c_V": self.c_V, "c_H": self.c_H, "act": self.act}
        return constants | ({} if self.stop_above is None else {"stop_above": self.stop_above})

    def list_recorded_samples(self) -> dict[tuple[str, int], str]:
        """Return the episodes whose dynamics are recorded."""
        kept = super().list_recorded_samples()
        if self.stop_above is not None and ("test", 0) not in kept:
            kept = {("train", 0): "first", ("test", 0): "last"}
        return kept

    def build_model(self) -> Model:
        """Return the network."""
        n_sources = self.code.n_sources
        require_bytes(16 * n_sources * self.n_steps, f"draws of {n_sources} inputs in {self.n_steps} steps")
        loss = Reward(self.gamma, self.lambda_, self.c_V, self.c_H, self.reward_factor)
        model = Model(
            self.variant, self.seed, optimizer=self._make_optimizer(self.eta), precision=self.precision, loss=loss
        )
        inputs = model.inputs("in", n_sources)
        groups = self._add_neurons(model)
        out = model.readouts(
            "out", self.n_actions + 1, C_m=1.0, E_L=0.0, V_m=0.0, tau_m=self.tau_out, **self._list_readout_parameters()
        )
        self._connect_populations(model, inputs, groups, out)
        return model

    @property
    def _kappa(self) -> float:
        """Decay of the readouts in a step."""
        return elementary.exp(-1.0 / self.tau_out)

    def _make_optimizer(self, eta: float) -> Optimizer:
        if self.eprop.is_online:
            return GradientDescent(eta=eta, batch_size=self.batch_size)
        return Adam(eta=eta, batch_size=self.batch_size, epsilon=1e-8)

    def _add_neurons(self, model: Model) -> list[Population]:
        return [model.neurons("rec", self.n_rec, "iaf", t_ref=3.0, **self._list_neuron_parameters())]

    def _list_neuron_parameters(self) -> dict[str, float]:
        """Return the parameters that all neurons share."""
        return {
            "C_m": 1.0,
            "E_L": 0.0,
            "V_m": 0.0,
            "V_th": V_TH,
            "tau_m": 20.0,
            "f_target": self.f_target,
            "surrogate_gradient_height": 0.3 / V_TH,
            "surrogate_gradient_width": V_TH,
        } | self._list_variant_parameters()

    def _list_readout_parameters(self) -> dict[str, bool]:
        """Return the parameters of readouts that not all variants have."""
        return self.eprop.select_parameters("readout", {"regular_spike_arrival": False})

    def _list_variant_parameters(self) -> Values:
        """Return parameters of neurons that depend on the variant; `c_reg` acts in each step of the spike variant."""
        if self.eprop.is_online:
            return {"c_reg": self.c_reg / self.n_steps, "kappa": self._kappa, "kappa_reg": self._kappa}
        return {"c_reg": self.c_reg, "regular_spike_arrival": True}

    def _connect_populations(self, model: Model, inputs: Population, groups: list[Population], out: Population) -> None:
        n_rec = model.size("recurrent")
        if self.indegree >= n_rec:
            raise InputError(f"indegree = {self.indegree} must be below the {n_rec} recurrent neurons")
        drawn = self.indegree or None
        rule = "all_to_all" if drawn is None else "fixed_indegree"
        weight = Normal(std=1.0 / math.sqrt(self.indegree or n_rec))
        for group in groups:
            model.connect(inputs, group, weight=Normal(std=1.0 / math.sqrt(inputs.size)))
            for other in groups:
                model.connect(other, group, rule, weight=weight, allow_autapses=False, indegree=drawn)
            scale = self.eprop.compute_scale(self._kappa)
            optimizer = self._make_optimizer((self.eta_out or self.eta) * (scale * scale))
            model.connect(group, out, weight=Normal(std=self.readout_std * scale), optimizer=optimizer)
            model.connect(out, group, **list_feedback_options(self.feedback, Normal(std=1.0)))


class CodedBase(ClosedBase):
    """Settings of a task that observes some numbers, each coded by input cells. A subclass sets `low` and `high`."""

    low: ClassVar[tuple[float, ...]]  # lowest values of the observation
    high: ClassVar[tuple[float, ...]]  # highest values of the observation

    decisions: int = Field(200, ge=1, description="decisions of an episode at most")
    cells: int = Field(10, ge=2, le=10**6, description="input cells of each number of the observation")
    sigma: float = Field(0.7, gt=0, description="width of their tuning in distances of their centres")
    peak: float = Field(0.2, ge=0, le=1, description="highest probability of an input spike per step")

    @property
    def n_decisions(self) -> int:
        """Most decisions of an episode."""
        return self.decisions

    @cached_property
    def code(self) -> PopulationCode:
        """The population code of the observation."""
        return PopulationCode(self.low, self.high, self.cells, self.sigma, self.peak)

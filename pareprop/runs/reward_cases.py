"""Case files of rewards, "pareprop-reward-case-1": actions, rewards and ends of episodes are given, not computed."""

from __future__ import annotations

import numpy as np

from ..engines.sample import Sample
from ..errors import InputError
from ..later import h5py
from ..network.losses import Evaluation
from ..network.reward import Reward, Rollout
from ..parallel.spike_log import SpikeLog
from ..values import Values
from . import case_fields as fields

FORMAT = "pareprop-reward-case-1"
BY_DECISION = ("actions", "rewards", "alive", "terminated")  # (n_episodes, n_decisions) each
OF_LOSS = {"delta": "td_error", "advantage": "advantage"}  # expected array to its name in `Evaluation.extra`


def loss(attributes: Values) -> Reward:
    """Return the loss of a case."""
    if attributes.get("variant") != "interval":
        raise InputError(f"variant is '{attributes.get('variant')}', must be 'interval' in a case of rewards")
    gamma, lambda_, c_V, c_H = (fields.number(attributes, key) for key in ("gamma", "lambda", "c_V", "c_H"))
    return Reward(gamma=gamma, lambda_=lambda_, c_V=c_V, c_H=c_H)


def n_readouts(attributes: Values) -> int:
    """Return the number of readouts: one for each action, and the value."""
    n_actions = fields.whole(attributes, "n_actions")
    if not 1 <= n_actions <= fields.LIMIT:
        raise InputError(f"n_actions = {n_actions} must lie in [1, {fields.LIMIT}]")
    return n_actions + 1


def read_arrays(file: h5py.File, attributes: Values) -> dict[str, np.ndarray]:
    """Return inputs (n_episodes * interval, n_in), and actions, rewards and ends of episodes, of matching shapes."""
    arrays = {"inputs": fields.array(file, "inputs", 2), "rewards": fields.array(file, "rewards", 2)}
    arrays |= {key: fields.whole_array(file, key, 2) for key in BY_DECISION if key != "rewards"}
    arrays |= {key: fields.whole_array(file, key, 1) for key in ("decision_steps", "length")}
    arrays["bootstrap"] = fields.array(file, "bootstrap", 1)
    n_episodes, n_decisions = len(arrays["length"]), len(arrays["decision_steps"])
    interval = fields.whole(attributes, "interval")
    if not n_episodes or len(arrays["inputs"]) != n_episodes * interval:
        raise InputError(f"'inputs' has {len(arrays['inputs'])} steps, must have {n_episodes} x {interval}, above 0")
    shapes = dict.fromkeys(BY_DECISION, (n_episodes, n_decisions)) | {"bootstrap": (n_episodes,)}
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise InputError(f"'{key}' has shape {arrays[key].shape}, must be {shape}")
    for made in samples(arrays, attributes):
        assert made.rollout is not None  # `samples` gave it
        made.rollout.check(interval, n_readouts(attributes) - 1)
    return arrays


def samples(arrays: dict[str, np.ndarray], attributes: Values) -> list[Sample]:
    """Return the episodes of a case as samples with their actions and rewards."""
    interval, made = int(attributes["interval"]), []
    for k, n_steps in enumerate(arrays["length"]):
        alive = arrays["alive"][k].astype(bool)
        rollout = Rollout(
            when=arrays["decision_steps"][alive],
            actions=arrays["actions"][k][alive],
            rewards=arrays["rewards"][k][alive],
            acting=np.ones(np.count_nonzero(alive), bool),
            terminated=bool(np.any(arrays["terminated"][k][alive])),
            bootstrap=float(arrays["bootstrap"][k]),
            n_steps=int(n_steps),
        )
        inputs = arrays["inputs"][k * interval : (k + 1) * interval]
        made.append(Sample(SpikeLog.from_raster(inputs), rollout=rollout))
    return made


def read_expected(group: h5py.Group, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the expected evaluations: TD errors, advantages, errors and loss."""
    n_steps = len(arrays["inputs"])
    expected = {key: fields.array(group, key, 2) for key in (*OF_LOSS, "error_signal")}
    expected["loss"] = fields.array(group, "loss", 1)
    shapes = dict.fromkeys(OF_LOSS, arrays["actions"].shape) | {"loss": arrays["length"].shape}
    for key, shape in shapes.items():
        if expected[key].shape != shape:
            raise InputError(f"'expected/{key}' has shape {expected[key].shape}, must be {shape}")
    if len(expected["error_signal"]) != n_steps:
        raise InputError(f"'expected/error_signal' has {len(expected['error_signal'])} steps, must have {n_steps}")
    return expected


def compute_deviation(expected: dict[str, np.ndarray], evaluations: list[Evaluation], interval: int) -> float:
    """Return the largest difference between the evaluations of all episodes and the expected ones."""
    actual = {key: np.zeros_like(expected[key]) for key in (*OF_LOSS, "error_signal", "loss")}
    for k, one in enumerate(evaluations):
        for key, name in OF_LOSS.items():
            actual[key][k, : len(one.extra[name])] = one.extra[name]
        actual["error_signal"][k * interval : k * interval + len(one.error)] = one.error
        actual["loss"][k] = one.loss
    return float(np.max([np.max(np.abs(values - expected[key]), initial=0.0) for key, values in actual.items()]))

"""Rewards in the spike variant: TD errors at decisions, while the episode runs (Bellec et al. 2020)."""

from __future__ import annotations

import numpy as np

from ..algorithms.prefix.algorithm import ONLINE_BLOCK
from ..network.reward import Reward


class OnlineRewards:
    """TD errors of one episode, each as soon as it is known: with the next decision, or at the end.

    The entropy bonus c_H H_n is added to the reward of decision n. All ranks compute the same from the same signals.
    """

    def __init__(self, loss: Reward) -> None:
        self._loss = loss
        self._value = self._bonus = 0.0
        self._any, self._n_readouts = False, 0

    def compute_td_error(self, signal: np.ndarray, action: int, reward: float) -> tuple[np.ndarray, float, float]:
        """Return three values of a decision step.

        The errors for a TD error of 1, float64 (n_readouts,); the TD error of the previous decision; and the discount
        of the traces: gamma lambda, 0 at the first decision, where traces begin. `signal` has the readouts of the
        step, `reward` the reward since the previous decision, which is not read at the first one.
        """
        error, entropy = self._loss.compute_score(signal, action)
        delta = self._td_error(reward, float(signal[-1])) if self._any else 0.0
        discount = self._loss.gamma * self._loss.lambda_ if self._any else 0.0
        self._value, self._bonus, self._any = float(signal[-1]), self._loss.c_H * entropy, True
        self._n_readouts = len(signal)
        return error, delta, discount

    def end_episode(self, reward: float, after: float) -> tuple[np.ndarray, float, float]:
        """Return errors, TD error and discount of the step after an episode; `after` is the value that follows it."""
        return np.zeros(self._n_readouts), self._td_error(reward, after), 1.0

    def _td_error(self, reward: float, value: float) -> float:
        return self._loss.scale * reward + self._bonus + self._loss.gamma * value - self._value


def following_block(step: int) -> int:
    """Return the first step after `step` at which an episode may begin: the start of a block of prefix sums."""
    return (step // ONLINE_BLOCK + 1) * ONLINE_BLOCK

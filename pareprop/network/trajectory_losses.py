"""Losses of whole trajectories over time, to fit recordings: losses of means over trials, and correlations.

They need all steps of a sample at once, hence the interval variant. A script passes one as the loss of the model; local
readouts select one by name.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from .. import elementary
from ..errors import InputError, quote
from ..values import Later
from .losses import Evaluation, Loss
from .parameters import is_whole


class TrajectoryLoss(Loss):
    """A loss of the mean over trials, which are consecutive parts of a sample with the same length.

    Parameters
    ----------
    trials : int
        Trials in the steps of a sample that have a learning signal.
    """

    def __init__(self, trials: int = 1) -> None:
        if not is_whole(trials) or trials < 1:
            raise InputError(f"{type(self).__name__}: trials = {quote(trials)} must be a whole number of at least 1")
        self.trials = int(trials)

    @abstractmethod
    def evaluate_means(self, mean: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return errors (n_steps, n) and losses (n,), one for each readout, of means over trials."""

    def evaluate_columns(self, signal: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return errors (n_steps, n) and losses (n,) of signals and targets, for each readout separately.

        Raises `InputError` if the trials have different lengths.
        """
        if len(signal) % self.trials:
            what = f"trials = {self.trials} must divide {len(signal)}, the steps with a learning signal"
            raise InputError(f"loss {type(self).__name__}: {what}")
        error, losses = self.evaluate_means(
            *(self.average_trials(np.asarray(values, float)) for values in (signal, target))
        )
        return np.tile(error / self.trials, (self.trials, 1)), losses

    def average_trials(self, values: np.ndarray) -> np.ndarray:
        """Return the mean over trials, (n_steps / trials, n)."""
        parts = np.split(values, self.trials)
        total = parts[0].copy()
        for part in parts[1:]:  # a fixed order, whatever the shape
            total += part
        return total / self.trials

    def evaluate(
        self, signal: np.ndarray, target: np.ndarray | None, window: np.ndarray | slice, rollout: Later = None
    ) -> Evaluation:
        """Return errors and loss of one sample, see `Loss.evaluate`; the loss is the sum over readouts."""
        assert target is not None  # only episodes have none
        error = np.zeros_like(signal)
        error[window], losses = self.evaluate_columns(signal[window], target[window])
        return Evaluation(error, float(elementary.sum_in_order(losses)))

    def error(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return the errors."""
        return self.evaluate_columns(output, target)[0]

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        """Return the loss."""
        return float(elementary.sum_in_order(self.evaluate_columns(output, target)[1]))


class TrialAverage(TrajectoryLoss):
    """0.5 sum E^2 of E = y - target, both means over trials: single trials may differ."""

    def evaluate_means(self, mean: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return errors and losses of means over trials."""
        error = mean - target
        return error, 0.5 * elementary.total_rows(np.ascontiguousarray(np.square(error).T))


class Correlation(TrajectoryLoss):
    """1 - r, with the correlation r of output and target over time, both means over trials.

    Scale and offset of the targets do not matter, as for fluorescence. A readout whose output or target is constant has
    the loss 1 and no error.
    """

    def evaluate_means(self, mean: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return errors and losses of means over trials."""
        r, of_mean, of_target, length = correlate_columns(mean, target)
        return ((r[:, None] * of_mean - of_target) / length[:, None]).T, 1.0 - r


def correlate_columns(signal: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return correlation (n,), signal and target, and the norm of the signal, for each column.

    Signal and target are (n, n_steps), without mean and of norm 1. Without variance correlation and arrays are 0.
    """
    pair = [np.array(values.T, float, order="C") for values in (signal, target)]
    for values in pair:
        values -= elementary.total_rows(values)[:, None] / values.shape[1]
    of_signal, of_target = (elementary.total_rows(np.square(values)) for values in pair)
    scale = np.sqrt(of_signal * of_target)
    product = elementary.total_rows(pair[0] * pair[1])
    r = np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)
    lengths = [np.where(scale > 0, np.sqrt(values), np.inf) for values in (of_signal, of_target)]
    ones = [values / length[:, None] for values, length in zip(pair, lengths, strict=True)]
    return r, ones[0], ones[1], lengths[0]


TRAJECTORY_LOSSES: dict[str, type[TrajectoryLoss]] = {"mean_squared_error": TrialAverage, "correlation": Correlation}

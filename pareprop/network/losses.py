"""Losses of readouts: errors and values from signals and targets.

A new loss is a class here and an entry of `LOSSES`. The spike variant calls it step by step, but for those that
`cython_core/spike_variant/steps.pxi` makes. The loss of rewards, which compares with no target, is in `reward`.
A script gives a loss of its own to its `Model`, as a function (`OwnLoss`) or as an object of a class of `Loss`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .. import elementary
from ..errors import InputError, quote
from ..values import Later


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a loss says of a sample.

    Attributes
    ----------
    error : np.ndarray
        float64 (n_steps, n_readouts), 0 in steps without a learning signal.
    loss : float
        Of the whole sample.
    extra : dict of str to np.ndarray
        What errors and loss are made of, for results.
    """

    error: np.ndarray
    loss: float
    extra: dict[str, np.ndarray] = field(default_factory=dict)


class Loss(ABC):
    """A sum over readouts and steps; the error is its derivative by the readout voltage.

    Attributes
    ----------
    unit : str
        Unit of outputs, targets and errors.
    """

    unit: str = "mV"

    def output(self, signal: np.ndarray) -> np.ndarray:
        """Return the outputs to compare with targets, (n_steps, n_readouts), for readout voltages of this shape."""
        return signal

    def error(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return the errors, (n_steps, n_readouts)."""
        return output - target

    def evaluate(
        self, signal: np.ndarray, target: np.ndarray | None, window: np.ndarray | slice, rollout: Later = None
    ) -> Evaluation:
        """Return errors and loss of one sample. All ranks do so from the same signals: they are the same on all.

        Parameters
        ----------
        signal, target : np.ndarray
            float64 (n_steps, n_readouts).
        window : np.ndarray or slice
            Steps with a learning signal.
        rollout : Rollout or None
            What happened in an episode, for losses that have no target.

        Returns
        -------
        Evaluation
            Errors, 0 outside the window; the loss is summed over the window.
        """
        assert target is not None  # only episodes have none
        error = np.zeros_like(signal)
        output, target_signal = self.output(signal[window]), target[window]
        error[window] = self.error(output, target_signal)
        return Evaluation(error, self.value(output, target_signal, error[window]))

    @abstractmethod
    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        """Return the loss of some steps, (n_steps, n_readouts) each."""


class MeanSquaredError(Loss):
    """0.5 sum E^2, E = y - target. Bellec et al. 2020, Methods."""

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        """Return the loss of some steps."""
        with np.errstate(over="ignore"):  # an infinite loss ends the run
            return float(0.5 * elementary.total(np.square(error)))


class CrossEntropy(Loss):
    """- sum target log softmax(y); the error is softmax(y) - target. Bellec et al. 2020, Methods."""

    unit = "1"  # probabilities

    def output(self, signal: np.ndarray) -> np.ndarray:
        """Return the softmax over the readouts."""
        shifted = elementary.exp(signal - signal.max(axis=1, keepdims=True))
        return shifted / elementary.total_rows(shifted)[:, None]

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        """Return the loss of some steps."""
        return float(-elementary.total(target * elementary.log(np.maximum(output, np.finfo(float).tiny))))


class Huber(Loss):
    """Quadratic for |y - target| <= 1, linear beyond: single large errors count less. Huber 1964.

    doi 10.1214/aoms/1177703732.
    """

    def error(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return the errors, at most 1 in size."""
        return np.clip(output - target, -1.0, 1.0)

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        """Return the loss of some steps."""
        distance = np.abs(output - target)
        return float(elementary.total(np.where(distance <= 1.0, 0.5 * np.square(error), distance - 0.5)))


class OwnLoss(Loss):
    """A loss of a script.

    Parameters
    ----------
    function : callable
        Of the outputs and targets in the steps with a learning signal, float64 (n, n_readouts) each; in the spike
        variant of one such step, n = 1. It returns the errors, (n, n_readouts), which are the derivatives of the loss
        by the outputs, and the loss.
    """

    def __init__(self, function: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, float]]) -> None:
        self.function = function

    def error(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return the errors."""
        return self._call(output, target)[0]

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        """Return the loss of some steps."""
        return self._call(output, target)[1]

    def evaluate(
        self, signal: np.ndarray, target: np.ndarray | None, window: np.ndarray | slice, rollout: object = None
    ) -> Evaluation:
        """Return errors and loss of one sample, by one call of the function; see `Loss.evaluate`."""
        assert target is not None  # only episodes have none
        error = np.zeros_like(signal)
        error[window], loss = self._call(signal[window], target[window])
        return Evaluation(error, loss)

    def _call(self, output: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
        result = self.function(output.copy(), target.copy())  # the function may write into its arguments
        name = getattr(self.function, "__name__", type(self.function).__name__)
        if not isinstance(result, tuple) or len(result) != 2:
            raise InputError(f"loss {name} returned {quote(result)}, must return the errors and the loss")
        error, loss = result
        if np.shape(error) != output.shape:
            raise InputError(f"loss {name}: errors have shape {np.shape(error)}, must be {output.shape}")
        if np.ndim(loss) or not np.isreal(loss):
            raise InputError(f"loss {name}: the loss {quote(loss)} must be one number")
        return np.asarray(error, float), float(loss)


def log_softmax(signal: np.ndarray) -> np.ndarray:
    """Return the logarithm of the softmax over the last axis, (n, n_readouts) as `signal`."""
    shifted = signal - signal.max(axis=-1, keepdims=True)
    return shifted - elementary.log(elementary.total_rows(elementary.exp(shifted))[..., None])


LOSSES: dict[str, Loss] = {
    "mean_squared_error": MeanSquaredError(),
    "cross_entropy": CrossEntropy(),
    "huber": Huber(),
}

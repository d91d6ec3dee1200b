"""Losses: from readout signals and targets to errors and a number."""

from __future__ import annotations

import numpy as np


def softmax(signal: np.ndarray) -> np.ndarray:
    """Softmax over the readouts, (n_steps, n_readouts)."""
    shifted = np.exp(signal - signal.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def output(loss: str, signal: np.ndarray) -> np.ndarray:
    """What a loss compares with the target: the signals or their softmax, (n_steps, n_readouts)."""
    return softmax(signal) if loss == "cross_entropy" else signal


def evaluate(loss: str, signal: np.ndarray, target: np.ndarray, window: np.ndarray | slice) -> tuple[np.ndarray, float]:
    """Error signals and loss of one sample.

    Parameters
    ----------
    loss : "mean_squared_error" or "cross_entropy"
    signal, target : float64 (n_steps, n_readouts)
    window : steps with a learning signal, a mask or a slice

    Returns
    -------
    error : float64 (n_steps, n_readouts), 0 outside the window
    loss : 0.5 sum E^2, or the cross-entropy summed over the window

    Notes
    -----
    Every rank computes this from the same signals, so it is the same on all. Bellec et al. 2020, Methods.
    """
    error = np.zeros_like(signal)
    inside, wanted = signal[window], target[window]
    if loss == "cross_entropy":
        probability = softmax(inside)
        error[window] = probability - wanted
        value = -np.sum(wanted * np.log(np.maximum(probability, np.finfo(float).tiny)))
    else:
        error[window] = inside - wanted
        with np.errstate(over="ignore"):  # an infinite loss ends the run
            value = 0.5 * np.sum(np.square(error[window]))
    return error, float(value)


def learning_signal(error: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Errors (n_steps, n_readouts) times feedback weights (n_readouts, n): the learning signals of some neurons.

    Summed in ascending readout: a matrix product may sum in another order for another number of neurons.
    """
    total = np.zeros((len(error), weights.shape[1]))
    for k, row in enumerate(weights):
        total += error[:, k, None] * row
    return total

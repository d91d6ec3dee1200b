"""Errors and losses from readout signals, and learning signals from errors."""

from __future__ import annotations

import numpy as np

from ..network.losses import Loss


def evaluate(
    loss: Loss, signal: np.ndarray, target: np.ndarray, window: np.ndarray | slice
) -> tuple[np.ndarray, float]:
    """Return error signals and loss of one sample.

    Parameters
    ----------
    loss : Loss
        Of the readouts.
    signal, target : np.ndarray
        float64 (n_steps, n_readouts).
    window : np.ndarray or slice
        Steps with a learning signal.

    Returns
    -------
    error : np.ndarray
        float64 (n_steps, n_readouts), 0 outside the window.
    value : float
        The loss, summed over the window.

    Notes
    -----
    Every rank computes this from the same signals, so it is the same on all.
    """
    error = np.zeros_like(signal)
    output, wanted = loss.output(signal[window]), target[window]
    error[window] = loss.error(output, wanted)
    return error, loss.value(output, wanted, error[window])


def learning_signal(error: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the learning signals of some neurons: L = E B (Bellec et al. 2020, Methods).

    Readouts are added in ascending order: a matrix product may add in another order for another number of neurons.

    Parameters
    ----------
    error : np.ndarray
        float64 (n_steps, n_readouts), error signals E.
    weights : np.ndarray
        float64 (n_readouts, n), feedback weights B.

    Returns
    -------
    np.ndarray
        float64 (n_steps, n).
    """
    total = np.zeros((len(error), weights.shape[1]))
    for k, row in enumerate(weights):
        total += error[:, k, None] * row
    return total

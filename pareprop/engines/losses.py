"""From readout signals to errors and a number, and from errors to learning signals."""

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
    """Errors (n_steps, n_readouts) times feedback weights (n_readouts, n): the learning signals of some neurons.

    Summed in ascending readout: a matrix product may sum in another order for another number of neurons.
    """
    total = np.zeros((len(error), weights.shape[1]))
    for k, row in enumerate(weights):
        total += error[:, k, None] * row
    return total

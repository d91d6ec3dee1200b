"""Learning signals from errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..network.local import LocalNetwork


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


def bind_feedback(network: LocalNetwork) -> Any:  # Any: each precision has a class
    """Return the kernel's view of the synapses from all readouts to this rank's neurons."""
    table = network.feedback
    names = ("blocks", "row_ptr", "target", "weight")
    return network.model.kernels.interval.Synapses({name: getattr(table, name) for name in names})

"""Learning signals from errors: L = E B (Bellec et al. 2020, Methods), computed by one kernel for all callers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network.local import LocalNetwork

TOGETHER = 64  # steps whose learning signals are computed at once, so that they stay in the cache


@dataclass
class Taught:
    """Signals that the synapses of a rank learn from in an interval of the interval variant.

    Attributes
    ----------
    error : np.ndarray
        float64 (n_steps, n_readouts), error signals.
    local : np.ndarray
        (n_steps, n_neurons), filtered learning signals of local readouts; (0, 0) without these.
    rate : np.ndarray
        (n_neurons,), factors by which firing rates are regularised.
    modulator : np.ndarray or None
        (n_steps,), which rules may read.
    signals : np.ndarray or None
        float64 (n_steps, n_neurons), learning signals that replace `error` and `local`.
    """

    error: np.ndarray
    local: np.ndarray
    rate: np.ndarray
    modulator: np.ndarray | None
    signals: np.ndarray | None


def bind_synapses(kernels: Any, table: Any, **others: object) -> Any:  # Any: each precision has classes
    """Return the kernel's view of the synapses of a table, with `others` in place of its arrays."""
    names = ("blocks", "row_ptr", "target", "weight")
    return kernels.Synapses({name: getattr(table, name) for name in names} | others)


def write_signals(network: LocalNetwork, error: np.ndarray, signal: np.ndarray) -> None:
    """Write the learning signals of all neurons of this rank, (n_steps, n), of errors (n_steps, n_readouts)."""
    kernels = network.model.kernels.interval
    kernels.project_errors(bind_synapses(kernels, network.feedback), np.ascontiguousarray(error), signal)


def project_errors(network: LocalNetwork, error: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the learning signals of some neurons of this rank, float64 (n_steps, n)."""
    found = np.zeros((len(error), len(columns)))
    signal = np.zeros((TOGETHER, network.neurons[1] - network.neurons[0]), network.model.kernels.real)
    for first in range(0, len(error), TOGETHER) if len(columns) else ():
        part = error[first : first + TOGETHER]
        write_signals(network, part, signal)
        found[first : first + len(part)] = signal[: len(part), columns]
    return found

"""The backward pass of the interval variant: the gradient of an arrival at a synapse in each step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import allocate_aligned
from ..network.local import LocalNetwork
from .cells import Cells
from .learning_signal import Taught, bind_synapses


class BackwardPass:
    """The backward pass over the neurons and the readouts of a rank.

    Attributes
    ----------
    kappa : float
        Decay per step of eligibility traces: the decay of the fastest readout, or of local readouts.
    adjoint : np.ndarray
        (n_adjoint, n_neurons), adjoints of the neurons at the start of the interval, after `run`.
    """

    def __init__(self, network: LocalNetwork, cells: Cells) -> None:
        model, n = network.model, cells.neurons.v.shape[0]
        self._kernel, self._real = model.kernels.interval, model.kernels.real
        self._kappas, self._zeta = cells.constants["alpha"], cells.constants["zeta"]
        self.kappa = float(self._kappas.min()) if network.n_readouts else 0.0
        if model.local:
            self.kappa = model.local.compute_constants(model.dt_ms)[0]
        self._shares, slower = np.ones(network.n_readouts), self._kappas > self.kappa
        self._shares[slower] = (1.0 - self._kappas[slower]) / (1.0 - self.kappa)
        self.adjoint = allocate_aligned((network.widths["adjoint"], n), self._real)
        self._scratch = {
            "filtered": np.zeros(network.n_readouts),
            "signal": allocate_aligned(n, self._real),
            "adjoint": self.adjoint,
            "feedback": bind_synapses(self._kernel, network.feedback),
        }
        self._of_all = self.bind_neurons(cells.neurons)

    def bind_neurons(self, neurons: object, is_filtered: bool = True) -> Any:  # Any: each precision has a class
        """Return the kernel of neurons; all kernels share scratch arrays."""
        kappas, shares = self._kappas, self._shares
        if not is_filtered:
            kappas, shares = np.zeros_like(kappas), np.ones_like(shares)
        filters = {"kappa": self.kappa if is_filtered else 0.0, "kappas": kappas, "shares": shares}
        return self._kernel.Sweep({"neurons": neurons} | filters | self._scratch)

    def run(self, taught: Taught, psi: np.ndarray, kernel: Any = None) -> np.ndarray:  # Any: as of `bind_neurons`
        """Overwrite surrogate gradients by coefficients of arrivals, and return these; by default of all neurons."""
        kernel = self._of_all if kernel is None else kernel
        if taught.signals is None:
            kernel.run(taught.error, taught.local, taught.rate, psi)
        else:
            kernel.run(None, _filter_back(taught.signals, kernel.kappa).astype(self._real), taught.rate, psi)
        return psi

    def run_readouts(self, error: np.ndarray) -> np.ndarray:
        """Return the coefficients of arrivals at readouts, (n_steps, n_readouts) as `error`."""
        error = error.copy()
        self._kernel.sweep_readouts(self._kappas, self._zeta, error)
        return error.astype(self._real, copy=False)


def _filter_back(signals: np.ndarray, kappa: float) -> np.ndarray:
    """Return, for each step, the sum of its signal and all later ones, times kappa per step between; (n_steps, n)."""
    filtered = signals.copy()
    for t in range(len(filtered) - 2, -1, -1):
        filtered[t] += kappa * filtered[t + 1]
    return filtered

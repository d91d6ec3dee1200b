"""Currents that graded sources inject, from a sample to the next one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..network.local import LocalNetwork
from .learning_signal import bind_synapses


class Currents:
    """Currents injected into the neurons of this rank, by the step in which they arrive.

    Attributes
    ----------
    carried : np.ndarray
        (longest delay, n_neurons), currents of earlier samples that arrive in each step of the next sample.
    before : np.ndarray
        `carried` before the present sample.
    """

    def __init__(self, network: LocalNetwork, kernels: Any) -> None:  # Any: each precision and variant has classes
        delays = [item.delay_range[1] for item in network.model.projections if item.pre.role == "current"]
        shape = max(delays, default=1), network.neurons[1] - network.neurons[0]
        self._table, self._kernels = network.currents, kernels
        self.carried = np.zeros(shape, network.model.kernels.real)
        self.begin_sample()

    def begin_sample(self) -> None:
        """Begin a sample."""
        self.before = self.carried.copy()
        self._by_step = self.carried[:0]

    def inject_currents(self, amplitude: np.ndarray | None, n_steps: int) -> np.ndarray:
        """Return the currents that arrive in the present sample, (n_steps, n_neurons); no rows without graded sources.

        `amplitude` is float64 (n_steps, n_currents), in pA; neurons get it a step later. Currents that arrive after
        `n_steps` steps are carried over.
        """
        if len(self._table.blocks):
            self._by_step = np.zeros((n_steps + len(self.before), self.before.shape[1]), self.before.dtype)
            self._by_step[: len(self.before)] = self.before
            if amplitude is not None:
                synapses = bind_synapses(self._kernels, self._table)
                self._kernels.inject(synapses, amplitude, self._by_step[1:])
        self.carry_over(n_steps)
        return self._by_step[:n_steps]

    def carry_over(self, n_steps: int) -> None:
        """Carry currents that arrive after `n_steps` steps over to the next sample."""
        if len(self._by_step):
            self.carried[...] = self._by_step[n_steps:][: len(self.carried)]

    @property
    def state(self) -> np.ndarray:
        """The carried currents: a ring, or one value per neuron if all currents take one step."""
        return self.carried if len(self.carried) > 1 else self.carried[0]

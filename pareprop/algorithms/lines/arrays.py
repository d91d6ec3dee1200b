"""Arrays of `lines`: psi and learning signals of the latest steps, by target."""

from __future__ import annotations

import numpy as np

from ...arrays import LINE, allocate_aligned
from ...network.local import LocalNetwork
from ..plan import NetworkPlan, TablePlan


def line_steps(real: type) -> int:
    """Return the steps of a cache line with two numbers of each."""
    return LINE // (2 * np.dtype(real).itemsize)


class Lines:
    """Histories in cache lines, (n_blocks, n_neurons, 2 line_steps), see algorithms/lines/lines.h.

    Parameters
    ----------
    network : LocalNetwork
        This rank's share.
    plan : NetworkPlan
        How each projection learns.
    table : TablePlan
        Of the synapses onto neurons.

    Attributes
    ----------
    array : np.ndarray
        The lines; without blocks if no synapse reads them.
    arrays : dict
        What a state keeps: name to (n_blocks, n_neurons).
    """

    def __init__(self, network: LocalNetwork, plan: NetworkPlan, table: TablePlan) -> None:
        real, n = network.model.kernels.real, network.neurons[1] - network.neurons[0]
        steps, kept = line_steps(real), table.longest_cutoff(table.chosen("lines")) + plan.m + 2
        n_blocks = (-(-kept // steps) + 1) * plan.uses("lines")  # the first step of a line may be any
        self.array = allocate_aligned((n_blocks, n, 2 * steps), real)
        self.arrays = {f"window_{k}": self.array[:, :, k] for k in range(2 * steps * (n_blocks > 0))}

"""Batches of the spike variant: synapses sum gradients, and optimizers change weights after the last sample."""

from __future__ import annotations

import numpy as np

from ..arrays import allocate_aligned
from ..network.local import LocalNetwork
from ..parallel.mpi import Comm
from ..parallel.replicas import Replicas, TreeSum
from .parameters import Parameters
from .plasticity import Plastic, share_rates
from .state import State


class SpikeBatch:
    """Gradients of a rank, summed over the samples of a batch, and the optimizers that use them.

    `adaptive` is the adaptive feedback, by the readout projections that it learns with.

    Attributes
    ----------
    sums : TreeSum
        Sums of the gradients of all tables, then of parameters.
    n_collected : int
        Samples of the batch so far, including the samples of other groups of ranks.
    first : dict or None
        If set to {}, filled with the gradients of the first batch as optimizers take them, by `id` of the table.
    """

    def __init__(
        self, network: LocalNetwork, plastic: list[Plastic], adaptive: list[Plastic], parameters: Parameters
    ) -> None:
        self._network, self._plastic, self._adaptive, self._parameters = network, plastic, adaptive, parameters
        share_rates(adaptive, plastic)
        self._tables = (network.incoming, network.outgoing, network.following.adaptive)
        sizes, real = [len(table.weight) for table in self._tables], network.model.kernels.real
        self.sums = TreeSum([*(allocate_aligned(size, real) for size in sizes), *parameters.gradients])
        self.n_collected = 0
        self.first: dict[int, np.ndarray] | None = None

    def add_gradients(self, gradients: list[np.ndarray]) -> None:
        """Add gradients of the tables, (n_synapses,) each, or (0,) for a table that does not learn."""
        for total, gradient in zip(self.sums.arrays, gradients, strict=False):
            total[: len(gradient)] += gradient

    def add_sample(self, of_parameters: list[np.ndarray]) -> None:
        """Count a sample, and add its gradients of parameters."""
        self.n_collected += 1
        for total, gradient in zip(self.sums.arrays[len(self._tables) :], of_parameters, strict=True):
            total += gradient

    def step(self, replicas: Replicas, comm: Comm) -> None:
        """Collective: step all optimizers with the mean gradient of the batch.

        `replicas` are the groups of ranks that ran samples of the batch, `comm` the ranks of this group.
        """
        divisor = float(self.n_collected)
        arrays = dict(zip(map(id, self._tables), self.sums.sum_over_groups(replicas), strict=False))
        if self.first == {}:
            self.first = {key: array / divisor for key, array in arrays.items()}
        for item in (*self._plastic, *self._adaptive):
            item.begin_step()
            item.step(arrays[id(item.table)], divisor)
        self._network.following.copy_weights()
        self._parameters.step(self.sums.arrays[len(self._tables) :], divisor, comm)
        for array in self.sums.arrays:
            array.fill(0.0)
        self.n_collected = 0

    def add_to(self, state: State, with_weights: bool) -> None:
        """Add the moments of optimizers to a state, and weights, if these are not in it yet."""
        for kind, items in (("table", self._plastic), ("adaptive", self._adaptive)):
            for item in items:
                weight = {"weight": item.table.weight} if with_weights else {}
                state.add_synapses(f"batch/{kind}", item.table, item.span, **weight, **item.moments)
        for item in self._adaptive:
            item.add_counters(state, "adaptive")

    @property
    def nbytes(self) -> int:
        """Bytes of gradients and of the optimizers' state."""
        return self.sums.nbytes + sum(item.nbytes for item in (*self._plastic, *self._adaptive))

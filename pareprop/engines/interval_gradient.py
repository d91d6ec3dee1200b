"""What the interval variant does after a sample: sweep back, credit all arrivals, step the optimizers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..arrays import aligned
from ..network.optimizers import Adam, GradientDescent
from ..network.synapse_table import SynapseTable
from ..parallel.replicas import TreeSum
from ..parallel.spike_log import SpikeLog
from .plasticity import plastic
from .sample import Sample

EMPTY = SpikeLog(0, 0)


class Learning:
    """The part of `Interval` that learns; it reads what the other part, which runs samples, left in its arrays."""

    def _prepare(self) -> None:
        """Take memory for gradients, unless weights can be changed at once."""
        network, settings, optimizer = self.network, self.settings, self.network.model.optimizer
        tables = (network.incoming, network.outgoing)
        copies = (network.mirror.table,) if network.mirror else ()
        self.direct = not settings.keep_gradients and all(
            isinstance(rule, GradientDescent) and not isinstance(rule, Adam) and rule.batch_size == 1
            for rule in (optimizer, *(item.optimizer for item in network.model.projections if item.optimizer))
        )
        n_kept = 0 if self.direct else 1
        self._tables = (*tables, *copies)
        self.sums = TreeSum([aligned(len(table.weight) * n_kept, self.real) for table in self._tables])
        self._pending: list[tuple] = []
        self.mirrored = [item for table in copies for item in plastic(table, optimizer)]
        self.plastic = [item for table in tables for item in plastic(table, optimizer)]
        self._links = np.zeros(0, np.int64)  # order of spikes by source
        self.n_collected = 0

    @property
    def gradient(self) -> dict[int, np.ndarray]:
        """What samples add to, by id of the table: the gradient so far if all are in one leaf, see `replicas`."""
        return {id(table): array for table, array in zip(self._tables, self.sums.arrays, strict=True)}

    def _collect(self, sample: Sample, error: np.ndarray) -> None:
        """Add the gradient of this interval to the batch."""
        network, cells, inputs = self.network, self.network.cells, sample.inputs
        rate = cells["c_reg"] * (self.state["n_spikes"] / self.n_steps - cells["f_target"] * network.model.dt_ms)
        rate /= self.n_steps
        table = network.feedback
        with self.timers.phase("sweep"):
            self.kernel.sweep(
                self._kappa, network.adaptive, error, table.blocks, table.row_ptr, table.target, table.weight,
                *(self.parameters[name] for name in ("alpha", "zeta", "rho", "adapt_beta")),
                rate.astype(self.real, copy=False), *self._scratch, self.psi,
            )  # fmt: skip
            own_error = error[:, slice(*network.readouts)].copy()
            self.kernel.sweep_readouts(self._kappa, self.constants["zeta"], own_error)
            parts = [(network.incoming, inputs, self.psi, False)]
            parts.append((network.outgoing, EMPTY, own_error.astype(self.real, copy=False), True))
            if network.mirror:
                all_errors = error.copy()
                self.kernel.sweep_readouts(self._kappa, self.constants["zeta"], all_errors)
                parts.append((network.mirror.table, EMPTY, all_errors.astype(self.real, copy=False), True))
        if self.direct:
            self._pending = parts
        else:
            gradient = self.gradient
            self._credit(parts, lambda table: (np.ones(len(table.blocks)), gradient[id(table)]))
        self.n_collected += 1

    def _credit(self, parts: list[tuple], into: Callable[[SynapseTable], tuple[np.ndarray, np.ndarray]]) -> None:
        """Add the coefficients of all arrivals, times a factor for each block, to an array of synapses."""
        with self.timers.phase("credit"):
            for table, sources, coefficient, same_step in parts:
                merged = self.merged
                needed = self.kernel.scratch_size(same_step, table.blocks, sources.ptr, merged.ptr, coefficient)
                if needed > len(self._links):
                    self._links = np.zeros(int(1.25 * needed), np.int64)
                self.kernel.credit(
                    same_step, table.blocks, table.row_ptr, table.target, sources.ids, sources.ptr, merged.ids,
                    merged.ptr, coefficient, *into(table), self._links,
                )  # fmt: skip

    def skip(self, n: int, learn: bool) -> None:
        """Count `n` samples that other groups of ranks run."""
        self.n_samples += n
        self.n_collected += n * learn

    def optimize(self) -> None:
        """Collective: step all optimizers with the mean gradient of the batch; nothing if no sample learned."""
        if not self.n_collected:
            return
        divisor = float(self.n_collected)
        if self.settings.average_gradient:
            divisor *= self.settings.learning_window
        etas = {item.span.projection.name: item.eta for item in self.plastic}
        if self.direct:
            self._credit(self._pending, lambda table: (_rates(table, etas, divisor), table.weight))
            self._pending = []
        with self.timers.phase("communicate"):
            self.sums.total(self.exchange.replicas)
        gradient = self.gradient
        with self.timers.phase("optimize"):
            for item in (*self.plastic, *self.mirrored):
                item.eta = etas[item.span.projection.name]
                if self.direct:
                    item.clip()
                else:
                    item.step(gradient[id(item.table)], divisor)
            if self.network.mirror:
                self.network.mirror.follow()
        self.n_collected = 0


def _rates(table: SynapseTable, etas: dict[str, float], divisor: float) -> np.ndarray:
    """Minus the learning rate of each block of `table`, over the number of samples."""
    return np.array([-etas.get(span.projection.name, 0.0) / divisor for span in table.spans for _ in span.delays])

"""Gradients of synapses as sums over the spikes that arrive at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network.synapse_table import SynapseTable
from ..parallel.spike_log import SegmentedLog, SpikeLog
from ..timers import Timers


@dataclass
class Arrivals:
    """Synapses of a table that learn, the spikes that arrive at them, and the gradient of an arrival.

    `blocks` are the blocks of the table in which the synapses learn; `coefficients` has the shape
    (n_steps, n_ports, n_targets). With `same_step` a spike arrives in the step in which it is emitted, without delay.
    """

    table: SynapseTable
    blocks: np.ndarray
    inputs: SpikeLog
    received: SegmentedLog
    coefficients: np.ndarray
    same_step: bool = False


class ArrivalAccumulator:
    """Sums the contributions of arrivals at synapses to gradients.

    `places` has, by the name of each delay that learns, the indices of its synapses minus their indices in the array of
    delays. The interval began with step `origin` of the run.
    """

    def __init__(
        self,
        kernel: Any,  # Any: each precision has a module
        tables: Sequence[SynapseTable],
        places: Mapping[str, int],
        timers: Timers,
    ) -> None:
        self._kernel, self._timers, self.origin = kernel, timers, 0
        self._links = np.zeros(0, np.int64)  # order of spikes by source
        self._shifts = {  # by block; -1 where delays stay
            id(table): np.array(table.map_blocks(lambda item: places.get(f"{item.name}.delay", -1)), np.int64)
            for table in tables
        }

    def add_gradients(
        self,
        by_delay: np.ndarray,
        parts: Sequence[Arrivals],
        into: Callable[[SynapseTable], tuple[np.ndarray, np.ndarray]],
    ) -> None:
        """Add the coefficients of all arrivals, times a factor of their block, to an array of the table's synapses.

        `into` returns the factors of the blocks of a table and that array. Derivatives by delays go to `by_delay`.
        """
        with self._timers.time_phase("credit"):
            for part in parts:
                table, coefficients = part.table, part.coefficients
                scale, total = into(table)
                kernel = self._kernel.Credit(
                    {
                        "same_step": part.same_step,
                        "blocks": part.blocks,
                        "row_ptr": table.row_ptr,
                        "target": table.target,
                        "inputs": part.inputs,
                        "received": part.received,
                        "n_ports": coefficients.shape[1],
                        "coefficient": coefficients.reshape(-1, coefficients.shape[2]),
                        "scale": scale,
                        "weight": total,
                        "shift": self._shifts[id(table)],
                        "by_delay": by_delay,
                        "origin": self.origin,
                    }
                )
                needed = kernel.count_links()
                if needed > len(self._links):
                    self._links = np.zeros(int(1.25 * needed), np.int64)
                kernel.run(self._links)

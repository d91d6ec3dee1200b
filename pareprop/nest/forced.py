"""Neurons that spike at given times, whatever their voltage: NEST's `ignore_and_spike`."""

from __future__ import annotations

import numpy as np

from .nodes import NodeTable
from .settings import to_steps


class ForcedSpikes:
    """Spikes of the neurons that have `ignore_and_spike`: an offset after a time, then regularly.

    `recurrent` has the int64 ids of the network's neurons by index, `dt` is the resolution in ms.
    """

    def __init__(self, nodes: NodeTable, recurrent: np.ndarray, dt: float) -> None:
        self._nodes, self._dt = nodes, dt
        self._order = np.argsort(recurrent)
        self._ids = recurrent[self._order]
        self._next, self._every = (np.zeros(len(recurrent), np.int64) for _ in range(2))  # stamp, 0 if free; steps
        self.restart_neurons(self._ids, 0)

    def restart_neurons(self, ids: np.ndarray, clock: int) -> None:
        """Read the parameters of neurons, ascending ids; their first spike comes an offset after step `clock`."""
        for block, local in self._nodes.list_blocks(ids[ids > 0]):
            if not block.model.variant:
                continue
            index = self._order[np.searchsorted(self._ids, block.first + local)]
            is_forced, offset, every = (
                block.get_array(f"ignore_and_spike{name}", local) for name in ("", "_offset", "_interval")
            )
            self._next[index] = np.where(is_forced, clock + to_steps(offset, self._dt), 0)
            self._every[index] = to_steps(every, self._dt)

    def transfer_state(self, before: ForcedSpikes, clock: int) -> None:
        """Take over the state of other neurons; neurons that are new begin after step `clock`."""
        self.restart_neurons(np.setdiff1d(self._ids, before._ids), clock)
        places = np.searchsorted(self._ids, before._ids)
        there = (before._ids > 0) & (places < len(self._ids))
        index, old = self._order[places[there]], before._order[there]
        self._next[index], self._every[index] = before._next[old], before._every[old]

    @property
    def index(self) -> np.ndarray:
        """Forced neurons, int64 ascending (n,)."""
        return np.flatnonzero(self._next)

    def take_spikes(self, first: int, last: int) -> np.ndarray:
        """Whether forced neurons spike in NEST's steps [first, last), whose stamps are one later: bool (steps, n)."""
        index = self.index
        late = 1 + np.arange(first, last)[:, None] - self._next[index]
        spikes = (late >= 0) & (late % self._every[index] == 0)
        self._next[index] += spikes.sum(axis=0) * self._every[index]
        return spikes

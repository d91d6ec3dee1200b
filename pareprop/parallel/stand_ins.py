"""Exchanges with drawn spikes: a control whose work is the same on any number of ranks, and a dry run of one rank.

Spikes are drawn once, keyed by (seed, neuron), and the same in every sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import rng
from ..kernels import layout
from .exchange import Exchange
from .messages import WORDS, Sources, buffer_bytes, grown
from .partition import block
from .replicas import Replicas
from .spike_log import SpikeLog


def drawn_log(seed: int, n: int, first: int, last: int, probability: float, n_steps: int) -> SpikeLog:
    """Spikes of neurons [first, last) of `n` in `n_steps` steps, with a probability per step; ids are global."""
    chances = np.zeros(n)
    chances[first:last] = probability
    return SpikeLog.from_arrays(*rng.bernoulli(rng.key(seed, "drawn"), chances, n_steps))


def overwrite(own: SpikeLog, drawn: SpikeLog, step: int, first: int, last: int) -> None:
    """Put the spikes of `drawn` from `step` on in the place of those of steps [first, last)."""
    ptr = drawn.ptr[step : step + last - first + 1]
    place = int(own.ptr[first])
    end = place + int(ptr[-1] - ptr[0])
    own.reserve(end)
    own.ids[place:end] = drawn.ids[ptr[0] : ptr[-1]]
    own.ptr[first + 1 : last + 1] = ptr[1:] + (place - ptr[0])


class DrivenExchange:
    """A control: what ranks tell one another are drawn spikes instead of those of their neurons.

    The neurons go on as ever, but synapses are driven by a firing rate that depends neither on the size of the network
    nor on what it learns. Engines must run in rounds, also alone.

    Parameters
    ----------
    exchange : what carries the spikes
    probability : of a spike per neuron and step
    n_neurons : of the whole network
    seed : of the draws
    """

    def __init__(self, exchange: Exchange, probability: float, n_neurons: int, seed: int) -> None:
        self._exchange, self._probability, self._n, self._seed = exchange, probability, n_neurons, seed
        self.rank, self.size, self.comm, self.replicas = exchange.rank, exchange.size, exchange.comm, exchange.replicas
        self.profile_waiting = exchange.profile_waiting
        self._time = 0

    @property
    def way(self) -> Any:
        """How messages travel, None for one process."""
        return getattr(self._exchange, "way", None)

    def bind(
        self, own: SpikeLog, merged: SpikeLog, own_signal: np.ndarray, signal: np.ndarray,
        sources: Sources | None = None, expected: float = 0.0,
    ) -> None:  # fmt: skip
        """Collective: name the arrays to exchange, and draw."""
        self._own, self._n_steps = own, len(signal)
        mine = block(self._n, self.size, self.rank)
        self._drawn = drawn_log(self._seed, self._n, *mine, self._probability, self._n_steps)
        self._exchange.bind(own, merged, own_signal, signal, sources, expected)

    def round(self, first: int, last: int, signal_first: int, signal_last: int) -> None:
        """Collective: put drawn spikes in the place of this rank's own, then exchange."""
        overwrite(self._own, self._drawn, self._time % self._n_steps, first, last)
        self._time += last - first
        self._exchange.round(first, last, signal_first, signal_last)

    def all_spikes_on_root(self, own: SpikeLog, merged: SpikeLog, n_steps: int) -> tuple[SpikeLog, int]:
        """Collective: as the exchange that carries the spikes."""
        return self._exchange.all_spikes_on_root(own, merged, n_steps)

    def broadcast_spikes(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """Collective: as the exchange that carries the spikes."""
        return self._exchange.broadcast_spikes(log, n_steps)

    @property
    def nbytes(self) -> int:
        """Bytes of the message buffers."""
        return self._exchange.nbytes


class DryExchange:
    """One rank of a run of any size in one process: the spikes of the others are drawn, their readouts are silent.

    Parameters
    ----------
    rank, size : which rank of how many
    probability : of a spike per neuron and step, of the others
    n_neurons : of the whole network
    seed : of the draws
    own : whether this rank's own spikes are drawn, too
    """

    comm: Any = None
    profile_waiting = False
    replicas = Replicas()

    def __init__(self, rank: int, size: int, probability: float, n_neurons: int, seed: int, own: bool = False) -> None:
        self.rank, self.size = rank, size
        self._n, self._seed, self._draws_own = n_neurons, seed, own
        self._time, self.words = 0, WORDS
        self.probability = probability

    def bind(
        self, own: SpikeLog, merged: SpikeLog, own_signal: np.ndarray, signal: np.ndarray,
        sources: Sources | None = None, expected: float = 0.0,
    ) -> None:  # fmt: skip
        """Name the arrays to exchange, and draw."""
        self._sources = Sources(self._n) if sources is None else sources
        self._logs, self._signals, self._n_steps = (own, merged), (own_signal, signal), len(signal)
        first = block(signal.shape[1], self.size, self.rank)[0]
        self._columns = slice(first, first + own_signal.shape[1])
        self._slot = -(-signal.shape[1] // self.size)
        self.draw(self.probability)

    def draw(self, probability: float) -> None:
        """Draw the spikes of the others anew."""
        self.probability = probability
        low, high = block(self._n, self.size, self.rank)
        ranges = (0, low), (low, high if self._draws_own else low), (high, self._n)
        drawn = [drawn_log(self._seed, self._n, *pair, probability, self._n_steps) for pair in ranges]
        self._mine = drawn[1]
        self._drawn = [self._sources.numbered(log, self._n_steps) for log in drawn]

    def round(self, first: int, last: int, signal_first: int, signal_last: int) -> None:
        """Merge the spikes of steps [first, last) with those drawn, and copy this rank's signals."""
        (own, merged), (own_signal, signal) = self._logs, self._signals
        sent = 0
        if self._draws_own:
            overwrite(own, self._mine, self._time % self._n_steps, first, last)
        for t in range(first, last):
            step = self._time % self._n_steps
            before, mine, after = (log.ids[log.ptr[step] : log.ptr[step + 1]] for log in self._drawn)
            if not self._draws_own:
                mine = own.ids[own.ptr[t] : own.ptr[t + 1]]
                mine = mine if self._sources.ids is None else np.searchsorted(self._sources.ids, mine)
            place, sent = int(merged.ptr[t]), sent + len(mine)
            merged.reserve(place + len(before) + len(mine) + len(after))
            for part in (before, mine, after):
                merged.ids[place : place + len(part)] = part
                place += len(part)
            merged.ptr[t + 1] = place
            self._time += 1
        signal[signal_first:signal_last, self._columns] = own_signal[signal_first:signal_last]
        need = layout.HEADER + 2 * self._slot * (signal_last - signal_first) + (last - first) + sent
        if need > self.words:
            self.words = grown(need)

    def all_spikes_on_root(self, own: SpikeLog, merged: SpikeLog, n_steps: int) -> tuple[SpikeLog, int]:
        """The spikes that this rank listens to; there are no others."""
        return self._sources.named(merged, n_steps, 0, self._n), int(merged.ptr[n_steps])

    def broadcast_spikes(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """The same."""
        return log

    @property
    def nbytes(self) -> int:
        """Bytes that the message buffers of a real run have, were all ranks as this one and sent to all."""
        return buffer_bytes(self.words, self.size)

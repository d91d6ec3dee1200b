"""Exchanges with drawn spikes: a control whose work is the same on any number of ranks, and a dry run of one rank.

Spikes are drawn once, keyed by (seed, neuron), and the same in every sample.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import rng
from ..kernels import rounds as kernel
from .channel import Channel, ChannelSizes, choose_within, open_single_process
from .exchange import Alone, Exchange
from .messages import Sources
from .spike_log import SegmentedLog, SpikeLog


def draw_log(seed: int, first: int, last: int, probability: float, n_steps: int) -> SpikeLog:
    """Return a log by id with drawn spikes of neurons [first, last), with `probability` per neuron and step."""
    return SpikeLog.from_arrays(
        *rng.bernoulli_of(rng.make_key(seed, "drawn"), range(first, last), probability, n_steps)
    )


def overwrite_spikes(own: SpikeLog, drawn: SpikeLog, step: int, first: int, last: int) -> None:
    """Replace the spikes of steps [first, last) of `own` by spikes of `drawn` from `step` on."""
    ptr = drawn.ptr[step : step + last - first + 1]
    place = int(own.ptr[first])
    end = place + int(ptr[-1] - ptr[0])
    own.reserve(end)
    own.ids[place:end] = drawn.ids[ptr[0] : ptr[-1]]
    own.ptr[first + 1 : last + 1] = ptr[1:] + (place - ptr[0])


class DrivenExchange:
    """A control: ranks exchange drawn spikes instead of the spikes of their neurons.

    Neurons run as usual, but spikes that arrive at synapses have a rate that depends neither on the size of the network
    nor on its learning: `probability` per neuron and step. Readouts of the interval variant receive the spikes of the
    neurons, in the step of the spike. Engines must run in communication intervals, also in one process.
    """

    node_starts = None  # spikes of all nodes come in each round

    def __init__(self, exchange: Exchange, probability: float, n_neurons: int, seed: int) -> None:
        self._exchange, self._probability, self._n, self._seed = exchange, probability, n_neurons, seed
        self._time = 0

    def __getattr__(self, name: str) -> Any:  # Any: attributes of the exchange that carries the spikes
        return getattr(self._exchange, name)

    def open(self, terms: ChannelSizes, sources: Sources | None = None) -> Channel:
        """Collective: allocate logs and signals, connect the ranks, and draw the spikes of this rank."""
        self._channel, self._n_steps = self._exchange.open(terms, sources), terms.n_steps
        first, last = terms.list_first_neurons(self.size)[self.rank : self.rank + 2].tolist()
        self._drawn = draw_log(self._seed, first, last, self._probability, self._n_steps)
        self._meeting = kernel.CalledMeeting(self._exchange_round, self._channel.meeting)
        return replace(self._channel, meeting=self._meeting)

    def _exchange_round(self, first: int, last: int) -> None:
        """Collective: replace this rank's spikes by drawn ones, then exchange."""
        overwrite_spikes(self._channel.own_spikes, self._drawn, self._time % self._n_steps, first, last)
        self._time += last - first
        inner = self._channel.meeting
        inner.round(first, last)
        self._meeting.transferred -= inner.waited + inner.packed + inner.looked_up  # it has all seconds of this call
        for name in ("waited", "packed", "looked_up"):
            setattr(self._meeting, name, getattr(self._meeting, name) + getattr(inner, name))
            setattr(inner, name, 0.0)
        inner.transferred = 0.0


class DryExchange(Alone):
    """One rank of a run of `size` ranks in one process: spikes of other ranks are drawn, and reach no readout.

    Other neurons spike with `probability` per step; with `own` the spikes of this rank are drawn, too.
    """

    sending = "drawn"

    def __init__(self, rank: int, size: int, probability: float, n_neurons: int, seed: int, own: bool = False) -> None:
        super().__init__()
        self.rank, self.size = rank, size
        self._n, self._seed, self._draws_own = n_neurons, seed, own
        self._time = 0
        self.probability = probability

    def open(self, terms: ChannelSizes, sources: Sources | None = None) -> Channel:
        """Allocate logs and signals as the rank of a run does, and draw spikes."""
        self._sources, self._n_steps = Sources(self._n) if sources is None else sources, terms.n_steps
        low, high = self._own = terms.list_first_neurons(self.size)[self.rank : self.rank + 2].tolist()
        channel = open_single_process(terms, high - low, kernel.CalledMeeting(self._merge_round))
        own, merged = channel.own_spikes, SpikeLog(terms.length)
        self._logs = own, merged
        self.draw_spikes(self.probability)
        received = SegmentedLog([merged])
        written = [(own, choose_within(low, high)), (merged, self._sources.number_spikes)]
        return DryChannel(
            own, received, channel.sums, channel.signal, channel.meeting, written, received, sources=self._sources
        )

    def draw_spikes(self, probability: float) -> None:
        """Draw the spikes of other ranks again, with this probability per neuron and step."""
        self.probability = probability
        low, high = self._own
        listed, none = self._sources.ids, not self._draws_own
        self._mine = draw_log(self._seed, low, low if none else high, probability, self._n_steps)
        ends = (low, high) if listed is None else np.searchsorted(listed, (low, high))
        self._first = int(ends[0])  # number of the first neuron of this rank
        last = self._n if listed is None else len(listed)
        parts = (0, ends[0]), (ends[0], ends[0] if none else ends[1]), (ends[1], last)
        key = rng.make_key(self._seed, "drawn")
        self._drawn = [
            SpikeLog.from_arrays(
                *rng.bernoulli_of(
                    key, range(a, b) if listed is None else listed[a:b], probability, self._n_steps, int(a)
                )
            )
            for a, b in parts
        ]  # spikes of the sources of this rank, by number

    def _merge_round(self, first: int, last: int) -> None:
        """Merge the spikes of steps [first, last) with drawn spikes."""
        own, merged = self._logs
        if self._draws_own:
            overwrite_spikes(own, self._mine, self._time % self._n_steps, first, last)
        for t in range(first, last):
            step = self._time % self._n_steps
            before, mine, after = (log.ids[log.ptr[step] : log.ptr[step + 1]] for log in self._drawn)
            if not self._draws_own:
                mine = own.ids[own.ptr[t] : own.ptr[t + 1]]
                mine = mine - np.uint32(self._own[0] - self._first)
            place = int(merged.ptr[t])
            merged.reserve(place + len(before) + len(mine) + len(after))
            for part in (before, mine, after):
                merged.ids[place : place + len(part)] = part
                place += len(part)
            merged.ptr[t + 1] = place
            self._time += 1


@dataclass
class DryChannel(Channel):
    """Channel of a dry run: the spikes of `sources` replace all spikes; bytes of other ranks do not count.

    `drawing_seconds` are the seconds to collect drawn spikes, which a rank of a run does not need.
    """

    sources: Sources | None = None
    drawing_seconds: float = 0.0

    def all_spikes_on_root(self, first: int, last: int) -> tuple[SpikeLog, int]:
        """Return the spikes of steps [first, last) of this rank's sources, by id, and their number."""
        started, log = time.perf_counter(), self.received_spikes.slice_steps(first, last)
        if self.sources is not None and self.sources.ids is not None:
            log = SpikeLog.from_arrays(self.sources.ids[log.ids].astype(np.uint32), log.ptr)
        self.drawing_seconds += time.perf_counter() - started
        return log, len(log.ids)

    @property
    def nbytes(self) -> int:
        """Bytes of the logs that a rank of a run writes to."""
        return self.own_spikes.nbytes + (
            0 if self.sources is None or self.sources.ids is None else self.received_spikes.segments[0].nbytes
        )

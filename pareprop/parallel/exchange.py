"""The exchange of one round between ranks: spikes and readout signals in one message.

`Alone` (one process) and `Ranks` (MPI) are two implementations of one small interface, the only difference that the
loop knows.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np

from ..timers import Timers
from .messages import AllgatherSender, AlltoallvSender, Sources, grown
from .partition import firsts
from .replicas import Replicas
from .spike_log import SpikeLog, joined

TRIALS = 12  # rounds of each way to send that are tried when the network is built
WORTHWHILE = 0.75  # targeted sending is tried if ranks listen to a smaller share of the neurons
WAYS = ("measured", "everything", "targeted")


class Exchange(Protocol):
    """What the simulation needs to know of the other ranks.

    Attributes
    ----------
    profile_waiting : whether the time until all ranks are there is told apart from the transfer
    """

    rank: int
    size: int
    comm: Any
    profile_waiting: bool
    replicas: Replicas

    @property
    def nbytes(self) -> int:
        """Bytes of the message buffers."""

    def bind(
        self, own: SpikeLog, merged: SpikeLog, own_signal: np.ndarray, signal: np.ndarray,
        sources: Sources | None = None, expected: float = 0.0,
    ) -> None:  # fmt: skip
        """Collective: name the arrays to exchange.

        Parameters
        ----------
        own : log of this rank's neurons, by id
        merged : log of all spikes, or of those of `sources` by their number
        own_signal, signal : (T, own readouts) and (T, n_readouts)
        sources : the neurons that this rank listens to, by default all
        expected : spikes per neuron in a round, about
        """

    def round(self, first: int, last: int, signal_first: int, signal_last: int) -> None:
        """Collective: exchange spikes of steps [first, last) and signals of steps [signal_first, signal_last)."""

    def all_spikes_on_root(self, own: SpikeLog, merged: SpikeLog, n_steps: int) -> tuple[SpikeLog, int]:
        """Collective: from the logs of a sample that of all spikes by id, on rank 0 at least, and their number.

        Other ranks may get that of their own neurons.
        """

    def broadcast_spikes(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """Collective: what `whole` gave to rank 0, on all ranks."""


def timed_round(exchange: Exchange, timers: Timers, *steps: int) -> None:
    """Collective: a round, whose time counts as `communicate`, or as `wait` until all ranks are there."""
    start = time.perf_counter()
    if exchange.profile_waiting and exchange.comm is not None:
        exchange.comm.Barrier()
        start, called = time.perf_counter(), start
        timers.add("wait", start - called)
    exchange.round(*steps)
    timers.add("communicate", time.perf_counter() - start)


class Alone:
    """One process: the own log is the log, nobody to wait for."""

    rank = 0
    size = 1
    comm: Any = None
    nbytes = 0
    profile_waiting = False

    def __init__(self, replicas: Replicas | None = None) -> None:
        self.replicas = replicas or Replicas()

    def bind(
        self, own: SpikeLog, merged: SpikeLog, own_signal: np.ndarray, signal: np.ndarray,
        sources: Sources | None = None, expected: float = 0.0,
    ) -> None:  # fmt: skip
        """Keep the signals; logs are the same."""
        self._signals = (own_signal, signal)

    def round(self, first: int, last: int, signal_first: int, signal_last: int) -> None:
        """Copy the signals if they are kept apart."""
        own, merged = self._signals
        if own is not merged:
            merged[signal_first:signal_last] = own[signal_first:signal_last]

    def all_spikes_on_root(self, own: SpikeLog, merged: SpikeLog, n_steps: int) -> tuple[SpikeLog, int]:
        """The one log there is."""
        return merged, int(merged.ptr[n_steps])

    def broadcast_spikes(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """The same."""
        return log


class Ranks:
    """The ranks of an MPI communicator.

    Parameters
    ----------
    comm : mpi4py communicator
    sending : "everything" to all ranks, "targeted" to those that listen, or "measured": where ranks listen to a part of
        the neurons only, both are tried once, in `bind`, and the faster one is kept
    replicas : groups of which the communicator is one
    profile_waiting : as in `Exchange`

    Attributes
    ----------
    way : how messages travel, see `sending`
    """

    def __init__(
        self, comm: Any, sending: str = "measured", replicas: Replicas | None = None, profile_waiting: bool = False
    ) -> None:
        self.comm, self.sending, self.replicas = comm, sending, replicas or Replicas()
        self.profile_waiting = profile_waiting
        self.rank, self.size = comm.rank, comm.size
        self.way: AllgatherSender | AlltoallvSender | None = None

    def bind(
        self, own: SpikeLog, merged: SpikeLog, own_signal: np.ndarray, signal: np.ndarray,
        sources: Sources | None = None, expected: float = 0.0,
    ) -> None:  # fmt: skip
        """Collective: name the arrays to exchange and choose the way to send."""
        first = firsts(signal.shape[1], self.size)
        arrays: dict[str, Any] = {
            "slot": int(np.diff(first).max()), "first_signal": first, "own_signal": own_signal, "signal": signal,
        }  # fmt: skip
        self._own, self._merged = own, merged
        self._hears_all = all(self.comm.allgather(sources is None or sources.ids is None))
        if sources is None or (self._hears_all and self.sending != "targeted"):
            self.way = AllgatherSender(self.comm, arrays)
            return
        self.way = self._chosen(arrays, sources, expected)
        self.way.box.own_signal, self.way.box.signal = own_signal, signal

    def _chosen(self, arrays: dict[str, Any], sources: Sources, expected: float) -> AllgatherSender | AlltoallvSender:
        """Collective: the way that is asked for, or the faster one."""
        heard = sum(self.comm.allgather(sources.n if sources.ids is None else len(sources.ids)))
        pays = self.sending == "targeted" or heard <= WORTHWHILE * sources.n * self.size
        everything = AllgatherSender(self.comm, arrays | sources.numbering(self.size))
        if self.sending == "everything" or not pays:
            return everything
        targeted = self._targeted(arrays, sources)
        if self.sending == "targeted":
            return targeted
        seconds = [max(self.comm.allgather(self._tried(way, sources, expected))) for way in (everything, targeted)]
        return targeted if seconds[1] < seconds[0] else everything

    def _targeted(self, arrays: dict[str, Any], sources: Sources) -> AlltoallvSender:
        """Collective: the other way, each rank having told each other one whom it listens to."""
        first = firsts(sources.n, self.size)
        n_own = int(first[self.rank + 1] - first[self.rank])
        wanted = sources.lists(self.size)
        heard = [first[r + 1] - first[r] if part is None else len(part) for r, part in enumerate(wanted)]
        lists = [np.arange(n_own) if part is None else part for part in self.comm.alltoall(wanted)]
        more = {"first_id": int(first[self.rank])} | sources.numbering(self.size)
        return AlltoallvSender(self.comm, arrays | more, lists, np.array(heard, np.int64), n_own)

    def _tried(self, way: AllgatherSender | AlltoallvSender, sources: Sources, expected: float) -> float:
        """Collective: median seconds of a round in which as many neurons spike as expected."""
        low, high = firsts(sources.n, self.size)[self.rank : self.rank + 2]
        spikes = np.linspace(low, high, min(round(expected * (high - low)), high - low), endpoint=False)
        own, merged = SpikeLog.from_arrays(spikes.astype(np.uint32), np.array([0, len(spikes)])), SpikeLog(1)
        signals = np.zeros((1, way.box.own_signal.shape[1])), np.zeros((1, way.box.signal.shape[1]))
        way.box.own_signal, way.box.signal = signals
        laps = []
        for _ in range(TRIALS):
            start = time.perf_counter()
            self._exchange(way, own, merged, (0, 1, 0, 1))
            laps.append(time.perf_counter() - start)
        return float(np.median(laps))

    def round(self, first: int, last: int, signal_first: int, signal_last: int) -> None:
        """Collective: exchange spikes of steps [first, last) and signals of steps [signal_first, signal_last)."""
        self._exchange(self.way, self._own, self._merged, (first, last, signal_first, signal_last))

    def _exchange(
        self, way: AllgatherSender | AlltoallvSender, own: SpikeLog, merged: SpikeLog, steps: tuple[int, int, int, int]
    ) -> None:
        way.box.own, way.box.merged = own, merged
        way.send(*steps)
        while need := way.box.take(way.capacity, *steps):  # every rank sees the same need and repeats
            way.resize(grown(need))
            way.send(*steps)

    def all_spikes_on_root(self, own: SpikeLog, merged: SpikeLog, n_steps: int) -> tuple[SpikeLog, int]:
        """Collective: the merged log if it holds all spikes on all ranks; else they are joined on rank 0."""
        if self._hears_all:
            return merged, int(merged.ptr[n_steps])
        total = sum(self.comm.allgather(int(own.ptr[n_steps])))
        parts = self.comm.gather((own.ptr[: n_steps + 1], own.ids[: own.ptr[n_steps]]))
        return own if parts is None else joined([SpikeLog.from_arrays(ids, ptr) for ptr, ids in parts], n_steps), total

    def broadcast_spikes(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """Collective: what `whole` gave to rank 0, on all ranks."""
        if self._hears_all:
            return log
        arrays = (log.ids[: log.ptr[n_steps]], log.ptr[: n_steps + 1]) if self.rank == 0 else None
        return SpikeLog.from_arrays(*self.comm.bcast(arrays))

    @property
    def nbytes(self) -> int:
        """Bytes of the message buffers."""
        return self.way.nbytes

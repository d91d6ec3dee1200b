"""`Channel`: logs, sums and signals that ranks share during a run, and the meeting that kernels call in every round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np

from ..errors import ParepropError
from ..kernels import readout_sums
from ..kernels import rounds as kernel
from . import collectives
from .mpi import Comm
from .partition import firsts
from .spike_log import SegmentedLog, SpikeLog, join_logs

BITS = 62  # flags that are exchanged in one number
MARK = 30  # bits of a mark, which is exchanged with its complement and a flag in one number

Choice = Callable[[SpikeLog, int], SpikeLog]  # from spikes of all neurons and n_steps: the spikes that a log holds


@dataclass(frozen=True)
class ChannelSizes:
    """Sizes of the logs and signals that an engine asks for.

    Attributes
    ----------
    n_neurons : int
        Neurons of the whole network.
    length : int
        Steps of the logs.
    n_steps, n_readouts : int
        Steps of a sample, readouts of the whole network.
    expected : float
        Estimate of the spikes per neuron in a round.
    n_sharing : int
        Number of ranks, from rank 0 on, that have neurons; 0: all.
    summed_steps : int
        Steps of the longest round of which sums for the readouts are kept.
    cuts : np.ndarray or None
        int64 (n_ranks + 1,), first neuron of each rank, and the number of all; None: equal blocks.
    within : int
        Steps between exchanges of the ranks of a node where there are several nodes; 0: `summed_steps`.
    """

    n_neurons: int
    length: int
    n_steps: int
    n_readouts: int
    expected: float = 0.0
    n_sharing: int = 0
    summed_steps: int = 1
    cuts: np.ndarray | None = None
    within: int = 0

    def firsts(self, size: int) -> np.ndarray:
        """Return the first neuron of each of `size` ranks, and the number of all: int64 (size + 1,)."""
        return firsts(self.n_neurons, size, self.n_sharing) if self.cuts is None else self.cuts


@dataclass
class Channel:
    """Logs and sums of a rank, which each round completes, and signals of the readouts.

    Attributes
    ----------
    own : SpikeLog
        Spikes of this rank's neurons, by id.
    heard : SegmentedLog
        Spikes of all neurons by id, or of those with targets on this rank by their number.
    sums : ReadoutSums
        Sums of what arrives at the readouts in each step of a round.
    signal : np.ndarray
        float64 (n_steps, n_readouts), readout signals, which every rank makes from the sums.
    meeting : kernel.Meeting
        Kernels call it at the end of a round.
    written : list of tuple
        All logs that this rank writes to, each with its choice among the spikes of a checkpoint.
    every : SegmentedLog or None
        All spikes by id if this rank can see them, None if it sees only those that it listens to.
    comm : communicator or None
        Communicator of the ranks, None for one process.
    kept : list
        Objects that must live as long as the channel.
    unread : bool
        Whether no rank reads the logs of the sample before any more: all have met since.
    """

    own: SpikeLog
    heard: SegmentedLog
    sums: readout_sums.ReadoutSums
    signal: np.ndarray
    meeting: kernel.Meeting
    written: list[tuple[SpikeLog, Choice]]
    every: SegmentedLog | None
    comm: Comm = None
    kept: list[object] = field(default_factory=list)
    unread: bool = False

    def barrier(self) -> None:
        """Collective: wait until no rank reads the logs of the sample before."""
        if not self.unread:
            self.meeting.barrier()
        self.unread = False

    def any_of(self, flags: Sequence[bool]) -> list[bool]:
        """Collective: return for each flag whether any rank has set it; no message is sent within a node."""
        raised: list[bool] = []
        for k in range(0, len(flags), BITS):
            part = flags[k : k + BITS]
            bits = self.meeting.agree(sum(1 << i for i, flag in enumerate(part) if flag))
            raised += [bool(bits >> i & 1) for i in range(len(part))]
        return raised

    def raise_together(self, problem: ParepropError | None) -> None:
        """Collective: see `collectives.raise_together`; problems travel only where there are any."""
        if self.any_of([problem is not None])[0]:
            collectives.raise_together(self.comm, problem)

    def compare(self, problem: ParepropError | None, mark: int) -> bool:
        """Collective: as `raise_together`; return whether all ranks gave the same mark, of which `MARK` bits count.

        Takes no more time than `raise_together`: a bit of a mark and that of its complement must not both be set.
        """
        ones = (1 << MARK) - 1
        mark &= ones
        bits = self.meeting.agree((problem is not None) | mark << 1 | (mark ^ ones) << 1 + MARK)
        if bits & 1:
            collectives.raise_together(self.comm, problem)
        return not bits >> 1 & bits >> 1 + MARK

    def raise_problems_of_neurons(self, problem: ParepropError | None) -> None:
        """Collective: as `raise_together`, for problems of all ranks, or of ranks with neurons alone.

        Ranks with neurons do not wait for the others, which must meet them before they come here again.
        """
        if self.meeting.hear(problem is not None):
            collectives.raise_together(self.comm, problem)

    def guarded(self) -> AbstractContextManager[None]:
        """Collective: see `collectives.guarded`."""
        return collectives.guarded(self.comm, self.raise_together)

    def forget(self, n_steps: int, filled: int) -> None:
        """Collective: drop the first `n_steps` of `filled` steps of all logs and move the others to the front."""
        self.barrier()
        for log, _ in self.written:
            log.forget(n_steps, filled)
        self.barrier()

    def silence(self, filled: int) -> None:
        """Collective: empty all steps of the logs after the first `filled` ones."""
        self.barrier()
        for log, _ in self.written:
            log.ptr[filled + 1 :] = log.ptr[filled]
        self.barrier()

    def load(self, spikes: SpikeLog, n_steps: int) -> None:
        """Collective: start the logs with the first `n_steps` steps of the spikes of all neurons."""
        self.barrier()
        for log, choose in self.written:
            log.append(0, choose(spikes, n_steps), n_steps)
        self.barrier()

    def all_spikes_on_root(self, first: int, last: int) -> tuple[SpikeLog, int]:
        """Collective: gather the spikes of steps [first, last) by id on rank 0.

        Parameters
        ----------
        first, last : int
            Half-open range of steps of the logs.

        Returns
        -------
        log : SpikeLog
            Spikes of all neurons on rank 0, of its own neurons on other ranks.
        n_spikes : int
            Number of spikes of all neurons, on all ranks.
        """
        if self.every is not None:
            all_here = self.comm is None or self.comm.rank == 0
            log = (self.every if all_here else self.own).part(first, last)
            return log.copy(last - first), self.every.count(first, last)  # the next sample overwrites those of the log
        own = self.own.part(first, last)
        total = sum(self.comm.allgather(int(own.ptr[-1])))
        parts = self.comm.gather((own.ptr, own.ids))
        if parts is None:
            return own.copy(last - first), total
        return join_logs([SpikeLog.from_arrays(ids, ptr) for ptr, ids in parts], last - first), total

    @property
    def nbytes(self) -> int:
        """Bytes of the logs that this rank writes to."""
        return sum(log.nbytes for log, _ in self.written)


def choose_within(first: int, last: int) -> Choice:
    """Return the choice of the neurons [first, last), by id."""

    def choose(log: SpikeLog, n_steps: int) -> SpikeLog:
        steps, ids = log.spikes(n_steps)
        known = (ids >= first) & (ids < last)
        return SpikeLog.of(steps[known], ids[known], n_steps)

    return choose


def choose_listed(listed: np.ndarray) -> Choice:
    """Return the choice of some neurons, by id."""

    def choose(log: SpikeLog, n_steps: int) -> SpikeLog:
        steps, ids = log.spikes(n_steps)
        known = np.isin(ids, listed)
        return SpikeLog.of(steps[known], ids[known], n_steps)

    return choose


def choose_all(log: SpikeLog, n_steps: int) -> SpikeLog:
    """Return all spikes."""
    return log


def open_alone(terms: ChannelSizes, n_own: int, meeting: kernel.Meeting | None = None) -> Channel:
    """Return the channel of one process.

    Parameters
    ----------
    terms : ChannelSizes
        Sizes that the engine asks for.
    n_own : int
        Neurons of the process.
    meeting : kernel.Meeting or None
        Kernels call it at the end of a round; None: that of a single process.

    Returns
    -------
    Channel
        Its log holds the spikes of the process.
    """
    own = SpikeLog(terms.length, 4 * n_own + 1024)
    segments, signal = SegmentedLog([own]), np.zeros((terms.n_steps, terms.n_readouts))
    shape = terms.summed_steps, terms.n_readouts
    sums = readout_sums.ReadoutSums(np.zeros(readout_sums.ReadoutSums.room(*shape), np.int64), *shape)
    return Channel(own, segments, sums, signal, meeting or kernel.Meeting(), [(own, choose_all)], segments)

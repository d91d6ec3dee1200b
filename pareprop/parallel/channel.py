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
from .partition import list_first_ids
from .spike_log import SegmentedLog, SpikeLog, join_logs

FLAG_BITS = 62  # flags that are exchanged in one number
MARK_BITS = 30  # bits of a mark, which is exchanged with its complement and a flag in one number

SpikeChoice = Callable[[SpikeLog, int], SpikeLog]  # from spikes of all neurons and n_steps: the spikes that a log holds


@dataclass(frozen=True)
class ChannelSizes:
    """Sizes of logs and signals that an engine requests.

    The whole network has `n_neurons` and `n_readouts`; logs have `length` steps, a sample has `n_steps`. `expected` is
    an estimate of the spikes per neuron in a communication interval; `summed_steps` are the steps of the longest
    interval for which sums for the readouts are stored. Ranks 0 to `n_sharing` - 1 have neurons, all with 0. `bounds`
    are the partition bounds, int64 (n_ranks + 1,), None for equal blocks. With several nodes, the ranks of a node
    exchange every `within` steps, 0: `summed_steps`.
    """

    n_neurons: int
    length: int
    n_steps: int
    n_readouts: int
    expected: float = 0.0
    n_sharing: int = 0
    summed_steps: int = 1
    bounds: np.ndarray | None = None
    within: int = 0

    def list_first_neurons(self, size: int) -> np.ndarray:
        """Return the first neuron of each of `size` ranks, and the number of all: int64 (size + 1,)."""
        return list_first_ids(self.n_neurons, size, self.n_sharing) if self.bounds is None else self.bounds


@dataclass
class Channel:
    """Logs and sums of a rank, which each communication interval completes, and signals of the readouts.

    `own_spikes` has this rank's spikes by id; `received_spikes` has spikes of all neurons by id, or of the sources of
    this rank by their number; `all_spikes` has all spikes by id, None if the rank receives only its sources. `written`
    lists all logs that this rank writes to, each with its selection from the spikes of a checkpoint. `sums` are the
    inputs of the readouts in each step; `signal` (n_steps, n_readouts), float64, are the readout signals, which every
    rank computes from the sums. Kernels call `meeting` at the end of an interval. `owners` live as long as the channel.
    `unread` is true if no rank reads the logs of the previous sample: all ranks have synchronized since. `comm` is None
    for one process.
    """

    own_spikes: SpikeLog
    received_spikes: SegmentedLog
    sums: readout_sums.ReadoutSums
    signal: np.ndarray
    meeting: kernel.Meeting
    written: list[tuple[SpikeLog, SpikeChoice]]
    all_spikes: SegmentedLog | None
    comm: Comm = None
    owners: list[object] = field(default_factory=list)
    unread: bool = False

    def synchronize_ranks(self) -> None:
        """Collective: wait until no rank reads the logs of the sample before."""
        if not self.unread:
            self.meeting.barrier()
        self.unread = False

    def any_of(self, flags: Sequence[bool]) -> list[bool]:
        """Collective: return for each flag whether any rank has set it; no message is sent within a node."""
        raised: list[bool] = []
        for k in range(0, len(flags), FLAG_BITS):
            part = flags[k : k + FLAG_BITS]
            bits = self.meeting.agree(sum(1 << i for i, flag in enumerate(part) if flag))
            raised += [bool(bits >> i & 1) for i in range(len(part))]
        return raised

    def raise_together(self, problem: ParepropError | None) -> None:
        """Collective: see `collectives.raise_together`; problems travel only where there are any."""
        if self.any_of([problem is not None])[0]:
            collectives.raise_together(self.comm, problem)

    def compare_marks(self, problem: ParepropError | None, mark: int) -> bool:
        """Collective: as `raise_together`; return whether `MARK_BITS` bits of the mark are the same on all ranks.

        Takes no more time than `raise_together`: no bit may be set in both a mark and its complement.
        """
        ones = (1 << MARK_BITS) - 1
        mark &= ones
        bits = self.meeting.agree((problem is not None) | mark << 1 | (mark ^ ones) << 1 + MARK_BITS)
        if bits & 1:
            collectives.raise_together(self.comm, problem)
        return not bits >> 1 & bits >> 1 + MARK_BITS

    def raise_problems_of_neurons(self, problem: ParepropError | None) -> None:
        """Collective: as `raise_together`, for problems of all ranks, or of ranks with neurons alone.

        Ranks with neurons do not wait for the others, which must have exchanged with them before the next call.
        """
        if self.meeting.agree_without_waiting(problem is not None):
            collectives.raise_together(self.comm, problem)

    def share_errors(self) -> AbstractContextManager[None]:
        """Collective: see `collectives.share_errors`."""
        return collectives.share_errors(self.comm, self.raise_together)

    def drop_steps(self, n_steps: int, filled: int) -> None:
        """Collective: drop the first `n_steps` of `filled` steps of all logs and move the others to the front."""
        self.synchronize_ranks()
        for log, _ in self.written:
            log.drop_steps(n_steps, filled)
        self.synchronize_ranks()

    def clear_steps_after(self, filled: int) -> None:
        """Collective: empty all steps of the logs after the first `filled` ones."""
        self.synchronize_ranks()
        for log, _ in self.written:
            log.ptr[filled + 1 :] = log.ptr[filled]
        self.synchronize_ranks()

    def load(self, spikes: SpikeLog, n_steps: int) -> None:
        """Collective: start the logs with the first `n_steps` steps of the spikes of all neurons."""
        self.synchronize_ranks()
        for log, choose in self.written:
            log.append_steps(0, choose(spikes, n_steps), n_steps)
        self.synchronize_ranks()

    def all_spikes_on_root(self, first: int, last: int) -> tuple[SpikeLog, int]:
        """Collective: gather the spikes of steps [first, last) by id on rank 0.

        Return a log, of all neurons on rank 0 and of the rank's neurons on other ranks, and the number of all spikes.
        """
        if self.all_spikes is not None:
            all_here = self.comm is None or self.comm.rank == 0
            log = (self.all_spikes if all_here else self.own_spikes).slice_steps(first, last)
            return log.copy(last - first), self.all_spikes.count(first, last)  # the next sample overwrites the log
        own_spikes = self.own_spikes.slice_steps(first, last)
        total = sum(self.comm.allgather(int(own_spikes.ptr[-1])))
        parts = self.comm.gather((own_spikes.ptr, own_spikes.ids))
        if parts is None:
            return own_spikes.copy(last - first), total
        return join_logs([SpikeLog.from_arrays(ids, ptr) for ptr, ids in parts], last - first), total

    @property
    def nbytes(self) -> int:
        """Bytes of the logs that this rank writes to."""
        return sum(log.nbytes for log, _ in self.written)


def choose_within(first: int, last: int) -> SpikeChoice:
    """Return the choice of the neurons [first, last), by id."""

    def choose_spikes(log: SpikeLog, n_steps: int) -> SpikeLog:
        steps, ids = log.list_spikes(n_steps)
        known = (ids >= first) & (ids < last)
        return SpikeLog.from_spikes(steps[known], ids[known], n_steps)

    return choose_spikes


def choose_listed(listed: np.ndarray) -> SpikeChoice:
    """Return the choice of some neurons, by id."""

    def choose_spikes(log: SpikeLog, n_steps: int) -> SpikeLog:
        steps, ids = log.list_spikes(n_steps)
        known = np.isin(ids, listed)
        return SpikeLog.from_spikes(steps[known], ids[known], n_steps)

    return choose_spikes


def choose_all(log: SpikeLog, n_steps: int) -> SpikeLog:
    """Return all spikes."""
    return log


def open_single_process(terms: ChannelSizes, n_own: int, meeting: kernel.Meeting | None = None) -> Channel:
    """Return the channel of one process with `n_own` neurons; kernels call `meeting` at the end of an interval."""
    own = SpikeLog(terms.length, 4 * n_own + 1024)
    segments, signal = SegmentedLog([own]), np.zeros((terms.n_steps, terms.n_readouts))
    shape = terms.summed_steps, terms.n_readouts
    sums = readout_sums.ReadoutSums(np.zeros(readout_sums.ReadoutSums.room(*shape), np.int64), *shape)
    return Channel(own, segments, sums, signal, meeting or kernel.Meeting(), [(own, choose_all)], segments)

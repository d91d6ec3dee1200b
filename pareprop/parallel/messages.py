"""How the messages of a round travel: all of a rank's spikes to everybody, or to each rank those it listens to.

Both give a rank the same log. One that listens to some neurons only gives them numbers, ascending like their ids;
its log holds numbers then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels import exchange as kernel
from ..kernels import layout
from .partition import firsts
from .spike_log import SpikeLog

GROWTH = 1.25  # room beyond the largest message seen, so that a second message is rare
WORDS = 256  # of a message to everybody, at first
SLACK = 8  # ids that always fit into a message to one rank


def grown(need: int) -> int:
    """Words to make room for when a message needs `need`."""
    return int(need * GROWTH)


def buffer_bytes(words: int, size: int) -> int:
    """Bytes of a rank's own message and those of all `size` ranks."""
    return 4 * words * (1 + size)


@dataclass(frozen=True)
class Sources:
    """The neurons that a rank listens to.

    Attributes
    ----------
    n : neurons of the whole network
    ids : those with targets on this rank, and its own, int64 ascending; None for all
    """

    n: int
    ids: np.ndarray | None = None

    def lists(self, size: int) -> list[np.ndarray | None]:
        """Of each rank, the neurons listened to, counted from its first one; None for all."""
        if self.ids is None:
            return [None] * size
        first = firsts(self.n, size)
        ends = np.searchsorted(self.ids, first)
        return [self.ids[ends[r] : ends[r + 1]] - first[r] for r in range(size)]

    def numbered(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """Of a log of spikes by id those that are listened to, by number."""
        if self.ids is None:
            return log
        steps, ids = log.spikes(n_steps)
        known = np.isin(ids, self.ids)
        return SpikeLog.of(steps[known], np.searchsorted(self.ids, ids[known]), n_steps)

    def named(self, log: SpikeLog, n_steps: int, first: int, last: int) -> SpikeLog:
        """Of a log of spikes by number those of neurons [first, last), by id."""
        steps, ids = log.spikes(n_steps)
        ids = ids if self.ids is None else self.ids[ids]
        known = (ids >= first) & (ids < last)
        return SpikeLog.of(steps[known], ids[known], n_steps)

    def numbering(self, size: int) -> dict[str, Any]:
        """What a mailbox needs to write numbers to the log."""
        first = firsts(self.n, size)
        if self.ids is None:
            return {"first_number": first, "numbered": False}
        numbers = {"numbers": self.ids.astype(np.uint32), "numbered": True}
        return numbers | {"first_number": np.searchsorted(self.ids, first)}


def mailbox(**arrays: Any) -> kernel.Mailbox:
    """A mailbox; what is not given is empty."""
    none, small = np.zeros(0, np.int64), np.zeros(0, np.uint32)
    empty: dict[str, Any] = dict.fromkeys(("route_ptr", "first_number", "leaves", "room", "listed", "arrives"), none)
    empty |= dict.fromkeys(("numbers", "route_rank", "route_index"), small)
    return kernel.Mailbox(empty | arrays | {"cursor": np.zeros(len(arrays["first_signal"]) - 1, np.int64)})


class AllgatherSender:
    """One Allgather of a fixed size per round, a second one when it did not fit.

    Parameters
    ----------
    comm : mpi4py communicator
    arrays : of the mailbox
    words : of a message, at first

    Attributes
    ----------
    box : packs and merges
    capacity : words of a message
    """

    name = "everything"

    def __init__(self, comm: Any, arrays: dict[str, Any], words: int = WORDS) -> None:
        self.comm, self.box = comm, mailbox(**arrays)
        self.resize(words)

    def resize(self, words: int) -> None:
        """Make room for `words` words from each rank."""
        self.capacity = words
        self._outgoing = np.zeros(words, np.uint32)
        self._incoming = np.zeros(words * self.comm.size, np.uint32)
        self.box.outgoing, self.box.incoming = self._outgoing, self._incoming
        self.box.arrives = np.arange(self.comm.size) * words

    def send(self, first: int, last: int, signal_first: int, signal_last: int) -> None:
        """Collective: pack and transfer."""
        self.box.pack(first, last, signal_first, signal_last)
        self.transfer()

    def transfer(self) -> None:
        """Collective: the call of MPI alone."""
        self.comm.Allgather(self._outgoing, self._incoming)

    @property
    def received(self) -> int:
        """Bytes that this rank gets from others in a round."""
        return 4 * self.capacity * (self.comm.size - 1)

    @property
    def nbytes(self) -> int:
        """Bytes of the message buffers."""
        return buffer_bytes(self.capacity, self.comm.size)


class AlltoallvSender:
    """One Alltoallv per round. Both ends know the size of a message from the quota, ids per source in its list.

    Parameters
    ----------
    comm : mpi4py communicator
    arrays : of the mailbox
    lists : of each rank, the own neurons (0 for the first) that it listens to, ascending
    heard : int64 (n_ranks,), how many of each rank's neurons this one listens to
    n_own : neurons of this rank

    Attributes
    ----------
    box : packs and merges
    capacity : the quota, the same on all ranks
    """

    name = "targeted"

    def __init__(
        self, comm: Any, arrays: dict[str, Any], lists: list[np.ndarray], heard: np.ndarray, n_own: int
    ) -> None:
        self.comm, self._heard = comm, heard
        self._listed = np.array([len(part) for part in lists], np.int64)
        neuron = np.concatenate(lists)
        order = np.argsort(neuron, kind="stable")
        ranks, index = np.repeat(np.arange(comm.size), self._listed), np.concatenate([np.arange(len(p)) for p in lists])
        self._routes = {
            "route_ptr": np.concatenate(([0], np.cumsum(np.bincount(neuron, minlength=n_own)))),
            "route_rank": ranks[order].astype(np.uint32), "route_index": index[order].astype(np.uint32),
        }  # fmt: skip
        self.box = mailbox(**arrays, **self._routes, listed=self._listed, slack=SLACK)
        self._outgoing = self._incoming = np.zeros(0, np.uint32)
        self.resize(0)

    def resize(self, quota: int) -> None:
        """Make room for `quota` / `QUOTA` ids per source of a list."""
        self.capacity, self._fixed = quota, -1

    def send(self, first: int, last: int, signal_first: int, signal_last: int) -> None:
        """Collective: pack and transfer."""
        fixed = layout.HEADER + 2 * self.box.slot * (signal_last - signal_first) + last - first
        if fixed != self._fixed:
            self._lay_out(fixed)
        self.box.address(first, last, signal_first, signal_last)
        self.transfer()

    def transfer(self) -> None:
        """Collective: the call of MPI alone."""
        self.comm.Alltoallv((self._outgoing, self._leaving), (self._incoming, self._arriving))

    def _lay_out(self, fixed: int) -> None:
        """Places of the messages of a round, each with `fixed` words beside the ids."""
        self._fixed = fixed
        self.box.room = room = self._room(self._listed)
        sizes = fixed + room, fixed + self._room(self._heard)
        starts = [np.concatenate(([0], np.cumsum(part)[:-1])) for part in sizes]
        self._outgoing, self._incoming = (
            buffer if len(buffer) >= part.sum() else np.zeros(part.sum(), np.uint32)
            for buffer, part in zip((self._outgoing, self._incoming), sizes, strict=True)
        )
        self.box.outgoing, self.box.incoming = self._outgoing, self._incoming
        self.box.leaves, self.box.arrives = starts
        self._leaving, self._arriving = (
            (part.astype(np.intc), start.astype(np.intc)) for part, start in zip(sizes, starts, strict=True)
        )

    def _room(self, listed: np.ndarray) -> np.ndarray:
        return np.where(listed > 0, SLACK - (-listed * self.capacity // layout.QUOTA), 0)

    @property
    def received(self) -> int:
        """Bytes that this rank gets from others in a round."""
        sizes = self._arriving[0]
        return 4 * int(sizes.sum() - sizes[self.comm.rank])

    @property
    def nbytes(self) -> int:
        """Bytes of the message buffers and of the lists of who listens."""
        return sum(array.nbytes for array in (self._outgoing, self._incoming, *self._routes.values()))

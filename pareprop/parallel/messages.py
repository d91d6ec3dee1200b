"""Messages of a round between nodes: all spikes of a node to all nodes, or to each node those that it listens to.

A rank that listens to some neurons only numbers them in ascending order of their ids; its log then holds numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..kernels import exchange as kernel
from ..kernels import layout, members
from . import mpi
from .mpi import Comm
from .spike_log import SpikeLog

GROWTH = 1.25  # room beyond the largest message seen, so that a second message is rare
WORDS = 256  # of a message to all nodes, at first
SLACK = 8  # ids that always fit into a message to one rank


def grow(need: int) -> int:
    """Return the words to make room for when a message needs `need` words."""
    return int(need * GROWTH)


def buffer_bytes(words: int, size: int) -> int:
    """Return the bytes of an outgoing message of `words` words and of the messages of all `size` senders."""
    return 4 * words * (1 + size)


@dataclass(frozen=True)
class Sources:
    """The neurons that a rank or a node listens to.

    Attributes
    ----------
    n : int
        Neurons of the whole network.
    ids : np.ndarray or None
        uint32 (n_heard,) ascending, neurons with targets there, and its own; None for all.
    present : np.ndarray or None
        Where all may come to have targets, as synapses move: uint32 ascending, those that have some now, and its own.
        Messages bring no others; None for `ids`.
    """

    n: int
    ids: np.ndarray | None = None
    present: np.ndarray | None = None

    @property
    def sent(self) -> np.ndarray | None:
        """Neurons whose spikes messages must bring, ascending; None for all."""
        return self.ids if self.present is None else self.present

    def index(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the set of `ids` as `members.pxd` has it: uint64 and uint32, one of each for 64 neurons."""
        return self._index

    @classmethod
    def from_bits(cls, n: int, bits: np.ndarray) -> Sources:
        """Make it of a set of neurons, uint64 (n // 64 + 1,), see `members.pxd`."""
        before = np.zeros(len(bits), np.uint32)
        ids = np.empty(members.count(bits, before), np.uint32)
        members.write(bits, ids)
        sources = cls(n, ids)
        sources.__dict__["_index"] = bits, before
        return sources

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        bits = np.zeros(self.n // 64 + 1, np.uint64)
        before = np.zeros(len(bits), np.uint32)
        members.add(bits, np.asarray(self.ids, np.int64))
        members.count(bits, before)
        return bits, before

    @property
    def nbytes(self) -> int:
        """Bytes of the ids and of their index."""
        return 0 if self.ids is None else self.ids.nbytes + sum(array.nbytes for array in self._index)

    def lists(self, first: np.ndarray) -> list[np.ndarray]:
        """Return the neurons of each node that are listened to.

        Parameters
        ----------
        first : np.ndarray
            int64 (n_nodes + 1,), first neuron of each node, and the number of all.

        Returns
        -------
        list of np.ndarray
            For each node int64, ascending, counted from its first neuron.
        """
        ids = np.arange(self.n) if self.ids is None else self.ids
        ends = np.searchsorted(ids, first)
        return [ids[ends[r] : ends[r + 1]].astype(np.int64) - first[r] for r in range(len(first) - 1)]

    def number_spikes(self, log: SpikeLog, n_steps: int) -> SpikeLog:
        """Return the spikes of a log by id that are listened to, by number."""
        if self.ids is None:
            return log
        steps, ids = log.spikes(n_steps)
        known = np.isin(ids, self.ids)
        return SpikeLog.of(steps[known], np.searchsorted(self.ids, ids[known]), n_steps)


def mailbox(arrays: dict[str, Any]) -> kernel.Mailbox:
    """Make a mailbox; arrays that are not given are empty."""
    none, small = np.zeros(0, np.int64), np.zeros(0, np.uint32)
    empty: dict[str, Any] = dict.fromkeys(("route_ptr", "first_number", "leaves", "room", "listed", "arrives"), none)
    empty |= dict.fromkeys(("numbers", "route_rank", "route_index"), small)
    return kernel.Mailbox(empty | arrays | {"cursor": np.zeros(arrays["received"].n, np.int64)})


class AllgatherSender:
    """Sends by one Allgather of a fixed size per round, and a second one when a message did not fit.

    Parameters
    ----------
    comm : communicator
        Of the leaders of nodes.
    arrays : dict
        Arrays of the mailbox by name.
    words : int
        Words (4 bytes) of a message, at first.

    Attributes
    ----------
    box : kernel.Mailbox
        Packs and unpacks messages.
    """

    name = "everything"

    def __init__(self, comm: Comm, arrays: dict[str, Any], words: int = WORDS) -> None:
        self.comm, self.box = comm, mailbox(arrays | {"sender": self, "targeted": False})
        _connect(self.box, comm, "MPI_Allgather")
        self._make_room(words)

    def resize(self, need: int) -> None:
        """Make room for messages of `need` words, and some more."""
        self._make_room(grow(need))

    def _make_room(self, words: int) -> None:
        self._outgoing = np.zeros(words, np.uint32)
        self._incoming = np.zeros(words * self.comm.size, np.uint32)
        self.box.capacity, self.box.outgoing, self.box.incoming = words, self._outgoing, self._incoming
        self.box.arrives = np.arange(self.comm.size) * words

    def transfer(self) -> None:
        """Collective: call MPI, and nothing else."""
        self.comm.Allgather(self._outgoing, self._incoming)

    @property
    def received(self) -> int:
        """Bytes that this node receives from others in a round."""
        return 4 * self.box.capacity * (self.comm.size - 1)

    @property
    def nbytes(self) -> int:
        """Bytes of the message buffers."""
        return buffer_bytes(self.box.capacity, self.comm.size)


class AlltoallvSender:
    """Sends by one Alltoallv per round. Both ends derive the size of a message from the quota, ids per listed source.

    Parameters
    ----------
    comm : communicator
        Of the leaders of nodes.
    arrays : dict
        Arrays of the mailbox by name.
    lists : list of np.ndarray
        For each node the neurons of this node (0 for its first) that it listens to, int64 ascending.
    heard : np.ndarray
        int64 (n_nodes,), how many neurons of each node this one listens to.
    n_own : int
        Neurons of this node.
    quota : int
        `QUOTA`-th parts of an id per source of a list, for which there is room at first.

    Attributes
    ----------
    box : kernel.Mailbox
        Packs and unpacks messages.
    """

    name = "targeted"

    def __init__(
        self, comm: Comm, arrays: dict[str, Any], lists: list[np.ndarray], heard: np.ndarray, n_own: int, quota: int = 0
    ) -> None:
        self.comm, self._heard = comm, heard
        self._listed = np.array([len(part) for part in lists], np.int64)
        neuron = np.concatenate(lists)
        order = np.argsort(neuron, kind="stable")
        nodes, index = np.repeat(np.arange(comm.size), self._listed), np.concatenate([np.arange(len(p)) for p in lists])
        self._routes = {
            "route_ptr": np.concatenate(([0], np.cumsum(np.bincount(neuron, minlength=n_own)))),
            "route_rank": nodes[order].astype(np.uint32), "route_index": index[order].astype(np.uint32),
        }  # fmt: skip
        self.box = mailbox(
            arrays | self._routes | {"listed": self._listed, "slack": SLACK, "sender": self, "targeted": True}
        )
        _connect(self.box, comm, "MPI_Alltoallv")
        self._outgoing = self._incoming = np.zeros(0, np.uint32)
        self._make_room(quota)

    def resize(self, need: int) -> None:
        """Make room for `need` / `QUOTA` ids per source of a list, and some more."""
        self._make_room(grow(need))

    def _make_room(self, quota: int) -> None:
        self.box.capacity, self.box.fixed = quota, -1

    def transfer(self) -> None:
        """Collective: call MPI, and nothing else."""
        self.comm.Alltoallv((self._outgoing, self._leaving), (self._incoming, self._arriving))

    def lay_out(self, fixed: int) -> None:
        """Place the messages of a round in the buffers, each with `fixed` words beside the ids."""
        box = self.box
        box.fixed, box.room = fixed, self._room(self._listed)
        sizes = fixed + np.asarray(box.room), fixed + self._room(self._heard)
        starts = [np.concatenate(([0], np.cumsum(part)[:-1])) for part in sizes]
        self._outgoing, self._incoming = (
            buffer if len(buffer) >= part.sum() else np.zeros(part.sum(), np.uint32)
            for buffer, part in zip((self._outgoing, self._incoming), sizes, strict=True)
        )
        box.outgoing, box.incoming = self._outgoing, self._incoming
        box.leaves, box.arrives = starts
        self._leaving, self._arriving = (
            (part.astype(np.intc), start.astype(np.intc)) for part, start in zip(sizes, starts, strict=True)
        )
        (box.leaving, box.leaving_at), (box.arriving, box.arriving_at) = self._leaving, self._arriving

    def _room(self, listed: np.ndarray) -> np.ndarray:
        return np.where(listed > 0, SLACK - (-listed * self.box.capacity // layout.QUOTA), 0)

    @property
    def received(self) -> int:
        """Bytes that this node receives from others in a round."""
        sizes = self._arriving[0]
        return 4 * int(sizes.sum() - sizes[self.comm.rank])

    @property
    def nbytes(self) -> int:
        """Bytes of the message buffers and of the lists of listening nodes."""
        return sum(array.nbytes for array in (self._outgoing, self._incoming, *self._routes.values()))


def _connect(box: kernel.Mailbox, comm: Comm, call: str) -> None:
    """Let compiled code call MPI, unless `comm` is a stand-in written in Python."""
    if address := mpi.address(comm, call):
        function, handle, datatype = address
        box.connect(function or 0, handle, datatype)

"""Which neurons each node hears: bits, once in the shared memory of the node, told to the nodes that have them.

Ranks mark in it whom they hear; leaders exchange the parts of these sets, as words of 64 neurons. Each rank then takes
the lists that it needs to pack and unpack messages. The sets of a node take two bits for each neuron of the network:
nothing grows with the number of ranks.
"""

from __future__ import annotations

import itertools

import numpy as np

from ..kernels import members
from .collectives import total
from .mpi import Comm
from .node import Nodes
from .shared_memory import NodeMemory, Plain

WORD = 64  # neurons in a word


class Hearing:
    """Who hears whom, as the ranks of a node see it.

    The constructor is collective.

    Parameters
    ----------
    comm : communicator
        Communicator of all ranks, which fail together.
    nodes : Nodes
        Nodes of the communicator.
    first : np.ndarray
        int64 (n_nodes + 1,), first neuron of each node, and the number of all.
    own : np.ndarray or None
        Neurons that this rank hears, ascending; None: all.

    Attributes
    ----------
    first : np.ndarray
        First neuron of each node, and the number of all.
    heard : np.ndarray
        uint64, words of the neurons of each node, node after node: which are heard on this node.

    Raises
    ------
    InputError
        On all ranks, if there is too little shared memory.
    """

    def __init__(self, comm: Comm, nodes: Nodes, first: np.ndarray, own: np.ndarray | None) -> None:
        self._comm, self._nodes, self.first = comm, nodes, first
        words = -(-np.diff(first) // WORD)
        self._at = np.concatenate(([0], np.cumsum(words)))  # first word of each node
        memory = NodeMemory(comm, nodes, Plain(count_bytes(first, nodes.index)))
        self.heard = memory.array(np.uint64, int(self._at[-1]), 0)
        self._asked = memory.array(np.uint64, nodes.count * int(words[nodes.index]), self.heard.nbytes)
        if own is None:
            self.heard[:] = 2**WORD - 1
            some = np.flatnonzero(np.diff(first) % WORD)  # nodes whose last word is not full
            self.heard[self._at[some + 1] - 1] = np.left_shift(
                np.uint64(1), (np.diff(first)[some] % WORD).astype(np.uint64)
            ) - np.uint64(1)
        else:
            for node, (low, high) in enumerate(itertools.pairwise(np.searchsorted(own, first).tolist())):
                members.add(self._of(node), own[low:high].astype(np.int64) - first[node])
        nodes.local.Barrier()

    def tell(self) -> None:
        """Collective: tell the other nodes which of their neurons are heard here."""
        nodes, words = self._nodes, np.diff(self._at)
        if nodes.local.rank == 0:
            here = np.full(nodes.count, words[nodes.index])
            sent = self.heard, (words, self._at[:-1])
            nodes.leaders.Alltoallv(sent, (self._asked, (here, np.cumsum(here) - here)))
        nodes.local.Barrier()

    def share_heard(self) -> float:
        """Collective: return the mean share of the neurons that nodes hear."""
        mine = members.count_between(self.heard, 0, WORD * len(self.heard)) if self._nodes.local.rank == 0 else 0
        return total(self._comm, mine) / max(int(self.first[-1]) * self._nodes.count, 1)

    def has_news(self, before: Hearing) -> bool:
        """Collective: return whether any node hears neurons that it did not hear before."""
        is_leader = self._nodes.local.rank == 0
        return total(self._comm, is_leader and bool(np.any(self.heard & ~before.heard))) > 0

    def neighbours(self) -> tuple[list[int], list[int]]:
        """Return the other nodes of which this one hears neurons, and those that hear some of its own."""
        others = [r for r in range(self._nodes.count) if r != self._nodes.index]
        return [r for r in others if self._of(r).any()], [r for r in others if self._by(r).any()]

    def of(self, node: int, low: int, high: int) -> np.ndarray:
        """Return which neurons [low, high) of another node are heard here: uint32 ascending, counted from `low`."""
        return _list(self._of(node), low - self.first[node], high - self.first[node])

    def by(self, node: int, low: int, high: int) -> np.ndarray:
        """Return which neurons [low, high) of this node another node hears: uint32 ascending, counted from `low`."""
        first = self.first[self._nodes.index]
        return _list(self._by(node), low - first, high - first)

    def count_of(self, node: int, low: int, high: int) -> int:
        """Return how many neurons `of` lists."""
        return members.count_between(self._of(node), low - self.first[node], high - self.first[node])

    def count_by(self, node: int, low: int, high: int) -> int:
        """Return how many neurons `by` lists."""
        first = self.first[self._nodes.index]
        return members.count_between(self._by(node), low - first, high - first)

    def _of(self, node: int) -> np.ndarray:
        """Words of the neurons of a node that are heard here."""
        return self.heard[self._at[node] : self._at[node + 1]]

    def _by(self, node: int) -> np.ndarray:
        """Words of the neurons of this node that another node hears."""
        return self._asked.reshape(self._nodes.count, -1)[node]


def count_bytes(first: np.ndarray, node: int) -> int:
    """Return the bytes of the sets of a node: of what it hears, and of what each node hears of it.

    `first` has the first neuron of each node, and the number of all.
    """
    words = -(-np.diff(first) // WORD)
    return int(words.sum() + len(words) * words[node]) * (WORD // 8)


def _list(bits: np.ndarray, low: int, high: int) -> np.ndarray:
    found = np.empty(members.count_between(bits, low, high), np.uint32)
    members.write_between(bits, low, high, found)
    return found

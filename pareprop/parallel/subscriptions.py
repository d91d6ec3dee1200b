"""Neurons whose spikes each node receives: bits in the shared memory of the node, sent to the nodes that own them.

Ranks mark their sources; leaders exchange the parts of these sets, as words of 64 neurons. Each rank then takes
the lists that it needs to pack and unpack messages. The sets of a node take two bits for each neuron of the network:
nothing grows with the number of ranks.
"""

from __future__ import annotations

import itertools

import numpy as np

from ..kernels import members
from .collectives import sum_over_ranks
from .mpi import Comm
from .node import Nodes
from .shared_memory import FlatLayout, NodeMemory

WORD = 64  # neurons in a word


class Subscriptions:
    """The neurons that this node subscribes to, and the subscriptions of other nodes to its neurons.

    The constructor is collective over `comm`. `first` is the first neuron of each node, and the number of all, int64
    (n_nodes + 1,). `sources` are the neurons whose spikes this rank needs, ascending; None: all. `subscribed` are bits,
    uint64 words of the neurons of each node: the subscriptions of this node.
    """

    def __init__(self, comm: Comm, nodes: Nodes, first: np.ndarray, sources: np.ndarray | None) -> None:
        self._comm, self._nodes, self.first = comm, nodes, first
        words = -(-np.diff(first) // WORD)
        self._first_word = np.concatenate(([0], np.cumsum(words)))  # first word of each node
        memory = NodeMemory(comm, nodes, FlatLayout(count_bytes(first, nodes.index)))
        self.subscribed = memory.view_array(np.uint64, int(self._first_word[-1]), 0)
        self._requested = memory.view_array(np.uint64, nodes.count * int(words[nodes.index]), self.subscribed.nbytes)
        if sources is None:
            self.subscribed[:] = 2**WORD - 1
            some = np.flatnonzero(np.diff(first) % WORD)  # nodes whose last word is not full
            self.subscribed[self._first_word[some + 1] - 1] = np.left_shift(
                np.uint64(1), (np.diff(first)[some] % WORD).astype(np.uint64)
            ) - np.uint64(1)
        else:
            for node, (low, high) in enumerate(itertools.pairwise(np.searchsorted(sources, first).tolist())):
                members.add(self._view_incoming(node), sources[low:high].astype(np.int64) - first[node])
        nodes.local.Barrier()

    def exchange_between_nodes(self) -> None:
        """Collective: send the other nodes which of their neurons this node subscribes to."""
        nodes, words = self._nodes, np.diff(self._first_word)
        if nodes.local.rank == 0:
            here = np.full(nodes.count, words[nodes.index])
            sent = self.subscribed, (words, self._first_word[:-1])
            nodes.leaders.Alltoallv(sent, (self._requested, (here, np.cumsum(here) - here)))
        nodes.local.Barrier()

    def compute_subscribed_fraction(self) -> float:
        """Collective: return the mean share of the neurons that nodes subscribe to."""
        mine = (
            members.count_between(self.subscribed, 0, WORD * len(self.subscribed)) if self._nodes.local.rank == 0 else 0
        )
        return sum_over_ranks(self._comm, mine) / max(int(self.first[-1]) * self._nodes.count, 1)

    def has_new_subscriptions(self, before: Subscriptions) -> bool:
        """Collective: return whether any node subscribes to neurons that it did not receive before."""
        is_leader = self._nodes.local.rank == 0
        return sum_over_ranks(self._comm, is_leader and bool(np.any(self.subscribed & ~before.subscribed))) > 0

    def list_neighbour_nodes(self) -> tuple[list[int], list[int]]:
        """Return the nodes that this one receives from, and the nodes that it sends to."""
        others = [r for r in range(self._nodes.count) if r != self._nodes.index]
        return [r for r in others if self._view_incoming(r).any()], [r for r in others if self._view_outgoing(r).any()]

    def list_incoming(self, node: int, low: int, high: int) -> np.ndarray:
        """Return which neurons [low, high) of another node this one receives: uint32 ascending, counted from `low`."""
        return _list_members(self._view_incoming(node), low - self.first[node], high - self.first[node])

    def list_outgoing(self, node: int, low: int, high: int) -> np.ndarray:
        """Return which neurons [low, high) of this node another node receives: uint32 ascending, counted from `low`."""
        first = self.first[self._nodes.index]
        return _list_members(self._view_outgoing(node), low - first, high - first)

    def count_incoming(self, node: int, low: int, high: int) -> int:
        """Return how many neurons `list_incoming` lists."""
        return members.count_between(self._view_incoming(node), low - self.first[node], high - self.first[node])

    def count_outgoing(self, node: int, low: int, high: int) -> int:
        """Return how many neurons `list_outgoing` lists."""
        first = self.first[self._nodes.index]
        return members.count_between(self._view_outgoing(node), low - first, high - first)

    def _view_incoming(self, node: int) -> np.ndarray:
        """Words of the neurons of a node that this node receives."""
        return self.subscribed[self._first_word[node] : self._first_word[node + 1]]

    def _view_outgoing(self, node: int) -> np.ndarray:
        """Words of the neurons of this node that another node receives."""
        return self._requested.reshape(self._nodes.count, -1)[node]


def count_bytes(first: np.ndarray, node: int) -> int:
    """Return the bytes of the sets of a node: its subscriptions, and the subscriptions of each node to its neurons.

    `first` has the first neuron of each node, and the number of all.
    """
    words = -(-np.diff(first) // WORD)
    return int(words.sum() + len(words) * words[node]) * (WORD // 8)


def _list_members(bits: np.ndarray, low: int, high: int) -> np.ndarray:
    found = np.empty(members.count_between(bits, low, high), np.uint32)
    members.write_between(bits, low, high, found)
    return found

"""Add sums for readouts over all nodes in a tree: each node gets a few messages, not one from every other node."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .mpi import Comm

WORDS_OF_SUM = 4  # words of an exact sum in a message
CALL = 1e-6  # seconds of Python that a message takes in addition to its transfer
SPARED = 250  # words that arrive in the time of a message among many that are under way together
MESSAGE = 4000  # words that arrive in the time of one message: 2 us on the way and `CALL`, at some 5 GB/s


def count_paired_nodes(n_nodes: int) -> int:
    """Return how many nodes, the first ones, exchange sums in pairs: the largest power of two; others add to these."""
    return 1 << (n_nodes.bit_length() - 1)


def count_stages(n_nodes: int) -> int:
    """Return how many messages follow one another until all nodes have the sums."""
    return n_nodes.bit_length() - 1 + 2 * (n_nodes > count_paired_nodes(n_nodes))


def count_received_messages(n_nodes: int, node: int) -> int:
    """Return how many messages a node receives."""
    first = count_paired_nodes(n_nodes)
    return n_nodes.bit_length() - 1 + (node < n_nodes - first) if node < first else 1


def is_tree_faster(n_nodes: int, n_sums: float, spared: float = 0.0) -> bool:
    """Return whether a tree takes less time for so many sums of a round than to send them to every other node.

    With a tree, a node needs no messages from nodes whose spikes it does not need: `spared` of them, on average.
    """
    n = count_stages(n_nodes)
    return n_sums > 0 and WORDS_OF_SUM * n_sums * (n_nodes - 1 - n) + SPARED * spared > MESSAGE * n


def add_over_nodes(comm: Comm, sums: np.ndarray, add: Callable[[np.ndarray, np.ndarray], None]) -> None:
    """Collective among leaders: replace `sums` of this node by the sums of all nodes.

    `add` adds its first argument to its second, in any order with the same bits.
    """
    first, node = count_paired_nodes(comm.size), comm.rank
    if node >= first:
        comm.Send(sums, node - first)
        comm.Recv(sums, node - first)
        return
    other, partner = np.empty_like(sums), node + first
    if partner < comm.size:
        comm.Recv(other, partner)
        add(other, sums)
    distance = 1
    while distance < first:
        comm.Sendrecv(sums, node ^ distance, recvbuf=other, source=node ^ distance)
        add(other, sums)
        distance *= 2
    if partner < comm.size:
        comm.Send(sums, partner)

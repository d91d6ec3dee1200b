"""Nodes: the ranks of a communicator that share memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, RankLost
from ..kernels import rounds
from .collectives import sum_over_ranks
from .mpi import Comm

RANKS_PER_NODE = (
    "PAREPROP_RANKS_PER_NODE"  # a number divides ranks into nodes of this size, to try several on one machine
)


@dataclass(frozen=True)
class Nodes:
    """The nodes of a communicator whose ranks are numbered node by node.

    `local` is the communicator of this node's ranks, with its leader as rank 0; `leaders`, of all leaders, is undefined
    on other ranks. `starts` is the first rank of each node, int64 (n_nodes + 1,).
    """

    local: Comm
    leaders: Comm
    index: int
    starts: np.ndarray

    @property
    def count(self) -> int:
        """Number of nodes."""
        return len(self.starts) - 1


def read_ranks_per_node(environment: Mapping[str, str]) -> int:
    """Return the ranks per node that PAREPROP_RANKS_PER_NODE sets, 0 for the actual nodes."""
    text = environment.get(RANKS_PER_NODE, "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise InputError(f"PAREPROP_RANKS_PER_NODE = '{text}' must be a whole number of at least 1")
    return int(text or 0)


def split_by_node(comm: Comm, environment: Mapping[str, str] = os.environ) -> Comm:
    """Collective: return a communicator of the ranks of this node."""
    size = read_ranks_per_node(environment)
    if size:
        return comm.Split(comm.rank // size, comm.rank)
    from mpi4py import MPI  # starts MPI, so not at the top of the file

    return comm.Split_type(MPI.COMM_TYPE_SHARED, comm.rank)


def leads_machine(comm: Comm) -> bool:
    """Collective: return whether this is the first rank of its machine, whatever PAREPROP_RANKS_PER_NODE says."""
    if comm is None:
        return True
    local = split_by_node(comm, {})
    first = local.rank == 0
    local.Free()
    return first


def number_by_node(comm: Comm, local: Comm) -> Comm:
    """Collective: return a communicator with the ranks of each node one after the other; rank 0 stays the first."""
    first = local.bcast(comm.rank)
    if not sum_over_ranks(comm, comm.rank != first + local.rank):
        return comm
    return comm.Split(0, first)  # ranks with one key stay in their order


def find_nodes(comm: Comm) -> Nodes:
    """Collective: find which ranks share a node; raise `InputError` unless their numbers are consecutive."""
    local = split_by_node(comm)
    first = local.bcast(comm.rank)
    if sum_over_ranks(comm, comm.rank != first + local.rank):
        raise InputError("the ranks of each node must be numbered one after the other")
    leaders = comm.Split(min(local.rank, 1), comm.rank)
    starts = local.bcast(leaders.allgather(first) if local.rank == 0 else None)
    return Nodes(local, leaders, starts.index(first), np.array([*starts, comm.size], np.int64))


def is_crowded(local: Comm) -> bool:
    """Collective: return whether a node has more ranks than cores that they may use together."""
    cores = set().union(*local.allgather(os.sched_getaffinity(0)))
    return local.size > len(cores)


def make_rank_lost(first_rank: int, meeting: list[rounds.NodeMeeting], local_rank: int, rank: int) -> RankLost:
    """Return the exception for ranks of a node that wait for a rank that ended; the lowest of them reports it.

    `first_rank` is the node's first rank; `local_rank` and `rank` are this rank and the ended rank within the node.
    `meeting` contains the synchronization of the node's ranks.
    """
    return RankLost(f"rank {first_rank + rank} ended unexpectedly", speaks=local_rank == min(meeting[0].living()))

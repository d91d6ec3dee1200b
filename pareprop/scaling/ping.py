"""Measure what exchanges between ranks cost, within a node and between nodes: the command `ping`.

`scripts/exchange.py` uses `open_rounds`, too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..errors import InputError
from ..parallel import collectives, node
from ..parallel.channel import Channel, ChannelSizes
from ..parallel.exchange import Ranks
from ..parallel.messages import Sources
from ..parallel.mpi import Comm
from ..parallel.partition import block
from ..parallel.spike_log import SpikeLog

WORDS = 64, 65536  # 32-bit words of a short and of a long message
LAPS, REPEATS = 9, 3
ROUNDS = 2000  # without spikes
SENDERS = 16  # at most so many ranks of other nodes send to one at once
NEURONS, SPIKES = 256_000, 1280  # of two nodes of 128 ranks; spikes of a node in a step, at 10 Hz
STEPS = 20  # rounds of a lap that carry spikes: few, so that other work leaves some laps alone


def open_rounds(
    comm: Comm, way: str, neurons: int, share: float, spikes: int, steps: int, n_readouts: int = 1
) -> tuple[Ranks, Channel]:
    """Collective: open an exchange with rounds of one step, each of which carries `spikes` spikes of this rank.

    Parameters
    ----------
    comm : communicator
        Communicator of all ranks.
    way : str
        How nodes send, see `Ranks`.
    neurons : int
        Neurons of all ranks.
    share : float
        Share of the neurons of other ranks that have targets on each rank.
    spikes, steps, n_readouts : int
        Spikes of this rank in a step, steps of the logs, readouts.
    """
    low, high = block(neurons, comm.size, comm.rank)
    rng = np.random.default_rng(comm.rank)
    chosen = rng.random(neurons) < share
    chosen[low:high] = True
    ranks = Ranks(comm, way)
    sources = Sources(neurons, None if chosen.all() else np.flatnonzero(chosen))
    channel = ranks.open(ChannelSizes(neurons, steps, steps, n_readouts), sources)
    ids = [low + np.sort(rng.choice(high - low, spikes, replace=False)) for _ in range(steps)]
    channel.own.load(SpikeLog.from_arrays(np.concatenate(ids).astype(np.uint32), np.arange(steps + 1) * spikes), steps)
    channel.barrier()
    return ranks, channel


def seconds(comm: Comm, way: str, *cases: tuple[float, int, int]) -> np.ndarray:
    """Collective: return the seconds that rank 0 packs and unpacks, and looks up, in a round: (n_cases, 2).

    Cases take turns, so that a machine that is slow for a while affects all of them; of each its fastest lap counts.

    Parameters
    ----------
    comm : communicator
        Communicator of all ranks.
    way : str
        How nodes send, see `Ranks`.
    *cases : tuple
        For each case the share of the neurons of other ranks that have targets here, spikes of this rank, readouts.
    """
    channels, laps = [], []
    for share, spikes, n_readouts in cases:
        channels.append(open_rounds(comm, way, NEURONS, share, spikes, STEPS, n_readouts)[1])
    for _ in range(LAPS):
        for meeting in (channel.meeting for channel in channels):
            meeting.packed = meeting.looked_up = 0.0
            meeting.rounds(0, STEPS)
            laps.append((meeting.packed / STEPS, meeting.looked_up / STEPS))
    return np.reshape(laps, (LAPS, len(cases), 2))[1:].min(axis=0)  # the first laps make room for messages


def look_up(comm: Comm) -> dict[str, float]:
    """Collective, on one node: return the cost of looking a spike of the node up, where a rank hears few neurons.

    Rank 0, which is timed, has no spikes of its own: it would hear them all.
    """
    ((_, few),) = seconds(comm, "everything", (0.01, SPIKES if comm.rank else 0, 0))
    return {"look_up_s": few / ((comm.size - 1) * SPIKES)}


def pack(comm: Comm) -> dict[str, float]:
    """Collective, on two nodes of one rank: return the cost of packing a spike for nodes that hear it."""
    share = 0.5
    (none, _), (some, _) = seconds(comm, "targeted", (share, 0, 0), (share, SPIKES, 0))
    return {"pack_s": max(some - none, 0.0) / (2 * share * SPIKES)}


def in_node(comm: Comm, rounds: int) -> float:
    """Collective, on one node: return the seconds of a round in which nobody sends anything."""
    rounds = max(rounds // LAPS, 1)
    channel, laps = Ranks(comm).open(ChannelSizes(comm.size, rounds, rounds, 1)), []
    for _ in range(LAPS):
        comm.Barrier()
        start = time.perf_counter()
        channel.meeting.rounds(0, rounds)
        laps.append((time.perf_counter() - start) / rounds)
    return float(np.median(laps))


def messages(comm: Comm, rounds: int) -> dict[str, float]:
    """Collective: return latency and bandwidth of messages from each rank to all."""
    seconds = []
    for words in WORDS:
        own, whole, laps = np.zeros(words, np.uint32), np.zeros(words * comm.size, np.uint32), []
        for _ in range(rounds if words == WORDS[0] else max(rounds // 20, 1)):
            start = time.perf_counter()
            comm.Allgather(own, whole)
            laps.append(time.perf_counter() - start)
        seconds.append(float(np.median(laps)))
    short, long = seconds
    return {
        "latency_s": short / float(np.ceil(np.log2(comm.size))),
        "bandwidth": 4 * WORDS[1] * (comm.size - 1) / max(long - short, 1e-9),
    }


def receive(comm: Comm, rounds: int) -> float:
    """Collective: return the seconds in which rank 0 receives a short message from every other at once."""
    n = WORDS[0]
    own, whole, laps = np.zeros(n, np.uint32), np.zeros(n * comm.size, np.uint32), []
    to, of = np.zeros(comm.size, np.intc), np.full(comm.size, n if comm.rank == 0 else 0, np.intc)
    to[0], of[comm.rank] = n * (comm.rank > 0), 0
    starts = n * np.arange(comm.size, dtype=np.intc)
    for _ in range(rounds):
        comm.Barrier()
        start = time.perf_counter()
        comm.Alltoallv((own, (to, np.zeros_like(to))), (whole, (of, starts)))
        laps.append(time.perf_counter() - start)
    return float(np.median(laps))


@contextmanager
def every_rank_a_node() -> Iterator[None]:
    """Let each rank be a node of its own in the block."""
    before = os.environ.get(node.RANKS_PER_NODE)
    os.environ[node.RANKS_PER_NODE] = "1"
    try:
        yield
    finally:
        os.environ.pop(node.RANKS_PER_NODE)
        os.environ |= {} if before is None else {node.RANKS_PER_NODE: before}


def costs(comm: Comm, nodes: node.Nodes, rounds: int) -> dict[str, float]:
    """Collective: return those costs of `Interconnect` that these ranks can measure; valid on rank 0."""
    found: dict[str, float] = {}
    local, first = nodes.local, nodes.index == 0
    pair = local.Split(min(local.rank // 2, 1), local.rank)
    if first and local.rank < 2:
        found["round_s"] = in_node(pair, rounds)
        found |= look_up(pair)
        with every_rank_a_node():
            found |= pack(pair)
    collectives.await_others(comm)
    if first and local.size > 2:
        found["line_s"] = max(in_node(local, rounds) - found.get("round_s", 0.0), 0.0) / (local.size - 2)
    collectives.await_others(comm)
    between = comm.Split(min(local.rank, 1), comm.rank)
    if nodes.count > 1 and local.rank == 0:
        found |= messages(between, rounds)
    collectives.await_others(comm)
    found |= one_by_one(comm, nodes, rounds)
    return found


def one_by_one(comm: Comm, nodes: node.Nodes, rounds: int) -> dict[str, float]:
    """Collective: return what each message beyond the first of several from other nodes costs a rank.

    Leaders of nodes send before other ranks do: between two nodes, which have one leader each, these take part.
    """
    places = comm.allgather((nodes.local.rank, nodes.index))
    others = sorted((place, rank) for rank, place in enumerate(places) if place[1] > 0)
    senders = [rank for _, rank in others[:SENDERS]]
    seconds = []
    for chosen in (senders[:1], senders):
        part = comm.Split(0 if comm.rank in (0, *chosen) else 1, comm.rank)
        if len(senders) > 1 and comm.rank in (0, *chosen):
            seconds.append(receive(part, rounds))
        collectives.await_others(comm)
    if comm.rank or not seconds:
        return {}
    return {"message_s": max(seconds[1] - seconds[0], 0.0) / (len(senders) - 1)}


def measure(comm: Comm, rounds: int) -> tuple[dict[str, list[float]], int]:
    """Collective: measure all costs some times; return them by name, see `Interconnect`, and the number of nodes.

    Valid on rank 0.

    Raises
    ------
    InputError
        If the first node has one rank only.
    """
    nodes = node.find_nodes(comm)
    if nodes.starts[1] < 2:
        raise InputError("ping needs at least two ranks on each node")
    found: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        for name, cost in costs(comm, nodes, rounds).items():
            found.setdefault(name, []).append(cost)
    return found, nodes.count

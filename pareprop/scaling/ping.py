"""Measure the costs of exchanges between ranks, within a node and between nodes: the command `ping`.

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
from ..parallel.partition import find_block
from ..parallel.spike_log import SpikeLog

WORDS = 64, 65536  # 32-bit words of a short and of a long message
LAPS, REPEATS = 9, 3
ROUNDS = 2000  # without spikes
SENDERS = 16  # ranks of other nodes that send to one rank at once, at most
NEURONS, SPIKES = 256_000, 1280  # of two nodes of 128 ranks; spikes of a node in a step, at 10 Hz
STEPS = 20  # intervals of a lap with spikes: few, so that other programs do not disturb all laps


def open_rounds(
    comm: Comm, way: str, neurons: int, share: float, spikes: int, steps: int, n_readouts: int = 1
) -> tuple[Ranks, Channel]:
    """Collective: open an exchange in which each rank sends `spikes` spikes in each interval of one step.

    `way` is how nodes send, see `Ranks`; `neurons` is the number of neurons of all ranks; `share` is the
    fraction of other ranks' neurons with targets on each rank; the logs have `steps` steps.
    """
    low, high = find_block(neurons, comm.size, comm.rank)
    rng = np.random.default_rng(comm.rank)
    chosen = rng.random(neurons) < share
    chosen[low:high] = True
    ranks = Ranks(comm, way)
    sources = Sources(neurons, None if chosen.all() else np.flatnonzero(chosen))
    channel = ranks.open(ChannelSizes(neurons, steps, steps, n_readouts), sources)
    ids = [low + np.sort(rng.choice(high - low, spikes, replace=False)) for _ in range(steps)]
    channel.own_spikes.load(
        SpikeLog.from_arrays(np.concatenate(ids).astype(np.uint32), np.arange(steps + 1) * spikes), steps
    )
    channel.synchronize_ranks()
    return ranks, channel


def time_rounds(comm: Comm, way: str, *cases: tuple[float, int, int]) -> np.ndarray:
    """Collective: return seconds per interval of rank 0 for packing and for looking spikes up: (n_cases, 2).

    A case has the fraction of other ranks' neurons with targets here, spikes of this rank, and readouts; `way` is how
    nodes send. Cases alternate, so that a machine that is slow for a while affects all of them; the fastest lap of each
    counts.
    """
    channels, laps = [], []
    for share, spikes, n_readouts in cases:
        channels.append(open_rounds(comm, way, NEURONS, share, spikes, STEPS, n_readouts)[1])
    for _ in range(LAPS):
        for meeting in (channel.meeting for channel in channels):
            meeting.packed = meeting.looked_up = 0.0
            meeting.rounds(0, STEPS)
            laps.append((meeting.packed / STEPS, meeting.looked_up / STEPS))
    return np.reshape(laps, (LAPS, len(cases), 2))[1:].min(axis=0)  # the first laps allocate buffers


def measure_look_up(comm: Comm) -> dict[str, float]:
    """Collective, on one node: return the cost of looking up a spike of the node on a rank with few sources.

    Rank 0 is timed. It has no spikes: a rank reads all its own spikes.
    """
    ((_, few),) = time_rounds(comm, "everything", (0.01, SPIKES if comm.rank else 0, 0))
    return {"look_up_s": few / ((comm.size - 1) * SPIKES)}


def measure_packing(comm: Comm) -> dict[str, float]:
    """Collective, on two nodes of one rank: return the cost of packing a spike for nodes with targets."""
    share = 0.5
    (none, _), (some, _) = time_rounds(comm, "targeted", (share, 0, 0), (share, SPIKES, 0))
    return {"pack_s": max(some - none, 0.0) / (2 * share * SPIKES)}


def time_empty_rounds(comm: Comm, rounds: int) -> float:
    """Collective, on one node: return the seconds of an exchange without spikes."""
    rounds = max(rounds // LAPS, 1)
    channel, laps = Ranks(comm).open(ChannelSizes(comm.size, rounds, rounds, 1)), []
    for _ in range(LAPS):
        comm.Barrier()
        start = time.perf_counter()
        channel.meeting.rounds(0, rounds)
        laps.append((time.perf_counter() - start) / rounds)
    return float(np.median(laps))


def measure_messages(comm: Comm, rounds: int) -> dict[str, float]:
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


def time_receiving(comm: Comm, rounds: int) -> float:
    """Collective: return the seconds in which rank 0 receives a short message from all other ranks at once."""
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
def make_ranks_nodes() -> Iterator[None]:
    """Count each rank as a separate node in the block."""
    before = os.environ.get(node.RANKS_PER_NODE)
    os.environ[node.RANKS_PER_NODE] = "1"
    try:
        yield
    finally:
        os.environ.pop(node.RANKS_PER_NODE)
        os.environ |= {} if before is None else {node.RANKS_PER_NODE: before}


def measure_costs(comm: Comm, nodes: node.Nodes, rounds: int) -> dict[str, float]:
    """Collective: return the costs of `Interconnect` that these ranks can measure; valid on rank 0."""
    found: dict[str, float] = {}
    local, first = nodes.local, nodes.index == 0
    pair = local.Split(min(local.rank // 2, 1), local.rank)
    if first and local.rank < 2:
        found["round_s"] = time_empty_rounds(pair, rounds)
        found |= measure_look_up(pair)
        with make_ranks_nodes():
            found |= measure_packing(pair)
    collectives.wait_for_all(comm)
    if first and local.size > 2:
        found["line_s"] = max(time_empty_rounds(local, rounds) - found.get("round_s", 0.0), 0.0) / (local.size - 2)
    collectives.wait_for_all(comm)
    between = comm.Split(min(local.rank, 1), comm.rank)
    if nodes.count > 1 and local.rank == 0:
        found |= measure_messages(between, rounds)
    collectives.wait_for_all(comm)
    found |= measure_further_message(comm, nodes, rounds)
    return found


def measure_further_message(comm: Comm, nodes: node.Nodes, rounds: int) -> dict[str, float]:
    """Collective: return the cost for a rank of each message beyond the first from other nodes.

    Leaders of nodes send before other ranks do; with two nodes, which have one leader each, other ranks send too.
    """
    places = comm.allgather((nodes.local.rank, nodes.index))
    others = sorted((place, rank) for rank, place in enumerate(places) if place[1] > 0)
    senders = [rank for _, rank in others[:SENDERS]]
    seconds = []
    for chosen in (senders[:1], senders):
        part = comm.Split(0 if comm.rank in (0, *chosen) else 1, comm.rank)
        if len(senders) > 1 and comm.rank in (0, *chosen):
            seconds.append(time_receiving(part, rounds))
        collectives.wait_for_all(comm)
    if comm.rank or not seconds:
        return {}
    return {"message_s": max(seconds[1] - seconds[0], 0.0) / (len(senders) - 1)}


def repeat_measurements(comm: Comm, rounds: int) -> tuple[dict[str, list[float]], int]:
    """Collective: measure all costs `REPEATS` times; return them by name, see `Interconnect`, and the number of nodes.

    Valid on rank 0. Raise `InputError` if the first node has one rank only.
    """
    nodes = node.find_nodes(comm)
    if nodes.starts[1] < 2:
        raise InputError("ping needs at least two ranks on each node")
    found: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        for name, cost in measure_costs(comm, nodes, rounds).items():
            found.setdefault(name, []).append(cost)
    return found, nodes.count

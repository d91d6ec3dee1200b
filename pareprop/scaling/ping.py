"""Measure how long exchanges between ranks of this machine take: `mpirun -n 2 python -m pareprop.scaling.ping ROUNDS`.

Prints a table of seconds as JSON, for `measure`. `scripts/exchange.py` uses `open_rounds`, too.
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np

from ..parallel import launcher
from ..parallel.channel import Channel, ChannelSizes
from ..parallel.exchange import Ranks
from ..parallel.messages import Sources
from ..parallel.mpi import Comm
from ..parallel.partition import block
from ..parallel.spike_log import SpikeLog
from ..runs import benchmark

WORDS = 64, 65536  # 32-bit words of a short and of a long message
LAPS, SAMPLES = 7, 5
NEURONS, SPIKES, READOUTS = 256_000, 1280, 64  # of two nodes of 128 ranks; spikes of a node in a step, at 10 Hz
STEPS = 200  # rounds that carry spikes


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
    """Collective, on one node: return the costs of looking up spikes, see `Interconnect`.

    Rank 0, which is timed, has no spikes of its own: it would hear them all, and few could not be told from many.
    """
    shares, spikes = (0.01, 0.6), SPIKES if comm.rank else 0
    (_, few), (_, many) = seconds(comm, "everything", *((share, spikes, 0) for share in shares))
    of_node = (comm.size - 1) * SPIKES
    heard = [share * of_node for share in shares]
    each = (many - few) / (heard[1] - heard[0])
    return {"merge_s": max(few - each * heard[0], 0.0) / of_node, "number_s": max(each, 0.0)}


def pack(comm: Comm) -> dict[str, float]:
    """Collective, on two nodes of one rank: return the costs of packing spikes and adding sums, see `Interconnect`."""
    share, arriving = 0.5, 0.5 * SPIKES
    (idle, _), (sums, _), (full, _) = seconds(comm, "everything", (1.0, 0, 0), (1.0, 0, READOUTS), (1.0, SPIKES, 0))
    (none, _), (some, _) = seconds(comm, "targeted", (share, 0, 0), (share, SPIKES, 0))
    copied = (full - idle) / (2 * SPIKES)
    packed = (some - none - copied * SPIKES) / (2 * arriving)
    return {"copy_s": max(copied, 0.0), "pack_s": max(packed, 0.0), "sum_s": max((sums - idle) / (2 * READOUTS), 0.0)}


def main(rounds: int) -> None:
    """Measure all costs, and print them as JSON on rank 0."""
    exchange = launcher.exchange()
    comm, costs = exchange.comm, {}
    meeting = exchange.open(ChannelSizes(comm.size, rounds, rounds, 1)).meeting
    for name, words in zip(("short_s", "long_s"), WORDS, strict=True):
        own, whole, laps = np.zeros(words, np.uint32), np.zeros(words * comm.size, np.uint32), []
        for _ in range(rounds if words == WORDS[0] else rounds // 20):
            start = time.perf_counter()
            comm.Allgather(own, whole)
            laps.append(time.perf_counter() - start)
        costs[name] = float(np.median(laps))
    laps = []
    for _ in range(LAPS):
        comm.Barrier()
        start = time.perf_counter()
        meeting.rounds(0, rounds)
        laps.append((time.perf_counter() - start) / rounds)
    costs["round_s"] = float(np.median(laps))
    task, waits = benchmark.BenchTask(100, rounds, 1), []
    for _ in range(SAMPLES):
        figures = benchmark.run(benchmark.model(5000, 100, 100), task, 1, True, exchange, 1)
        wait = np.mean([part["phases"]["wait"] for part in figures["shares"]])
        waits.append(wait / (figures["phases"]["deliver"] + figures["phases"]["update"]))
    costs["skew"] = float(min(waits))  # larger ones are of ranks that had to wait for a core
    costs |= look_up(comm)
    os.environ["PAREPROP_RANKS_PER_NODE"] = "1"
    costs |= pack(comm)
    if comm.rank == 0:
        print(json.dumps(costs))


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""Time a round between ranks: mpirun -n 2 python scripts/exchange.py [--neurons N] [--share S] [--json FILE].

Prints microseconds per round of one step, one readout: of the bare MPI call of the same sizes, of pareprop's round
without spikes and with more and more spikes per rank, and of packing and unpacking messages on the slowest rank. Within
a node a round needs no MPI call; PAREPROP_RANKS_PER_NODE=1 makes each rank a separate node, so that both ways to send
between nodes are measured. `--share` of the neurons have targets on each rank.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pareprop.kernels import exchange as kernel
from pareprop.parallel import launcher, mpi
from pareprop.parallel.exchange import Ranks
from pareprop.scaling.ping import open_rounds

SPIKES = (0, 1, 10, 100, 1000)  # per rank and round
REPEATS = 7


def lap(comm: Any, rounds: int, do: Callable[[], None]) -> float:
    """Microseconds per round of a call that does them all."""
    comm.Barrier()
    start = time.perf_counter()
    do()
    return 1e6 * (time.perf_counter() - start) / rounds


def barriers(comm: Any, rounds: int) -> None:
    """Collective: so many barriers."""
    for _ in range(rounds):
        comm.Barrier()


def measure(comm: Any, way: str, neurons: int, share: float, spikes: int, rounds: int) -> dict[str, Any]:
    """Medians of a bare call and of a round, taken by turns; the slowest rank counts."""
    ranks, channel = open_rounds(comm, way, neurons, share, spikes, rounds)
    words = 8 + spikes * len(ranks.nodes.local.allgather(0))
    mine, everybodys = np.zeros(words, np.uint32), np.zeros(words * comm.size, np.uint32)
    call = mpi.find_address(comm, "MPI_Allgather")
    bare, ours = [], []
    for k in range(REPEATS + 1):  # the first one sizes the buffers
        if k == 1:
            channel.meeting.packed = 0.0
        ours.append(lap(comm, rounds, lambda: channel.meeting.rounds(0, rounds)))
        bare.append(lap(comm, rounds, lambda: kernel.call_allgather(*call, mine, everybodys, rounds)))
    slowest = [median(max(comm.allgather(value)) for value in values[1:]) for values in (bare, ours)]
    received = max(comm.allgather(ranks.received_bytes))
    packed = 1e6 * max(comm.allgather(channel.meeting.packed)) / (REPEATS * rounds)
    return {
        "way": way,
        "spikes": spikes,
        "bare_us": slowest[0],
        "round_us": slowest[1],
        "pack_us": packed,
        "received_bytes": received,
    }


def main() -> None:
    """Print a table on rank 0."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--neurons", type=int, default=20_000)
    parser.add_argument("--share", type=float, default=1.0, help="of the neurons that a rank listens to")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    comm = launcher.exchange().comm
    if comm is None:
        parser.error("run it under mpirun, on two ranks at least")
    barrier = median(lap(comm, options.rounds, lambda: barriers(comm, options.rounds)) for _ in range(REPEATS))
    several = Ranks(comm).nodes.count > 1
    rows = [
        measure(comm, way, options.neurons, options.share, spikes, options.rounds)
        for way in (("everything", "targeted") if several else ("shared",))
        for spikes in SPIKES
    ]
    if comm.rank:
        return
    print(
        f"{comm.size} ranks, {options.neurons} neurons, of which a rank listens to {100 * options.share:g} %; "
        f"barrier {barrier:.2f} us"
    )
    print("sending     spikes/rank  bytes received  bare MPI us  round us  overhead us  pack us")
    for row in rows:
        print(
            f"{row['way']:11s} {row['spikes']:11d} {row['received_bytes']:15d} {row['bare_us']:12.2f} "
            f"{row['round_us']:9.2f} {row['round_us'] - row['bare_us']:12.2f} {row['pack_us']:8.2f}"
        )
    if options.json:
        options.json.write_text(json.dumps({"ranks": comm.size, "barrier_us": barrier, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Time how a rank finds the spikes that it listens to among those of its node, by the share of neurons that it hears.

Usage: python scripts/look_up.py [--neurons N] [--spikes PER_STEP]. One process stands for a rank; the median of several
laps counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from statistics import median

import numpy as np

from pareprop.kernels import rounds as kernel
from pareprop.parallel.messages import Sources
from pareprop.parallel.spike_log import SegmentedLog, SpikeLog

SHARES = (0.001, 0.01, 0.1, 0.3, 0.63)  # of the neurons that have targets on the rank
LAPS, STEPS = 9, 20


def measure(neurons: int, share: float, spikes: int) -> float:
    """Return nanoseconds per spike of the node, the empty meeting taken off."""
    rng = np.random.default_rng(1)
    heard = np.flatnonzero(rng.random(neurons) < share)
    steps = [np.sort(rng.choice(neurons, spikes, replace=False)).astype(np.uint32) for _ in range(STEPS)]
    log = SpikeLog.from_arrays(np.concatenate(steps), np.arange(STEPS + 1) * spikes)
    every, numbered = SegmentedLog([log]), SpikeLog(STEPS)
    with tempfile.TemporaryFile() as file:
        lines = np.zeros((2, kernel.NodeMeeting.columns()), np.int64)
        seconds = {}
        for looks in (False, True):
            meeting = kernel.NodeMeeting(0, lines, file.fileno(), RuntimeError, False, 1)
            lines[...] = 0
            if looks:
                meeting.number(every, numbered, Sources(neurons, heard).index)
            laps = []
            for _ in range(LAPS):
                start = time.perf_counter()
                meeting.rounds(0, STEPS)
                laps.append(time.perf_counter() - start)
            seconds[looks] = median(laps)
    expected = np.searchsorted(heard, log.ids[np.isin(log.ids, heard)])
    if not np.array_equal(numbered.ids[: numbered.ptr[STEPS]], expected):
        raise SystemExit("the look-up returned wrong numbers")
    return 1e9 * (seconds[True] - seconds[False]) / (STEPS * spikes)


def main() -> None:
    """Print a line for each share."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--neurons", type=int, default=1_000_000)
    parser.add_argument("--spikes", type=int, default=10_000, help="of the node, in a step")
    given = parser.parse_args()
    for share in SHARES:
        print(f"{100 * share:5.1f} % heard: {measure(given.neurons, share, given.spikes):.2f} ns per spike of the node")


if __name__ == "__main__":
    main()

"""Networks far beyond this machine: one of their ranks is built and stepped here, exchanges are added by the formula.

Usage: python scripts/scaling_on_paper.py [--delay MS] [--ping ping.json]

Seconds per second of the model for the networks of `pareprop bench` in steps of 1 ms and single precision: ranks of
1 000 neurons that fire at 10 Hz, 128 ranks on a node, 2 µs and 10 GB/s between nodes.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

from pareprop.scaling import predict, subject, traffic

NODE, PER_RANK, RATE_HZ = 128, 1000, 10.0
NEURONS, INDEGREES = (10**6, 10**7, 10**8, 10**9), (1000, 10_000)


def main() -> None:
    """Print a table of both variants."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--delay", type=int, default=15, help="of all synapses between neurons, in ms")
    parser.add_argument("--ping", type=Path, help="file of what exchanges cost, which `pareprop ping` writes")
    given = parser.parse_args()
    costs, _ = traffic.read(given.ping, 2e-6, 1e10)
    for variant, indegree, neurons in product(("interval", "spike"), INDEGREES, NEURONS):
        sizes = {"variant": variant, "neurons": neurons, "indegree": indegree, "delay": given.delay}
        words = [f"{name}={value}" for name, value in sizes.items()]
        chosen = subject.find_subject("bench", [*words, "precision=single", "intervals=1"])
        ranks = max(1, neurons // (PER_RANK * NODE)) * NODE
        (found,), _ = predict.predict_runs(chosen, [ranks], NODE, costs, rate_hz=RATE_HZ)
        phases = {name: seconds for name, seconds in found.phases.items() if seconds and name != "build"}
        each = ", ".join(f"{name} {seconds:.3f}" for name, seconds in phases.items())
        print(
            f"{variant:8s} {neurons:.0e} x {indegree}, {ranks} ranks: {found.sample_seconds:.3f} s per s ({each}), "
            f"{found.node_bytes / 2**30:.1f} GiB per node",
            flush=True,
        )


if __name__ == "__main__":
    main()

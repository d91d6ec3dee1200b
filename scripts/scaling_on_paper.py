"""Predict networks far beyond this machine from its unit costs: seconds per second of the model, and what stops them.

Usage: python scripts/scaling_on_paper.py [--units units.json] [--delay MS] [--per-rank NEURONS] [--ranks-per-node N].
`pareprop predict --measure` writes the unit costs; it takes some minutes. The networks are those of `pareprop bench`,
in steps of 1 ms.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pareprop.network.variants import VARIANTS
from pareprop.runs import benchmark, units, work
from pareprop.scaling.predict import Prediction, predict

STEPS, RATE_HZ = 1000, 10.0
NEURONS, INDEGREES = (10**6, 10**7, 10**8, 10**9), (1000, 10_000)


def best(variant: str, neurons: int, indegree: int, given: argparse.Namespace, costs: units.Units) -> Prediction:
    """Return the prediction at the given neurons per rank, on whole nodes."""
    model = benchmark.model(neurons, indegree, 100, delay=given.delay, variant=variant, precision="single")
    nodes = max(1, neurons // (given.per_rank * given.ranks_per_node))
    firing = work.Firing.at(benchmark.INPUT_PROBABILITY, RATE_HZ, STEPS, model.dt_ms)
    ranks = nodes * given.ranks_per_node
    return predict(model, STEPS, 1, firing, ranks, costs, given.ranks_per_node)


def main() -> None:
    """Print a table of both variants."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--units", type=Path, default=Path("units.json"))
    parser.add_argument("--delay", type=int, default=15, help="of all synapses between neurons, in ms")
    parser.add_argument("--per-rank", type=int, default=1000, help="neurons of a rank")
    parser.add_argument("--ranks-per-node", type=int, default=128)
    parser.add_argument("--latency", type=float, default=2e-6, help="of a message between nodes, in s")
    parser.add_argument("--bandwidth", type=float, default=1e10, help="of a node, in bytes per s")
    given = parser.parse_args()
    known = units.read(given.units)
    phases = [name for name in benchmark.PHASES if name != "build"]
    print("s per s of the model:")
    print(f"{'variant':9s}{'neurons':>9s}{'indegree':>9s}{'ranks':>9s}{'all':>8s}", end="")
    print(*(f"{name:>11s}" for name in phases), f"{'GiB/node':>9s}  stopped by", sep="")
    for variant in VARIANTS:
        costs = known[variant].with_network(given.latency, given.bandwidth)
        for indegree in INDEGREES:
            for neurons in NEURONS:
                prediction = best(variant, neurons, indegree, given, costs)
                seconds = [prediction.phases[name] for name in phases]
                print(
                    f"{variant:9s}{neurons:9.0e}{indegree:9d}{prediction.ranks:9d}{sum(seconds):8.3f}",
                    *(f"{value:11.4f}" for value in seconds),
                    f"{prediction.node_bytes / 2**30:9.1f}",
                    f"  {phases[seconds.index(max(seconds))]}",
                    sep="",
                )


if __name__ == "__main__":
    main()

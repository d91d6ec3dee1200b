"""What an episode in closed loop costs: mpirun -n 2 python scripts/episode_cost.py TASK [KEY=VALUE ...] [--replicas R].

Milliseconds per episode of training in the fastest of some iterations, wall time: all, and of rank 0 the environment
with its input spikes, waiting for other ranks, and what is left for the network; beside that the processor time per
episode of the busiest rank, over all iterations. Where each rank steps an environment, an Allgather compares the
replies: it is part of the environment, and timed again apart, with ranks that come together. PAREPROP_SHARE_ABOVE=0
makes small networks share their work, which otherwise stays on one rank of a group. Figures are worth something with
an idle core for each rank.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from pareprop.network.reward import Rollout
from pareprop.parallel import collectives, launcher
from pareprop.parallel.exchange import Exchange
from pareprop.simulation import Observer, Outcome, Simulation
from pareprop.tasks import TASKS
from pareprop.tasks.base import make

PARTS = ("environment", "wait")
WARM = 1  # iterations that are not timed
GATHERS = 2000


class Lengths(Observer):
    """Counts the decisions of training episodes, of this rank's group."""

    n_decisions = 0

    def after_sample(self, simulation: Simulation, outcome: Outcome) -> None:
        """Count those of an episode."""
        rollout: Rollout = outcome.sample.rollout
        self.n_decisions += len(rollout.when)


def time_gather(comm: Any) -> float:
    """Collective: return the seconds of the Allgather of two numbers that follows each reply, 0 without ranks."""
    if comm is None:
        return 0.0
    mine, marks = np.zeros(2, np.int64), np.zeros((comm.size, 2), np.int64)
    comm.Barrier()
    start = time.perf_counter()
    for _ in range(GATHERS):
        comm.Allgather(mine, marks)
    return (time.perf_counter() - start) / GATHERS


def measure(group: Exchange, name: str, settings: list[str], iterations: int) -> dict[str, float]:
    """Collective: train; return seconds per episode by part, its decisions, and the seconds of an Allgather."""
    task = make(TASKS[name], settings)
    if not hasattr(task, "episode"):
        raise SystemExit(f"{name} has no episodes")
    lengths = Lengths()
    simulation = Simulation(task.model(), task, group, [lengths], task.settings())
    world, seconds = simulation.world, simulation.timers.seconds
    simulation.train(WARM)
    fastest, processor = {"all": np.inf}, time.process_time()
    for k in range(iterations):
        before, lengths.n_decisions = dict(seconds), 0
        start = time.perf_counter()
        simulation.train(WARM + k + 1)
        total = collectives.maximum(world, time.perf_counter() - start)
        parts = {name: seconds[name] - before.get(name, 0.0) for name in PARTS}  # rank 0's, which has work for certain
        if total < fastest["all"]:
            network = total - sum(parts.values())
            fastest = {"all": total, **parts, "network": network, "decisions": lengths.n_decisions}
    processor = collectives.maximum(world, time.process_time() - processor) / iterations
    n_episodes, n_groups = task.batch_size, simulation.replicas.count
    compares = task.replicated and group.comm is not None
    gather = collectives.maximum(world, time_gather(group.comm)) if compares else 0.0
    found = {part: value / n_episodes for part, value in (fastest | {"processor": processor}).items()}
    found["decisions"] *= n_groups
    return found | {"Allgather": gather}


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=[name for name, kind in TASKS.items() if hasattr(kind, "episode")])
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=20)
    options = parser.parse_args()
    exchange = launcher.exchange()
    group = launcher.split(exchange, options.replicas)
    found = measure(group, options.task, options.settings, options.iterations)
    if exchange.rank == 0:
        print(f"{options.task}, ranks {exchange.size}, replicas {options.replicas}; milliseconds per episode:")
        for part in ("all", *PARTS, "network", "processor"):
            print(f"  {part:12s} {1e3 * found[part]:8.3f}")
        print(f"{found['decisions']:.1f} decisions in an episode, {1e6 * found['Allgather']:.2f} us for each Allgather")


if __name__ == "__main__":
    main()

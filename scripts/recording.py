#!/usr/bin/env python3
"""What recording all spikes costs: the benchmark with and without a recorder, in turn.

    python scripts/recording.py --repeat 7
    mpirun -n 2 python scripts/recording.py --variant spike

Prints seconds of an interval of either, and the median of the pairs' ratios, with the recorder's flushes and the
closing of its file in the time.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
import numpy as np

from pareprop.network.model import Model
from pareprop.parallel import launcher
from pareprop.parallel.exchange import Exchange
from pareprop.runs import benchmark
from pareprop.runs.benchmark import BenchTask
from pareprop.simulation.loop import Simulation
from pareprop.simulation.observer import Observer
from pareprop.storage.recorder import Record, Recorder


@click.command()
@click.option("--variant", type=click.Choice(["interval", "spike"]), default="interval")
@click.option("--neurons", default=10_000)
@click.option("--indegree", default=1000)
@click.option("--steps", default=1000)
@click.option("--intervals", default=3)
@click.option("--repeat", default=7)
@click.option("--compression", default=Record().compression)
def main(variant: str, neurons: int, indegree: int, steps: int, intervals: int, repeat: int, compression: int) -> None:
    """Time pairs of runs."""
    exchange = launcher.exchange()
    network, task = benchmark.model(neurons, indegree, 100, variant=variant), BenchTask(100, steps, 1)
    wanted = Record(every=1, what=("spikes",), compression=compression)
    ratios = []
    for number in range(repeat):
        order = (False, True) if number % 2 else (True, False)  # so that neither always comes first
        seconds = {}
        for records in order:
            seconds[records] = time_interval(network, task, exchange, wanted if records else None, intervals)
        ratios.append(seconds[True] / seconds[False])
        if exchange.rank == 0:
            print(f"{seconds[False]:.3f} s without, {seconds[True]:.3f} s with: {100 * (ratios[-1] - 1):+.1f} %")
    if exchange.rank == 0:
        print(f"median {100 * (np.median(ratios) - 1):+.1f} %, from {100 * (min(ratios) - 1):+.1f} to "
              f"{100 * (max(ratios) - 1):+.1f} % ({repeat} pairs)")  # fmt: skip


class Clock(Observer):
    """Seconds from the end of the first iteration, in which memory is first touched, to the end of the run."""

    def after_iteration(self, simulation: Simulation, iteration: int, loss: float) -> None:
        """Start."""
        if iteration == 0:
            self.seconds = -time.perf_counter()

    def finish(self, simulation: Simulation) -> None:
        """Stop; as the last observer this is told when all files are closed."""
        self.seconds += time.perf_counter()


def time_interval(network: Model, task: BenchTask, exchange: Exchange, wanted: Record | None, intervals: int) -> float:
    """Collective: seconds of an interval, recorded if something is `wanted`."""
    with tempfile.TemporaryDirectory() as own:
        folder = Path(exchange.comm.bcast(own) if exchange.comm is not None else own)
        observers = [] if wanted is None else [Recorder(folder / "record", wanted)]
        clock = Clock()
        Simulation(network, task, exchange, [*observers, clock]).train(1 + intervals)
        if exchange.comm is not None:
            exchange.comm.Barrier()
    return clock.seconds / intervals


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What readouts of single neurons and rewiring cost, and what a second rank gains: own-activity, in pairs of runs.

    python scripts/brain_speed.py
    python scripts/brain_speed.py --neurons 2000 --iterations 3 --repeat 1

On one rank and on two, in turn: 10 readouts, a readout for each of 10 000 neurons (1.3 million synapses, single
precision), both with weights that hardly move, so that all spikes are the same; then readouts of all neurons that
learn, with fixed synapses and rewired in each iteration. Prints the least seconds of an iteration, processor seconds of
a rank, and their ratios; takes about two minutes on two idle cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import click
import numpy as np

from pareprop.engines.sample import Sample
from pareprop.network.model import Model
from pareprop.parallel import launcher
from pareprop.simulation import Simulation
from pareprop.tasks.own_activity import OwnActivity

FEW = 10
KINDS = ("few", "local", "fixed", "rewired")
STILL = 1e-12  # learning rate at which no spike changes


class FewReadouts(OwnActivity):
    """The same network with a few readouts that all neurons share."""

    def model(self) -> Model:
        """Return the network."""
        model = super().model()
        model.local = None
        neurons, out = model.of_role("recurrent")[0], model.readouts("out", FEW, C_m=1.0, E_L=0.0, tau_m=self.tau_out)
        model.connect(neurons, out, weight=0.01)
        model.connect(out, neurons, weight=1e-3)
        return model

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return the same sample in each iteration."""
        if "few" not in self._kept:
            spikes = super().sample(index, phase).inputs
            self._kept["few"] = Sample(spikes, np.zeros((self.n_step, FEW)))
        return self._kept["few"]


def part(neurons: int, iterations: int, repeat: int, l1: float) -> None:
    """Collective: time iterations of the four kinds in turn on these ranks; print them as JSON on rank 0."""
    exchange, settings = launcher.exchange(), {"n_rec": neurons, "n_in": 2000, "iterations": 1}
    tasks = {
        "few": FewReadouts(**settings, eta=STILL), "local": OwnActivity(**settings, eta=STILL),
        "fixed": OwnActivity(**settings), "rewired": OwnActivity(**settings, rewire_every=1, rewire_l1=l1),
    }  # fmt: skip
    runs = {
        kind: Simulation(tasks[kind].model(), tasks[kind], exchange, settings=tasks[kind].settings()) for kind in KINDS
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    processor: dict[str, list[float]] = {kind: [] for kind in KINDS}
    done = 3  # iterations that touch memory first and settle
    for run in runs.values():
        run.train(done)
    for _ in range(repeat):
        done += iterations
        for kind, run in runs.items():
            began, used = time.perf_counter(), time.process_time()
            run.train(done)
            seconds[kind].append((time.perf_counter() - began) / iterations)
            processor[kind].append((time.process_time() - used) / iterations)
    moved = sum(np.sum(counts[3:]) for counts in runs["rewired"].moves.values()) / (done - 3)
    if exchange.rank == 0:
        synapses = sum(len(item.table.weight) for item in runs["rewired"].engine.plastic[:1]) * exchange.size
        least = {kind: [min(seconds[kind]), min(processor[kind])] for kind in KINDS}
        print(json.dumps({"least": least, "moved": moved / synapses}))


@click.command()
@click.option("--neurons", default=10_000, show_default=True)
@click.option("--iterations", default=10, show_default=True, help="of a measurement")
@click.option("--repeat", default=4, show_default=True)
@click.option("--l1", default=0.01, show_default=True, help="of the rewiring; decides how many synapses move")
@click.option("--launcher", "command", default="mpirun -n {ranks}", show_default=True)
@click.option("--part", "is_part", is_flag=True, hidden=True)
def main(neurons: int, iterations: int, repeat: int, l1: float, command: str, is_part: bool) -> None:
    """Measure on one and on two ranks."""
    if is_part:
        part(neurons, iterations, repeat, l1)
        return
    found: dict[int, dict] = {}
    for ranks in (1, 2):
        options = ["--neurons", neurons, "--iterations", iterations, "--repeat", repeat, "--l1", l1]
        line = [*command.format(ranks=ranks).split(), sys.executable, __file__, "--part", *map(str, options)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            raise click.ClickException(done.stderr)
        found[ranks] = json.loads(done.stdout.splitlines()[-1])
        for kind, (wall, used) in found[ranks]["least"].items():
            click.echo(
                f"{ranks} rank{'s' * (ranks > 1)}, {kind}: {wall:.4f} s per iteration, {used:.4f} s of a processor"
            )
    _compare(found)


def _compare(found: dict[int, dict]) -> None:
    """Print ratios of the seconds, and of the processor seconds, by the number of ranks."""
    least = {ranks: one["least"] for ranks, one in found.items()}
    pairs = {
        "readouts of all neurons against 10, on two ranks (at most 1.2)": (least[2]["local"], least[2]["few"]),
        "two ranks against one, readouts of all neurons (at least 1.7)": (least[1]["local"], least[2]["local"]),
        f"rewired against fixed, {found[1]['moved']:.2%} move, on one rank (at most 1.2)":
            (least[1]["rewired"], least[1]["fixed"]),
        f"the same on two ranks, {found[2]['moved']:.2%} move": (least[2]["rewired"], least[2]["fixed"]),
    }  # fmt: skip
    for what, (new, old) in pairs.items():
        click.echo(f"{what}: {new[0] / old[0]:.2f}, processor {new[1] / old[1]:.2f}")


if __name__ == "__main__":
    main()

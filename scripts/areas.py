"""Measure what long delays between areas save: mpirun -n 4 python scripts/areas.py [--inside D] [--between D].

Trains some areas of neurons, whose delays are short inside and long between them, and prints how often the ranks of a
node exchanged spikes, how often nodes exchanged messages, and seconds. PAREPROP_RANKS_PER_NODE=1 makes each rank a
node; with `--rounds 1` nodes exchange messages as often as ranks of a node exchange spikes.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np

from pareprop import Model, Normal, Sample, Simulation, exchange


class Task:
    """Poisson inputs, sine waves as targets."""

    def __init__(self, n_steps: int, n_inputs: int) -> None:
        self.n_steps = self.learning_window = n_steps
        self._n_inputs = n_inputs

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return the sample of an iteration."""
        raster = np.random.default_rng(index).random((self.n_steps, self._n_inputs)) < 0.02
        return Sample.from_raster(raster, np.sin(np.arange(self.n_steps)[:, None] / 50.0))


def build(options: argparse.Namespace) -> Model:
    """Areas in a ring, each connected with the two beside it."""
    model, cell = Model(options.variant, seed=1), {"C_m": 1.0, "E_L": 0.0, "tau_m": 20.0, "V_th": 1.2}
    if options.variant == "spike":
        cell |= {"kappa": 0.97, "kappa_reg": 0.97}
    inputs, out = model.inputs("in", 100), model.readouts("out", 1, C_m=1.0, E_L=0.0, tau_m=20.0)
    areas = [model.neurons(f"area{k}", options.neurons, **cell) for k in range(options.areas)]
    for k, area in enumerate(areas):
        model.connect(inputs, area, weight=Normal(std=0.12))
        beside = {(k + step) % len(areas) for step in (-1, 1)} - {k}
        near, far = (options.inside, options.indegree), (options.between, options.indegree // 5)
        for other, (delay, indegree) in ((k, near), *((j, far) for j in sorted(beside))):
            weight = Normal(std=0.5 / np.sqrt(options.indegree))
            model.connect(areas[other], area, "fixed_indegree", indegree=indegree, delay=delay, weight=weight)
        model.connect(area, out, weight=Normal(std=0.02), delay=options.signals)
        model.connect(out, area, weight=Normal(std=0.1), delay=options.signals)
    return model


def main() -> None:
    """Print a line on rank 0."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--variant", default="interval", choices=("interval", "spike"))
    parser.add_argument("--areas", type=int, default=8)
    parser.add_argument("--neurons", type=int, default=500, help="of an area")
    parser.add_argument("--indegree", type=int, default=50, help="within an area; a fifth of it from each neighbour")
    parser.add_argument("--inside", type=int, default=1, help="delay in steps")
    parser.add_argument("--between", type=int, default=10, help="delay in steps")
    parser.add_argument("--signals", type=int, default=10, help="delay in steps to and from the readout")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=0, help="steps between exchanges; 0: as many as delays allow")
    options = parser.parse_args()
    ranks = exchange()
    model = build(options)
    settings = model.eprop.engine.settings_type(options.steps, round_steps=options.rounds)
    simulation = Simulation(model, Task(options.steps, 100), ranks, settings=settings)
    simulation.train(1)
    meeting, laps = simulation.engine.channel.meeting, []
    before = meeting.n_within, meeting.n_between
    for k in range(options.samples):
        start = time.perf_counter()
        simulation.train(k + 2)
        laps.append(time.perf_counter() - start)
    within, between = meeting.n_within - before[0], meeting.n_between - before[1]
    digest = simulation.hexdigest()
    if ranks.rank == 0:
        print(
            f"{ranks.size} ranks: {within / options.samples:g} meetings within nodes, {between / options.samples:g} "
            f"exchanges between them per sample of {options.steps} steps; {median(laps):.3f} s; "
            f"{simulation.rates[-1]:.1f} Hz; {digest}"
        )


if __name__ == "__main__":
    main()

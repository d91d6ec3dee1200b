"""Time what a spike that arrives at a synapse costs in training, by neuron model, in the interval variant.

    python scripts/neuron_events.py [--neurons 2000] [--indegree 1000] [--rounds 5] [MODEL ...]

Networks alike but for the model: currents drive all neurons to about 20 Hz, weak recurrent synapses learn. All models
take turns, in each round once; printed are the medians of nanoseconds per event, of the part that grows with events
(deliver, credit) and with neurons (update, sweep), and the ratios to the first model.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import numpy as np

from pareprop import GradientDescent, Model, Normal, Sample, Simulation, Uniform
from pareprop.engines.interval import IntervalSettings

STEPS, INPUTS = 250, 20
DRIVE: dict[str, tuple[float, float]] = {  # pA (mV/ms: izhikevich) for about 20 Hz
    "iaf": (410.0, 430.0), "iaf_psc_exp": (410.0, 430.0), "adex": (490.0, 530.0), "iaf_cond_exp": (270.0, 300.0),
    "izhikevich": (6.0, 7.0), "glif3": (300.0, 330.0),
}  # fmt: skip
EVENTS, NEURONS = ("deliver", "credit"), ("update", "sweep")


class Silence:
    """Samples without inputs."""

    n_steps = learning_window = STEPS

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return a sample whose target is a sine."""
        target = np.sin(np.arange(STEPS) / 30.0)[:, None]
        return Sample.from_raster(np.zeros((STEPS, INPUTS), bool), target)


def build(name: str, n: int, indegree: int) -> Simulation:
    """Return a network of a model; two ports share the synapses."""
    model = Model("interval", 1, optimizer=GradientDescent(eta=1e-9))
    inputs, out = model.inputs("in", INPUTS), model.readouts("out", 1, C_m=1.0)
    low, high = DRIVE[name]
    cells = model.neurons("rec", n, name, I_e=Uniform(low=low, high=high))
    model.connect(inputs, cells, "fixed_indegree", indegree=1, weight=0.0)
    ports = cells.ports
    for port in ports:
        options: dict[str, Any] = {"port": port, "name": port} if len(ports) > 1 else {}
        model.connect(
            cells, cells, "fixed_indegree", indegree=indegree // len(ports), weight=Normal(std=1e-6), **options
        )
    model.connect(cells, out, weight=Normal(std=0.01))
    model.connect(out, cells, weight=Normal(std=1.0))
    run = Simulation(model, Silence(), settings=IntervalSettings(STEPS))
    run.train(1)
    return run


def lap(run: Simulation, indegree: int) -> tuple[float, ...]:
    """Train one sample; return nanoseconds per event: all, of events, of neurons, and the rate in Hz."""
    before = dict(run.timers.seconds)
    run.train(run.iteration + 1)
    spent = {name: run.timers.seconds[name] - before.get(name, 0.0) for name in (*EVENTS, *NEURONS, "optimize")}
    n_events = run.engine.n_spikes * indegree
    rate = run.engine.n_spikes / run.network.n_recurrent / (STEPS / 1000)
    parts = [sum(spent[name] for name in names) for names in (tuple(spent), EVENTS, NEURONS)]
    return *(1e9 * part / max(n_events, 1) for part in parts), rate


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("models", nargs="*", default=["iaf", "iaf_psc_exp", "adex", "iaf_cond_exp"])
    parser.add_argument("--neurons", type=int, default=2000)
    parser.add_argument("--indegree", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    runs = {name: build(name, given.neurons, given.indegree) for name in given.models}
    laps: dict[str, list[tuple[float, ...]]] = {name: [] for name in runs}
    for _ in range(given.rounds):
        for name, run in runs.items():
            laps[name].append(lap(run, given.indegree))
    print(f"{given.neurons} neurons x {given.indegree} synapses, {STEPS} steps, medians of {given.rounds}")
    first = None
    for name, found in laps.items():
        middle = [statistics.median(column) for column in zip(*found, strict=True)]
        first = first or middle
        print(
            f"{name}: {middle[0]:.2f} ns per event ({middle[0] / first[0]:.2f} times), events {middle[1]:.2f} "
            f"({middle[1] / first[1]:.2f}), neurons {middle[2]:.2f}; {middle[3]:.1f} Hz",
            flush=True,
        )


if __name__ == "__main__":
    main()

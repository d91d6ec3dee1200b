"""Time every algorithm against the plain one.

    python scripts/paths.py [--variant both] [--sizes 500x100,2000x100,10000x100,2000x1000] [--rates 5,17,40]
                            [--precision double] [--paths plain,adaptive,...] [--rounds 3] [--seconds 0.2]
                            [--level v3]

Paths are optimizers, rewiring, delays, and neuron models. Drawn spikes drive the recurrent synapses of the benchmark
network; its input sources stay few, so that nearly all events are recurrent. Each line: median nanoseconds per event,
and times the plain path; of that what grows with events and with neurons; in the spike variant, how often an event
reaches a synapse, which no clock decides; bytes per synapse and neuron. Paths are measured in turns, large networks a
few at a time, each with the plain path. One core; a few minutes (with 50000x1000 half an hour).
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import warnings
from collections.abc import Iterable

import numpy as np

from pareprop import kernels
from pareprop.errors import ParepropWarning
from pareprop.machine import processor_name
from pareprop.parallel.exchange import Alone
from pareprop.runs import benchmark
from pareprop.runs.benchmark import Bench

PATHS = {
    "plain": {},
    "drawn tau_m": {"drawn_tau": True},
    "adaptive": {"neuron": "iaf_adapt"},
    "both": {"neuron": "iaf_adapt", "drawn_tau": True},
    "kappa_reg": {"neuron": "iaf_adapt", "kappa_reg": 0.95},
    "iaf_psc_exp": {"neuron": "iaf_psc_exp"},
    "adex": {"neuron": "adex"},
    "iaf_cond_exp": {"neuron": "iaf_cond_exp"},
    "izhikevich": {"neuron": "izhikevich"},
    "adam": {"optimizer": "adam"},
    "rewired": {"rewire": True},
    "delays": {"longest_delay": 15},
    "adam each step": {"optimizer": "adam", "each_step": True},
    "learned delays": {"longest_delay": 15, "learn_delay": True},
    "learned tau_m": {"learn": "tau_m"},
    "adex learned a": {"neuron": "adex", "learn": "a"},
    "pair_stdp": {"rule": "pair_stdp"},
    "three_factor": {"rule": "three_factor"},
    "r_stdp": {"rule": "r_stdp"},
    "short term": {"short_term": True},
}
INTERVAL = (
    "plain", "drawn tau_m", "adaptive", "iaf_psc_exp", "adex", "iaf_cond_exp", "adam", "rewired", "delays",
    "learned delays", "learned tau_m", "adex learned a", "pair_stdp", "three_factor", "r_stdp", "short term",
)  # fmt: skip
SPIKE = [path for path in PATHS if path != "learned delays"]
N_INPUTS = 2
MEMORY, BYTES = 10e9, 80  # of all paths that are measured in turns; of a synapse, while it is made
PHASES = [name for name in benchmark.PHASES if name not in ("build", "wait", "communicate")]  # spikes are drawn there
PARTS = {"events": ("deliver", "credit"), "neurons": ("update", "sweep")}  # phases that grow with them


class Subject:
    """A path at a size and rate."""

    def __init__(self, variant: str, path: str, n: int, indegree: int, rate: float, steps: int, precision: str) -> None:
        sizes = {"neurons": n, "indegree": indegree, "inputs": N_INPUTS, "steps": steps}
        bench = Bench(**sizes, variant=variant, precision=precision, **PATHS[path])
        network, self.steps, self.task = bench.build_model(), steps, bench.make_task()
        self.run = benchmark.build_simulation(network, self.task, Alone(), rate)
        self.online, self.laps, self.events, self.work = network.eprop.is_online, [], 0, 0
        self.step()
        self.laps.clear()

    def step(self) -> None:
        """Time a sample."""
        engine, sample = self.run.engine, self.task.sample(0)
        before, start = getattr(engine.kernel, "work", 0), dict(self.run.timers.seconds)
        engine.run(sample, True)
        engine.step_optimizers()
        spent = {name: self.run.timers.seconds.get(name, 0.0) - start.get(name, 0.0) for name in PHASES}
        table, received = self.run.network.incoming, engine.get_received_spikes()
        self.events = max(benchmark.count_events(table, sample.inputs, received, self.steps, self.online), 1)
        self.work = getattr(engine.kernel, "work", 0) - before
        self.laps.append({name: seconds / self.events for name, seconds in spent.items()})

    def nanoseconds(self, names: Iterable[str] = PHASES) -> float:
        """Per event, the median over the samples."""
        return 1e9 * statistics.median(sum(lap[name] for name in names) for lap in self.laps)

    @property
    def bytes_per_synapse(self) -> float:
        """Bytes of weights, targets and learning per synapse, without the memory of neurons and rows."""
        table = self.run.network.incoming
        kept = self.run.engine.count_bytes().get("gradients", 0)
        return (kept + table.weight.nbytes + table.target.nbytes) / len(table.weight)

    @property
    def bytes_per_neuron(self) -> float:
        """Of states and histories."""
        return self.run.engine.count_bytes()["histories"] / self.run.engine.n_neurons


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=["interval", "spike", "both"], default="both")
    parser.add_argument("--sizes", default="500x100,2000x100,10000x100,2000x1000")
    parser.add_argument("--rates", default="5,17,40")
    parser.add_argument("--precision", choices=["double", "single"], default="double")
    parser.add_argument("--paths", default=",".join(PATHS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2, help="about, of a sample of the plain path")
    parser.add_argument("--level", help="of the processor, an installed one [the highest that this processor has]")
    options = parser.parse_args()
    if options.level and os.environ.get("PAREPROP_LEVEL") != options.level:  # chosen when the package is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PAREPROP_LEVEL": options.level})
    print(f"{processor_name()}, kernels of level {kernels.LEVEL}", flush=True)
    warnings.simplefilter("ignore", ParepropWarning)
    variants = ("interval", "spike") if options.variant == "both" else (options.variant,)
    for variant, size, rate in itertools.product(variants, options.sizes.split(","), options.rates.split(",")):
        compare(variant, *map(int, size.split("x")), float(rate), options)


def compare(variant: str, n: int, indegree: int, rate: float, options: argparse.Namespace) -> None:
    """Print the lines of a size and rate."""
    events = n * indegree * rate / 1000.0
    steps = int(np.clip(options.seconds / (events * 5e-9 + n * 1e-8), 40, 1000))
    paths = [path for path in options.paths.split(",") if path in (SPIKE if variant == "spike" else INTERVAL)]
    if 2 * indegree >= n:  # half of the sources have to be free
        paths = [path for path in paths if "rewire" not in PATHS[path]]
    print(f"{variant}, {n} neurons x {indegree}, {rate:g} Hz, {options.precision}, {steps} steps", flush=True)
    at_once = max(int(MEMORY / (BYTES * n * indegree)) - 1, 1)
    for first in range(1, max(len(paths), 2), at_once):
        show(variant, n, indegree, rate, steps, [paths[0], *paths[first : first + at_once]], options)


def show(
    variant: str,
    n: int,
    indegree: int,
    rate: float,
    steps: int,
    paths: list[str],
    options: argparse.Namespace,
) -> None:
    """Print the lines of paths that are measured in turns."""
    subjects = {path: Subject(variant, path, n, indegree, rate, steps, options.precision) for path in paths}
    for _ in range(options.rounds):
        for subject in subjects.values():
            subject.step()
    plain = subjects[paths[0]].nanoseconds()
    for path, subject in subjects.items():
        ns = subject.nanoseconds()
        line = f"  {path:15s} {ns:7.2f} ns {ns / plain:6.2f} times {paths[0]}"
        line += "".join(f", {part} {subject.nanoseconds(names):.2f}" for part, names in PARTS.items())
        if variant == "spike":
            line += f", reached {subject.work / subject.events:.2f} times"
            line += f", by {'/'.join(dict.fromkeys(subject.run.algorithms.values()))}"
        print(
            f"{line}, {subject.bytes_per_synapse:.0f} bytes per synapse, {subject.bytes_per_neuron:.0f} per neuron",
            flush=True,
        )


if __name__ == "__main__":
    main()

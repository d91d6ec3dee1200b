"""Define the networks on which `compare_nest.py` times simulators, and make one timed run of one of them.

As a script: `contests.py CONTEST_JSON KIND_JSON RESULT.npz` makes one run in this process, under mpirun on all ranks.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nest_peer
import numpy as np

from pareprop.machine import peak_rss_bytes
from pareprop.network.model import Model
from pareprop.network.optimizers import GradientDescent
from pareprop.network.parameters import Uniform
from pareprop.network.rule_options import ShortTerm
from pareprop.parallel import collectives, launcher
from pareprop.parallel.exchange import Exchange
from pareprop.runs.benchmark import Bench, BenchTask
from pareprop.scaling import launchers
from pareprop.simulation.loop import Simulation
from pareprop.simulation.observer import Observer, Outcome
from pareprop.tasks import TASKS

EPROP, STATIC = "eprop_synapse", "static_synapse"
LARGEST = 1.0  # mV, weight that STDP leads to at most
RATE = 1e-3  # part of it by which two spikes at once strengthen a synapse
SHORT_TERM = {"U": 0.5, "u": 0.5, "x": 1.0, "tau_rec": 100.0, "tau_fac": 50.0}  # with NEST's names
DEPRESSION = 6.0  # by which weights are larger with short-term plasticity, so that neurons spike about as often
OPTIONS: dict[str, dict[str, Any]] = {  # of synapses onto neurons, by NEST's name; weights in mV
    STATIC: {"plastic": False},
    "stdp_synapse": {
        "learning_rule": "pair_stdp",
        "learning_parameters": {"A_minus": 1.05},
        "optimizer": GradientDescent(eta=RATE * LARGEST, Wmin=0.0, Wmax=LARGEST, optimize_each_step=False),
    },
    "tsodyks2_synapse": {"plastic": False, "transmission": ShortTerm(**SHORT_TERM)},
}
OF_NEST = {  # the same for NEST
    "stdp_synapse": {"lambda": RATE, "alpha": 1.05, "mu_plus": 0.0, "mu_minus": 0.0, "Wmax": LARGEST},
    "tsodyks2_synapse": SHORT_TERM,
}


def plastic_model(n_neurons: int, indegree: int, n_inputs: int, options: dict[str, Any]) -> Model:
    """Leaky neurons that inputs and each other excite, without readouts."""
    model = Model("spike", 1)
    inputs, cells = model.inputs("in", n_inputs), model.neurons("rec", n_neurons, "iaf_psc_delta")
    scale = DEPRESSION if "transmission" in options else 1.0
    weights = [Uniform(low=0.0, high=scale * total / max(n, 1)) for total, n in ((60.0, n_inputs), (4.0, indegree))]
    model.connect(inputs, cells, weight=weights[0], **options)
    model.connect(cells, cells, "fixed_indegree", indegree=indegree, weight=weights[1], **options)
    return model


@dataclass(frozen=True)
class Contest:
    """A network to run.

    Attributes
    ----------
    name, variant : of the contest
    n_samples : samples per run
    sizes : of the network of `pareprop bench` (neurons, indegree, inputs), or None for a task
    n_steps : of a sample of that network
    neuron : its neuron model
    synapse : NEST's name of the synapses onto neurons, without the ending of the variant; with another one than
        e-prop's, the network of `plastic_model`
    """

    name: str
    variant: str
    n_samples: int
    sizes: tuple[int, int, int] | None = None
    n_steps: int = 1000
    neuron: str = "iaf"
    synapse: str = EPROP

    def make(self, learn: bool = True) -> tuple[Model, Any]:
        """Model and task; without `learn` synapses that are not of e-prop are as static ones."""
        if self.sizes and self.synapse != EPROP:
            model = plastic_model(*self.sizes, OPTIONS[self.synapse if learn else STATIC])
            return model, BenchTask(self.sizes[2], self.n_steps, 1, 0)
        if self.sizes:
            sizes = dict(zip(("neurons", "indegree", "inputs"), self.sizes, strict=True))
            bench = Bench(**sizes, steps=self.n_steps, variant=self.variant, neuron=self.neuron)
            return bench.build_model(), bench.make_task()
        task = TASKS[self.name]()
        return task.build_model(), task


@dataclass(frozen=True)
class Kind:
    """Who runs: "nest" or "pareprop", with learning or without, on how many threads or ranks."""

    simulator: str
    learn: bool
    workers: int = 1

    @property
    def key(self) -> str:
        """Name in tables and files."""
        return f"{self.simulator}{'' if self.learn else '_static'}{suffix(self.workers)}"


def suffix(workers: int) -> str:
    """Suffix of the names of figures on several workers."""
    return f"_{workers}" if workers > 1 else ""


def workers_of(names: Iterable[str]) -> list[int]:
    """All numbers of workers in names of figures, ascending."""
    return sorted({int(end) if (end := name.rpartition("_")[2]).isdigit() else 1 for name in names})


# The largest networks run for one shorter sample: NEST needs 40 s (interval) and 400 s (spike) per second there.
CONTESTS = (
    Contest("sine-waves", "interval", 20),
    Contest("bench-500", "interval", 3, (500, 100, 100)),
    Contest("bench-2000", "interval", 3, (2000, 100, 100)),
    Contest("bench-4000", "interval", 1, (4000, 400, 100)),
    Contest("bench-10000", "interval", 1, (10000, 1000, 100), 250),
    Contest("sine-waves-plus", "spike", 20),
    Contest("bench-500", "spike", 3, (500, 100, 100)),
    Contest("bench-2000", "spike", 3, (2000, 100, 100)),
    Contest("bench-2000-adaptive", "spike", 1, (2000, 100, 100), neuron="iaf_adapt"),
    Contest("bench-4000", "spike", 1, (4000, 400, 100), 250),
    Contest("bench-10000", "spike", 1, (10000, 1000, 100), 100),
    Contest("stdp-2000", "spike", 3, (2000, 100, 100), synapse="stdp_synapse"),
    Contest("stdp-4000", "spike", 1, (4000, 400, 100), synapse="stdp_synapse"),
    Contest("short-term-2000", "spike", 3, (2000, 100, 100), synapse="tsodyks2_synapse"),
    Contest("short-term-4000", "spike", 1, (4000, 400, 100), synapse="tsodyks2_synapse"),
)


class _Spikes(Observer):
    """Keeps the spikes of all samples."""

    def __init__(self) -> None:
        self.steps, self.ids = [], []

    def after_sample(self, simulation: Simulation, outcome: Outcome) -> None:
        n_steps = simulation.task.n_steps
        steps, ids = simulation.engine.log.list_spikes(n_steps)
        self.steps.append(steps + n_steps * outcome.index)
        self.ids.append(ids.astype(np.int64))


def run_nest(contest: Contest, learn: bool, threads: int = 1) -> dict[str, Any]:
    """Run NEST in this process, which must be fresh."""
    model, task = contest.make(learn)
    settings = {contest.synapse: OF_NEST[contest.synapse]} if contest.synapse in OF_NEST else {}
    case = nest_peer.case_of(model, task.sample(0), task.learning_window, settings)
    return nest_peer.run(case, contest.n_samples, learn, threads)


def run_pareprop(contest: Contest, learn: bool, exchange: Exchange | None = None) -> dict[str, Any]:
    """Collective: run pareprop; the same keys as `nest_peer.run`, bytes over all ranks, valid on rank 0."""
    model, task = contest.make(learn)
    task.sample(0)
    comm = exchange.comm if exchange else None
    before, start = peak_rss_bytes(), _now(comm)
    spikes = _Spikes()
    simulation = Simulation(model, task, exchange, observers=[spikes])
    middle = _now(comm)
    if learn and any(item.plastic for item in model.projections):
        simulation.train(contest.n_samples)
        if contest.variant == "spike":  # NEST, too, applies pending updates
            simulation.engine.flush_synapses()
    else:
        for index in range(contest.n_samples):
            simulation.run_sample(index, "train", learn=False)
    seconds = _now(comm) - middle
    return {
        "build_seconds": middle - start,
        "seconds": seconds,
        "bytes": collectives.sum_over_ranks(comm, peak_rss_bytes() - before),
        "spike_steps": np.concatenate(spikes.steps),
        "spike_ids": np.concatenate(spikes.ids),
    }


def _now(comm: Any) -> float:
    if comm is not None:
        comm.Barrier()
    return time.perf_counter()


def fresh(contest: Contest, kind: Kind) -> dict[str, Any]:
    """Make one run in a separate process, or in a process for each rank of pareprop.

    Raises
    ------
    RuntimeError
        If it fails, with its output.
    """
    ranks = kind.workers if kind.simulator == "pareprop" else 1
    front = launchers.make_command("mpirun", ranks) if ranks > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.npz")
        command = [*front, sys.executable, __file__, json.dumps(asdict(contest)), json.dumps(asdict(kind)), str(path)]
        environment = launchers.make_environment(ranks)
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            raise RuntimeError(f"{contest.variant} {contest.name}, {kind.key}: {done.stdout}{done.stderr}")
        with np.load(path) as result:
            return {name: value if value.ndim else value.item() for name, value in result.items()}


def main(contest: str, kind: str, path: str) -> None:
    """Make one run and write the results."""
    values, kind = json.loads(contest), Kind(**json.loads(kind))
    contest = Contest(**values | {"sizes": tuple(values["sizes"]) if values["sizes"] else None})
    if kind.simulator == "nest":
        np.savez(path, **run_nest(contest, kind.learn, kind.workers))
        return
    exchange = launcher.exchange()
    result = run_pareprop(contest, kind.learn, exchange)
    if exchange.rank == 0:
        np.savez(path, **result)


if __name__ == "__main__":
    main(*sys.argv[1:])

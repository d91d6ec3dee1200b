#!/usr/bin/env python3
"""Compare sparse networks with rewiring with the same networks without it.

    python scripts/rewired.py --out runs/rewired.json
    python scripts/rewired.py evidence-short --seeds 3

Each run is one network of 100 neurons with a fixed in-degree: four sines with three readouts (40 inputs, 20 % and 5 %
of all pairs; loss of the last 30 iterations), and evidence accumulation, short (5 cues, 500 steps) and in full (7 cues,
2250 steps; cross-entropy and accuracy of 256 fresh trials). Signs are free, or 80 % of the neurons excite and 20 %
inhibit (Dale's law). Rewired: input and recurrent projections, with l1 = 0.01, in each iteration. Prints the mean and,
in brackets, each seed. Results are kept in --out; runs that it holds are not run again. The sines and the short
evidence task take about 15 minutes on one core, evidence accumulation in full hours.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pareprop.network.model import Model
from pareprop.network.optimizers import Adam
from pareprop.network.parameters import Normal
from pareprop.simulation import Simulation
from pareprop.tasks.base import TaskBase
from pareprop.tasks.evidence_accumulation import EvidenceAccumulation
from pareprop.tasks.sine_waves import SineWaves

EXCITATORY = 0.8
SINES = {"n_in": 40, "n_rec": 100, "n_out": 3, "eta": 5e-3}
SHORT = {"n_cues": 5, "cue": 50, "spacing": 30, "pause": 0, "recall": 100, "batch_size": 16, "eta": 0.02}
TASKS: dict[str, tuple[type[TaskBase], dict[str, Any], float, int]] = {  # task, settings, density, iterations
    "sines-20": (SineWaves, SINES, 0.2, 2000),
    "sines-5": (SineWaves, SINES, 0.05, 1500),
    "evidence-short": (EvidenceAccumulation, SHORT, 0.2, 300),
    "evidence-full": (EvidenceAccumulation, {}, 0.2, 600),
}
FRESH = 256  # trials of evidence accumulation after training
LAST = 30  # iterations of the sines of which the mean loss counts


def sparse(task: TaskBase, density: float, dale: bool, moves: bool) -> Model:
    """The task's network with a share of the synapses onto its neurons, which may keep signs and may move."""
    whole = task.model()
    rule = Adam(eta=task.eta, batch_size=task.batch_size, epsilon=1e-8)
    cells = [
        replace(item, sign=np.where(np.arange(item.size) < EXCITATORY * item.size, 1, -1).astype(np.int8))
        if dale and item.role == "recurrent"
        else item
        for item in whole.populations
    ]
    model = Model(whole.variant, task.seed, optimizer=rule, populations=cells)
    populations = {item.name: item for item in model.populations}
    for old in whole.projections:
        pre, post = populations[old.pre.name], populations[old.post.name]
        if post.role != "recurrent" or pre.role == "readout":
            given = {} if old.source is None else {"source": old.source, "target": old.target}
            delay = old.delay if old.source is None else old.delay.copy()
            feedback = {"feedback": old.feedback} if old.feedback else {}
            model.connect(pre, post, old.rule, weight=old.weight, delay=delay, **given, **feedback)
            continue
        signs = dale and pre.role == "recurrent"
        model.connect(
            pre,
            post,
            "fixed_indegree",
            indegree=round(density * pre.size),
            allow_multapses=False,
            allow_autapses=pre != post,
            weight=Normal(std=(density * whole.size(pre.role)) ** -0.5),
            sign="source" if signs else "free",
            inhibition=EXCITATORY / (1 - EXCITATORY) if signs else 1.0,
            rewire={"l1": 0.01} if moves else None,
        )
    return model


def measure(name: str, seed: int, dale: bool, moves: bool, iterations: int | None = None) -> dict[str, float]:
    """Train one network.

    Returns
    -------
    dict
        `loss`; `accuracy` of a classification; `zero`, share of synapses of weight 0 onto neurons; `moved`, mean share
        of these that move in an iteration.
    """
    kind, settings, density, usual = TASKS[name]
    task = kind(seed=seed, **settings)
    simulation = Simulation(sparse(task, density, dale, moves), task, settings=task.settings())
    losses = simulation.train(usual if iterations is None else iterations)
    outcome = {"loss": float(np.mean(losses[-LAST:]))}
    if task.n_classes:
        test = simulation.test(FRESH)
        assert test.accuracy is not None  # as samples have labels
        outcome = {"loss": test / task.learning_window, "accuracy": test.accuracy}  # the loss of a step
    weights = simulation.network.incoming.weight
    moved = sum(np.sum(counts) for counts in simulation.moves.values()) / max(len(losses), 1)
    return outcome | {"zero": float(np.mean(weights == 0)), "moved": float(moved / len(weights))}


def table(results: dict[str, dict[str, float]], seeds: list[int]) -> list[str]:
    """Return the lines of the table, of the runs that are there."""
    heads = ("task", "signs", "fixed: loss", "rewired: loss", "lower in", "accuracy", "at 0", "moved per iteration")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name, dale in itertools.product(TASKS, (False, True)):
        pairs = [[results.get(key(name, seed, dale, moves)) for moves in (False, True)] for seed in seeds]
        pairs = [pair for pair in pairs if all(pair)]
        if pairs:
            mean = {
                what: [float(np.mean([run[what] for run in runs])) for runs in zip(*pairs, strict=True)]
                for what in pairs[0][0]
            }
            each = [" ".join(f"{pair[k]['loss']:.3g}" for pair in pairs) for k in (0, 1)]
            lower = sum(new["loss"] < old["loss"] for old, new in pairs)
            right = "{:.3f} → {:.3f}".format(*mean["accuracy"]) if "accuracy" in mean else ""
            cells = [name, "Dale" if dale else "free", *(f"{mean['loss'][k]:.4g} ({each[k]})" for k in (0, 1)),
                     f"{lower} of {len(pairs)}", right, "{:.1%} → {:.1%}".format(*mean["zero"]),
                     f"{mean['moved'][1]:.2%}"]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def key(name: str, seed: int, dale: bool, moves: bool) -> str:
    """Return the name of a run in the file of results."""
    return f"{name}/{'dale' if dale else 'free'}/{'rewired' if moves else 'fixed'}/{seed}"


def main() -> None:
    """Compare rewired with fixed networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(TASKS)[:3], metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--seeds", type=int, default=5, help="seeds 1 to this number")
    parser.add_argument("--iterations", type=int, help="in place of the task's")
    parser.add_argument("--out", type=Path, default=Path("runs/rewired.json"))
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    results = json.loads(given.out.read_text()) if given.out.exists() else {}
    seeds = range(1, given.seeds + 1)
    for run in itertools.product(given.tasks, seeds, (False, True), (False, True)):
        if key(*run) not in results:
            results[key(*run)] = measure(*run, given.iterations)
            given.out.write_text(json.dumps(results, indent=1))
    print(*table(results, list(seeds)), sep="\n")


if __name__ == "__main__":
    main()

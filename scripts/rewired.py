#!/usr/bin/env python3
"""Does rewiring help? Sparse networks with synapses that move against the same ones with fixed synapses.

    python scripts/rewired.py --out runs/rewired.json
    python scripts/rewired.py --task evidence-short --seeds 1 2 3

Each run is one network of 100 neurons with a fixed in-degree: four sines with three readouts (40 inputs, 20 % and 5 %
of all pairs; loss of the last 30 iterations), and evidence accumulation, short (5 cues, 500 steps) and in full (7 cues,
2250 steps; cross-entropy and accuracy of 256 fresh trials). Signs are free, or 80 % of the neurons excite and 20 %
inhibit (Dale's law). Rewired: input and recurrent projections, with l1 = 0.01, in
each iteration. Prints the mean and, in brackets, each seed. Results are kept in --out; runs that it holds are not run
again. The sines and the short evidence task take about 15 minutes on one core, evidence accumulation in full hours.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
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
    model = Model(
        whole.variant, task.seed, optimizer=rule, populations=[_add_signs(item, dale) for item in whole.populations]
    )
    populations = {item.name: item for item in model.populations}
    for old in whole.projections:
        pre, post = populations[old.pre.name], populations[old.post.name]
        if post.role != "recurrent" or pre.role == "readout":
            given = {} if old.source is None else {"source": old.source, "target": old.target}
            delay = old.delay if old.source is None else old.delay.copy()
            feedback = {"feedback": old.feedback} if old.feedback else {}
            model.connect(pre, post, old.rule, weight=old.weight, delay=delay, **given, **feedback)
            continue
        model.connect(
            pre,
            post,
            "fixed_indegree",
            indegree=round(density * pre.size),
            allow_multapses=False,
            allow_autapses=pre != post,
            weight=Normal(std=(density * whole.size(pre.role)) ** -0.5),
            sign="source" if dale and pre.role == "recurrent" else "free",
            inhibition=EXCITATORY / (1 - EXCITATORY) if dale and pre.role == "recurrent" else 1.0,
            rewire={"l1": 0.01} if moves else None,
        )
    return model


def _add_signs(population: Any, dale: bool) -> Any:
    if not dale or population.role != "recurrent":
        return population
    signs = np.where(np.arange(population.size) < EXCITATORY * population.size, 1, -1)
    return replace(population, sign=signs.astype(np.int8))


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
    found = {"loss": float(np.mean(losses[-LAST:]))}
    if task.n_classes:
        test = simulation.test(FRESH)
        assert test.accuracy is not None  # as samples have labels
        found = {"loss": test / task.learning_window, "accuracy": test.accuracy}  # the loss of a step
    weights = simulation.network.incoming.weight
    moved = sum(np.sum(counts) for counts in simulation.moves.values()) / max(len(losses), 1)
    return found | {"zero": float(np.mean(weights == 0)), "moved": float(moved / len(weights))}


def table(results: dict[str, dict[str, float]], seeds: list[int]) -> list[str]:
    """Return the lines of the table, of the runs that are there."""
    lines = [
        "| task | signs | fixed: loss | rewired: loss | lower in | accuracy | at 0 | moved per iteration |",
        "|" + "---|" * 8,
    ]
    for name in TASKS:
        for dale in (False, True):
            pair = [[results.get(key(name, seed, dale, moves)) for seed in seeds] for moves in (False, True)]
            both = [k for k in range(len(seeds)) if pair[0][k] and pair[1][k]]
            if not both:
                continue
            fixed, rewired = ([part[k] for k in both] for part in pair)
            lower = sum(new["loss"] < old["loss"] for old, new in zip(fixed, rewired, strict=True))
            cells = [name, "Dale" if dale else "free", _cell(fixed), _cell(rewired), f"{lower} of {len(both)}"]
            cells.append(_both(fixed, rewired, "accuracy", ".3f"))
            cells += [_both(fixed, rewired, "zero", ".1%"), f"{_mean(rewired, 'moved'):.2%}"]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def key(name: str, seed: int, dale: bool, moves: bool) -> str:
    """Return the name of a run in the file of results."""
    return f"{name}/{'dale' if dale else 'free'}/{'rewired' if moves else 'fixed'}/{seed}"


def _mean(runs: list[dict[str, float]], name: str) -> float:
    return float(np.mean([run[name] for run in runs]))


def _cell(runs: list[dict[str, float]]) -> str:
    each = " ".join(f"{run['loss']:.3g}" for run in runs)
    return f"{_mean(runs, 'loss'):.4g} ({each})"


def _both(fixed: list[dict[str, float]], rewired: list[dict[str, float]], name: str, form: str) -> str:
    if name not in fixed[0]:
        return ""
    return f"{_mean(fixed, name):{form}} → {_mean(rewired, name):{form}}"


@click.command()
@click.option("--task", "names", type=click.Choice(list(TASKS)), multiple=True, help="by default all but evidence-full")
@click.option("--seeds", default=5, show_default=True, help="seeds 1 to this number")
@click.option("--iterations", type=int, help="in place of the task's")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("runs/rewired.json"), show_default=True
)
def main(names: tuple[str, ...], seeds: int, iterations: int | None, out: Path) -> None:
    """Compare rewired with fixed networks."""
    out.parent.mkdir(parents=True, exist_ok=True)
    results = json.loads(out.read_text()) if out.exists() else {}
    for name in names or [name for name in TASKS if name != "evidence-full"]:
        for seed in range(1, seeds + 1):
            for dale in (False, True):
                for moves in (False, True):
                    run = key(name, seed, dale, moves)
                    if run in results:
                        continue
                    results[run] = measure(name, seed, dale, moves, iterations)
                    out.write_text(json.dumps(results, indent=1))
                    click.echo(f"{run}: {results[run]}", err=True)
    click.echo("\n".join(table(results, list(range(1, seeds + 1)))))


if __name__ == "__main__":
    main()

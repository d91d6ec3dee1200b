#!/usr/bin/env python3
"""Compare NEST 3.10 (one thread) with pareprop (one rank): the same networks, weights and inputs, in turn.

Needs the extra `peer`. Each run has a fresh process. Timed are `nest.Simulate` and pareprop's samples with their
optimizer steps; building is printed apart. A repetition runs NEST and pareprop one after the other, with learning
and without (NEST: static synapses), and gives one ratio of each kind; medians and ranges are over repetitions, so that
other load on the machine falls on both. Without equal spikes in the first sample the exit code is 1.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import nest_peer
import numpy as np
from tqdm import tqdm

from pareprop.bench import BenchTask
from pareprop.bench import model as bench_model
from pareprop.model import Model
from pareprop.record import peak_rss_bytes
from pareprop.simulation import Observer, Outcome, Simulation
from pareprop.tasks import TASKS

KINDS = (("nest", True), ("pareprop", True), ("nest", False), ("pareprop", False))


@dataclass(frozen=True)
class Contest:
    """A network to run, and what pareprop is asked for.

    Attributes
    ----------
    name, variant : what it is
    n_samples : samples per run
    ratio : times faster than NEST that is demanded, 0 if nothing is
    cost : most that learning may cost, as a multiple of the run without
    sizes : of the bench network (neurons, indegree, inputs), or None for sine waves
    """

    name: str
    variant: str
    n_samples: int
    ratio: float
    cost: float
    sizes: tuple[int, int, int] | None = None

    def make(self) -> tuple[Model, Any]:
        """Model and task."""
        if self.sizes:
            return bench_model(*self.sizes, variant=self.variant), BenchTask(self.sizes[2], 1000, seed=1)
        task = TASKS[self.name]()
        return task.model(), task


CONTESTS = (
    Contest("sine-waves", "interval", 20, 50, 2.5),
    Contest("bench-2000", "interval", 3, 30, 2.5, (2000, 100, 100)),
    Contest("bench-10000", "interval", 1, 0, 2.5, (10000, 1000, 100)),
    Contest("sine-waves-plus", "spike", 20, 25, 4),
    Contest("bench-2000", "spike", 1, 25, 4, (2000, 100, 100)),
    Contest("bench-10000", "spike", 1, 0, 4, (10000, 1000, 100)),
)


class _Spikes(Observer):
    """Keeps the spikes of all samples."""

    def __init__(self) -> None:
        self.steps, self.ids = [], []

    def after_sample(self, simulation: Simulation, outcome: Outcome) -> None:
        n_steps = simulation.task.n_steps
        steps, ids = simulation.engine.log.spikes(n_steps)
        self.steps.append(steps + n_steps * outcome.index)
        self.ids.append(ids.astype(np.int64))


def run_nest(contest: Contest, learn: bool) -> dict[str, Any]:
    """Run NEST in this process, which must be fresh."""
    model, task = contest.make()
    return nest_peer.run(nest_peer.case_of(model, task.sample(0), task.learning_window), contest.n_samples, learn)


def run_pareprop(contest: Contest, learn: bool) -> dict[str, Any]:
    """Run pareprop in this process; the same keys as `nest_peer.run`."""
    model, task = contest.make()
    task.sample(0)
    before, start = peak_rss_bytes(), time.perf_counter()
    spikes = _Spikes()
    simulation = Simulation(model, task, observers=[spikes])
    middle = time.perf_counter()
    if learn:
        simulation.train(contest.n_samples)
        if contest.variant == "spike":  # NEST, too, works off what is pending
            simulation.engine.shown_weights()
    else:
        for index in range(contest.n_samples):
            simulation.run_sample(index, "train", learn=False)
    seconds = time.perf_counter() - middle
    return {
        "build_seconds": middle - start, "seconds": seconds,
        "bytes": peak_rss_bytes() - before,
        "spike_steps": np.concatenate(spikes.steps), "spike_ids": np.concatenate(spikes.ids),
    }  # fmt: skip


def fresh(function: Any, *arguments: Any) -> Any:
    """Call `function` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def repeat(contest: Contest, n: int, bar: tqdm) -> dict[tuple[str, bool], list[dict[str, Any]]]:
    """Run all kinds in turn, `n` times."""
    runs: dict[tuple[str, bool], list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for _ in range(n):
        for simulator, learn in KINDS:
            bar.set_description(f"{contest.variant} {contest.name}: {simulator}")
            found = fresh(run_nest if simulator == "nest" else run_pareprop, contest, learn)
            runs[simulator, learn].append(found)
            bar.update()
    return runs


def compare_spikes(contest: Contest, nest: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Whether both spiked alike in the first sample, and how often in all."""
    first = contest.make()[1].n_steps
    early = [
        np.stack([run[key][run["spike_steps"] < first] for key in ("spike_steps", "spike_ids")]) for run in (nest, ours)
    ]
    return {
        "first_sample": early[1].shape[1], "first_sample_equal": bool(np.array_equal(*early)),
        "nest": len(nest["spike_steps"]), "pareprop": len(ours["spike_steps"]),
    }  # fmt: skip


def summarize(contest: Contest, runs: dict[tuple[str, bool], list[dict[str, Any]]]) -> dict[str, Any]:
    """Seconds, paired ratios, bytes and spikes of one contest."""
    seconds = {kind: np.array([run["seconds"] for run in found]) for kind, found in runs.items()}
    ratios = {
        "learning": seconds["nest", True] / seconds["pareprop", True],
        "no_learning": seconds["nest", False] / seconds["pareprop", False],
        "learning_to_nest_static": seconds["nest", False] / seconds["pareprop", True],
        "cost_of_learning": seconds["pareprop", True] / seconds["pareprop", False],
        "cost_of_learning_nest": seconds["nest", True] / seconds["nest", False],
    }
    spikes = {learn: compare_spikes(contest, runs["nest", learn][0], runs["pareprop", learn][0]) for _, learn in KINDS}
    return {
        "name": contest.name, "variant": contest.variant, "n_samples": contest.n_samples,
        "demanded": {"learning": contest.ratio, "cost_of_learning": contest.cost},
        "ratios": {key: values.tolist() for key, values in ratios.items()},
        "runs": {
            f"{simulator}{'' if learn else '_static'}": {
                key: [run[key] for run in found] for key in ("seconds", "build_seconds", "bytes")
            } for (simulator, learn), found in runs.items()
        },
        "spikes": {"learning": spikes[True], "no_learning": spikes[False]},
    }  # fmt: skip


def show(result: dict[str, Any]) -> None:
    """Print one contest."""
    click.echo(f"\n{result['variant']} {result['name']}, {result['n_samples']} samples of 1000 steps")
    for key, name in (
        ("nest", "NEST e-prop"), ("nest_static", "NEST static synapses"),
        ("pareprop", "pareprop"), ("pareprop_static", "pareprop, no learning"),
    ):  # fmt: skip
        run = result["runs"][key]
        build, memory = np.median(run["build_seconds"]), np.median(run["bytes"]) / 2**20
        click.echo(f"  {name:22s} {_spread(run['seconds'], '.4f')} s, built in {build:.3f} s, memory +{memory:.0f} MiB")
    for key, name in (
        ("learning", "times faster than NEST, learning"), ("no_learning", "times faster, both without learning"),
        ("learning_to_nest_static", "times faster, learning against NEST static"),
        ("cost_of_learning", "cost of learning, pareprop"), ("cost_of_learning_nest", "cost of learning, NEST"),
    ):  # fmt: skip
        bound = result["demanded"].get(key)
        sign = "at most" if key == "cost_of_learning" else "at least"
        wanted = f"   (demanded: {sign} {bound:g})" if bound else ""
        click.echo(f"  {name:44s} {_spread(result['ratios'][key], '.2f')}{wanted}")
    for key, spikes in result["spikes"].items():
        verdict = "equal" if spikes["first_sample_equal"] else "NOT EQUAL"
        click.echo(
            f"  spikes, {key}: first sample {spikes['first_sample']}, {verdict}; "
            f"all: NEST {spikes['nest']}, pareprop {spikes['pareprop']}"
        )


def _spread(values: list[float], form: str) -> str:
    return f"{np.median(values):{form}} [{min(values):{form}} .. {max(values):{form}}]"


@click.command(help=__doc__)
@click.option("--variant", type=click.Choice(["interval", "spike", "both"]), default="interval", show_default=True)
@click.option("--only", help="Run only the contests whose name holds this.")
@click.option("--large", is_flag=True, help="Also 10 000 neurons with 1 000 + 100 inputs each (minutes).")
@click.option("--repeat", "n", type=click.IntRange(1), default=5, show_default=True, help="Repetitions.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures there.")
def main(variant: str, only: str | None, large: bool, n: int, json_file: Path | None) -> None:
    """Run the contests and print the figures."""
    if find_spec("nest") is None:
        raise click.ClickException("NEST is missing: install the extra 'peer'")
    chosen = [
        contest
        for contest in CONTESTS
        if variant in (contest.variant, "both") and (only or "") in contest.name
        if large or "10000" not in contest.name
    ]
    if not chosen:
        raise click.BadParameter(f"no contest is called '{only}'", param_hint="--only")
    results = []
    with tqdm(total=len(chosen) * n * len(KINDS), disable=None, leave=False) as bar:
        for contest in chosen:
            results.append(summarize(contest, repeat(contest, n, bar)))
            with bar.external_write_mode(file=sys.stdout):
                show(results[-1])
    if json_file:
        json_file.write_text(json.dumps(results, indent=1) + "\n")
    if not all(spikes["first_sample_equal"] for result in results for spikes in result["spikes"].values()):
        sys.exit("NEST and pareprop did not make the same spikes in the first sample")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Compare NEST 3.10 with pareprop: the same networks, weights and inputs, in turn, on threads and on ranks.

Needs the extra `peer`. Each run has fresh processes. Timed are `nest.Simulate` and pareprop's samples with their
optimizer steps; building is printed apart. A repetition runs all one after the other, with learning and without (NEST:
static synapses), and gives one ratio of each kind; medians and ranges are over repetitions, so that other load on the
machine falls on all. Without equal spikes in the first sample the exit code is 1, but with STDP: NEST's delays are
dendritic there and weights move with the arrival, here with the next one.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np
from contests import CONTESTS, Contest, Kind, fresh, suffix, workers_of
from tqdm import tqdm

from pareprop.network.connectivity import RULES

Runs = dict[Kind, list[dict[str, Any]]]
NUMBERS = ("seconds", "build_seconds", "bytes")
NAMES = {
    "nest": "NEST",
    "nest_static": "NEST static synapses",
    "pareprop": "pareprop",
    "pareprop_static": "pareprop, no learning",
}
RATIOS = {  # name to (numerator, denominator, words)
    "learning": ("nest", "pareprop", "times faster than NEST, learning"),
    "no_learning": ("nest_static", "pareprop_static", "times faster, both without learning"),
    "learning_to_nest_static": ("nest_static", "pareprop", "times faster, learning against NEST static"),
    "cost_of_learning": ("pareprop", "pareprop_static", "cost of learning, pareprop"),
    "cost_of_learning_nest": ("nest", "nest_static", "cost of learning, NEST"),
}


def kinds(workers: tuple[int, ...]) -> list[Kind]:
    """All that run in one repetition, in this order."""
    who = (("nest", True), ("pareprop", True), ("nest", False), ("pareprop", False))
    return [Kind(simulator, learn, n) for n in workers for simulator, learn in who]


def repeat(contest: Contest, n: int, workers: tuple[int, ...], bar: tqdm) -> Runs:
    """Run all kinds in turn, `n` times."""
    runs: Runs = {kind: [] for kind in kinds(workers)}
    for _ in range(n):
        for kind, results in runs.items():
            bar.set_description(f"{contest.variant} {contest.name}: {kind.key}")
            results.append(fresh(contest, kind))
            bar.update()
    return runs


def compare_spikes(contest: Contest, nest: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Whether both spiked alike in the first sample, and how often in all."""
    first = contest.make()[1].n_steps
    early = [
        np.stack([run[key][run["spike_steps"] < first] for key in ("spike_steps", "spike_ids")]) for run in (nest, ours)
    ]
    return {
        "first_sample": early[1].shape[1],
        "first_sample_equal": bool(np.array_equal(*early)),
        "nest": len(nest["spike_steps"]),
        "pareprop": len(ours["spike_steps"]),
    }


def summarize(contest: Contest, runs: Runs) -> dict[str, Any]:
    """Seconds, paired ratios, bytes and spikes of one contest."""
    model, task = contest.make()
    numbers = {kind.key: {name: [run[name] for run in results] for name in NUMBERS} for kind, results in runs.items()}
    spikes = {
        ("learning" if kind.learn else "no_learning") + suffix(kind.workers): compare_spikes(
            contest, results[0], runs[Kind("pareprop", kind.learn, kind.workers)][0]
        )
        | {"must_be_equal": contest.synapse != "stdp_synapse" or not kind.learn}
        for kind, results in runs.items()
        if kind.simulator == "nest"
    }
    return {
        "name": contest.name,
        "variant": contest.variant,
        "n_samples": contest.n_samples,
        "n_steps": task.n_steps,
        "neurons": model.size("recurrent"),
        "synapses": count_synapses(model),
        "simulated_seconds": contest.n_samples * task.n_steps * model.dt_ms / 1000.0,
        "ratios": ratios(numbers),
        "runs": numbers,
        "spikes": spikes,
    }


def count_synapses(model: Any) -> int:
    """Synapses that carry spikes."""
    carrying = [item for item in model.projections if item.pre.role in ("input", "recurrent")]
    return round(sum(item.post.size * RULES[item.rule].compute_indegree(item) for item in carrying))


def ratios(runs: dict[str, dict[str, list[float]]]) -> dict[str, list[float]]:
    """Paired ratios of seconds, and what more workers gain when learning."""
    workers = workers_of(runs)
    pairs = {
        name + suffix(n): (above + suffix(n), below + suffix(n))
        for n in workers
        for name, (above, below, _) in RATIOS.items()
    }
    pairs |= {f"gain_{who}{suffix(n)}": (who, who + suffix(n)) for n in workers if n > 1 for who in NAMES}
    seconds = {key: run["seconds"] for key, run in runs.items()}
    return {
        name: [a / b for a, b in zip(seconds[above], seconds[below], strict=False)]
        for name, (above, below) in pairs.items()
        if seconds.get(above) and seconds.get(below)
    }


def show(result: dict[str, Any]) -> None:
    """Print one contest."""
    click.echo(
        f"\n{result['variant']} {result['name']}, {result['synapses']} synapses, "
        f"{result['n_samples']} samples of {result['n_steps']} steps"
    )
    for n in workers_of(result["runs"]):
        _show_workers(result, n)
    for key, spikes in result["spikes"].items():
        verdict = "equal" if spikes["first_sample_equal"] else "NOT EQUAL" if spikes["must_be_equal"] else "others"
        click.echo(
            f"  spikes, {key}: first sample {spikes['first_sample']}, {verdict}; "
            f"all: NEST {spikes['nest']}, pareprop {spikes['pareprop']}"
        )


def _show_workers(result: dict[str, Any], n: int) -> None:
    end, runs = suffix(n), result["runs"]
    click.echo(f" {n} {'thread or rank' if n == 1 else 'threads or ranks'}, {len(runs['nest' + end]['seconds'])} times")
    for key, name in NAMES.items():
        run = runs[key + end]
        build, memory = np.median(run["build_seconds"]), np.median(run["bytes"]) / 2**20
        seconds = _format_spread(run["seconds"], ".4f")
        click.echo(f"  {name:22s} {seconds} s, built in {build:.3f} s, memory +{memory:.0f} MiB")
    words = {name + end: text for name, (*_, text) in RATIOS.items()}
    words |= {f"gain_{key}{end}": f"times faster than alone, {name}" for key, name in NAMES.items()}
    for key, text in words.items():
        if key in result["ratios"]:
            click.echo(f"  {text:44s} {_format_spread(result['ratios'][key], '.2f')}")


def _format_spread(values: list[float], form: str) -> str:
    return f"{np.median(values):{form}} [{min(values):{form}} .. {max(values):{form}}]"


def choose(variant: str, only: str, large: bool) -> list[Contest]:
    """The contests asked for."""
    chosen = [
        contest
        for contest in CONTESTS
        if variant in (contest.variant, "both") and only in contest.name and (large or "10000" not in contest.name)
    ]
    if not chosen:
        raise click.BadParameter(f"no contest is called '{only}'", param_hint="--only")
    return chosen


@click.command(help=__doc__)
@click.option("--variant", type=click.Choice(["interval", "spike", "both"]), default="interval", show_default=True)
@click.option("--only", default="", help="Run only the contests whose name holds this.")
@click.option("--large", is_flag=True, help="Also 10 000 neurons with 1 000 + 100 inputs each (minutes).")
@click.option("--workers", multiple=True, type=click.IntRange(1), default=(1,), help="Threads of NEST, ranks here.")
@click.option("--repeat", "n", type=click.IntRange(1), default=5, show_default=True, help="Repetitions.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures there.")
def main(variant: str, only: str, large: bool, workers: tuple[int, ...], n: int, json_file: Path | None) -> None:
    """Run the contests and print the figures."""
    if find_spec("nest") is None:
        raise click.ClickException("NEST is missing: install the extra 'peer'")
    chosen, results = choose(variant, only, large), []
    with tqdm(total=len(chosen) * n * len(kinds(workers)), disable=None, leave=False) as bar:
        for contest in chosen:
            results.append(summarize(contest, repeat(contest, n, workers, bar)))
            if json_file:
                json_file.write_text(json.dumps(results, indent=1) + "\n")
            with bar.external_write_mode(file=sys.stdout):
                show(results[-1])
    found = [spikes for result in results for spikes in result["spikes"].values()]
    if not all(spikes["first_sample_equal"] for spikes in found if spikes["must_be_equal"]):
        sys.exit("NEST and pareprop did not make the same spikes in the first sample")


if __name__ == "__main__":
    main()

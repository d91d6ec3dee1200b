#!/usr/bin/env python3
"""How well e-prop follows backpropagation through time (BPTT) in recurrent networks, while they learn.

A network is trained by e-prop twice, with random and with symmetric feedback. At some iterations both gradients of the
same samples and weights are taken, e-prop's from the engine without rate regularisation, BPTT's from PyTorch
(`torch_twin`), and their cosine similarity is printed and drawn per projection. What flows backward through recurrent
connections may be damped: at 0 only random feedback tells e-prop from BPTT (`tests/engines/test_bptt.py`), 1 is BPTT.
Beside it stands the norm of BPTT's gradient in units of e-prop's, for in networks such as these BPTT's may explode;
then a cosine with it says little. Needs the extra `peer`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch_twin
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pareprop.plots import style
from pareprop.simulation.loop import Simulation
from pareprop.tasks import TASKS

FEEDBACK = {"symmetric": "-", "random": ":"}
THROUGH = {0.0: "recurrent paths cut", 0.3: "recurrent paths × 0.3", 1.0: "BPTT"}
CONTESTS = {  # settings of the tasks, and the samples over which gradients are summed
    "sine-waves": ({}, 1),
    "evidence-accumulation": (
        {"n_reg": 20, "n_ad": 20, "n_cues": 3, "cue": 50, "spacing": 20, "delay": 150, "recall": 50, "adapt_tau": 400.0,
         "batch_size": 8}, 8,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """A comparison at one iteration.

    Attributes
    ----------
    loss : mean over the samples
    cosines, ratios : float64 (n_through, n_projections); norms of BPTT's gradient in units of e-prop's
    """

    loss: float
    cosines: np.ndarray
    ratios: np.ndarray


def compare(run: Simulation, n_samples: int) -> Point:
    """Compare the gradients summed over samples of phase "test"; training goes on undisturbed."""
    rate, regularisation = run.network.cells["c_reg"], run.network.cells["c_reg"].copy()
    rate[:] = 0.0
    rows, losses = [[{} for _ in range(n_samples)] for _ in THROUGH], []
    for index in range(n_samples):
        losses.append(run.run_sample(index, "test", learn=True)[0])
        spikes = np.column_stack(run.engine.log.spikes(run.task.n_steps))
        for row, through in zip(rows, THROUGH, strict=True):
            twin = torch_twin.bptt(run, run.task.sample(index, "test"), through)
            if not np.array_equal(np.argwhere(twin.spikes), spikes):
                raise click.ClickException(f"sample {index}: PyTorch's spikes differ from the engine's")
            row[index] = twin.gradient
    found = torch_twin.eprop(run)
    rate[:] = regularisation
    run.engine.n_collected = 0
    for collected in run.engine.gradient.values():
        collected[:] = 0.0
    wanted = [{name: sum(gradient[name] for gradient in row) for name in found} for row in rows]
    own, other = (np.array([[np.linalg.norm(g) for g in row.values()] for row in them]) for them in ([found], wanted))
    dots = np.array([[found[name] @ row[name] for name in found] for row in wanted])
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where a gradient is 0
        return Point(float(np.mean(losses)), dots / own / other, other / own)


def follow(name: str, feedback: str, iterations: list[int], seed: int) -> tuple[list[str], list[Point]]:
    """Train a task with one kind of feedback; return the plastic projections and the comparison at each iteration."""
    settings, n_samples = CONTESTS[name]
    task = TASKS[name](seed=seed, **settings)
    model = task.model()
    model.projections = [replace(item, feedback=feedback) if item.feedback else item for item in model.projections]
    run, points = Simulation(model, task, settings=replace(task.settings(), keep_gradients=True)), []
    names = list(torch_twin.eprop(run))
    for iteration in iterations:
        run.train(iteration)
        point = compare(run, n_samples)
        click.echo(f"\n{name}, {feedback} feedback, iteration {iteration}: loss {point.loss:.4g}")
        for k, projection in enumerate(names):
            numbers = zip(THROUGH.values(), point.cosines[:, k], point.ratios[:, k], strict=True)
            cells = [f"{label} {cosine:7.4f}, norm {ratio:8.3g}" for label, cosine, ratio in numbers]
            click.echo(" | ".join([f"    {projection:9}", *cells]))
        points.append(point)
    return names, points


def draw(ax: Axes, row: int, iterations: list[int], names: list[str], courses: dict[str, list[Point]]) -> None:
    """One panel: a colour per projection, a line style per feedback; readout weights, equal always, are left out."""
    shown = [k for k, name in enumerate(names) if not name.endswith("->out")]
    for feedback, points in courses.items():
        ax.plot([], [], FEEDBACK[feedback], color=style.BLACK, label=feedback)
        for k, color in zip(shown, style.colors(len(shown)), strict=True):
            values, label = [point.cosines[row, k] for point in points], names[k] if feedback == "random" else None
            ax.plot(iterations, values, FEEDBACK[feedback], color=color, marker="o", ms=2.5, label=label, clip_on=False)
    ratios = np.array([point.ratios[row, shown] for points in courses.values() for point in points])
    text = f"norm ratio: {np.nanmin(ratios):.2g} to {np.nanmax(ratios):.2g}"
    ax.text(0.98, 0.02, text, transform=ax.transAxes, ha="right", fontsize=6)
    ax.axhline(0.0, color=style.GREY, lw=0.6)
    ax.set_ylim(-1.0, 1.02)
    ax.set_xscale("symlog", linthresh=10)
    ax.set_xticks(iterations, [str(iteration) for iteration in iterations])
    ax.minorticks_off()


@style.styled
def save(results: dict[str, tuple[list[str], dict[str, list[Point]]]], iterations: list[int], path: Path) -> None:
    """Write the figure: a row per task, a column per damping of recurrent paths."""
    figure = Figure(figsize=(style.WIDTH, 0.6 + 2.0 * len(results)), layout="constrained")
    figure.suptitle("Gradients of e-prop against BPTT, symmetric and random feedback", x=0.01, ha="left")
    axes = figure.subplots(len(results), len(THROUGH), sharex=True, sharey=True, squeeze=False)
    for line, (task, (names, courses)) in zip(axes, results.items(), strict=True):
        for row, (ax, label) in enumerate(zip(line, THROUGH.values(), strict=True)):
            draw(ax, row, iterations, names, courses)
            ax.set_title(label)
        line[0].set_ylabel(f"{task}\ncosine similarity")
        style.legend_right(line[-1], ncols=1)
    for ax in axes[-1]:
        ax.set_xlabel("training iteration")
    figure.savefig(path)


@click.command()
@click.option("--at", multiple=True, type=click.IntRange(0), default=(0, 10, 50, 100, 300), help="Iterations.")
@click.option("--task", "tasks", multiple=True, type=click.Choice([*CONTESTS]), default=[*CONTESTS], help="Tasks.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Figure to write, such as cosine.png.")
def main(at: tuple[int, ...], tasks: tuple[str, ...], seed: int, out: Path | None) -> None:
    """Compare the gradients of e-prop and BPTT over training."""
    iterations, results = sorted(set(at)), {}
    for task in tasks:
        courses = {feedback: follow(task, feedback, iterations, seed) for feedback in FEEDBACK}
        results[task] = courses["random"][0], {feedback: points for feedback, (_, points) in courses.items()}
    if out:
        save(results, iterations, out)


if __name__ == "__main__":
    main()

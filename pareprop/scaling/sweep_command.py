"""The command sweep: one training for each combination of settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from .. import terminal
from ..errors import StateError
from ..parallel.exchange import Exchange
from ..plots import sweep_table
from ..runs import config
from ..runs.options import GivenPath
from ..runs.run import EXIT_CHECKPOINTED
from ..storage.disk import output_errors
from . import batch, sweep
from .options import MOST, require_one_process


@click.command(name="sweep")
@click.argument("source", type=GivenPath(), metavar="TASK|FILE.toml")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE,...",
    help="Settings of all runs (eta=0.01), and values to try: eta=1e-4,1e-3, seed=1..5; repeatable.",
)
@click.option(
    "--out",
    type=GivenPath(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder of the runs; what is finished there is not run again.",
)
@click.option("--ranks", type=click.IntRange(1, MOST), default=1, show_default=True, help="Ranks of each run.")
@click.option("--only", type=click.IntRange(min=1), metavar="K", help="Train the K-th run alone, as a job of an array.")
@click.option("--list", "list_only", is_flag=True, help="Print the runs with their numbers, and train none.")
@click.pass_obj
def sweep_command(
    exchange: Exchange,
    source: str,
    settings: tuple[str, ...],
    out: Path,
    ranks: int,
    only: int | None,
    list_only: bool,
) -> None:
    """Train once for each combination of settings.

    Each run has a directory in --out, one after another; the same command continues after an interruption. At the end:
    a table (sweep.csv), a figure (sweep.png), a report (report.html) with the best settings and the spread over seeds.
    """
    require_one_process(exchange)
    shared, runs = sweep.plan(settings)
    chosen = list(sweep.chosen(runs, only))
    for one in runs:  # all must be possible before the first one is trained
        config.load(source, (*shared, *one.assignments()))
    if list_only:
        for one in runs:
            terminal.echo(f"{one.number}: {one.label or 'one run'}")
        return
    sweep.claim(out, {"source": source, "settings": list(settings)})
    launcher = "" if ranks == 1 else "srun" if os.environ.get("SLURM_JOB_ID") else "mpirun"
    failed = []
    for one in chosen:
        if sweep.is_done(one, out):
            continue
        terminal.echo(f"run {one.number} of {len(runs)}: {one.label}")
        assignments = [part for text in (*shared, *one.assignments()) for part in ("--set", text)]
        training = batch.Training([source, *assignments], out / one.name, launcher, ranks, output=False)
        try:
            code = training.run()
        except KeyboardInterrupt:
            terminal.echo("interrupted; the same command continues the sweep", err=True)
            raise
        if code == EXIT_CHECKPOINTED or training.asked:
            terminal.echo("stopped with a checkpoint; the same command continues the sweep")
            sys.exit(EXIT_CHECKPOINTED)
        if code:
            failed.append(one)
        row = sweep.result_of(one, out)
        result = f"{row['outcome']} {float(row['value']):.4g}, " if row["value"] else ""
        end = f"exit code {code}" if code else f"{result}{row['seconds']} s"
        terminal.echo(f"run {one.number} of {len(runs)}: {one.label}: {end}")
    if only is None:
        _tell_sweep(runs, out)
    if failed:
        raise StateError(f"{len(failed)} of {len(chosen)} runs failed: {', '.join(one.name for one in failed[:5])}")


def _tell_sweep(runs: Sequence[sweep.Run], out: Path) -> None:
    """Write table, figure and report of a sweep; print its settings, the best first."""
    from ..plots import sweep as figures  # loads matplotlib
    from ..runs import report

    path = sweep.write_table(runs, out)
    groups = sweep_table.group(sweep_table.read(path))
    rows = [[*groups[0].settings, groups[0].name, "lowest", "highest", "runs"]]
    rows += [[*one.settings.values(), *one.texts()] for one in groups]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        terminal.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    if groups[0].values and len(groups) > 1:
        best = ", ".join(f"{key} = {value}" for key, value in groups[0].settings.items())
        terminal.echo(f"best: {best}: {groups[0].name} {groups[0].mean:.4g}")
    terminal.echo(f"table: {path}")
    with output_errors(out, "figures "):
        drawn = figures.draw(path)
    for figure in drawn:
        if figure.suffix == ".png":
            terminal.echo(f"figure: {figure}")
    if any(one.values for one in groups):
        terminal.echo(f"report: {report.write([out])}")

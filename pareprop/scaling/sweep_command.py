"""The command `sweep`: one training for each combination of settings, then the test of the best, table and report."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from .. import terminal
from ..errors import StateError
from ..parallel.exchange import Exchange
from ..plots import sweep_table
from ..runs import config
from ..runs.options import TRUST, GivenPath
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
@TRUST
@click.option("--list", "list_only", is_flag=True, help="Print the runs with their numbers, and train none.")
@click.pass_obj
def sweep_command(
    exchange: Exchange,
    source: str,
    settings: tuple[str, ...],
    out: Path,
    ranks: int,
    only: int | None,
    trust: bool,
    list_only: bool,
) -> None:
    """Train once for each combination of settings.

    Each run has a directory in --out, one after another; the same command continues after an interruption. Where runs
    validate, that chooses the best setting, which alone is tested. At the end: a table (sweep.csv), a figure
    (sweep.png), a report (report.html) with the best settings and the spread over seeds.
    """
    require_one_process(exchange)
    shared, runs = sweep.plan(settings)
    chosen = list(sweep.chosen(runs, only))
    # all must be possible before the first one is trained
    configs = [config.load(source, (*shared, *one.assignments()), trust) for one in runs]
    tasks = [one.task for one in configs]
    if list_only:
        for one in runs:
            terminal.echo(f"{one.number}: {one.label or 'one run'}")
        return
    sweep.claim(out, {"source": source, "settings": list(settings)} | sweep.contents(configs))
    chooses = any(not sweep_table.is_seed(key) for key in runs[0].settings)
    study = sweep.Sweep(runs, out, chooses and all(task.validates for task in tasks))
    for one, chosen_config in zip(runs, configs, strict=True):
        study.require_same(one, chosen_config)
    tests = all(task.test_samples for task in tasks)
    if chooses and not study.by_validation:
        first = next(task for task in tasks if not task.validates)
        why = f"validate_every = {first.validate_every}, iterations = {first.iterations}"
        by = "the test, whose result is then too good" if tests else "the last training iteration"
        terminal.echo(f"note: no samples validate ({why}): the best setting is chosen by {by}")

    def train(one: sweep.Run, what: str, *options: str) -> int:
        terminal.echo(f"{what}: {one.label}")
        assignments = [part for text in (*shared, *one.assignments()) for part in ("--set", text)]
        training = batch.Training(
            [source, *assignments, *options, *["--trust"] * trust], out / one.name, launcher, ranks, output=False
        )
        try:
            code = training.run()
        except KeyboardInterrupt:
            terminal.echo("interrupted; the same command continues the sweep", err=True)
            raise
        if code == EXIT_CHECKPOINTED or training.asked:
            terminal.echo("stopped with a checkpoint; the same command continues the sweep")
            sys.exit(EXIT_CHECKPOINTED)
        row = study.result_of(one)
        result = f"{row['outcome']} {float(row['value']):.4g}, " if row["value"] else ""
        end = f"exit code {code}" if code else f"{result}{row['seconds']} s"
        terminal.echo(f"{what}: {one.label}: {end}")
        return code

    launcher = "" if ranks == 1 else "srun" if os.environ.get("SLURM_JOB_ID") else "mpirun"
    later = ["--no-test"] if study.by_validation and tests else []
    left = [one for one in chosen if not study.is_done(one)]
    failed = [one for one in left if train(one, f"run {one.number} of {len(runs)}", *later)]
    if only is None:
        failed += [one for one in study.to_test() if later and train(one, f"test of run {one.number}")]
        _tell_sweep(study)
    if failed:
        raise StateError(f"{len(failed)} of {len(chosen)} runs failed: {', '.join(one.name for one in failed[:5])}")


def _tell_sweep(study: sweep.Sweep) -> None:
    """Write table, figure and report of a sweep; print its settings, the best first."""
    from ..plots import sweep as figures  # loads matplotlib
    from ..runs import report

    path = study.write_table()
    groups = sweep_table.group(sweep_table.read(path))
    rows = sweep_table.texts(groups)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        terminal.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    if groups[0].values and len(groups) > 1:
        terminal.echo(f"best: {groups[0].line}")
    terminal.echo(f"table: {path}")
    with output_errors(study.folder, "figures "):
        drawn = figures.draw(path)
    for figure in drawn:
        if figure.suffix == ".png":
            terminal.echo(f"figure: {figure}")
    if any(one.values for one in groups):
        terminal.echo(f"report: {report.write([study.folder])}")

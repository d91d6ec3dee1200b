"""The command `sweep` and `pareprop.sweep`: one training for each combination of settings; the best one is tested."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

import click
import numpy as np

from .. import terminal
from ..errors import InputError, StateError, quote
from ..parallel import launcher
from ..parallel.exchange import Exchange
from ..plots import sweep_table
from ..runs import config
from ..runs.options import TRUST, GivenPath
from ..runs.run import EXIT_CHECKPOINTED, print_figures
from ..storage.disk import output_errors
from . import batch
from . import sweep as planning
from .options import MAX_RANKS, require_one_process


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
    help="Folder of the runs; runs that are finished there are not run again.",
)
@click.option("--ranks", type=click.IntRange(1, MAX_RANKS), default=1, show_default=True, help="Ranks of each run.")
@click.option(
    "--jobs", type=click.IntRange(1, MAX_RANKS), default=1, show_default=True, help="Runs at a time on this machine."
)
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
    jobs: int,
    only: int | None,
    trust: bool,
    list_only: bool,
) -> None:
    """Train once for each combination of settings.

    Each run has a directory in --out, one after another, or --jobs of them at a time; the same command continues after
    an interruption. If runs validate, validation chooses the best setting, which alone is tested. At the end: a table
    (sweep.csv), a figure (sweep.png), a report (report.html) with the best settings and the spread over seeds.
    """
    require_one_process(exchange)
    if list_only:
        for one in _list_runs(source, settings, only, trust)[1]:
            terminal.echo(f"{one.number}: {one.label or 'one run'}")
        return
    _train_runs(source, settings, out, ranks, jobs, only, trust)


def sweep(
    source: str | Path,
    out: str | Path,
    settings: Mapping[str, object] | None = None,
    *,
    jobs: int = 1,
    ranks: int = 1,
    trust: bool = False,
    quiet: bool = False,
    **more: object,
) -> list[dict[str, object]]:
    """Train once for each combination of settings, as `pareprop sweep` does, and return the runs, the best first.

    Parameters
    ----------
    source : str or Path
        A task of the package, or a configuration (.toml).
    out : str or Path
        Folder of the runs; runs that are finished there are not run again.
    settings : Mapping or None
        Name to a value of all runs, or to a list of values to try; names may include their section ("run.seed").
    jobs : int
        Runs at a time on this machine.
    ranks : int
        Ranks of each run.
    trust : bool
        Whether code that the configuration names may be imported.
    quiet : bool
        Whether to print nothing; the error then has the messages of failed runs.
    **more : object
        Further settings.

    Returns
    -------
    list of dict
        A row for each run, as in `sweep.csv`, with numbers as numbers: its settings, `outcome` (the compared result),
        `value`, `validation`, `test`, `iterations`, `seconds`, `state`, `digest`, `run` (its directory in `out`). Runs
        of one setting that differ in their seed follow each other, the setting with the best mean value first.

    Raises
    ------
    InputError
        If a setting is not possible, the folder is another sweep's, or mpirun started several processes.
    StateError
        If runs failed; the others are done.

    Examples
    --------
    >>> rows = sweep("digits.toml", "runs/sweep", eta=[1e-4, 3e-3], seed=[1, 2], jobs=2)
    >>> rows[0]["eta"], rows[0]["validation"], rows[0]["test"]
    """
    require_one_process(launcher.exchange())
    for name, value in (("source", source), ("out", out)):
        if not isinstance(value, str | Path):
            raise InputError(f"sweep: {name} = {quote(value)} must be a path")
    for name, number in (("jobs", jobs), ("ranks", ranks)):
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_RANKS:
            raise InputError(f"sweep: {name} = {quote(number)} must be a whole number from 1 to {MAX_RANKS}")
    given = dict(settings or {}) | more
    texts = [f"{name}={_format_values(value)}" for name, value in given.items()]
    errors = io.StringIO()
    with contextlib.ExitStack() as stack:
        if quiet:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(errors))
        try:
            path = _train_runs(str(source), texts, Path(out), ranks, jobs, None, trust)
        except StateError as problem:
            raise StateError("\n".join([str(problem), *errors.getvalue().splitlines()])) from None
    rows = sweep_table.read_rows(path)
    places = {tuple(group.settings.values()): k for k, group in enumerate(sweep_table.group_runs(rows))}
    rows.sort(key=lambda row: places[tuple(sweep_table.settings_of(row).values())])
    alone = {name: _format_values(value) for name, value in given.items() if _is_list(value) and len(value) == 1}
    return [{name: _parse_value(text) for name, text in (alone | row).items()} for row in rows]


def _format_values(value: object) -> str:
    """Return a value, or several, as `--set` takes it."""
    return ",".join(map(_format_value, value if _is_list(value) else [value]))


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list | tuple | range | np.ndarray)


def _format_value(value: object) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, str | Path):
        text = str(value)
        return json.dumps(text) if planning.split_values(text) != [text] else text
    return json.dumps(value)


def _parse_value(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        number = sweep_table.parse_number(text)
        return number if number == number or text == "nan" else text


def _list_runs(
    source: str, settings: Sequence[str], only: int | None, trust: bool
) -> tuple[list[str], list[planning.Run], list[planning.Run], list[config.Config]]:
    """Return shared settings, all runs, the runs to train now, and the configurations; all must be valid."""
    shared, runs = planning.list_runs(settings)
    chosen = list(planning.select_runs(runs, only))
    return shared, runs, chosen, [config.load(source, (*shared, *one.list_assignments()), trust) for one in runs]


def _train_runs(
    source: str, settings: Sequence[str], out: Path, ranks: int, jobs: int, only: int | None, trust: bool
) -> Path:
    """Train and test the runs of a sweep; return its table."""
    if jobs > 1 and ranks > 1:
        raise InputError(f"--jobs {jobs} is for runs of one rank, not of --ranks {ranks}: launchers would share cores")
    shared, runs, chosen, configs = _list_runs(source, settings, only, trust)
    tasks = [one.task for one in configs]
    planning.claim_folder(out, {"source": source, "settings": list(settings)} | planning.fingerprint_files(configs))
    chooses = any(not sweep_table.is_seed(key) for key in runs[0].settings)
    study = planning.Sweep(runs, out, chooses and all(task.validates for task in tasks))
    for one, chosen_config in zip(runs, configs, strict=True):
        study.require_same(one, chosen_config)
    tests = all(task.test_samples for task in tasks)
    if chooses and not study.by_validation:
        first = next(task for task in tasks if not task.validates)
        why = f"validate_every = {first.validate_every}, iterations = {first.iterations}"
        by = "the test, whose result is then too good" if tests else "the last training iteration"
        terminal.echo(f"note: no samples validate ({why}): the best setting is chosen by {by}")
    starter = "" if ranks == 1 else "srun" if os.environ.get("SLURM_JOB_ID") else "mpirun"

    def train_some(some: Sequence[planning.Run], what: str, *options: str) -> list[planning.Run]:
        """Train some runs and return the failed ones."""
        names: dict[batch.Training, tuple[planning.Run, str]] = {}

        def start_trainings() -> Iterator[batch.Training]:
            for one in some:
                line = f"{what.format(one.number)}: {one.label}"
                terminal.echo(line)
                assignments = [part for text in (*shared, *one.list_assignments()) for part in ("--set", text)]
                arguments = [source, *assignments, *options, *["--trust"] * trust]
                training = batch.Training(arguments, out / one.name, starter, ranks, output=False)
                training.prefix = f"{one.name}: " if jobs > 1 else ""
                names[training] = one, line
                yield training

        failed, stopped = [], False
        try:
            for training, code in batch.run_together(start_trainings(), jobs):
                one, line = names[training]
                if code == EXIT_CHECKPOINTED:  # as if the sweep had been asked: the others stop, none begins
                    training.asked.add(signal.SIGUSR1)
                stopped = bool(training.asked)
                row = study.read_row(one)
                result = f"{row['outcome']} {float(row['value']):.4g}, " if row["value"] else ""
                if row["test"] and row["outcome"].startswith("validation"):
                    result += f"{row['outcome'].replace('validation', 'test')} {float(row['test']):.4g}, "
                if code != EXIT_CHECKPOINTED:
                    terminal.echo(f"{line}: {f'exit code {code}' if code else result + row['seconds'] + ' s'}")
                failed += [one] if code else []
        except KeyboardInterrupt:
            terminal.echo("interrupted; the same command continues the sweep", err=True)
            raise
        if stopped:
            terminal.echo("stopped with a checkpoint; the same command continues the sweep")
            sys.exit(EXIT_CHECKPOINTED)
        return failed

    later = ["--no-test"] if study.by_validation and tests else []
    left = [one for one in chosen if not study.is_done(one)]
    failed = train_some(left, f"run {{}} of {len(runs)}", *later)
    if only is None:
        failed += train_some(study.list_untested(), "test of run {}") if later else []
        _report_sweep(study)
    if failed:
        raise StateError(f"{len(failed)} of {len(chosen)} runs failed: {', '.join(one.name for one in failed[:5])}")
    return study.folder / sweep_table.TABLE


def _report_sweep(study: planning.Sweep) -> None:
    """Write table, figure and report of a sweep; print its settings, the best first."""
    from ..plots import sweep as figures  # loads matplotlib
    from ..runs import report

    path = study.write_table()
    groups = sweep_table.group_runs(sweep_table.read_rows(path))
    rows = sweep_table.format_table(groups)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        terminal.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    if groups[0].values and len(groups) > 1:
        terminal.echo(f"best: {groups[0].line}")
    terminal.echo(f"table: {path}")
    with output_errors(study.folder, "figures "):
        drawn = figures.draw_figure(path)
    print_figures(drawn)
    if any(one.values for one in groups):
        terminal.echo(f"report: {report.write([study.folder])}")

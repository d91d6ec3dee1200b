"""Commands that train: run, resume, and config to print what would run."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from . import compare, config, launcher, provenance, room, runs, sonata
from .exchange import Exchange
from .record import make_directory
from .recorder import check
from .runs import Run
from .simulation import check_replicas

EXIT_CHECKPOINTED = 75  # EX_TEMPFAIL: a signal ended the run after a checkpoint, resume to go on
SET = click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a setting; repeatable.")
REPLICAS = click.option(
    "--replicas", type=int, default=1, metavar="R", help="Split the ranks into R groups that share each batch."
)
UNTIL = click.option("--until", type=click.IntRange(min=0), help="Stop after this iteration, with a checkpoint.")


@click.command()
@click.argument("source", metavar="TASK|FILE.toml")
@SET
@UNTIL
@REPLICAS
@click.option("--out", metavar="DIR", help="Run directory [runs/TASK-NUMBER].")
@click.option("--seed", type=int, help="Seed of the network and the data.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, help="Train with this many seeds, from --seed on.")
@click.option("--overwrite", is_flag=True, help="Replace what is in an existing run directory.")
@click.pass_obj
def run(
    exchange: Exchange, source: str, settings: tuple[str, ...], until: int | None, out: str | None, seed: int | None,
    seeds: int, overwrite: bool, replicas: int,
) -> None:  # fmt: skip
    """Train a task, or what a configuration file says; leave results.h5 and figures in a run directory."""
    settings = settings if seed is None else (*settings, f"run.seed={seed}")
    chosen = config.load(source, settings)
    group = launcher.split(exchange, replicas)
    model = chosen.task.model()  # before anything is written
    check_replicas(replicas, model, chosen.task.settings())
    check(chosen.record, model)
    room.require(model, chosen.task.n_steps, size=group.size)
    directory = make_directory(exchange.comm, out, chosen.task.name, overwrite)
    if seeds == 1:
        _begin(exchange, chosen, directory, until, group)
        return
    parts = []
    for number in range(chosen.task.seed, chosen.task.seed + seeds):
        parts.append(make_directory(exchange.comm, str(directory / f"seed-{number}"), chosen.task.name, overwrite))
        _begin(exchange, config.load(source, (*settings, f"run.seed={number}")), parts[-1], until, group)
    if exchange.rank == 0:
        runs.draw_seeds(parts, directory)


def _begin(exchange: Exchange, chosen: config.Config, directory: Path, until: int | None, group: Exchange) -> None:
    begun = Run(chosen, directory, exchange, until, True, group)
    begun.begin()
    _end(begun)


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@SET
@UNTIL
@REPLICAS
@click.pass_obj
def resume(exchange: Exchange, directory: Path, settings: tuple[str, ...], until: int | None, replicas: int) -> None:
    """Go on with a run from its latest undamaged checkpoint, on any number of ranks."""
    group = launcher.split(exchange, replicas)
    resumed = Run(runs.reopen(directory, exchange, settings), directory, exchange, until, True, group)
    complaints = resumed.resume()
    if exchange.rank == 0:
        for line in complaints:
            click.echo(f"pareprop: warning: {line}; the one before is taken", err=True)
        click.echo(f"resumed: {resumed.checkpoints.latest}, {resumed.simulation.iteration} iterations done")
    _end(resumed)


def _end(run: Run) -> None:
    """Collective: train; leave with `EXIT_CHECKPOINTED` if a signal asked for an end before all was done."""
    if run.exchange.rank == 0:
        memory = run.simulation.nbytes()
        parts = ", ".join(f"{name} {size / 2**20:.2f}" for name, size in memory.items() if size)
        total = sum(memory.values()) / 2**20
        bound, count = run.simulation.engine.history_steps, run.simulation.replicas.count
        groups = f" in {count} groups" if count > 1 else ""
        click.echo(f"{run.exchange.size} ranks{groups}; memory of rank 0: {total:.2f} MiB ({parts}); "
                   f"a neuron keeps at most {bound} steps of history, however long the run")  # fmt: skip
        click.echo(f"configuration: {run.directory / runs.CONFIG}, digest {run.config.digest()[:16]}")
    if run.train() and run.simulation.iteration < run.config.task.iterations:
        sys.exit(EXIT_CHECKPOINTED)


@click.command(name="config")
@click.argument("source", metavar="TASK|FILE.toml")
@SET
@click.pass_obj
def print_config(exchange: Exchange, source: str, settings: tuple[str, ...]) -> None:
    """Print the whole configuration of a task or file, to be edited and run."""
    if exchange.rank == 0:
        click.echo(config.load(source, settings).toml(), nl=False)


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.pass_obj
def info(exchange: Exchange, directory: Path) -> None:
    """Tell how a run came about: versions, build, machine, configuration, seed, times, memory."""
    if exchange.rank == 0:
        for line in provenance.lines(provenance.read(directory)):
            click.echo(line)


@click.command(name="compare")
@click.argument("first", type=click.Path(file_okay=False, path_type=Path))
@click.argument("second", type=click.Path(file_okay=False, path_type=Path))
@click.pass_obj
def compare_runs(exchange: Exchange, first: Path, second: Path) -> None:
    """Name the first difference of two runs in configuration, loss, spike and weight; exit code 1 if there is one."""
    told = compare.compare(first, second)
    if exchange.rank == 0:
        click.echo("\n".join(told or ["no difference"]))
    if told:
        sys.exit(1)


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def export(exchange: Exchange, directory: Path, target: Path) -> None:
    """Write the recorded spikes of a run in the SONATA spike format."""
    if exchange.rank == 0:
        click.echo(f"{sonata.export(directory, target)} spikes: {target}")


COMMANDS = (run, resume, print_config, info, compare_runs, export)

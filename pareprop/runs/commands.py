"""The commands of one run: train, resume, inspect, verify, benchmark."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ..errors import InputError
from ..network import footprint
from ..parallel import launcher
from ..parallel.collectives import guarded
from ..parallel.exchange import Exchange
from ..simulation.digest import Digest
from ..storage import nest_script, sonata, sonata_network
from ..tasks import TASKS
from . import compare, config, provenance, verify
from . import run as runs
from .benchmark import BenchTask
from .benchmark import check as check_bench
from .benchmark import model as bench_model
from .benchmark import run as run_bench
from .cases import load
from .directory import CONFIG, RESULTS, claim_directory, reopen_directory
from .options import FiniteFloat, GivenPath
from .run import EXIT_CHECKPOINTED, Run

SET = click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a setting; repeatable.")
REPLICAS = click.option(
    "--replicas", type=int, default=1, metavar="R", help="Number of groups of ranks that run each batch in parallel."
)
NO_FIGURES = click.option("--no-figures", is_flag=True, help="Draw no figures, as figures=none; see `plot`.")
UNTIL = click.option("--until", type=click.IntRange(min=0), help="Stop after iteration N and write a checkpoint.")


@click.command()
@click.argument("source", type=GivenPath(), metavar="TASK|FILE.toml")
@SET
@UNTIL
@REPLICAS
@click.option("--out", type=GivenPath(), metavar="DIR", help="Run directory [runs/TASK-NUMBER].")
@click.option("--seed", type=int, help="Seed of the network and the data.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, help="Number of trainings; seeds count from --seed on.")
@click.option("--overwrite", is_flag=True, help="Replace the files of an existing run directory.")
@NO_FIGURES
@click.pass_obj
def run(
    exchange: Exchange, source: str, settings: tuple[str, ...], until: int | None, out: str | None, seed: int | None,
    seeds: int, overwrite: bool, replicas: int, no_figures: bool,
) -> None:  # fmt: skip
    """Train a task or a configuration file; write results.h5 and figures into a run directory."""
    settings = (*settings, "run.figures=none") if no_figures else settings
    settings = settings if seed is None else (*settings, f"run.seed={seed}")
    with guarded(exchange.comm):
        chosen = config.load(source, settings)
    group = launcher.split(exchange, replicas)
    if seeds == 1:
        _end(runs.train(chosen, out, exchange, group, until, overwrite=overwrite))
        return
    runs.require_possible(chosen, group)
    with claim_directory(exchange.comm, out, chosen.task.name, overwrite) as directory:
        parts = []
        for number in range(chosen.task.seed, chosen.task.seed + seeds):
            with guarded(exchange.comm):
                own = config.load(source, (*settings, f"run.seed={number}"))
            part = directory / f"seed-{number}"
            _end(runs.train(own, str(part), exchange, group, until, overwrite=overwrite))
            parts.append(part)
        if exchange.rank == 0:
            runs.draw_seeds(parts, directory)


@click.command()
@click.argument("directory", type=GivenPath(file_okay=False, path_type=Path))
@SET
@UNTIL
@REPLICAS
@NO_FIGURES
@click.pass_obj
def resume(
    exchange: Exchange, directory: Path, settings: tuple[str, ...], until: int | None, replicas: int, no_figures: bool
) -> None:
    """Continue a run from its latest undamaged checkpoint, on any number of ranks."""
    settings = (*settings, "run.figures=none") if no_figures else settings
    group = launcher.split(exchange, replicas)
    with reopen_directory(exchange.comm, directory) as sections:
        source = str(directory / CONFIG)
        chosen = config.from_sections(config.kind_of(sections, source), sections, source, settings)
        resumed = Run(chosen, directory, exchange, until, True, group)
        resumed.resume()
        resumed.train()
    _end(resumed)


def _end(run: Run) -> None:
    """Exit with `EXIT_CHECKPOINTED` if a signal stopped the run early."""
    if run.signal:
        sys.exit(EXIT_CHECKPOINTED)


@click.command(name="config")
@click.argument("source", type=GivenPath(), metavar="TASK|FILE.toml")
@SET
@click.pass_obj
def print_config(exchange: Exchange, source: str, settings: tuple[str, ...]) -> None:
    """Print the whole configuration of a task or file, to edit and run."""
    if exchange.rank == 0:
        click.echo(config.load(source, settings).toml(), nl=False)


@click.command()
@click.argument("directory", type=GivenPath(file_okay=False, path_type=Path))
@click.pass_obj
def info(exchange: Exchange, directory: Path) -> None:
    """Report versions, build, machine, configuration, seed, times and memory of a run."""
    with guarded(exchange.comm):
        if exchange.rank == 0:
            for line in provenance.lines(provenance.read(directory)):
                click.echo(line)


@click.command(name="compare")
@click.argument("first", type=GivenPath(file_okay=False, path_type=Path))
@click.argument("second", type=GivenPath(file_okay=False, path_type=Path))
@click.pass_obj
def compare_runs(exchange: Exchange, first: Path, second: Path) -> None:
    """Print the first difference between two runs in configuration, loss, spikes and weights; exit code 1 if any."""
    differences = compare.compare(first, second)
    if exchange.rank == 0:
        click.echo("\n".join(differences or ["no difference"]))
    if differences:
        sys.exit(1)


@click.command()
@click.argument("directory", type=GivenPath(file_okay=False, path_type=Path))
@click.argument("target", type=GivenPath(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace a file of that name, but none of the run's own.")
@click.option("--network", is_flag=True, help="Write the trained network into the folder TARGET instead of spikes.")
@click.option("--nest", is_flag=True, help="Write a script TARGET.py that rebuilds the network in NEST instead.")
@click.pass_obj
def export(exchange: Exchange, directory: Path, target: Path, overwrite: bool, network: bool, nest: bool) -> None:
    """Write the recorded spikes of a run, or its network, in the SONATA format, or a script for NEST."""
    if network and nest:
        raise InputError("--network and --nest: choose one")
    with guarded(exchange.comm):
        if exchange.rank == 0 and nest:
            click.echo(f"script: {nest_script.export(directory / RESULTS, target, overwrite)}")
        elif exchange.rank == 0 and network:
            counts = sonata_network.export(
                directory / RESULTS, config.load(str(directory / CONFIG)).task.model(), target
            )
            for name, n_edges in counts.items():
                click.echo(f"{n_edges} edges {name}: {target}")
        elif exchange.rank == 0 and target.is_dir():
            raise InputError(f"{target}: is a folder, spikes need the name of a file")
        elif exchange.rank == 0:
            click.echo(f"{sonata.export(directory, target, overwrite)} spikes: {target}")


@click.command()
@click.pass_obj
def tasks(exchange: Exchange) -> None:
    """List the tasks with their sizes and settings."""
    if exchange.rank:
        return
    for name, kind in TASKS.items():
        task = kind()
        try:
            sizes = ", ".join(f"{item.size} {item.name}" for item in task.model().populations)
            sizes += f", {task.n_steps} steps"
        except InputError:
            sizes = "sizes of the data file"
        click.echo(f"{name}: {kind.summary}; {task.variant} variant, {sizes}")
        for key, field in kind.model_fields.items():
            value = getattr(task, key)
            tables = isinstance(value, tuple) and any(isinstance(entry, dict) for entry in value)
            shown = f"[tables, see `pareprop config {name}`]" if tables else value
            click.echo(f"    {key}={shown}" + (f"    {field.description}" if field.description else ""))


@click.command(name="verify")
@click.argument("cases", nargs=-1, required=True, metavar="CASE.h5 ...")
@click.option("--round-steps", type=click.IntRange(min=0), default=0, help="Steps between exchanges [the min-delay].")
@click.pass_obj
def verify_cases(exchange: Exchange, cases: tuple[str, ...], round_steps: int) -> None:
    """Run case files and compare spikes, readouts and final weights with the expected ones."""
    with guarded(exchange.comm):
        loaded = [load(path) for path in cases]
    digest, holds = Digest(), True
    for case in loaded:
        verdict = verify.verify(case, exchange, round_steps)
        digest.update(verdict.digest)
        holds = holds and verdict.holds
        if exchange.rank == 0:
            click.echo(verdict.line)
    if exchange.rank == 0:
        click.echo(f"digest: {digest.hexdigest()}")
    if exchange.comm is not None:
        holds = exchange.comm.bcast(holds)
    if not holds:
        sys.exit(1)


@click.command()
@click.option("--variant", type=click.Choice(["interval", "spike"]), default="interval", show_default=True)
@click.option("--precision", type=click.Choice(["double", "single"]), default="double", show_default=True)
@click.option("--neurons", type=int, default=2000, show_default=True, help="Recurrent neurons.")
@click.option("--indegree", type=int, default=100, show_default=True, help="Recurrent synapses per neuron.")
@click.option("--inputs", type=int, default=100, show_default=True, help="Input sources; each feeds every neuron.")
@click.option("--steps", type=int, default=1000, show_default=True, help="Steps of an interval.")
@click.option("--intervals", type=int, default=3, show_default=True, help="Timed intervals.")
@click.option("--warmup", type=click.IntRange(0, 2**31), default=0, help="Untimed intervals at the start [0].")
@click.option("--rate", type=FiniteFloat(0, 1000), default=0.0, help="Drive synapses with random spikes, in Hz.")
@click.option("--delay", type=int, default=1, show_default=True, help="Recurrent delay in steps.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of network and inputs.")
@click.option("--no-learning", is_flag=True, help="Simulate without learning.")
@click.option("--profile-waiting", is_flag=True, help="Not needed: waiting is always timed apart.")
@click.option("--json", "json_file", type=GivenPath(dir_okay=False), help="Write the results to this file.")
@click.pass_obj
def bench(
    exchange: Exchange, json_file: str | None, no_learning: bool, variant: str, precision: str, warmup: int,
    rate: float, profile_waiting: bool, **sizes: int,
) -> None:  # fmt: skip
    """Build and train the benchmark network; report seconds by phase."""
    seed = sizes.pop("seed")
    check_bench(**sizes)
    if json_file and not Path(json_file).resolve().parent.is_dir():  # not after minutes of work
        raise InputError(f"--json {json_file}: its directory does not exist")
    size, indegree, inputs, delay = (sizes[name] for name in ("neurons", "indegree", "inputs", "delay"))
    network = bench_model(size, indegree, inputs, seed, delay, variant, precision)
    footprint.require(network, sizes["steps"], exchange.rank, exchange.size)
    task = BenchTask(sizes["inputs"], sizes["steps"], seed)
    figures = run_bench(network, task, sizes["intervals"], not no_learning, exchange, warmup, rate)
    if exchange.rank:
        return
    for name, seconds in figures["phases"].items():
        click.echo(f"{name:12s} {seconds:9.3f} s")
    click.echo(f"train        {figures['train_seconds']:9.3f} s, {figures['firing_rate_hz']:.2f} spikes/s per neuron")
    click.echo(f"{figures['synapses']} synapses, {figures['bytes_per_synapse']:.1f} bytes each")
    click.echo(f"{figures['events']} synaptic events, {figures['events_per_second']:.3g} per second")
    click.echo(f"peak memory per rank {figures['peak_rss_bytes'] / 2**20:.0f} MiB")
    if json_file:
        try:
            options = {"variant": variant, "precision": precision, "seed": seed, "warmup": warmup, "rate": rate}
            everything = figures | options | sizes
            Path(json_file).write_text(json.dumps(everything, indent=1) + "\n")
        except OSError as problem:
            raise InputError(f"--json {json_file}: {problem.strerror}") from None
    click.echo(f"digest: {figures['digest']}")


@click.command()
@click.argument("directory", type=GivenPath(file_okay=False))
@click.pass_obj
def plot(exchange: Exchange, directory: str) -> None:
    """Draw all figures of a run from its results.h5, as PNG and PDF."""
    with guarded(exchange.comm):
        if exchange.rank == 0:
            runs.draw(Path(directory))


@click.command(name="report")
@click.argument("directories", nargs=-1, required=True, type=GivenPath(path_type=Path), metavar="DIR...")
@click.option("--out", type=GivenPath(dir_okay=False, path_type=Path), metavar="FILE", help="The file [report.html].")
@click.pass_obj
def write_report(exchange: Exchange, directories: tuple[Path, ...], out: Path | None) -> None:
    """Write a report of a run, of several side by side, or of a study, as one HTML file."""
    with guarded(exchange.comm):
        if exchange.rank == 0:
            from .report import write

            click.echo(f"report: {write(directories, out)}")


COMMANDS = (tasks, run, resume, print_config, info, compare_runs, export, plot, write_report, verify_cases, bench)

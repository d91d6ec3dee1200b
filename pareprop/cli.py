"""The command line. Alone in knowing COMM_WORLD, through `launcher`."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from . import launcher, run_commands, runs, verify
from .bench import BenchTask
from .bench import check as check_bench
from .bench import model as bench_model
from .bench import run as run_bench
from .canonical import Digest
from .cases import load
from .collective import guarded
from .errors import InputError, ParepropError
from .exchange import Exchange
from .scaling.commands import COMMANDS
from .tasks import TASKS

EXIT_BAD_INPUT, EXIT_NO_GOING_ON = 2, 3


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pareprop")
def commands() -> None:
    """Train large sparse recurrent spiking networks with e-prop, alone or under mpirun."""


@commands.command()
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
            sizes = "sizes as the data"
        click.echo(f"{name}: {kind.summary}; {task.variant} variant, {sizes}")
        for key, field in kind.model_fields.items():
            value = getattr(task, key)
            tables = isinstance(value, tuple) and any(isinstance(entry, dict) for entry in value)
            shown = f"[tables, see `pareprop config {name}`]" if tables else value
            click.echo(f"    {key}={shown}" + (f"    {field.description}" if field.description else ""))


@commands.command(name="verify")
@click.argument("cases", nargs=-1, required=True, metavar="CASE.h5 ...")
@click.option("--round-steps", type=click.IntRange(min=0), default=0, help="Steps between exchanges [the min-delay].")
@click.pass_obj
def verify_cases(exchange: Exchange, cases: tuple[str, ...], round_steps: int) -> None:
    """Run case files and compare spikes, readouts and final weights with what they expect."""
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


@commands.command()
@click.option("--variant", type=click.Choice(["interval", "spike"]), default="interval", show_default=True)
@click.option("--precision", type=click.Choice(["double", "single"]), default="double", show_default=True)
@click.option("--neurons", type=int, default=2000, show_default=True)
@click.option("--indegree", type=int, default=100, show_default=True, help="Recurrent synapses per neuron.")
@click.option("--inputs", type=int, default=100, show_default=True, help="Input sources; each feeds every neuron.")
@click.option("--steps", type=int, default=1000, show_default=True, help="Steps of an interval.")
@click.option("--intervals", type=int, default=3, show_default=True)
@click.option("--warmup", type=click.IntRange(min=0), default=0, help="Intervals before the clock starts [0].")
@click.option("--rate", type=click.FloatRange(0, 1000), default=0.0, help="Drive synapses with drawn spikes, in Hz.")
@click.option("--delay", type=int, default=1, show_default=True, help="Recurrent delay in steps.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--no-learning", is_flag=True, help="Simulate without learning.")
@click.option("--profile-waiting", is_flag=True, help="Time waiting for other ranks apart; a barrier per round.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False), help="Write the figures to this file.")
@click.pass_obj
def bench(
    exchange: Exchange, json_file: str | None, no_learning: bool, variant: str, precision: str, warmup: int,
    rate: float, profile_waiting: bool, **sizes: int,
) -> None:  # fmt: skip
    """Build and train the benchmark network; print where the time goes."""
    exchange.profile_waiting = profile_waiting
    seed = sizes.pop("seed")
    check_bench(**sizes)
    if json_file and not Path(json_file).resolve().parent.is_dir():  # not after minutes of work
        raise InputError(f"--json {json_file}: its directory does not exist")
    size, indegree, inputs, delay = (sizes[name] for name in ("neurons", "indegree", "inputs", "delay"))
    network = bench_model(size, indegree, inputs, seed, delay, variant, precision)
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


@commands.command()
@click.argument("directory", type=click.Path(file_okay=False))
@click.pass_obj
def plot(exchange: Exchange, directory: str) -> None:
    """Draw the figures of a run again, from its results.h5 alone."""
    with guarded(exchange.comm):
        if exchange.rank == 0:
            runs.draw(Path(directory))


for _command in (*run_commands.COMMANDS, *COMMANDS):
    commands.add_command(_command)


def main(arguments: list[str] | None = None) -> Any:
    """Entry point. Exit codes, the same on all ranks: 1 a case doesn't hold, or a crash; 2 bad input; 3 no going on."""
    rank = launcher.promised_rank(os.environ)
    try:
        commands.main(args=arguments, prog_name="pareprop", obj=launcher.exchange(), standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except (InputError, click.ClickException) as problem:
        _tell(rank, problem)
        sys.exit(EXIT_BAD_INPUT)
    except ParepropError as problem:
        _tell(rank, problem)
        sys.exit(EXIT_NO_GOING_ON)
    except MemoryError as problem:
        click.echo(f"pareprop: error: not enough memory on rank {rank}: {problem}", err=True)
        launcher.abort()
        sys.exit(EXIT_NO_GOING_ON)
    except Exception:
        click.echo(f"pareprop: rank {rank} failed:\n{traceback.format_exc()}", err=True)
        launcher.abort()
        sys.exit(1)


def _tell(rank: int, problem: Exception) -> None:
    if rank:
        return
    if isinstance(problem, click.exceptions.NoArgsIsHelpError):
        problem.show()
    else:
        text = problem.format_message() if isinstance(problem, click.ClickException) else problem
        click.echo(f"pareprop: error: {text}", err=True)

"""The commands of one run: train, resume, inspect, verify, benchmark."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click

from .. import files, terminal
from ..errors import InputError, quote
from ..parallel import launcher
from ..parallel.agreement import require_agreement
from ..parallel.collectives import gather_values, share_errors
from ..parallel.exchange import Exchange
from ..simulation.digest import Digest
from ..storage.checkpoint_read import measured_rates
from ..storage.checkpoint_write import iteration_of, list_checkpoints
from ..storage.disk import output_errors
from ..tasks import TASKS
from . import config, provenance
from . import run as runs
from .directory import CHECKPOINTS, CONFIG, RESULTS, claim_directory, reopen_directory
from .options import SET, SET_NEURONS, TIME_STEP, TRUST, GivenPath, make_picture_option
from .run import EXIT_CHECKPOINTED, Run

REPLICAS = click.option(
    "--replicas",
    type=int,
    default=1,
    metavar="R",
    help="Groups of ranks, each with a whole network, that share the samples of a batch.",
)
HANDBOOK = Path(__file__).parents[1] / "handbook.html"
NO_FIGURES = click.option("--no-figures", is_flag=True, help="Draw no figures; `pareprop plot` draws them later.")
UNTIL = click.option("--until", type=click.IntRange(min=0), help="Stop after this iteration and write a checkpoint.")


@click.command(name="run")
@click.argument("source", type=GivenPath(), metavar="TASK|FILE.toml")
@SET
@UNTIL
@REPLICAS
@click.option("--out", type=GivenPath(), metavar="DIR", help="Run directory [runs/TASK-NUMBER].")
@click.option("--seed", type=int, help="Seed of the network and the data.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    help="Train this many times, with seeds that count up from --seed.",
)
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier run in --out.")
@click.option("--restart", is_flag=True, help="Continue the same run in --out, if there is one; else begin it.")
@NO_FIGURES
@TRUST
@click.option(
    "--no-test", is_flag=True, help="Leave out the test; `pareprop resume` of the finished run makes up for it."
)
@click.pass_obj
def run_training(
    exchange: Exchange,
    source: str,
    settings: tuple[str, ...],
    until: int | None,
    out: str | None,
    seed: int | None,
    seeds: int,
    overwrite: bool,
    restart: bool,
    replicas: int,
    no_figures: bool,
    trust: bool,
    no_test: bool,
) -> None:
    """Train a task, or what a configuration file describes.

    `pareprop tasks` lists the tasks. Results, figures and checkpoints go into a run directory; the last line is the
    digest of all spikes and the final weights.
    """
    settings = (*settings, "run.figures=none") if no_figures else settings
    settings = settings if seed is None else (*settings, f"run.seed={seed}")
    with share_errors(exchange.comm):
        if restart and (out is None or overwrite or seeds > 1):
            raise InputError("--restart needs --out DIR, and goes with neither --overwrite nor --seeds")
        chosen = config.load(source, settings, trust)
        if seeds > 1:  # the last seed must be possible, too, before the first one is trained
            config.load(source, (*settings, f"run.seed={chosen.task.seed + seeds - 1}"), trust)
    require_agreement(exchange.comm, "run()", {"seeds": str(seeds), "out": str(out), "overwrite": str(overwrite)})
    group = launcher.split_into_replicas(exchange, replicas)
    if seeds == 1:
        exit_if_stopped(
            runs.train(chosen, out, exchange, group, until, overwrite=overwrite, restart=restart, tests=not no_test)
        )
        return
    runs.require_possible(chosen, group)
    with claim_directory(exchange.comm, out, chosen.task.name, overwrite) as directory:
        parts = []
        for number in range(chosen.task.seed, chosen.task.seed + seeds):
            with share_errors(exchange.comm):
                own = config.load(source, (*settings, f"run.seed={number}"), trust)
            part = directory / f"seed-{number}"
            exit_if_stopped(runs.train(own, str(part), exchange, group, until, overwrite=overwrite, tests=not no_test))
            parts.append(part)
        if exchange.rank == 0:
            with output_errors(directory, "figures "):
                runs.draw_seeds(parts, directory)


@click.command(name="resume")
@click.argument("directory", type=GivenPath(file_okay=False, path_type=Path))
@SET
@UNTIL
@REPLICAS
@NO_FIGURES
@TRUST
@click.pass_obj
def resume_run(
    exchange: Exchange,
    directory: Path,
    settings: tuple[str, ...],
    until: int | None,
    replicas: int,
    no_figures: bool,
    trust: bool,
) -> None:
    """Continue a run from its latest checkpoint.

    Damaged checkpoints are passed over. The number of ranks may differ from that before; the results do not.
    What --set changes, such as iterations=N, is kept in config.toml.
    """
    asked = {"run directory": str(directory), "until": str(until), "--set": str(list(settings))}
    require_agreement(exchange.comm, "resume()", asked)
    group = launcher.split_into_replicas(exchange, replicas)
    with reopen_directory(exchange.comm, directory) as sections:
        source = str(directory / CONFIG)
        chosen = config.from_sections(config.kind_of(sections, source), sections, source, settings, trust)
        rates = measured_rates(directory / CHECKPOINTS, exchange)
        resumed = Run(chosen, directory, exchange, until, True, group, rates_hz=rates, draws=not no_figures)
        resumed.resume_run()
        resumed.train()
    exit_if_stopped(resumed)


def exit_if_stopped(run: Run) -> None:
    """Exit with `EXIT_CHECKPOINTED` if a signal stopped the run early."""
    if run.signal:
        sys.exit(EXIT_CHECKPOINTED)


@click.command(name="config")
@click.argument("source", type=GivenPath(), metavar="TASK|FILE.toml")
@SET
@click.pass_obj
def print_config(exchange: Exchange, source: str, settings: tuple[str, ...]) -> None:
    """Print a configuration, to edit and run.

    It has all keys of the task or file, each with its value and its meaning.
    """
    if exchange.rank == 0:
        terminal.echo(config.load(source, settings).to_toml(), nl=False)


@click.command(name="info")
@click.argument("directory", type=GivenPath(file_okay=False, path_type=Path))
@click.pass_obj
def print_info(exchange: Exchange, directory: Path) -> None:
    """Print how and when a run was made.

    Versions, build, machine, configuration, seed, ranks, times and memory, and learned parameters other than weights,
    as `key: value` lines.
    """
    with share_errors(exchange.comm):
        if exchange.rank == 0:
            from ..plots import reader

            for line in provenance.format_lines(provenance.read(directory)):
                terminal.echo(line)
            for path in list_checkpoints(directory / CHECKPOINTS)[:1]:
                terminal.echo(f"latest checkpoint: {path}, {iteration_of(path)} iterations done")
            with suppress(InputError), files.open_results(directory / RESULTS) as file:  # there may be none yet
                for name, line in reader.tell_learned(file).items():
                    terminal.echo(f"{name}: {line}")


@click.command(name="compare")
@click.argument("first", type=GivenPath(file_okay=False, path_type=Path))
@click.argument("second", type=GivenPath(file_okay=False, path_type=Path))
@click.pass_obj
def compare_runs(exchange: Exchange, first: Path, second: Path) -> None:
    """Compare two runs.

    Prints the first difference in configuration, loss, spikes and weights; the exit code is 1 if there is one.
    """
    from . import compare

    differences = compare.compare_directories(first, second)
    if exchange.rank == 0:
        terminal.echo("\n".join(differences or ["no difference"]))
    if differences:
        sys.exit(1)


@click.command(name="export")
@click.argument("directory", type=GivenPath(file_okay=False, path_type=Path))
@click.argument("target", type=GivenPath(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace TARGET if it exists; files of the run are never replaced.")
@click.option("--network", is_flag=True, help="Write the trained network into the folder TARGET instead of spikes.")
@click.option(
    "--circuit",
    type=GivenPath(dir_okay=False, path_type=Path),
    help="With --network: write the weights back into a copy of this SONATA network, with which the run began.",
)
@click.option("--nest", is_flag=True, help="Write a script TARGET.py that rebuilds the network in NEST instead.")
@click.option("--nir", is_flag=True, help="Write the trained network as a graph TARGET.nir of NIR instead.")
@click.option("--torch", is_flag=True, help="Write the trained network as a module TARGET.py of PyTorch instead.")
@click.option("--crate", is_flag=True, help="Write the run as an RO-Crate TARGET.zip, for an archive, instead.")
@TRUST
@click.pass_obj
def export_run(
    exchange: Exchange,
    directory: Path,
    target: Path,
    overwrite: bool,
    network: bool,
    circuit: Path | None,
    nest: bool,
    nir: bool,
    torch: bool,
    crate: bool,
    trust: bool,
) -> None:
    """Write spikes or the network of a run for others.

    Recorded spikes and networks are written in the SONATA format; --nest writes a script that rebuilds the network in
    NEST, --nir a graph in the Neuromorphic Intermediate Representation, --torch one file with a PyTorch module that
    gives the same spikes and can be trained, --crate files and provenance of the run as an RO-Crate.
    """
    from ..exchange_formats import (
        nest_writer,
        nir_writer,
        sonata_network_writer,
        sonata_spikes_writer,
        sonata_weights_writer,
        torch_writer,
    )
    from . import crate as crates
    from . import replay

    given = {"--network": network, "--nest": nest, "--nir": nir, "--torch": torch, "--crate": crate}
    if len(chosen := [name for name, wanted in given.items() if wanted]) > 1:
        raise InputError(f"{' and '.join(chosen)}: choose one")
    if circuit is not None and not network:
        raise InputError("--circuit goes with --network")
    with share_errors(exchange.comm):
        if exchange.rank == 0 and nest:
            notes = nest_writer.export_network(
                directory / RESULTS, target, overwrite, lambda: replay.simulate_records(directory, trust)
            )
            terminal.echo("\n".join([*notes, f"script: {target}"]))
        elif exchange.rank == 0 and nir:
            notes = nir_writer.export_network(directory / RESULTS, target, overwrite)
            terminal.echo("\n".join([*notes, f"graph: {target}"]))
        elif exchange.rank == 0 and torch:
            notes = torch_writer.export_network(directory / RESULTS, target, overwrite)
            terminal.echo("\n".join([*notes, f"module: {target}"]))
        elif exchange.rank == 0 and crate:
            terminal.echo(f"{crates.export_crate(directory, target, overwrite)} files: {target}")
        elif exchange.rank == 0 and circuit is not None:
            for name, n_edges in sonata_weights_writer.export_weights(directory / RESULTS, circuit, target).items():
                terminal.echo(f"{n_edges} edges {name}: {target}")
        elif exchange.rank == 0 and network:
            model = config.load_of_run(directory / CONFIG, trust=trust).task.build_model()
            counts = sonata_network_writer.export_network(directory / RESULTS, model, target)
            for name, n_edges in counts.items():
                terminal.echo(f"{n_edges} edges {name}: {target}")
            for readout in model.of_role("readout", "current"):
                terminal.echo(f"not written: {readout.role} population '{readout.name}'")
            for item in model.backgrounds:
                terminal.echo(f"not written: background {item.format_line()}")
            for applied in model.perturbations:
                terminal.echo(f"not written: perturbation {applied.format_line()}")
        elif exchange.rank == 0 and target.is_dir():
            raise InputError(f"{target}: is a folder, spikes need the name of a file")
        elif exchange.rank == 0:
            terminal.echo(f"{sonata_spikes_writer.export_spikes(directory, target, overwrite)} spikes: {target}")


@click.command(name="tasks")
@click.pass_obj
def list_tasks(exchange: Exchange) -> None:
    """List the tasks with their sizes and settings."""
    if exchange.rank:
        return
    for name, kind in TASKS.items():
        task = kind()
        try:
            sizes = ", ".join(f"{item.size} {item.name}" for item in task.build_model().populations)
            sizes += f", {task.n_steps} steps"
        except InputError:
            sizes = "sizes of the data file"
        terminal.echo(f"{name}: {kind.summary}; {task.variant} variant, {sizes}")
        for key, field in kind.model_fields.items():
            value = getattr(task, key)
            tables = isinstance(value, tuple) and any(isinstance(entry, dict) for entry in value)
            shown = f"[tables, see `pareprop config {name}`]" if tables else value
            terminal.echo(f"    {key}={shown}" + (f"    {field.description}" if field.description else ""))


@click.command(name="check-model")
@click.argument("source", metavar="FILE|MODEL")
@click.option("--model", help="Name of the model, where FILE holds several [all of them].")
@TIME_STEP
@SET_NEURONS
@make_picture_option("Draw response, traces and firing curve.")
@click.pass_obj
def check_model(
    exchange: Exchange, source: str, model: str | None, dt_ms: float, settings: tuple[str, ...], out: Path | None
) -> None:
    """Check a neuron model that is given as equations.

    It stands in the table [neuron_models.NAME] of a TOML or JSON file, or belongs to the package. Derivatives, steps
    and the backward pass are compared with slow twins; rest, time constants, firing curve, traces, units and costs are
    printed. The exit code is 1 if a comparison fails.
    """
    from .neuron_models import check_models

    _check_on_root(exchange, lambda: check_models(source, model, dt_ms, settings, out))


def _check_on_root(exchange: Exchange, check: Callable[[], bool]) -> None:
    """Collective: run a check on rank 0; exit with 1 on all ranks unless it passes."""
    passed = True
    with share_errors(exchange.comm):
        if exchange.rank == 0:
            passed = check()
    if not all(gather_values(exchange.comm, passed)):
        sys.exit(1)


@click.command(name="check-rule")
@click.argument("source", metavar="FILE|RULE")
@click.option("--rule", help="Name of the rule, where FILE holds several [all of them].")
@click.option("--neuron", help="Neurons to try it at: a model of the package, or of FILE [the first that fits].")
@TIME_STEP
@SET_NEURONS
@make_picture_option("Draw the change of a weight by two spikes, over the time between them.")
@click.pass_obj
def check_rule(
    exchange: Exchange,
    source: str,
    rule: str | None,
    neuron: str | None,
    dt_ms: float,
    settings: tuple[str, ...],
    out: Path | None,
) -> None:
    """Check a learning rule that is given as equations.

    It stands in the table [learning_rules.NAME] of a TOML file or in "rules" of a JSON file, or belongs to the package.
    Traces, the backward pass and maps of steps are compared with the equations; unused names, units and costs are
    printed. The exit code is 1 if a comparison fails, or compares nothing but zeros.
    """
    from .learning_rules import check_rules

    _check_on_root(exchange, lambda: check_rules(source, rule, neuron, dt_ms, settings, out))


@click.command(name="compile")
@click.argument("sources", nargs=-1, metavar="[FILE|MODEL ...]")
@click.option("--level", "levels", multiple=True, help="Level of the processor, also several times [the one in use].")
@click.option(
    "--ports",
    multiple=True,
    metavar="PORT,...",
    help="Ports at which synapses learn together, also several times [all, and each by itself].",
)
@click.pass_obj
def compile_models(
    exchange: Exchange, sources: tuple[str, ...], levels: tuple[str, ...], ports: tuple[str, ...]
) -> None:
    """Compile neuron models for later runs.

    Runs compile a neuron model that is given as equations where they first use it. This does it before, for machines
    without a compiler or with other processors: into the folder PAREPROP_CACHE, or `pareprop` in your cache folder.
    Without an argument: all models of the package.
    """
    with share_errors(exchange.comm):
        if exchange.rank == 0:
            from .neuron_models import compile_all

            compile_all(sources, levels, ports)


@click.command(name="verify")
@click.argument("cases", nargs=-1, required=True, metavar="CASE.h5 ...")
@click.option(
    "--round-steps", type=click.IntRange(min=0), default=0, help="Steps between two exchanges [the smallest delay]."
)
@click.pass_obj
def verify_cases(exchange: Exchange, cases: tuple[str, ...], round_steps: int) -> None:
    """Run case files and compare the results.

    A case file holds a network, its inputs, and the spikes, readouts and final weights expected of it. The exit code is
    1 if a case does not hold.
    """
    from . import verify
    from .cases import load

    with share_errors(exchange.comm):
        loaded = [load(path) for path in cases]
    digest, holds = Digest(), True
    for case in loaded:
        verdict = verify.verify_case(case, exchange, round_steps)
        digest.update(verdict.digest)
        holds = holds and verdict.holds
        if exchange.rank == 0:
            terminal.echo(verdict.line)
    if exchange.rank == 0:
        terminal.echo(f"digest: {digest.hexdigest()}")
    if exchange.comm is not None:
        holds = exchange.comm.bcast(holds)
    if not holds:
        sys.exit(1)


@click.command(name="plot")
@click.argument("directory", type=GivenPath(file_okay=False))
@click.pass_obj
def draw_plots(exchange: Exchange, directory: str) -> None:
    """Draw all figures of a run, as PNG and PDF."""
    with share_errors(exchange.comm):
        if exchange.rank == 0:
            with output_errors(Path(directory), "figures "):
                runs.draw_run(Path(directory))


@click.command(name="report")
@click.argument("directories", nargs=-1, required=True, type=GivenPath(path_type=Path), metavar="DIR...")
@click.option(
    "--out", type=GivenPath(dir_okay=False, path_type=Path), metavar="FILE", help="Name of the HTML file [report.html]."
)
@click.pass_obj
def write_report(exchange: Exchange, directories: tuple[Path, ...], out: Path | None) -> None:
    """Write a report as one HTML file.

    Of a run, of several runs side by side, or of a scaling study.
    """
    with share_errors(exchange.comm):
        if exchange.rank == 0:
            from .report import write

            terminal.echo(f"report: {write(directories, out)}")


@click.command(name="help")
@click.argument("topics", nargs=-1, metavar="[COMMAND | parameters [NAME...] | handbook]")
@click.pass_context
def help_command(context: click.Context, topics: tuple[str, ...]) -> None:
    """Print help on a command, all parameters, or the handbook.

    `pareprop help parameters` lists default, unit, bounds and meaning of all that a model can be given;
    `pareprop help parameters tau_m` or `... optimizers` a part of it. `pareprop help handbook` prints the path of the
    handbook, one HTML file.
    """
    exchange: Exchange = context.obj
    with share_errors(exchange.comm):
        if topics[:1] == ("parameters",):
            from .parameter_tables import describe_parameters  # reads the docstrings of all descriptions

            lines = list(describe_parameters(topics[1:]))
        elif topics == ("handbook",):
            lines = [str(find_handbook())]
        else:
            lines = [_help_of(context, topics)]
    if exchange.rank == 0:
        terminal.echo("\n".join(lines))


def find_handbook() -> Path:
    """Return the handbook that a wheel carries.

    Raises
    ------
    InputError
        If the package was installed without it.
    """
    if not HANDBOOK.is_file():
        raise InputError(
            "this installation has no handbook: its pages are scripts/handbook/*/*.md of the sources; there, "
            "`pip install '.[docs]'`, `python scripts/handbook/one_file.py` and `pip install .` add it"
        )
    return HANDBOOK


def _help_of(context: click.Context, names: tuple[str, ...]) -> str:
    """Return the help of a command, which may be one of a group."""
    inner = context.find_root()
    for name in names:
        command = inner.command.get_command(inner, name) if isinstance(inner.command, click.Group) else None
        if command is None:
            raise InputError(f"{quote(' '.join(names))} is not a command; `pareprop help` lists them")
        inner = click.Context(command, info_name=name, parent=inner)
    return inner.get_help()

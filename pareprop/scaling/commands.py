"""The commands of this room but `sweep`: scaling run, collect and plot; dry-run; predict; jobs; launch.

Each runs in one process. One file, because they share their options.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import click

from .. import files, terminal
from ..errors import InputError, StateError
from ..machine import BUSY, cores
from ..network.local import target_rate
from ..network.variants import VARIANTS
from ..parallel import collectives
from ..parallel.exchange import Exchange
from ..runs import benchmark, speed, units
from ..runs.options import SET, TRUST, FiniteFloat, GivenPath
from ..runs.run import EXIT_CHECKPOINTED
from ..storage.checkpoint_write import count_files
from ..storage.disk import output_errors, replace_file
from ..values import Given
from . import batch, dryrun, launchers, measure, ping, rank_table, slurm, study, subject
from . import collect as table
from .options import MOST, require_one_process
from .predict import Prediction, nodes_for, predict

UNITS = "units.json"
PROCESSOR = "{} ({})".format  # name and level
rate_option = click.option("--rate", type=FiniteFloat(0, 1000), help="Firing rate in Hz [the target rate].")
per_node_option = click.option(
    "--ranks-per-node", type=click.IntRange(1, 2**16), default=64, show_default=True, help="Ranks of a node."
)
units_option = click.option(
    "--units",
    "units_file",
    type=GivenPath(),
    metavar="FILE",
    help=f"File of unit costs, seconds and bytes of each operation [{UNITS}, if it is here, else of the package].",
)


@click.group()
@click.pass_obj
def scaling(exchange: Exchange) -> None:
    """Run, collect and plot scaling studies of the benchmark."""
    require_one_process(exchange)


@scaling.command()
@click.argument("study_file", type=GivenPath(), metavar="STUDY.toml")
@click.option(
    "--out",
    type=GivenPath(),
    required=True,
    metavar="DIR",
    help="Directory of the results; points finished there are not run again.",
)
@click.option("--launcher", type=click.Choice(["mpirun", "srun", "sbatch"]), default="mpirun", show_default=True,
              help="Command that starts the ranks of a run.")  # fmt: skip
@click.option("--sbatch-options", default="", metavar="TEXT", help="Further options of sbatch, with --launcher sbatch.")
def run(study_file: str, out: str, launcher: str, sbatch_options: str) -> None:
    """Run the unfinished points of a study.

    One after another, or with --launcher sbatch each as a SLURM job.
    """
    chosen, folder = study.read(Path(study_file)), Path(out)
    points = chosen.points()
    done = [point for point in points if (folder / f"{point.label}.json").exists()]
    for point in done:
        table.check(point, folder / f"{point.label}.json")
    text = files.read(study_file)
    with output_errors(folder, "--out "):
        folder.mkdir(parents=True, exist_ok=True)
        with replace_file(folder / "study.toml") as part:
            part.write_bytes(text)
    left = [point for point in points if point not in done]
    terminal.echo(f"{len(points)} points, {len(done)} finished before")
    if launcher == "sbatch":
        failed = _run_as_jobs(left, folder, shlex.split(sbatch_options))
    else:
        if crowded := [point.label for point in left if launchers.is_crowded(point.ranks)]:
            why = "have more ranks than there are cores or SLURM tasks (sbatch --ntasks): their ranks share cores"
            terminal.echo(f"note: {len(crowded)} of these points {why}")
        problems = [_run_here(point, folder, launcher, chosen.timeout_s) for point in left]
        failed = [problem for problem in problems if problem]
    if failed:
        raise StateError(f"{len(failed)} of {len(points)} points failed: {'; '.join(failed)}")


def _run_as_jobs(points: list[study.Point], folder: Path, options: list[str]) -> list[str]:
    """Submit the points that no earlier call submitted, wait for all, and return why points failed."""
    jobs, failed = {}, {}
    for point in points:
        job = launchers.submitted(point, folder)
        try:
            jobs[point.label] = job or launchers.submit(point, folder, options)
        except StateError as problem:  # the other points still run
            failed[point.label] = str(problem)
            terminal.echo(f"refused: {problem}")
            continue
        terminal.echo(f"job {jobs[point.label]}: {point.label}{', submitted before' if job else ''}")
    if jobs:
        terminal.echo(f"jobs: {' '.join(jobs.values())}")
    launchers.wait(list(jobs.values()))
    missing = [point.label for point in points if not (folder / f"{point.label}.json").exists()]
    return [failed.get(label, f"{label}: see {folder / label}.log") for label in missing]


def _run_here(point: study.Point, folder: Path, launcher: str, timeout_s: float) -> str:
    try:
        launchers.run(point, folder, launcher, timeout_s)
    except StateError as problem:
        terminal.echo(f"failed: {problem}")
        return str(problem)
    figures = table.check(point, folder / f"{point.label}.json")
    busy = figures.get("other_cores", 0.0)
    others = f"; other programs kept {busy:.1f} cores busy" if busy > BUSY else ""
    terminal.echo(f"{point.label}: {figures['train_seconds']:.3f} s{others}")
    return ""


@scaling.command()
@click.argument("folder", type=GivenPath(), metavar="DIR")
@click.option(
    "--units", "units_file", type=GivenPath(), metavar="FILE", help="File of unit costs; adds predictions to the table."
)
def collect(folder: str, units_file: str | None) -> None:
    """Write the tables of a study: study.csv and summary.csv.

    The first has a row for each finished run, with minimum, mean and maximum over the ranks of each phase. The second
    joins runs that differ in seed and repetition, and is printed as well: mean and standard deviation of seconds, of
    the real-time factor, and of the energy of a synaptic event where machines tell joules.
    """
    chosen = study.read(Path(folder, "study.toml"))
    rows = table.collect(chosen, Path(folder), units.read(Path(units_file)) if units_file else None)
    path = Path(folder, table.TABLE)
    with output_errors(path, "table "):
        table.write(rows, path)
    terminal.echo(f"table: {path}, {len(rows)} of {len(chosen.points())} points")
    for line in table.lines(table.summarize(rows)):
        terminal.echo(line)


@scaling.command()
@click.argument("folder", type=GivenPath(), metavar="DIR")
def plot(folder: str) -> None:
    """Draw the figures of a study from its table."""
    from ..plots import scaling as figures  # matplotlib takes long to load

    with output_errors(Path(folder), "figures "):
        paths = figures.draw(Path(folder, table.TABLE))
    for path in paths:
        if path.suffix == ".png":
            terminal.echo(f"figure: {path}")


@click.command(name="dry-run")
@click.argument("source", type=GivenPath(), metavar="CONFIG")
@SET
@TRUST
@click.option("--ranks", type=click.IntRange(1, MOST), required=True, help="Number of ranks of the whole run.")
@click.option("--rank", type=int, default=0, show_default=True, help="Rank to build and step.")
@click.option("--samples", type=click.IntRange(1, 10**6), default=1, show_default=True, help="Samples to time.")
@click.option(
    "--rate", type=FiniteFloat(0, 1000), help="Firing rate of the other ranks' neurons in Hz [same as this rank's]."
)
@per_node_option
@click.pass_obj
def dry_run(
    exchange: Exchange,
    source: str,
    settings: tuple[str, ...],
    trust: bool,
    ranks: int,
    rank: int,
    samples: int,
    rate: float | None,
    ranks_per_node: int,
) -> None:
    """Build and time one rank of a large run alone.

    The spikes of the other ranks are drawn. CONFIG is a task, a configuration file, or `bench`.
    """
    require_one_process(exchange)
    chosen, loaded = subject.find(source, settings, trust), time.process_time()
    program, of_files = measure.process_bytes()
    result = dryrun.run(
        chosen.model,
        chosen.task,
        ranks,
        rank,
        samples=samples,
        rate_hz=rate,
        settings=chosen.settings,
        progress=terminal.echo,
    )
    terminal.echo(
        f"rank {rank} of {ranks}; fires at {result.rate_hz:.2f} Hz, other ranks drawn at {result.others_hz:.2f} Hz"
    )
    for line in dryrun.tell_rate(chosen.model, result.rate_hz) if rate is None else ():
        terminal.echo(line)
    for name, seconds in result.share.phases.items():
        unit = "s" if name == "build" else "s per sample"
        terminal.echo(f"{name:12s} {seconds / (1 if name == 'build' else samples):9.4f} {unit}")
    _print_memory(result.share.memory)
    peak, own = result.share.peak_rss_bytes, sum(result.share.memory.values())
    terminal.echo(f"peak memory {peak / 2**20:.0f} MiB; times without communication")
    terminal.echo(
        f"of it {program / 2**20:.0f} MiB are the program, {own / 2**20:.0f} MiB this rank, "
        f"{max(peak - program - own, 0) / 2**20:.0f} MiB building and the dry run itself"
    )
    firing, here = chosen.firing(result.others_hz), min(ranks_per_node, ranks)
    routes, shared, sets = dryrun.count_shared(chosen.model, chosen.task.n_steps, firing, ranks, rank, here)
    of_node = here * (program - of_files + own + routes) + of_files + shared
    terminal.echo(
        f"a node of {here} such ranks: {of_node / 2**30:.2f} GiB, {shared / 2**30:.2f} GiB of it shared messages and "
        f"spikes; each rank lists {routes / 2**20:.1f} MiB of routes; of the program the node has "
        f"{of_files / 2**20:.0f} MiB, its files, once"
    )
    terminal.echo(
        f"at the start: {loaded:.1f} s of a core for the program and {result.share.phases['build']:.1f} s to build; "
        f"then {sets / 2**20:.1f} MiB of the node tell who hears whom"
    )


def _print_memory(memory: Mapping[str, float]) -> None:
    for kind, size in memory.items():
        if size:
            terminal.echo(f"{kind:12s} {size / 2**20:9.2f} MiB")
    terminal.echo(f"{'together':12s} {sum(memory.values()) / 2**20:9.2f} MiB")


@click.command(name="predict")
@click.argument("source", type=GivenPath(), metavar="CONFIG", required=False)
@SET
@TRUST
@rate_option
@units_option
@click.option("--measure", "measures", is_flag=True, help="Measure the unit costs first; takes some two minutes.")
@click.option(
    "--here", is_flag=True, help="Scale unit costs of another machine to this one, by a measurement of 0.2 s."
)
@click.option("--latency", type=FiniteFloat(min=0), help="Latency of a message between nodes in s [as measured].")
@click.option("--bandwidth", type=FiniteFloat(min=1), help="Bandwidth of a node in bytes per second [as measured].")
@click.option(
    "--ranks",
    "ranks_text",
    metavar="N[,N...]",
    default="1",
    show_default=True,
    help="Number of ranks; several, such as 1,2,...,1024, give a table.",
)
@click.option(
    "--within",
    metavar="TIME",
    help="Find the number of nodes that finishes in this time, such as 2h; replaces --ranks.",
)
@per_node_option
@click.option(
    "--node-memory", type=FiniteFloat(min=0.001), default=256.0, show_default=True, help="Memory of a node in GB."
)
@click.pass_obj
def predict_command(
    exchange: Exchange,
    source: str | None,
    settings: tuple[str, ...],
    trust: bool,
    rate: float | None,
    units_file: str | None,
    measures: bool,
    here: bool,
    latency: float | None,
    bandwidth: float | None,
    ranks_text: str,
    within: str | None,
    ranks_per_node: int,
    node_memory: float,
) -> None:
    """Predict time and memory of a run.

    CONFIG is a task, a configuration file, or `bench`; seconds are given by phase, for any number of ranks.
    """
    require_one_process(exchange)
    several = rank_table.ranks_of(ranks_text, MOST)
    if measures:
        exchanges, base, network = measure.exchange_costs(), measure.process_bytes(), units.Interconnect()
        made = {
            name: measure.measure(name, network=network, progress=terminal.echo, base_bytes=base) for name in VARIANTS
        }
        _write_units(units_file or UNITS, {name: item.with_exchange(**exchanges) for name, item in made.items()})
    if source is None:
        if not measures:
            raise click.UsageError("CONFIG is missing")
        return
    chosen = subject.find(source, settings, trust)
    origin, costs = _costs(units_file, chosen.model.variant)
    costs = _scale(costs.with_network(latency, bandwidth), origin, chosen.model.variant, here)
    arguments = chosen.model, chosen.task.n_steps, chosen.samples, chosen.firing(rate)
    _note_rate(chosen, rate)
    if within:
        limit_s = slurm.seconds_of(within)
        nodes, found = nodes_for(*arguments, costs, limit_s, ranks_per_node, node_memory * 1e9)
        terminal.echo(f"{terminal.count(nodes, 'node')} with {terminal.count(ranks_per_node, 'rank')} each")
        predictions = [found]
    else:
        predictions = [predict(*arguments, ranks, costs, ranks_per_node) for ranks in several]
    terminal.echo(f"unit costs: {origin}{_about(costs, predictions[-1])}")
    if len(predictions) > 1:
        terminal.echo("\n".join(rank_table.lines(predictions, ranks_per_node, node_memory * 1e9)))
    else:
        _print_prediction(predictions[0], chosen.samples)
        terminal.echo(f"a checkpoint has {count_files(-(-predictions[0].ranks // ranks_per_node))} files")


def _note_rate(chosen: subject.Subject, rate: float | None) -> None:
    """Say which firing rate a prediction assumes, unless it was given."""
    if rate is None:
        terminal.echo(
            f"note: neurons are taken to fire at {target_rate(chosen.model):g} Hz, their f_target; untrained ones "
            "often fire two to four times as much, and time grows with it; "
            "--rate sets it, run.log of a short run tells it"
        )


def _read_units(file: str | None) -> tuple[str, dict[str, units.Units]]:
    """Return where unit costs come from, and the costs by variant."""
    if file is None and not Path(UNITS).exists():
        return measure.shipped()
    return file or UNITS, units.read(Path(file or UNITS))


def _write_units(file: str, costs: Mapping[str, units.Units]) -> None:
    with output_errors(Path(file), "--units "), replace_file(Path(file)) as part:
        units.write(part, dict(costs))


def _costs(file: str | None, variant: str) -> tuple[str, units.Units]:
    """Return where unit costs come from, and those of a variant."""
    source, costs = _read_units(file)
    if variant not in costs:
        raise InputError(
            f"{source} holds no unit costs of variant '{variant}'; `pareprop predict --measure` makes them"
        )
    return source, costs[variant]


def _about(costs: units.Units, prediction: Prediction) -> str:
    """Return where and when unit costs were measured, if they tell, and which of them a prediction has to estimate."""
    about = f", {PROCESSOR(costs.processor, costs.level)}, {costs.cores} cores, {costs.date}" if costs.date else ""
    about += f", {costs.load:.1f} processes busy before" if costs.load >= BUSY else ""
    guessed = ", ".join(units.TOLD[name] for name in prediction.estimated)
    return f"{about}; estimated, not measured: {guessed} (`pareprop ping` measures them)" if guessed else about


def _scale(costs: units.Units, file: str, variant: str, here: bool) -> units.Units:
    """Return unit costs, scaled to this machine with `here`; print a note if they are of another processor."""
    note = _tell_processor(costs)
    if here:
        if not costs.sample_s:
            raise InputError(f"{file} does not tell how fast its machine was; `pareprop predict --measure` writes that")
        times = speed.sample_seconds(variant) / costs.sample_s
        terminal.echo(f"note: {note}{'; ' * bool(note)}costs are multiplied by {times:.3g}, by a short measurement")
        return costs.scaled(times)
    if note:
        terminal.echo(f"note: {note}; --here scales them by a short measurement")
    return costs


def _tell_processor(costs: units.Units) -> str:
    """Return a note on the processor of unit costs, "" if it is this one or not known."""
    of, this = PROCESSOR(costs.processor, costs.level), PROCESSOR(*speed.here())
    return f"unit costs are those of {of}, here is {this}" if costs.processor and of != this else ""


def _print_prediction(prediction: Prediction, samples: int) -> None:
    terminal.echo(
        f"{terminal.count(prediction.ranks, 'rank')}, {terminal.count(samples, 'sample')}: {prediction.seconds:.4g} s, "
        f"{prediction.sample_seconds:.4g} s per sample"
    )
    if prediction.band:
        low, high = prediction.band
        terminal.echo(
            f"range        {low:.4g} to {high:.4g} s: as far as nine of ten measured runs were from these costs"
        )
    for phase in benchmark.PHASES:
        terminal.echo(f"{phase:12s} {prediction.phases[phase]:9.3f} s")
    energy = f"{prediction.joules:.3g}" if prediction.joules == prediction.joules else "not told by the unit costs"
    terminal.echo(f"core hours   {prediction.core_hours:9.3g}; joules: {energy}")
    _print_memory(prediction.memory)
    terminal.echo(
        f"{prediction.nbytes / 2**20:.0f} MiB per rank with the process itself, "
        f"{prediction.node_bytes / 2**20:.0f} MiB per node; slowest rank {prediction.imbalance:.3f} x mean"
    )


@click.command(name="ping")
@units_option
@click.option(
    "--rounds", type=click.IntRange(1, 10**6), default=ping.ROUNDS, show_default=True, help="Exchanges to time."
)
@click.pass_obj
def ping_command(exchange: Exchange, units_file: str | None, rounds: int) -> None:
    """Measure unit costs of exchanges between ranks and nodes.

    Started by srun or mpirun, with two ranks or more on each node. Two nodes measure latency, bandwidth, and what a
    further message costs. What is measured is written into the unit costs.
    """
    if exchange.comm is None:
        raise InputError("ping: start it on several ranks, such as `srun --nodes=2 --ntasks-per-node=8 pareprop ping`")
    with collectives.guarded(exchange.comm):
        origin, costs = _read_units(units_file) if exchange.rank == 0 else ("", {})
    found = ping.measure(exchange.comm, rounds)
    with collectives.guarded(exchange.comm):
        if exchange.rank == 0:
            told = {name: item.with_exchange(**found) for name, item in costs.items()}
            _write_units(units_file or UNITS, told)
            _print_exchange(found, origin, units_file or UNITS)


def _print_exchange(found: Given, origin: str, file: str) -> None:
    """Print the median and the range of each cost, and what was written."""
    for name in dict.fromkeys(name for costs in found["repetitions"] for name in costs):
        values = sorted(costs[name] for costs in found["repetitions"] if name in costs)
        unit = "bytes/s" if name == "bandwidth" else "s per s" if name == "skew" else "s"
        terminal.echo(f"{units.TOLD[name]:26s} {median(values):9.3g} {unit}, from {values[0]:.3g} to {values[-1]:.3g}")
    terminal.echo(f"{found['nodes']} node(s); written to {file}, all other costs as in {origin}")


@click.command()
@click.argument("source", type=GivenPath(), metavar="CONFIG", required=False)
@click.option("--write", type=GivenPath(path_type=Path), metavar="DIR", help="Write the job scripts into this folder.")
@SET
@TRUST
@rate_option
@units_option
@click.option("--nodes", type=click.IntRange(1, MOST), default=1, show_default=True, help="Number of nodes.")
@per_node_option
@click.option(
    "--time", "limit", metavar="TIME", help="Time limit of a job on the cluster, such as 2h [the predicted time]."
)
@click.option("--script", default="jobs/chain.sbatch", show_default=True, help="Job script.")
@click.pass_obj
def jobs(
    exchange: Exchange,
    source: str | None,
    write: Path | None,
    settings: tuple[str, ...],
    trust: bool,
    rate: float | None,
    units_file: str | None,
    nodes: int,
    ranks_per_node: int,
    limit: str | None,
    script: str,
) -> None:
    """Print the sbatch command for a run, or write the job scripts.

    It asks for the predicted time and memory. CONFIG is a task, a configuration file, or `bench`.
    """
    require_one_process(exchange)
    if source is None and write is None:
        raise click.UsageError("CONFIG or --write DIR is missing")
    lines = (
        []
        if source is None
        else _plan(
            source, settings, trust, rate, units_file, nodes, ranks_per_node, limit, script, writes=write is not None
        )
    )
    for path in [] if write is None else batch.write_scripts(write):
        terminal.echo(f"job script: {path}")
    for line in lines:
        terminal.echo(line)


def _plan(
    source: str,
    settings: tuple[str, ...],
    trust: bool,
    rate: float | None,
    units_file: str | None,
    nodes: int,
    ranks_per_node: int,
    limit: str | None,
    script: str,
    writes: bool,
) -> list[str]:
    """Return the lines of `pareprop jobs` on a run; `writes`: whether it also writes the job scripts."""
    if source == "bench":
        raise InputError("bench is not a training; use jobs/study.sbatch")
    chosen = subject.find(source, settings, trust)
    origin, costs = _costs(units_file, chosen.model.variant)
    prediction = predict(
        chosen.model,
        chosen.task.n_steps,
        chosen.samples,
        chosen.firing(rate),
        nodes * ranks_per_node,
        costs,
        ranks_per_node,
    )
    arguments = [source, *(f"--set={text}" for text in settings), *["--trust"] * trust]
    seconds = slurm.seconds_of(limit) if limit else None
    line, number = slurm.command(script, arguments, nodes, ranks_per_node, seconds, prediction)
    lines = [
        f"# predicted: {prediction.seconds:.3g} s, {prediction.nbytes / 2**20:.0f} MiB per rank, "
        f"{prediction.node_bytes / 2**20:.0f} MiB per node; "
        f"{number} job(s) in a row; time and memory below have a margin of {slurm.MARGIN:g}; unit costs: {origin}"
    ]
    if note := _tell_processor(costs):
        lines.append(f"# note: {note}")
    if not writes and not Path(script).exists():
        lines.append(f"# {script} is not here; `pareprop jobs --write {Path(script).parent}` writes the job scripts")
    return [*lines, line]


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="TASK|FILE.toml [OPTIONS OF RUN]")
@click.option("--out", type=GivenPath(path_type=Path), required=True, metavar="DIR", help="Run directory.")
@click.option(
    "--launcher",
    type=click.Choice(["mpirun", "srun"]),
    envvar="LAUNCHER",
    show_envvar=True,
    help="Starts the ranks [srun in a SLURM job].",
)
@click.option(
    "--ranks",
    type=click.IntRange(1, MOST),
    envvar=["SLURM_NTASKS", "RANKS"],
    show_envvar=True,
    help="Number of ranks [tasks of the SLURM job, else cores].",
)
@click.option("--requeue", is_flag=True, help="Put the SLURM job back into the queue after a checkpoint.")
@click.option("--minutes", type=FiniteFloat(min=0), help="Stop with a checkpoint after this time.")
@click.pass_obj
def launch(
    exchange: Exchange,
    arguments: tuple[str, ...],
    out: Path,
    launcher: str | None,
    ranks: int | None,
    requeue: bool,
    minutes: float | None,
) -> None:
    """Train in ranks that this command starts, as job scripts do.

    Continues the run in --out, if there is one. SIGUSR1 stops it with a checkpoint (code 75), as soon as all ranks
    listen; so does SIGTERM, after which the job is not requeued. The last lines tell nodes, time, and, after a
    failure, which rank ended first and what continues the run.
    """
    require_one_process(exchange)
    job = os.environ.get("SLURM_JOB_ID", "")
    if requeue and not job:
        raise InputError("--requeue: this is no SLURM job")
    launcher, ranks = launcher or ("srun" if job else "mpirun"), ranks or cores(frozenset(os.sched_getaffinity(0)))
    training, began = batch.Training(arguments, out, launcher, ranks), time.monotonic()
    code = training.run(None if minutes is None else 60 * minutes)
    for line in training.last_words(code):
        terminal.echo(f"pareprop: {line}", err=True)
    terminal.echo(f"pareprop: {batch.job_line(ranks, time.monotonic() - began)}", err=True)
    if code == EXIT_CHECKPOINTED and requeue and signal.SIGTERM in training.asked:  # from scancel
        terminal.echo(f"job {job} was ended by SIGTERM; `pareprop resume {out}` continues from its checkpoint")
    elif code == EXIT_CHECKPOINTED and requeue:
        terminal.echo(f"job {job} goes on from this checkpoint")
        sys.stdout.flush()
        batch.requeue(job)
        return
    sys.exit(code)

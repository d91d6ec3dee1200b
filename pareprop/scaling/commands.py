"""The commands of this subpackage except `sweep`: scaling run, collect and plot; dry-run; predict; jobs; launch.

Each runs in one process. They are one file because they share their options.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import click

from .. import files, kernels, machine, terminal
from ..errors import InputError, StateError
from ..machine import BUSY, count_cores, file_rss_bytes, peak_rss_bytes
from ..parallel import collectives
from ..parallel.exchange import Exchange
from ..runs.options import SET, TRUST, FiniteFloat, GivenPath
from ..runs.run import EXIT_CHECKPOINTED, print_figures
from ..storage.checkpoint_write import count_files
from ..storage.disk import output_errors, replace_file
from . import batch, dryrun, launchers, ping, rank_table, slurm, study, subject, traffic
from . import collect as table
from .options import MAX_RANKS, require_one_process
from .predict import Prediction, predict_runs

MAX_SHOWN_PARTS = 8  # parts of the memory that are printed, the largest
rate_option = click.option(
    "--rate",
    type=FiniteFloat(0, 1000),
    help="Firing rate of neurons of other ranks in Hz [same as of the rank that is built].",
)
per_node_option = click.option(
    "--ranks-per-node", type=click.IntRange(1, 2**16), default=64, show_default=True, help="Ranks of a node."
)
ping_option = click.option(
    "--ping",
    "ping_file",
    type=GivenPath(path_type=Path),
    metavar="FILE",
    help=f"File with the costs of exchanges, which `pareprop ping` writes [{traffic.FILE}].",
)


@click.group(name="scaling")
@click.pass_obj
def scaling_group(exchange: Exchange) -> None:
    """Run, collect and plot scaling studies of the benchmark."""
    require_one_process(exchange)


@scaling_group.command(name="run")
@click.argument("study_file", type=GivenPath(), metavar="STUDY.toml")
@click.option(
    "--out",
    type=GivenPath(),
    required=True,
    metavar="DIR",
    help="Directory of the results; points finished there are not run again.",
)
@click.option(
    "--launcher",
    type=click.Choice(["mpirun", "srun", "sbatch"]),
    default="mpirun",
    show_default=True,
    help="Command that starts the ranks of a run.",
)
@click.option("--sbatch-options", default="", metavar="TEXT", help="Further options of sbatch, with --launcher sbatch.")
def run(study_file: str, out: str, launcher: str, sbatch_options: str) -> None:
    """Run the unfinished points of a study.

    One after another, or with --launcher sbatch each as a SLURM job.
    """
    chosen, folder = study.read(Path(study_file)), Path(out)
    points = chosen.list_points()
    done = [point for point in points if (folder / f"{point.label}.json").exists()]
    for point in done:
        table.read_results(point, folder / f"{point.label}.json")
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
    """Submit the points that no earlier call submitted, wait for all jobs, and return why points failed."""
    jobs, failed = {}, {}
    for point in points:
        job = launchers.find_submitted_job(point, folder)
        try:
            jobs[point.label] = job or launchers.submit_point(point, folder, options)
        except StateError as problem:  # the other points still run
            failed[point.label] = str(problem)
            terminal.echo(f"refused: {problem}")
            continue
        terminal.echo(f"job {jobs[point.label]}: {point.label}{', submitted before' if job else ''}")
    if jobs:
        terminal.echo(f"jobs: {' '.join(jobs.values())}")
    launchers.wait_for_jobs(list(jobs.values()))
    missing = [point.label for point in points if not (folder / f"{point.label}.json").exists()]
    return [failed.get(label, f"{label}: see {folder / label}.log") for label in missing]


def _run_here(point: study.Point, folder: Path, launcher: str, timeout_s: float) -> str:
    try:
        launchers.run_point(point, folder, launcher, timeout_s)
    except StateError as problem:
        terminal.echo(f"failed: {problem}")
        return str(problem)
    figures = table.read_results(point, folder / f"{point.label}.json")
    busy = figures.get("other_cores", 0.0)
    others = f"; other programs kept {busy:.1f} cores busy" if busy > BUSY else ""
    terminal.echo(f"{point.label}: {figures['train_seconds']:.3f} s{others}")
    return ""


@scaling_group.command(name="collect")
@click.argument("folder", type=GivenPath(), metavar="DIR")
def collect_command(folder: str) -> None:
    """Write the tables of a study: study.csv and summary.csv.

    The first has a row for each finished run, with minimum, mean and maximum over the ranks of each phase. The second
    joins runs that differ in seed and repetition, and is printed as well: mean and standard deviation of seconds, of
    the real-time factor, and of the energy of a synaptic event if machines measure joules.
    """
    chosen = study.read(Path(folder, "study.toml"))
    rows = table.collect_rows(chosen, Path(folder))
    path = Path(folder, table.TABLE)
    with output_errors(path, "table "):
        table.write_tables(rows, path)
    terminal.echo(f"table: {path}, {len(rows)} of {len(chosen.list_points())} points")
    for line in table.format_summary(table.summarize_rows(rows)):
        terminal.echo(line)


@scaling_group.command(name="plot")
@click.argument("folder", type=GivenPath(), metavar="DIR")
def plot(folder: str) -> None:
    """Draw the figures of a study from its table."""
    from ..plots import scaling as figures  # matplotlib takes long to load

    with output_errors(Path(folder), "figures "):
        paths = figures.draw_figures(Path(folder, table.TABLE))
    print_figures(paths)


@click.command(name="dry-run")
@click.argument("source", type=GivenPath(), metavar="CONFIG")
@SET
@TRUST
@click.option("--ranks", type=click.IntRange(1, MAX_RANKS), required=True, help="Number of ranks of the whole run.")
@click.option("--rank", type=int, default=0, show_default=True, help="Rank to build and step.")
@click.option("--samples", type=click.IntRange(1, 10**6), default=1, show_default=True, help="Samples to time.")
@rate_option
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
    chosen, loaded = subject.find_subject(source, settings, trust), time.process_time()
    program, of_files = peak_rss_bytes(), file_rss_bytes()
    result = dryrun.run(
        chosen.model,
        chosen.task,
        ranks,
        rank,
        chosen.settings,
        samples=samples,
        rate_hz=rate,
        progress=terminal.echo,
    )
    terminal.echo(
        f"rank {rank} of {ranks}; fires at {result.rate_hz:.2f} Hz, other ranks drawn at {result.others_hz:.2f} Hz"
    )
    for line in dryrun.warn_of_rate(chosen.model, result.rate_hz) if rate is None else ():
        terminal.echo(line)
    for name, seconds in (result.share.phases | {"other": result.other_seconds}).items():
        unit = "s" if name == "build" else "s per sample"
        terminal.echo(f"{name:12s} {seconds / (1 if name == 'build' else samples):9.4f} {unit}")
    _print_memory(result.share.memory)
    peak, own = result.share.peak_rss_bytes, sum(result.share.memory.values())
    terminal.echo(f"peak memory {peak / 2**20:.0f} MiB; times without communication")
    terminal.echo(
        f"of it {program / 2**20:.0f} MiB are the program, {own / 2**20:.0f} MiB this rank, "
        f"{max(peak - program - own, 0) / 2**20:.0f} MiB building and the dry run itself"
    )
    here = traffic.Traffic(chosen.model, chosen.task.n_steps, result.others_hz, ranks, ranks_per_node)
    routes, shared = here.count_bytes()
    of_node = here.node_ranks * (program - of_files + own + routes) + of_files + shared
    terminal.echo(
        f"a node of {here.node_ranks} such ranks: {of_node / 2**30:.2f} GiB, {shared / 2**30:.2f} GiB of it shared "
        f"messages and spikes; each rank lists {routes / 2**20:.1f} MiB of routes; of the program the node has "
        f"{of_files / 2**20:.0f} MiB, its files, once"
    )
    terminal.echo(
        f"at the start: {loaded:.1f} s of a core for the program and {result.share.phases['build']:.1f} s to build"
    )


def _print_memory(memory: Mapping[str, float]) -> None:
    for kind, size in memory.items():
        if size:
            terminal.echo(f"{kind:12s} {size / 2**20:9.2f} MiB")
    terminal.echo(f"{'together':12s} {sum(memory.values()) / 2**20:9.2f} MiB")


@click.command(name="predict")
@click.argument("source", type=GivenPath(), metavar="CONFIG")
@SET
@TRUST
@rate_option
@ping_option
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
@per_node_option
@click.option("--samples", type=click.IntRange(1, 10**6), default=1, show_default=True, help="Samples to time.")
@click.option("--memory", "memory_only", is_flag=True, help="Estimate memory alone, and build nothing.")
@click.option(
    "--node-memory", type=FiniteFloat(min=0.001), default=256.0, show_default=True, help="Memory of a node in GB."
)
@click.pass_obj
def predict_command(
    exchange: Exchange,
    source: str,
    settings: tuple[str, ...],
    trust: bool,
    rate: float | None,
    ping_file: Path | None,
    latency: float | None,
    bandwidth: float | None,
    ranks_text: str,
    ranks_per_node: int,
    samples: int,
    memory_only: bool,
    node_memory: float,
) -> None:
    """Predict time and memory of a run.

    Builds the largest rank of the run here and simulates it; exchanges are added as `ping` measured them. Ranks that
    would take long are extrapolated from two smaller ranks. CONFIG is a task, a configuration file, or `bench`.
    """
    require_one_process(exchange)
    several, (costs, origin) = (
        rank_table.parse_ranks(ranks_text, MAX_RANKS),
        traffic.read(ping_file, latency, bandwidth),
    )
    chosen = subject.find_subject(source, settings, trust)
    found, hz = predict_runs(
        chosen,
        several,
        ranks_per_node,
        costs,
        samples=samples,
        rate_hz=rate,
        builds=not memory_only,
        progress=_print_progress,
    )
    if len(found) > 1:
        terminal.echo("\n".join(rank_table.format_table(found, node_memory * 1e9)))
    else:
        _print_prediction(found[0], chosen.samples)
        terminal.echo(f"a checkpoint has {count_files(found[0].nodes)} files")
    for line in [] if memory_only else _explain_prediction(found, costs, origin, hz):
        terminal.echo(line)
    for line in dryrun.warn_of_rate(chosen.model, hz) if rate is None and not memory_only else ():
        terminal.echo(line)


def _print_progress(line: str) -> None:
    terminal.echo(line, err=True)


def _explain_prediction(
    found: Sequence[Prediction], costs: traffic.Interconnect, origin: str, rate_hz: float
) -> list[str]:
    """Return lines on measured and on assumed numbers."""
    here = f"{machine.processor_name()}, kernels of level {kernels.LEVEL}"
    lines = [f"measured: one rank of the run, with one busy core of {here}; neurons fire at {rate_hz:.3g} Hz"]
    if origin:
        lines[0] += f"; exchanges: {origin}"
    if far := [item for item in found if item.ranks not in item.measured]:
        of = ", ".join(str(ranks) for ranks in far[0].measured)
        lines.append(f"extrapolated: {', '.join(str(item.ranks) for item in far)} ranks, from ranks of runs on {of}")
    nodes, node_ranks = max(item.nodes for item in found), max(-(-item.ranks // item.nodes) for item in found)
    assumed = costs.list_assumed(nodes, node_ranks)
    if nodes > 1 and (costs.latency_s is None or costs.bandwidth is None):
        lines.append("messages between nodes are not in it: `pareprop ping` on two nodes measures them")
    if assumed:
        lines.append(f"assumed, not measured: {', '.join(assumed)}")
    if node_ranks > 1:
        lines.append("not in it: ranks of a node share caches and memory, and wait for cores that are slower")
    return lines


def _print_prediction(prediction: Prediction, samples: int) -> None:
    if prediction.seconds:
        terminal.echo(
            f"{prediction.ranks} ranks, {samples} samples: {prediction.seconds:.4g} s, "
            f"{prediction.sample_seconds:.4g} s per sample, {prediction.core_hours:.3g} core hours"
        )
        for phase, seconds in prediction.phases.items():
            terminal.echo(f"{phase:12s} {seconds:9.3f} s")
    for what, size in sorted(prediction.memory.items(), key=lambda part: -part[1])[:MAX_SHOWN_PARTS]:
        terminal.echo(f"{size / 2**20:9.2f} MiB  {what}")
    terminal.echo(
        f"{prediction.rank_bytes / 2**20:.0f} MiB per rank with the program, "
        f"{prediction.node_bytes / 2**20:.0f} MiB per node"
    )


@click.command(name="ping")
@ping_option
@click.option(
    "--rounds", type=click.IntRange(1, 10**6), default=ping.ROUNDS, show_default=True, help="Exchanges to time."
)
@click.pass_obj
def ping_command(exchange: Exchange, ping_file: Path | None, rounds: int) -> None:
    """Measure the costs of exchanges between ranks and nodes.

    Start it by srun or mpirun, with two ranks or more on each node. Two nodes measure latency, bandwidth, and the cost
    of a further message. `predict` and `jobs` read the file.
    """
    if exchange.comm is None:
        raise InputError("ping: start it on several ranks, such as `srun --nodes=2 --ntasks-per-node=8 pareprop ping`")
    found, nodes = ping.repeat_measurements(exchange.comm, rounds)
    with collectives.share_errors(exchange.comm):
        if exchange.rank == 0:
            costs = traffic.Interconnect(**{name: median(values) for name, values in found.items()})
            path = ping_file or Path(traffic.FILE)
            with output_errors(path, "--ping "), replace_file(path) as part:
                part.write_text(costs.model_dump_json(indent=1, exclude_none=True) + "\n")
            for name, values in found.items():
                unit, what = "bytes/s" if name == "bandwidth" else "s", traffic.Interconnect.model_fields[name]
                ends = f"from {min(values):.3g} to {max(values):.3g}"
                terminal.echo(f"{what.description}: {median(values):.3g} {unit}, {ends}")
            terminal.echo(f"{nodes} node(s); written to {path}")


@click.command(name="jobs")
@click.argument("source", type=GivenPath(), metavar="CONFIG", required=False)
@click.option("--write", type=GivenPath(path_type=Path), metavar="DIR", help="Write the job scripts into this folder.")
@SET
@TRUST
@rate_option
@ping_option
@click.option("--nodes", type=click.IntRange(1, MAX_RANKS), default=1, show_default=True, help="Number of nodes.")
@per_node_option
@click.option(
    "--time", "limit", metavar="TIME", help="Time limit of a job on the cluster, such as 2h [the predicted time]."
)
@click.option("--script", default="jobs/chain.sbatch", show_default=True, help="Job script.")
@click.pass_obj
def jobs_command(
    exchange: Exchange,
    source: str | None,
    write: Path | None,
    settings: tuple[str, ...],
    trust: bool,
    rate: float | None,
    ping_file: Path | None,
    nodes: int,
    ranks_per_node: int,
    limit: str | None,
    script: str,
) -> None:
    """Print the sbatch command for a run, or write the job scripts.

    It asks for the time and memory that `predict` measures here. CONFIG is a task or a configuration file.
    """
    require_one_process(exchange)
    if source is None and write is None:
        raise click.UsageError("CONFIG or --write DIR is missing")
    lines = []
    if source is not None:
        if source == "bench":
            raise InputError("bench is not a training; use jobs/study.sbatch")
        seconds = slurm.parse_time(limit) if limit else None
        chosen, (costs, origin) = subject.find_subject(source, settings, trust), traffic.read(ping_file)
        found, hz = predict_runs(
            chosen, [nodes * ranks_per_node], ranks_per_node, costs, rate_hz=rate, progress=_print_progress
        )
        arguments = [source, *(f"--set={text}" for text in settings), *["--trust"] * trust]
        line, number = slurm.make_command(script, arguments, nodes, ranks_per_node, seconds, found[0])
        lines = [
            f"# {found[0].seconds:.3g} s, {found[0].rank_bytes / 2**20:.0f} MiB per rank, "
            f"{found[0].node_bytes / 2**20:.0f} MiB per node; {number} job(s) in a row; time and memory below have a "
            f"margin of {slurm.MARGIN:g}",
            *(f"# {text}" for text in _explain_prediction(found, costs, origin, hz)),
        ]
        if write is None and not Path(script).exists():
            lines.append(
                f"# {script} is not here; `pareprop jobs --write {Path(script).parent}` writes the job scripts"
            )
        lines.append(line)
    for path in [] if write is None else batch.write_scripts(write):
        terminal.echo(f"job script: {path}")
    for line in lines:
        terminal.echo(line)


@click.command(name="launch", context_settings={"ignore_unknown_options": True})
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
    type=click.IntRange(1, MAX_RANKS),
    envvar=["SLURM_NTASKS", "RANKS"],
    show_envvar=True,
    help="Number of ranks [tasks of the SLURM job, else cores].",
)
@click.option("--requeue", is_flag=True, help="Put the SLURM job back into the queue after a checkpoint.")
@click.option("--minutes", type=FiniteFloat(min=0), help="Stop with a checkpoint after this time.")
@click.pass_obj
def launch_command(
    exchange: Exchange,
    arguments: tuple[str, ...],
    out: Path,
    launcher: str | None,
    ranks: int | None,
    requeue: bool,
    minutes: float | None,
) -> None:
    """Train in ranks that this command starts, as job scripts do.

    Continues the run in --out, if there is one. SIGUSR1 stops it with a checkpoint (code 75), after all ranks have
    installed their handlers; so does SIGTERM, after which the job is not requeued. The last lines report nodes, time,
    and, after a failure, which rank ended first and which command continues the run.
    """
    require_one_process(exchange)
    job = os.environ.get("SLURM_JOB_ID", "")
    if requeue and not job:
        raise InputError("--requeue: this is no SLURM job")
    launcher, ranks = (
        launcher or ("srun" if job else "mpirun"),
        ranks or count_cores(frozenset(os.sched_getaffinity(0))),
    )
    training, began = batch.Training(arguments, out, launcher, ranks), time.monotonic()
    code = training.run(None if minutes is None else 60 * minutes)
    for line in training.describe_failure(code):
        terminal.echo(f"pareprop: {line}", err=True)
    terminal.echo(f"pareprop: {batch.format_job(ranks, time.monotonic() - began)}", err=True)
    if code == EXIT_CHECKPOINTED and requeue and signal.SIGTERM in training.asked:  # from scancel
        terminal.echo(f"job {job} was ended by SIGTERM; `pareprop resume {out}` continues from its checkpoint")
    elif code == EXIT_CHECKPOINTED and requeue:
        terminal.echo(f"job {job} continues from this checkpoint")
        sys.stdout.flush()
        batch.requeue_job(job)
        return
    sys.exit(code)

"""Measure unit costs on this machine with dry runs of small and large benchmarks, in this process."""

from __future__ import annotations

import itertools
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np

from .. import energy, machine
from ..errors import InputError, StateError
from ..machine import available, file_rss_bytes, peak_rss_bytes
from ..runs import benchmark, speed, units, work
from ..runs.units import Interconnect, Measured, Units
from ..values import Values
from . import dryrun, launchers, ping

EXCHANGES = ping.ROUNDS
MEET = 60.0  # a copy waits for the others for at most this many seconds
SHIPPED = Path(__file__).parent / "measured"  # unit costs of machines, as `predict --measure` writes them
LARGEST = 2**30  # about the bytes of the largest probe


@dataclass(frozen=True)
class Probe:
    """A benchmark network whose costs are measured on one of its `ranks` ranks, by a dry run."""

    neurons: int
    indegree: int
    ranks: int
    steps: int = 500
    delay: int = 1
    rate_hz: float = 30.0


# Long and short rows, few and many neurons on a rank, tables in the cache and far beyond it.
PROBES = (
    Probe(1000, 100, 2), Probe(2000, 200, 2, 500, 5), Probe(4000, 100, 2, rate_hz=90.0), Probe(4000, 800, 2, 250),
    Probe(8000, 100, 4, 500, 5), Probe(20_000, 500, 2, 200), Probe(20_000, 1000, 16, 250), Probe(20_000, 2000, 2, 100),
    Probe(20_000, 500, 2, 100, 5), Probe(40_000, 50, 2, 250), Probe(40_000, 200, 64, 500),
    Probe(80_000, 20, 2, 150), Probe(8000, 50, 2, 1500), Probe(20_000, 200, 2, 200),
)  # fmt: skip


def measure(
    variant: str,
    probes: tuple[Probe, ...] = PROBES,
    repeats: int = 3,
    network: Interconnect | None = None,
    progress: Callable[[str], None] = lambda line: None,
    base_bytes: tuple[float, float] | None = None,
) -> Units:
    """Run all probes, alone and as one copy per core at once, and fit unit costs to the median seconds of each phase.

    All probes take turns, so that a machine that is slow for a while affects one repetition of each.

    Parameters
    ----------
    variant : str
        Name of the variant of e-prop.
    probes : tuple of Probe
        Benchmarks to run.
    repeats : int
        Repetitions of each probe.
    network : Interconnect or None
        Costs of the exchange; by default measured between ranks of this machine.
    progress : callable
        Called with one line after each probe.
    base_bytes : tuple of float or None
        Memory of a process before it builds a network, and the part of files in it; by default the peak of this process
        so far.

    Raises
    ------
    StateError
        If one of the copies was killed.
    """
    (base, of_files), before = base_bytes or process_bytes(), os.getloadavg()[0]
    cores, meter, joules, spent = count_copies(), energy.Meter(), 0.0, 0.0
    alone: dict[Probe, list[Measured]] = {probe: [] for probe in probes}
    crowded: dict[Probe, list[list[Measured]]] = {probe: [] for probe in probes}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, context, _begin_copy, (context.Barrier(cores),)) as pool:
        for repeat, probe in itertools.product(range(repeats), probes):
            start = time.perf_counter()
            alone[probe].append(run(variant, probe))
            meter.lap()
            if cores > 1:
                begun = time.perf_counter()
                crowded[probe].append(_run_copies(pool, cores, variant, probe))
                joules, spent = joules + meter.lap(), spent + time.perf_counter() - begun
            progress(f"{variant}, {repeat + 1} of {repeats}: {probe}: {time.perf_counter() - start:.1f} s")
    if before > 0.3 * machine.cores():
        progress(
            f"note: {before:.1f} processes were busy on {machine.cores()} cores when this began: seconds are of the "
            "processor, but caches and memory were shared"
        )
    copies = [[_median(runs) for runs in zip(*crowded[probe], strict=True)] for probe in probes]
    medians = [_median(alone[probe]) for probe in probes]
    found = units.fit(medians, network or Interconnect(), base, [_mean(runs) for runs in copies if runs], cores)
    processor, level = speed.here()
    found = replace(
        found,
        processor=processor,
        level=level,
        sample_s=speed.sample_seconds(variant),
        date=datetime.now(UTC).date().isoformat(),
        load=before,
        base_file_bytes=of_files,
        watts=0.0 if math.isnan(joules) or not spent else joules / spent / cores,
        spread=units.spread(
            found,
            itertools.chain.from_iterable(alone.values()),
            [_mean(runs) for repetitions in crowded.values() for runs in repetitions],
        ),
    )
    return found if network else found.with_exchange(**exchange_costs())


def process_bytes() -> tuple[int, int]:
    """Return the peak memory of this process, and the part of files in it, which a node has once."""
    return peak_rss_bytes(), file_rss_bytes()


def shipped() -> tuple[str, dict[str, Units]]:
    """Return the file of unit costs in the package that is nearest to this machine, and the costs by variant.

    That of this processor and level of kernels, if there is one, else one of this level, else the first.
    """
    files = sorted(SHIPPED.glob("*.json"))
    known = [(path, units.read(path)) for path in files]
    processor, level = speed.here()

    def distance(entry: tuple[Path, dict[str, Units]]) -> tuple[bool, bool]:
        costs = next(iter(entry[1].values()))
        return costs.level != level, costs.processor != processor

    path, costs = min(known, key=distance)
    return f"{path.name} of the package", costs


def _run_copies(pool: ProcessPoolExecutor, cores: int, variant: str, probe: Probe) -> list[Measured]:
    try:
        return list(pool.map(_run_copy, [variant] * cores, [probe] * cores))
    except BrokenProcessPool:
        raise StateError(f"{probe}: one of {cores} processes at once was ended, perhaps for lack of memory") from None


def _run_copy(variant: str, probe: Probe) -> Measured:
    """In a process of the pool: run a probe; its samples, of milliseconds, begin together with those of others."""

    def meet(line: str) -> None:
        try:
            _Copy.barrier.wait(MEET)
        except threading.BrokenBarrierError:  # another copy was killed, which the pool reports
            _Copy.barrier.abort()

    return run(variant, probe, meet)


class _Copy:
    """Globals of a process of the pool: the barrier by which copies wait for each other."""

    barrier: threading.Barrier


def _begin_copy(barrier: threading.Barrier) -> None:
    """In a process of the pool: end when the parent process ends, and silently on Ctrl-C."""
    _Copy.barrier = barrier
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def count_copies() -> int:
    """Return the number of probes to run at once: the cores that this process may use, or as many as memory allows."""
    return max(1, min(machine.cores(frozenset(os.sched_getaffinity(0))), available() // (2 * LARGEST)))


def _median(runs: Sequence[Measured]) -> Measured:
    """Return a run with the median seconds of each phase; the fastest ones are those of an otherwise idle machine."""
    phases = {name: float(np.median([run.phases[name] for run in runs])) for name in runs[0].phases}
    return replace(runs[0], phases=phases)


def _mean(copies: Sequence[Measured]) -> Measured:
    """Return a run with the mean seconds of each phase."""
    phases = {name: float(np.mean([copy.phases[name] for copy in copies])) for name in copies[0].phases}
    return replace(copies[0], phases=phases)


def run(variant: str, probe: Probe, progress: Callable[[str], None] | None = None) -> Measured:
    """Run one probe; return its counts and the processor seconds of each phase. See `dryrun.run` for `progress`."""
    model = benchmark.model(probe.neurons, probe.indegree, 100, delay=probe.delay, variant=variant)
    task = benchmark.BenchTask(100, probe.steps, 1)
    settings = model.eprop.settings(task.learning_window)
    rank = probe.ranks - 1
    done = dryrun.run(
        model, task, probe.ranks, rank, rate_hz=probe.rate_hz, drive=True, settings=settings, progress=progress
    )
    share, (build_share, run_share) = done.share, done.processor_share
    phases = {name: value * (build_share if name == "build" else run_share) for name, value in share.phases.items()}
    firing = work.Firing.at(benchmark.INPUT_PROBABILITY, probe.rate_hz, probe.steps, model.dt_ms)
    return Measured(work.of_rank(model, probe.steps, firing, probe.ranks, rank), phases, dict(share.memory))


def exchange_costs() -> Values:
    """Measure exchanges between ranks of this machine, see `ping.measure`; no repetitions without mpirun."""
    n_ranks = max(2, count_copies())
    try:
        done = subprocess.run(
            [*launchers.command("mpirun", n_ranks), sys.executable, "-m", ping.__name__, str(EXCHANGES)],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
            env=launchers.environment(n_ranks) | {"OMPI_MCA_btl": "self,sm", "OMPI_MCA_osc": "^ucx"},
        )
    except (subprocess.SubprocessError, InputError):
        return {"repetitions": [], "nodes": 1}
    return cast(Values, json.loads(done.stdout))

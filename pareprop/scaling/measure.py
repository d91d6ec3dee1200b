"""Measure unit costs on this machine with dry runs of small and large benchmarks, in this process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..engines.interval import IntervalSettings
from ..engines.spike import SpikeSettings
from ..errors import InputError
from ..machine import peak_rss_bytes
from ..runs import benchmark
from . import dryrun, launchers, work
from .units import Interconnect, Measured, Units, fit

RATE_HZ = 30.0
EXCHANGES = 2000
PING = """
import sys, time
import numpy as np
from pareprop import exchange
from pareprop.parallel.channel import Terms
ranks, n = exchange(), int(sys.argv[1])
comm, rounds = ranks.comm, ranks.open(Terms(ranks.size, n, n, 1)).meeting.rounds
for words in (64, 65536):
    own, all_ = np.zeros(words, np.uint32), np.zeros(words * comm.size, np.uint32)
    laps = []
    for _ in range(n if words == 64 else n // 20):
        start = time.perf_counter()
        comm.Allgather(own, all_)
        laps.append(time.perf_counter() - start)
    if comm.rank == 0:
        print(float(np.median(laps)))
laps = []
for _ in range(7):
    comm.Barrier()
    start = time.perf_counter()
    rounds(0, n)
    laps.append((time.perf_counter() - start) / n)
if comm.rank == 0:
    print(float(np.median(laps)))
"""


@dataclass(frozen=True)
class Probe:
    """Sizes of a benchmark network, of which one of `ranks` ranks is run to measure unit costs."""

    neurons: int
    indegree: int
    ranks: int
    steps: int = 500
    delay: int = 1


# Long and short rows, few and many neurons on a rank, tables in the cache and far beyond it.
PROBES = (
    Probe(1000, 100, 2), Probe(4000, 800, 2, 250), Probe(8000, 100, 4, 1000, 5), Probe(20_000, 500, 2),
    Probe(20_000, 1000, 16, 250), Probe(20_000, 2000, 2, 250), Probe(20_000, 500, 2, 250, 5), Probe(40_000, 50, 2),
    Probe(40_000, 200, 64, 1000),
)  # fmt: skip


def measure(
    variant: str, probes: tuple[Probe, ...] = PROBES, repeats: int = 3, network: Interconnect | None = None,
    progress: Callable[[str], None] = lambda line: None, base_bytes: float | None = None,
) -> Units:  # fmt: skip
    """Run all probes and fit unit costs to the fastest repetition of each phase.

    Parameters
    ----------
    variant : str
        "interval" or "spike".
    probes : tuple of Probe
        Benchmarks to run.
    repeats : int
        Repetitions of each probe.
    network : Interconnect or None
        Latency and bandwidth; by default measured between two ranks of this
        machine.
    progress : callable
        Called with one line after each probe.
    base_bytes : float or None
        Memory of a process before it builds a network; by default the peak of this process so far.
    """
    base = peak_rss_bytes() if base_bytes is None else base_bytes
    runs = []
    for probe in probes:
        start = time.perf_counter()
        runs.append(run(variant, probe, repeats))
        progress(f"{variant}: {probe}: {time.perf_counter() - start:.1f} s")
    return fit(runs, network or exchange_costs(), base)


def run(variant: str, probe: Probe, repeats: int) -> Measured:
    """Run one probe; return its counts and the fastest seconds of each phase."""
    model = benchmark.model(probe.neurons, probe.indegree, 100, delay=probe.delay, variant=variant)
    task = benchmark.BenchTask(100, probe.steps, 1)
    settings = (SpikeSettings if variant == "spike" else IntervalSettings)(task.learning_window)
    options = {"rate_hz": RATE_HZ, "drive": True, "settings": settings}
    rank = probe.ranks - 1  # owns the readout
    shares = [dryrun.run(model, task, probe.ranks, rank, **options).share for _ in range(repeats)]
    phases = {name: min(share.phases[name] for share in shares) for name in shares[0].phases}
    firing = work.Firing.at(benchmark.INPUT_PROBABILITY, RATE_HZ, probe.steps, model.dt_ms)
    return Measured(work.of_rank(model, probe.steps, firing, probe.ranks, rank), phases, dict(shares[0].memory))


def exchange_costs(n_ranks: int = 2) -> Interconnect:
    """Measure an Allgather and a round in shared memory on ranks of this machine; defaults without an mpirun."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "ping.py")
        script.write_text(PING)
        try:
            done = subprocess.run(
                [*launchers.command("mpirun", n_ranks), sys.executable, str(script), str(EXCHANGES)],
                capture_output=True, text=True, timeout=120, check=True,
                env=launchers.environment(n_ranks) | {"OMPI_MCA_btl": "self,sm", "OMPI_MCA_osc": "^ucx"},
            )  # fmt: skip
        except (subprocess.SubprocessError, InputError):
            return Interconnect()
    short, long, in_node = map(float, done.stdout.split())
    stages, usual = float(np.ceil(np.log2(n_ranks))), Interconnect()
    round_s = max(in_node - usual.line_s * (n_ranks - 2), usual.line_s)
    return Interconnect(short / stages, 4 * 65536 * (n_ranks - 1) / max(long - short, 1e-9), round_s=round_s)

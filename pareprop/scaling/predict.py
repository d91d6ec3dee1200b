"""Predict time and memory of a run: build and simulate one of its ranks, and add exchanges by a formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..engines import footprint
from ..machine import file_rss_bytes, rss_bytes
from ..network.costs import estimate_rank_costs
from ..network.local import compute_target_rate
from ..network.partition_bounds import choose_bounds
from ..network.sharing import count_synapses
from ..parallel.exchange import Alone
from ..runs.benchmark import PHASES
from ..simulation.building import choose_algorithms
from . import dryrun
from .subject import Subject
from .traffic import Interconnect, Traffic

MAX_SYNAPSES = 2e7  # of a rank that is built here; larger ranks are extrapolated from two smaller ranks
MAX_STEPS = 3e8  # arrivals and steps of neurons of a sample of such a rank
FORWARD = (
    "deliver",
    "update",
    "other",
    "wait",
    "communicate",
    "pack",
    "look_up",
)  # phases of samples without learning


@dataclass(frozen=True)
class Prediction:
    """Time of a run and memory of its largest rank.

    `phases` are seconds over all samples (build: once); "other" has time outside the phases, such as making samples.
    `sample_seconds` is the time of a training sample. `memory` are bytes of each part of the largest rank, without the
    program; `rank_bytes` include it, `node_bytes` is the memory of a node whose ranks are all as large. `measured`
    are the numbers of ranks of the runs of which a rank was built here; several if this run is extrapolated.
    """

    ranks: int
    nodes: int
    phases: dict[str, float]
    sample_seconds: float
    memory: dict[str, float]
    rank_bytes: float
    node_bytes: float
    measured: tuple[int, ...] = ()

    @property
    def seconds(self) -> float:
        """Seconds of the whole run."""
        return sum(self.phases.values())

    @property
    def core_hours(self) -> float:
        """Hours of all ranks together, each on a core."""
        return self.seconds * self.ranks / 3600.0


def find_largest(subject: Subject, ranks: int) -> tuple[int, np.ndarray]:
    """Return the rank whose steps cost most, and the partition bounds: the first neuron of each rank, and the end."""
    cuts = choose_bounds(subject.model, ranks)
    return int(np.argmax(estimate_rank_costs(subject.model, cuts)[0])), cuts


def predict_runs(
    subject: Subject,
    several: Sequence[int],
    ranks_per_node: int,
    costs: Interconnect,
    *,
    samples: int = 1,
    rate_hz: float | None = None,
    builds: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[list[Prediction], float]:
    """Predict runs on several numbers of ranks, and return the predictions and the firing rate of the neurons.

    `samples` of each built rank are timed; without `builds` no rank is built and seconds are 0. `rate_hz` is the firing
    rate of other ranks' neurons, see `dryrun.run`. `progress` receives lines on the current work.
    """
    program = rss_bytes(), file_rss_bytes()
    measured = _time_largest_ranks(subject, several, samples, rate_hz, progress) if builds else {}
    rate = compute_target_rate(subject.model) if rate_hz is None else rate_hz
    if measured and rate_hz is None:
        rate = measured[min(measured)].rate_hz
    return [_predict_run(subject, ranks, ranks_per_node, costs, rate, measured, program) for ranks in several], rate


def _time_largest_ranks(
    subject: Subject, several: Sequence[int], samples: int, rate_hz: float | None, progress: Callable[[str], None]
) -> dict[int, dryrun.DryRun]:
    """Build and simulate the largest rank for each number of ranks with affordable ranks, or for two other numbers."""
    model, n_steps = subject.model, subject.task.n_steps
    synapses, spikes = count_synapses(model), (rate_hz or compute_target_rate(model)) * n_steps * model.dt_ms / 1000.0
    steps = synapses * spikes + model.size("recurrent") * n_steps
    least = max(1, math.ceil(synapses / MAX_SYNAPSES), math.ceil(steps / MAX_STEPS))
    chosen = {ranks for ranks in several if ranks >= least}
    if min(several) < least:
        base = min((ranks for ranks in chosen if ranks <= 2 * least), default=least)
        chosen |= {base, min((ranks for ranks in chosen if ranks >= 2 * base), default=2 * base)}
    found = {}
    for ranks in sorted(chosen, reverse=True):
        rank, _ = find_largest(subject, ranks)
        progress(f"building rank {rank} of {ranks}, and timing {samples} of its samples after another one")
        found[ranks] = dryrun.run(
            model, subject.task, ranks, rank, subject.settings, samples=samples, rate_hz=rate_hz, progress=progress
        )
    return found


def _predict_run(
    subject: Subject,
    ranks: int,
    ranks_per_node: int,
    costs: Interconnect,
    rate_hz: float,
    measured: dict[int, dryrun.DryRun],
    program: tuple[int, int],
) -> Prediction:
    """Return the prediction for a number of ranks from measured ranks."""
    model, n_steps, (rank, cuts) = subject.model, subject.task.n_steps, find_largest(subject, ranks)
    traffic = Traffic(model, n_steps, rate_hz, ranks, ranks_per_node)
    plan = choose_algorithms(model, Alone(), subject.settings)
    first, last = cuts[rank : rank + 2].tolist()
    memory = footprint.list_parts(model, n_steps, first, last, plan)
    routes, shared = traffic.count_bytes()
    own, (base, of_files) = sum(memory.values()) + routes, program
    nearest = min(measured, default=0)
    further = min((count for count in measured if count >= 2 * nearest), default=nearest)
    sources = (ranks,) if ranks in measured else (nearest, further)
    each = _find_phase_seconds(ranks, [(count, measured[count]) for count in sources]) if measured else {}
    build = each.pop("build", 0.0)
    if each:
        each |= traffic.estimate_seconds(costs)
        arrivals = count_synapses(model) / ranks * rate_hz * n_steps * model.dt_ms / 1000.0
        if (
            traffic.exchanges and arrivals
        ):  # for the rank with most arrivals in an exchange: their variance is their mean
            each["wait"] = each["deliver"] * math.sqrt(2.0 * math.log(ranks) * traffic.rounds / arrivals)
    times = {"optimize": subject.samples / subject.batch}
    phases = {name: value * times.get(name, subject.samples) for name, value in each.items()}
    for name in FORWARD:
        phases[name] = phases.get(name, 0.0) + subject.evaluated * each.get(name, 0.0)
    return Prediction(
        ranks=ranks,
        nodes=traffic.nodes,
        phases={name: phases.get(name, 0.0) for name in (*PHASES, "other")} | {"build": build},
        sample_seconds=sum(each.values()),
        memory=memory,
        rank_bytes=own + base,
        node_bytes=traffic.node_ranks * (own + base - of_files) + of_files + shared,
        measured=sources,
    )


def _find_phase_seconds(ranks: int, measured: list[tuple[int, dryrun.DryRun]]) -> dict[str, float]:
    """Return seconds by phase of a sample (build: once) of a rank: measured, or on the line through two smaller ranks.

    On that line, time grows with the rank's fraction of the network, from the cost that a spike has on any rank.
    """
    tables = []
    for count, run in measured:
        phases = run.share.phases | {"other": run.other_seconds}
        each = {name: value / (1 if name == "build" else run.samples) for name, value in phases.items()}
        tables.append((1.0 / count, each))
    if len(tables) == 1:
        return tables[0][1]
    (large, most), (small, least) = tables
    further = (1.0 / ranks - large) / (large - small)
    return {name: value + further * max(value - least[name], 0.0) for name, value in most.items()}

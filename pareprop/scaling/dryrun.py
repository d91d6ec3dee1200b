"""Dry run: build and step one rank of a run with any number of ranks, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..engines.base import Settings
from ..errors import InputError
from ..network.cuts import cut
from ..network.local import target_rate
from ..network.model import Model
from ..parallel.hearing import count_bytes
from ..parallel.stand_ins import DryExchange
from ..runs import work
from ..runs.benchmark import PHASES, Share
from ..runs.estimate import rough_units
from ..runs.work import Firing
from ..simulation.loop import Simulation
from ..simulation.task import Task

FAR = 2.0  # a rate that is farther from the target than this factor is told of


@dataclass(frozen=True)
class DryRun:
    """Result of a dry run: time and memory of one rank.

    Attributes
    ----------
    share : Share
        Seconds of each phase over all samples (build: once), without those of the exchange; bytes by kind.
    samples : int
        Number of timed samples.
    rate_hz : float
        Firing rate of this rank's neurons in the last sample.
    others_hz : float
        Rate at which spikes of the other ranks were drawn.
    processor_share : tuple of float
        Processor time over wall time of the build and of the timed samples: below 1 if the machine was busy.
    """

    share: Share
    samples: int
    rate_hz: float
    others_hz: float
    processor_share: tuple[float, float] = (1.0, 1.0)


def run(
    model: Model,
    task: Task,
    ranks: int,
    rank: int,
    *,
    samples: int = 1,
    warmup: int = 1,
    rate_hz: float | None = None,
    settings: Settings | None = None,
    drive: bool = False,
    progress: Callable[[str], None] | None = None,
) -> DryRun:
    """Build and step rank `rank` of `ranks`.

    Parameters
    ----------
    model : Model
        Description of the network.
    task : Task
        Inputs and targets.
    ranks : int
        Number of ranks of the simulated run.
    rank : int
        The rank to build.
    samples : int
        Samples to time.
    warmup : int
        Untimed samples at the start; spikes of the other ranks are drawn anew between samples.
    rate_hz : float or None
        Firing rate of the other ranks' neurons; by default the target rate in the first sample, then the rate of this
        rank.
    settings : Settings or None
        Settings of the variant.
    drive : bool
        Whether the spikes of this rank are drawn, too, as with `stand_ins.DrivenExchange`.
    progress : callable or None
        Called with one line after each sample.

    Raises
    ------
    InputError
        If `rank` is not one of the ranks.
    """
    if not 0 <= rank < ranks:
        raise InputError(f"rank = {rank} must lie in 0 to {ranks - 1}")
    if ranks < 2:
        raise InputError(f"ranks = {ranks} must be at least 2: with a single rank use `pareprop run` or `bench`")
    n, dt = model.size("recurrent"), model.dt_ms / 1000.0
    others = target_rate(model) if rate_hz is None else rate_hz
    dry = DryExchange(rank, ranks, others * dt, n, model.seed, own=drive)
    settings = settings or model.eprop.settings(task.learning_window)
    rounds = replace(settings, round_steps=settings.round_steps or task.n_steps)  # engines cut it to the min-delay
    clock = _Clock()
    simulation = Simulation(model, task, dry, settings=rounds)
    build_share = clock.share()
    first, last = simulation.network.neurons
    own_hz, run_share = others, 1.0
    for index in range(warmup + samples):
        if index == warmup:
            for name in PHASES[1:]:
                simulation.timers.seconds.pop(name, None)
            clock = _Clock()
        if rate_hz is None and index:
            dry.draw(min(own_hz * dt, 1.0))
        started = time.perf_counter()
        simulation.engine.run(task.sample(index, "train"), True)
        simulation.engine.optimize()
        run_share = clock.share()
        log = simulation.engine.log
        ids = log.ids[: log.ptr[task.n_steps]]
        own_hz = float(((ids >= first) & (ids < last)).sum() / (max(last - first, 1) * task.n_steps * dt))
        if progress:
            progress(f"sample {index + 1} of {warmup + samples}: {time.perf_counter() - started:.2f} s")
    share = Share.of(simulation)
    exchange = ("wait", "communicate", "pack", "look_up")
    phases = {name: seconds for name, seconds in share.phases.items() if name not in exchange}
    return DryRun(replace(share, phases=phases), samples, own_hz, dry.probability / dt, (build_share, run_share))


def tell_rate(model: Model, rate_hz: float) -> list[str]:
    """Return a line if neurons that are drawn to a rate (`f_target`) fire at one that is far from it."""
    target = target_rate(model)
    regulated = all(np.any(getattr(group.params, "c_reg", 0.0)) for group in model.of_role("recurrent"))
    if not regulated or target <= 0 or 1 / FAR <= rate_hz / target <= FAR:
        return []
    why = f"training draws them to {target:.4g} Hz (f_target): `--rate {target:.4g}` tells costs at that rate"
    return [f"note: neurons of this rank fire at {rate_hz:.2f} Hz, {why}"]


def count_shared(
    model: Model, n_steps: int, firing: Firing, ranks: int, rank: int, ranks_per_node: int
) -> tuple[float, float, float]:
    """Return the bytes that a dry run has not: routes of a rank, what its node shares, and its sets at the start.

    Routes list where spikes go that a rank packs and unpacks; the sets tell who hears whom, see `parallel.hearing`.
    """
    nodes = -(-ranks // ranks_per_node)
    starts = work.first_ranks(ranks, nodes)
    cuts = cut(model, ranks, starts)
    counted = rough_units(model.eprop).memory(work.of_rank(model, n_steps, firing, ranks, rank, nodes, cuts))
    sets = count_bytes(cuts[starts], rank * nodes // ranks) if nodes > 1 else 0
    return counted["routes"], counted["buffers"], sets


class _Clock:
    """Measures the share of wall time in which the process had a processor, since this was made."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def share(self) -> float:
        wall, processor = time.perf_counter() - self._wall, time.process_time() - self._processor
        return min(processor / wall, 1.0) if wall > 0 else 1.0

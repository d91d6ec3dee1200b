"""Dry run: build and step one rank of a run with any number of ranks, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from ..engines.base import Settings
from ..errors import InputError
from ..network.local import target_rate
from ..network.model import Model
from ..parallel.stand_ins import DryChannel, DryExchange
from ..runs.benchmark import PHASES, Share
from ..simulation.loop import Simulation
from ..simulation.task import ClosedTask, Task

FAR = 2.0  # a rate that is farther from the target than this factor is told of


@dataclass(frozen=True)
class DryRun:
    """Result of a dry run: time and memory of one rank.

    Attributes
    ----------
    share : Share
        Seconds of each phase over all samples (build: once), without those of the exchange; bytes by kind.
    samples : float
        Number of timed samples; of an episode that ended early, the part that was run.
    rate_hz : float
        Firing rate of this rank's neurons in the last sample.
    others_hz : float
        Rate at which spikes of the other ranks were drawn.
    other_seconds : float
        Seconds over all samples that no phase has: to make samples, and Python between the phases.
    """

    share: Share
    samples: float
    rate_hz: float
    others_hz: float
    other_seconds: float = 0.0


def run(
    model: Model,
    task: Task | ClosedTask,
    ranks: int,
    rank: int,
    settings: Settings,
    *,
    samples: int = 1,
    warmup: int = 1,
    rate_hz: float | None = None,
    drive: bool = False,
    progress: Callable[[str], None] | None = None,
) -> DryRun:
    """Build and step rank `rank` of `ranks`; seconds are those of the processor, so that other work counts little.

    Parameters
    ----------
    model : Model
        Description of the network.
    task : Task or ClosedTask
        Inputs and targets, or an environment.
    ranks : int
        Number of ranks of the simulated run.
    rank : int
        The rank to build.
    settings : Settings
        Settings of the variant.
    samples : int
        Samples to time.
    warmup : int
        Untimed samples at the start; spikes of the other ranks are drawn anew between samples.
    rate_hz : float or None
        Firing rate of the other ranks' neurons; by default the target rate in the first sample, then the rate of this
        rank.
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
    n, dt = model.size("recurrent"), model.dt_ms / 1000.0
    others = target_rate(model) if rate_hz is None else rate_hz
    dry = DryExchange(rank, ranks, others * dt, n, model.seed, own=drive)
    rounds = replace(settings, round_steps=settings.round_steps or task.n_steps)  # engines cut it to the min-delay
    clock = _Clock()
    simulation = Simulation(model, task, dry, settings=rounds)
    build_share, _ = clock.read()
    engine, seconds, (first, last) = simulation.engine, simulation.timers.seconds, simulation.network.neurons
    channel = cast(DryChannel, engine.channel)
    own_hz, wall, processor, steps = others, 0.0, 0.0, 0
    for index in range(warmup + samples):
        if index == warmup:
            wall, processor, steps, channel.spent = 0.0, 0.0, 0, 0.0
            for name in PHASES[1:]:
                seconds.pop(name, None)
        if rate_hz is None and index:
            dry.draw(min(own_hz * dt, 1.0))
        clock = _Clock()
        simulation.run_samples(index, 1, "train", learn=True)
        engine.optimize()
        busy, spent = clock.read()
        wall, processor, steps = wall + spent, processor + busy * spent, steps + engine.n  # episodes may end early
        ids = engine.log.ids[: engine.log.ptr[engine.n]]
        own_hz = float(((ids >= first) & (ids < last)).sum() / (max(last - first, 1) * engine.n * dt))
        if progress:
            progress(f"sample {index + 1} of {warmup + samples}: {spent:.2f} s")
    run_share, timed = processor / wall, sum(seconds.get(name, 0.0) for name in PHASES[1:])
    share, exchange = Share.of(simulation), ("wait", "communicate", "pack", "look_up")
    phases = {
        name: value * (build_share if name == "build" else run_share)
        for name, value in share.phases.items()
        if name not in exchange
    }
    other = max(wall - timed - channel.spent, 0.0) * run_share
    return DryRun(replace(share, phases=phases), steps / task.n_steps, own_hz, dry.probability / dt, other)


def tell_rate(model: Model, rate_hz: float) -> list[str]:
    """Return a line if neurons that are drawn to a rate (`f_target`) fire at one that is far from it."""
    target = target_rate(model)
    regulated = all(np.any(getattr(group.params, "c_reg", 0.0)) for group in model.of_role("recurrent"))
    if not regulated or target <= 0 or 1 / FAR <= rate_hz / target <= FAR:
        return []
    why = f"training draws them to {target:.4g} Hz (f_target): `--rate {target:.4g}` tells costs at that rate"
    return [f"note: neurons of this rank fire at {rate_hz:.2f} Hz, {why}"]


class _Clock:
    """Measures the part of wall time in which the process had a processor, since this was made."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Return the part of wall time with a processor, and the wall time."""
        wall, processor = time.perf_counter() - self._wall, time.process_time() - self._processor
        return min(processor / wall, 1.0) if wall > 0 else 1.0, wall

"""Dry run: build and step one rank of a run with any number of ranks, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from ..engines.base import Settings
from ..errors import InputError
from ..network.local import compute_target_rate
from ..network.model import Model
from ..parallel.drawn_spikes import DryChannel, DryExchange
from ..runs.benchmark import PHASES, RankFigures
from ..simulation.loop import Simulation
from ..simulation.task import ClosedTask, Task

MAX_RATE_FACTOR = 2.0  # rates that differ from the target by a larger factor cause a warning


@dataclass(frozen=True)
class DryRun:
    """Result of a dry run: time and memory of one rank.

    `share` has seconds of each phase over all samples (build: once), without the exchange, and bytes by kind. `samples`
    is the number of timed samples; of an episode that ended early, its fraction. `rate_hz` is the mean rate of this
    rank's neurons in the last sample, `others_hz` the rate of spikes drawn for other ranks. `other_seconds` have no
    phase: making samples, and Python between the phases.
    """

    share: RankFigures
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
    """Build and simulate rank `rank` of `ranks`; seconds are processor time, which other programs affect little.

    After `warmup` samples, `samples` are timed. Spikes of other ranks have the rate `rate_hz`, by default the target
    rate in the first sample, then the rate of this rank. With `drive` the spikes of this rank are drawn, too, as with
    `drawn_spikes.DrivenExchange`. `progress` receives one line after each sample.
    """
    if not 0 <= rank < ranks:
        raise InputError(f"rank = {rank} must lie in 0 to {ranks - 1}")
    n, dt = model.size("recurrent"), model.dt_ms / 1000.0
    others = compute_target_rate(model) if rate_hz is None else rate_hz
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
            wall, processor, steps, channel.drawing_seconds = 0.0, 0.0, 0, 0.0
            for name in PHASES[1:]:
                seconds.pop(name, None)
        if rate_hz is None and index:
            dry.draw_spikes(min(own_hz * dt, 1.0))
        clock = _Clock()
        simulation.run_samples(index, 1, "train", learn=True)
        engine.step_optimizers()
        busy, spent = clock.read()
        wall, processor, steps = wall + spent, processor + busy * spent, steps + engine.n  # episodes may end early
        ids = engine.log.ids[: engine.log.ptr[engine.n]]
        own_hz = float(((ids >= first) & (ids < last)).sum() / (max(last - first, 1) * engine.n * dt))
        if progress:
            progress(f"sample {index + 1} of {warmup + samples}: {spent:.2f} s")
    run_share, timed = processor / wall, sum(seconds.get(name, 0.0) for name in PHASES[1:])
    share, exchange = RankFigures.read_simulation(simulation), ("wait", "communicate", "pack", "look_up")
    phases = {
        name: value * (build_share if name == "build" else run_share)
        for name, value in share.phases.items()
        if name not in exchange
    }
    other = max(wall - timed - channel.drawing_seconds, 0.0) * run_share
    return DryRun(replace(share, phases=phases), steps / task.n_steps, own_hz, dry.probability / dt, other)


def warn_of_rate(model: Model, rate_hz: float) -> list[str]:
    """Return a warning if neurons with a target rate (`f_target`) fire at a rate far from it."""
    target = compute_target_rate(model)
    regulated = all(np.any(getattr(group.params, "c_reg", 0.0)) for group in model.of_role("recurrent"))
    if not regulated or target <= 0 or 1 / MAX_RATE_FACTOR <= rate_hz / target <= MAX_RATE_FACTOR:
        return []
    why = f"training draws them to {target:.4g} Hz (f_target): `--rate {target:.4g}` predicts costs at that rate"
    return [f"note: neurons of this rank fire at {rate_hz:.2f} Hz, {why}"]


class _Clock:
    """Measures the fraction of wall time in which the process had a processor, from its creation on."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Return the fraction of wall time with a processor, and the wall time."""
        wall, processor = time.perf_counter() - self._wall, time.process_time() - self._processor
        return min(processor / wall, 1.0) if wall > 0 else 1.0, wall

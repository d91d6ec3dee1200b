"""The observer that decides when a checkpoint is written: by count or clock, on a signal, at the end, in trouble."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from ..errors import ParepropError, StateError
from ..network.parameters import Frozen
from ..parallel import collectives
from ..simulation.finite import find_bad
from ..simulation.loop import Simulation
from ..simulation.observer import Observer
from . import checkpoint_write
from .disk import on_disk
from .signals import ASKING, Signals

LISTENING = "listening"  # file that is there while all ranks listen to signals; before, a signal would kill


class Checkpoints(Observer):
    """Writes checkpoints. Must be the last observer, so that what the others keep is that of the same iteration.

    Signals may reach ranks at different times, and clocks differ: ranks agree once per iteration what is due.

    Parameters
    ----------
    folder : where checkpoints lie
    identity : what a resumed run must have in common, as JSON
    last : iterations after which the run ends
    every, minutes : iterations and minutes between checkpoints, 0 for none
    keep : how many of the latest stay
    signals : whether to listen to SIGUSR1, SIGTERM and SIGINT (main thread only)

    Attributes
    ----------
    latest : the last checkpoint written, or None
    asked : name of the signal that ended the run, or ""
    """

    def __init__(
        self, folder: Path, identity: dict[str, Any], last: int, every: int = 0, minutes: float = 0.0, keep: int = 2,
        signals: bool = False,
    ) -> None:  # fmt: skip
        self.folder, self.identity, self.last = folder, identity, last
        self.every, self.minutes, self.keep, self._listens = every, minutes, keep, signals
        self.latest: Path | None = None
        self.asked = ""
        self._signals: Signals | None = None
        self._written = -1

    def start(self, simulation: Simulation) -> None:
        """Listen, start the clock, and remember the state."""
        if self._listens:
            self._signals = Signals()
            collectives.any_of(simulation.world, [False])  # all ranks have done it
            self._mark(simulation, True)
        self._clock, self._written = time.monotonic(), simulation.iteration if self.latest else -1
        self._remember(simulation)

    def asks(self, simulation: Simulation) -> list[bool]:
        """Whether a checkpoint is late by this rank's clock, and which signal it was sent."""
        late = self.minutes > 0 and time.monotonic() - self._clock >= 60.0 * self.minutes
        asked = self._signals.asked if self._signals else ""
        return [late, *(asked == number.name for number in ASKING)]

    def settle(self, simulation: Simulation, asked: list[bool]) -> None:
        """Write a checkpoint if one is due on any rank, and end the run if a signal asked for it."""
        late, *signals = asked
        if any(signals):
            self.asked = next(number.name for number, sent in zip(ASKING, signals, strict=True) if sent)
            simulation.stop_requested = True
        due = bool(self.every) and simulation.iteration % self.every == 0
        if late or due or simulation.stop_requested or simulation.iteration >= self.last:
            self._write(simulation)
        self._remember(simulation)

    def finish(self, simulation: Simulation) -> None:
        """Stop listening."""
        if self._signals is not None:
            self._mark(simulation, False)
            self._signals.release()
            self._signals = None

    def _mark(self, simulation: Simulation, listening: bool) -> None:
        with on_disk(simulation.exchange.comm, "checkpoints", self.folder):
            if simulation.exchange.rank == 0:
                self.folder.mkdir(parents=True, exist_ok=True)
                (self.folder / LISTENING).touch() if listening else (self.folder / LISTENING).unlink(missing_ok=True)

    def failed(self, simulation: Simulation, problem: ParepropError) -> str:
        """Write a checkpoint of the last good state, if it still is there; tell what is safe."""
        self.finish(simulation)
        if simulation.iteration != self._written and (simulation.between or self._bring_back(simulation)):
            try:
                self._write(simulation)
            except StateError as another:
                return f"no checkpoint could be written ({another}); {self._safe()}"
        return self._safe()

    def _safe(self) -> str:
        return f"safe: {self.latest}" if self.latest else "no checkpoint was written before"

    def _write(self, simulation: Simulation) -> None:
        if simulation.iteration == self._written:
            return
        with simulation.timers.phase("checkpoint"):
            self.latest = collectives.run_in_first_group(simulation.replicas, self._write_sound, simulation)
        self._written, self._clock = simulation.iteration, time.monotonic()

    def _write_sound(self, simulation: Simulation) -> Path:
        problem = find_bad(simulation.network, simulation.engine)
        if collectives.maximum(simulation.exchange.comm, problem is not None):  # never keep what can't be gone on with
            collectives.raise_together(simulation.exchange.comm, problem)
        return checkpoint_write.write(simulation, self.folder, self.identity, self.keep)

    def _remember(self, simulation: Simulation) -> None:
        """Keep what a sample changes before the weights: states of neurons and readouts, and the digest."""
        if simulation.engine.learns_at_the_end:
            state = simulation.engine.state()
            arrays = [(name, np.copy(array)) for name, array in _cells(state)]
            self._good = arrays, state.numbers, simulation.digest.state

    def _bring_back(self, simulation: Simulation) -> bool:
        if not simulation.engine.learns_at_the_end:
            return False
        arrays, numbers, simulation.digest.state = self._good
        simulation.engine.load_state(numbers, {})
        for (_, live), (_, kept) in zip(_cells(simulation.engine.state()), arrays, strict=True):
            live[...] = kept
        return True


def _cells(state: Any) -> list[tuple[str, np.ndarray]]:
    return [*state.neurons.items(), *state.readouts.items()]


class Checkpoint(Frozen):
    """Section [checkpoint]: when the state is kept; at the end and on a signal always."""

    every: int = Field(0, ge=0, description="iterations between checkpoints, 0 for none")
    minutes: float = Field(15.0, ge=0, description="minutes between checkpoints, 0 for none")
    keep: int = Field(2, ge=1, description="how many of the latest stay")

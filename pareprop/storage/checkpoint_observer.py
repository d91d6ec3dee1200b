"""The observer that decides when a checkpoint is written, and section [checkpoint].

By iterations or clock, on a signal, at the end, and after an error.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from pydantic import Field

from ..errors import ParepropError, StateError
from ..network.parameters import Frozen
from ..parallel import collectives
from ..simulation.finite import find_bad
from ..simulation.loop import Simulation
from ..simulation.observer import Observer, Watched
from ..values import Values
from . import checkpoint_write
from .disk import Place, on_disk
from .signals import ASKING, Signals

LISTENING = "listening"  # marker file: exists while all ranks handle signals; without it a signal would kill the run


class Checkpoints(Observer):
    """Writes checkpoints. Must be the last observer, so that the others' states belong to the same iteration.

    Signals may reach ranks at different times, and clocks differ, so ranks agree once per iteration whether to write.
    `identity` is the configuration, as JSON, that a resumed run must have in common. A run has `last` iterations; a
    checkpoint is written after each `every` iterations and `minutes` minutes, 0 for none, and the latest `keep` remain.
    With `signals` it handles SIGUSR1, SIGTERM and SIGINT (main thread only). States of `foreign`, the observers of a
    script, are checked before the training.

    Attributes
    ----------
    latest : Path or None
        The latest checkpoint written, or None.
    asked : str
        Name of the signal that stopped the run, or "".
    """

    movable = True

    def __init__(
        self,
        folder: Path,
        identity: Values,
        last: int,
        every: int = 0,
        minutes: float = 0.0,
        keep: int = 2,
        signals: bool = False,
        foreign: Sequence[Observer] = (),
    ) -> None:
        self.foreign = foreign
        self.folder, self.identity, self.last = folder, identity, last
        self.every, self.minutes, self.keep, self._listens = every, minutes, keep, signals
        self.latest: Path | None = None
        self._place: Place | None = None
        self.asked = ""
        self._signals: Signals | None = None
        self._written = -1

    def start(self, simulation: Watched) -> None:
        """Check the states of foreign observers, install signal handlers, start the clock, copy the state."""
        collectives.run_in_first_group(simulation.replicas, simulation.check_states, self.foreign)
        with on_disk(simulation.exchange.comm, "checkpoints", self.folder):
            if simulation.exchange.rank == 0:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._place = Place(self.folder.parent)
        if self._listens:
            self._signals = Signals()
            collectives.any_of(simulation.world, [False])  # all ranks have installed theirs
            self._write_marker(simulation, True)
        self._clock, self._written = time.monotonic(), simulation.iteration if self.latest else -1
        self._copy_state(simulation)

    def list_requests(self, simulation: Watched) -> list[bool]:
        """Return whether this rank's clock requests a checkpoint, and for each signal whether it has come."""
        late = self.minutes > 0 and time.monotonic() - self._clock >= 60.0 * self.minutes
        asked = self._signals.asked if self._signals else ""
        return [late, *(asked == number.name for number in ASKING)]

    def handle_requests(self, simulation: Watched, asked: list[bool]) -> None:
        """Write a checkpoint if any rank requests one; stop the run after a signal."""
        late, *signals = asked
        if any(signals):
            self.asked = next(number.name for number, sent in zip(ASKING, signals, strict=True) if sent)
            simulation.stop_requested = True
        is_interval_end = bool(self.every) and simulation.iteration % self.every == 0
        if late or is_interval_end or simulation.stop_requested or simulation.iteration >= self.last:
            self._write(simulation)
        self._copy_state(simulation)

    def finish(self, simulation: Watched) -> None:
        """Remove the signal handlers."""
        if self._signals is not None:
            self._write_marker(simulation, False)
            self.restore_handlers()

    def restore_handlers(self) -> None:
        """Restore the former signal handlers, also on a rank that failed alone; the marker file stays."""
        if self._signals is not None:
            self._signals.restore_handlers()
            self._signals = None

    def _write_marker(self, simulation: Watched, listening: bool) -> None:
        with on_disk(simulation.exchange.comm, "checkpoints", self.folder):
            if simulation.exchange.rank == 0 and self.folder.exists():
                (self.folder / LISTENING).touch() if listening else (self.folder / LISTENING).unlink(missing_ok=True)

    def failed(self, simulation: Watched, problem: ParepropError) -> str:
        """Write a checkpoint of the last good state, if it still exists; return a line that names the latest one."""
        self.finish(simulation)
        if simulation.iteration != self._written and (simulation.between or self._restore_copy(simulation)):
            try:
                self._write(simulation)
            except ParepropError as another:
                failure = f"no checkpoint could be written ({another}); " if str(another) != str(problem) else ""
                return f"{failure}{self._latest_line()}"
        return self._latest_line()

    def _latest_line(self) -> str:
        return f"safe: {self.latest}" if self.latest else "no checkpoint was written before"

    def _write(self, simulation: Watched) -> None:
        if simulation.iteration == self._written:
            return
        with simulation.timers.time_phase("checkpoint"):
            self.latest = collectives.run_in_first_group(simulation.replicas, self._write_if_finite, simulation)
        self._written, self._clock = simulation.iteration, time.monotonic()

    def _write_if_finite(self, simulation: Watched) -> Path:
        problem = find_bad(simulation.network, simulation.engine)
        if collectives.max_over_ranks(simulation.exchange.comm, problem is not None):  # such a state cannot be resumed
            collectives.raise_together(simulation.exchange.comm, problem)
        comm, before = simulation.exchange.comm, self.folder.parent
        now = self._place.find_path() if self._place else before
        now = now if comm is None else comm.bcast(now)
        self.folder = now / self.folder.name
        path = checkpoint_write.write(cast(Simulation, simulation), self.folder, self.identity, self.keep)
        if now != before:
            self.latest, self._written = path, simulation.iteration
            raise StateError(f"{before} was moved to {now} while it trained; it goes on from there when it is resumed")
        return path

    def _copy_state(self, simulation: Watched) -> None:
        """Copy the state that a sample changes before weights change: neurons, readouts, loss, digest."""
        if simulation.engine.learns_at_the_end:
            state = simulation.engine.state_of_cells()
            neurons, shared = (
                {name: np.copy(array) for name, array in part.items()} for part in (state.neurons, state.shared)
            )
            rows = {name: np.copy(array) for name, (_, array) in state.rows.items()}
            self._good = neurons | rows, shared, state.numbers, simulation.digest.state
            self._loss = copy.deepcopy(simulation.engine.loss.state())

    def _restore_copy(self, simulation: Watched) -> bool:
        if not simulation.engine.learns_at_the_end:
            return False
        neurons, shared, numbers, simulation.digest.state = self._good
        simulation.engine.load_state(numbers, shared, whole=False)
        simulation.engine.loss.load_state(self._loss)
        state = simulation.engine.state_of_cells()
        for name, live in (state.neurons | {name: array for name, (_, array) in state.rows.items()}).items():
            live[...] = neurons[name]
        return True


class Checkpoint(Frozen):
    """Section [checkpoint]: when checkpoints are written, in addition to the end and signals."""

    every: int = Field(0, ge=0, description="iterations between checkpoints, 0 for none")
    minutes: float = Field(15.0, ge=0, description="minutes between checkpoints, 0 for none")
    keep: int = Field(2, ge=1, description="number of checkpoints kept, the latest ones")

"""The log of a run: `run.log`, lines on standard output where there is no terminal, curves as CSV or for TensorBoard.

A log is a convenience: where the disk refuses a line, it ends with a warning and the run goes on. A file that cannot be
closed is an error, as its last lines may be missing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import TextIO

from .. import terminal
from ..errors import InputError, ParepropError, printable
from ..machine import job_seconds_left, peak_rss_bytes
from ..simulation.observer import Observer, Watched
from ..storage.disk import clear, output_errors, reason
from ..storage.opened import EPOCH
from ..values import Foreign
from .phases import Phases

LOG, CSV, EPOCHS, EVENTS = "run.log", "loss.csv", "epochs.csv", "tensorboard"
EVERY = 60.0  # seconds between lines
FLUSH = 1.0  # seconds between writes of the curves
FIRST = 1.0  # seconds, and two iterations, after which a run says how long it will take
SHORT = 10.0  # with fewer seconds to go, it does not say so
EARLY = 5.0  # seconds until the first line


class Log(Observer):
    """Writes `run.log` and the curves of a run; prints a line each minute and at each validation.

    Parameters
    ----------
    directory : Path
        The run directory.
    n_iterations : int
        Iteration after which the run ends.
    phases : Phases
        Observer of the validations; it comes before this one.
    curves : str
        "csv" writes `loss.csv`, and `epochs.csv` where the training data have an end, "tensorboard" also event files,
        "none" neither.
    """

    everywhere = False
    movable = True

    def __init__(self, directory: Path, n_iterations: int, phases: Phases, curves: str = "csv") -> None:
        self.directory, self.n_iterations, self.phases, self.curves = directory, n_iterations, phases, curves
        self._works, self._rank, self._validated, self._noted = True, 0, 0, 0
        self._columns: list[str] = []
        self._files: dict[str, Foreign] = {}  # that are open, by name
        self._told = 0.0  # when the last line on a pass through the data was written

    def start(self, simulation: Watched) -> None:
        """Open the files; the curves of an earlier part of the run are written again."""
        self._rank = simulation.exchange.rank
        self._first, self._begun = simulation.iteration, monotonic()
        self._settled = self._begun  # when the first iteration ended
        self._next, self._flushed, self._said = self._begun + EARLY, self._begun, False
        self._validated = len(self.phases.validations)
        self._try(self._open, simulation)
        self._note(f"{'resumed' if self._first else 'started'} after {self._first} of {self.n_iterations} iterations")
        self._note_new(simulation)

    def after_iteration(self, simulation: Watched, iteration: int, loss: float) -> None:
        """Add the iteration to the curves; write a line if a minute has passed or a validation ran."""
        if self._rank:
            return
        self._note_new(simulation)
        now = monotonic()
        if simulation.iteration == self._first + 1:
            self._settled = now
        self._try(self._add, simulation, now)
        if not self._said and now >= self._begun + FIRST and self._is_timed(simulation.iteration):
            self._said = True
            self._tell_duration(simulation.iteration)
        validated = len(self.phases.validations) > self._validated
        if validated or now >= self._next:
            self._validated, self._next = len(self.phases.validations), now + EVERY
            self._print(self.line(simulation, validated))
        if epoch := self.phases.epoch(simulation.iteration, simulation.losses):
            if validated or now >= self._told + FIRST or simulation.iteration == self.n_iterations:
                self._told = now
                self._print(epoch_line(epoch))

    def _print(self, line: str) -> None:
        self._note(line)
        if not sys.stderr.isatty():  # else there is a progress bar
            terminal.echo(line)

    def _note_new(self, simulation: Watched) -> None:
        """Write those notices of the run into the log that are not there yet."""
        lines = simulation.notices.lines
        for line in lines[self._noted :]:
            self._note(f"notice: {line}")
        self._noted = len(lines)

    def line(self, simulation: Watched, validated: bool) -> str:
        """Return iteration, loss or return, validation, firing rate, time left and memory as text."""
        done = simulation.iteration
        parts = [f"{name} {value:.4g}" for name, value in self.phases.latest(simulation).items()]
        if validated:
            parts.append(f"validation {self.phases.validations[-1][1]:.4g}")
        parts.append(f"{simulation.rates[-1]:.3g} Hz")
        if done < self.n_iterations and self._is_timed(done):
            parts.append(f"about {duration(self._left(done))} left")
        parts.append(f"{peak_rss_bytes() / 2**20:.0f} MiB")
        return f"iteration {done} of {self.n_iterations}: {', '.join(parts)}"

    def _is_timed(self, done: int) -> bool:
        """Return whether enough iterations are done to tell their duration: the first one, in which data are made, does
        not count.
        """
        return done > self._first + 1

    def _left(self, done: int) -> float:
        """Return the seconds that the remaining iterations will take, by the mean of those after the first one."""
        return (monotonic() - self._settled) / (done - self._first - 1) * (self.n_iterations - done)

    def _tell_duration(self, done: int) -> None:
        """Say how long the run will take."""
        left, to_come = self._left(done), self.n_iterations - done
        if left > SHORT:
            self._print(f"expected: about {duration(left)} for the other {terminal.count(to_come, 'iteration')}")
        if left > (limit := job_seconds_left()):
            line = f"the job ends in {duration(max(limit, 0.0))}, before the training: "
            line += "jobs/chain.sbatch stops it in time with a checkpoint and continues, others end without"
            self._note(line)
            terminal.echo(f"pareprop: warning: {line}", err=True)

    def finish(self, simulation: Watched) -> None:
        """Close the files."""
        self._note_new(simulation)
        for line in self.phases.lines():
            self._note(line)
        self._note(f"ended after {simulation.iteration} of {self.n_iterations} iterations")
        self._close()

    def failed(self, simulation: Watched, problem: Exception) -> str:
        """Write the reason into the log."""
        self._note(f"ended: {problem}")
        try:
            self._close()
        except ParepropError as other:
            return str(other)
        return ""

    def _open(self, simulation: Watched) -> None:
        self._open_file(LOG, os.O_APPEND if self._first else os.O_TRUNC)
        if self.curves == "none":
            return
        file = self._open_file(CSV, os.O_TRUNC)
        columns = ["iteration", "loss", "firing_rate_hz", "error", "validation"]
        self._columns = columns + (["return", "length", "entropy"] if simulation.episodes else [])
        self._columns += self.phases.annealing.ends
        self._columns += ["loss_per_step", "accuracy", "validation_loss", "validation_accuracy"]
        self._columns += ["gradient_norm"] if simulation.model.optimizer.max_norm is not None else []
        file.write(",".join(self._columns) + "\n")
        for k in range(self._first):
            file.write(_row(self._columns, self._values(simulation, k)))
        if self.phases.n_train:
            file = self._open_file(EPOCHS, os.O_TRUNC)
            file.write(",".join(EPOCH) + "\n")
            for k in range(self._first):
                if epoch := self.phases.epoch(k + 1, simulation.losses):
                    file.write(_row(EPOCH, epoch))
        if self.curves == "tensorboard":
            from tensorboard.summary.writer.event_file_writer import EventFileWriter

            self._files[EVENTS] = EventFileWriter(str(self.directory / EVENTS))

    def _open_file(self, name: str, how: int) -> TextIO:
        """Open a file for writing, not through a link; `how`: O_APPEND or O_TRUNC."""
        path = self.directory / name
        how |= os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        self._files[name] = os.fdopen(os.open(clear(path) if how & os.O_TRUNC else path, how, 0o666), "w")
        return self._files[name]

    def _values(self, simulation: Watched, k: int) -> dict[str, float | None]:
        """Return the values of all curves in iteration `k`, by column of the CSV."""
        error = self.phases.errors[k] if k < len(self.phases.errors) else None
        values = {"loss": simulation.losses[k], "firing_rate_hz": simulation.rates[k], "error": error}
        values |= {**self.phases.returns_of(simulation, k), **self.phases.annealing.values(k)}
        values |= self.phases.validation(k + 1) | {"accuracy": self.phases.accuracy(k), "loss_per_step": None}
        if not simulation.episodes:
            values["loss_per_step"] = simulation.losses[k] / self.phases.n_steps
        if simulation.gradient_norms:
            values["gradient_norm"] = simulation.gradient_norms[k]
        return {"iteration": k + 1, **values}

    def _add(self, simulation: Watched, now: float) -> None:
        if CSV not in self._files:
            return
        done = simulation.iteration
        values, epoch = self._values(simulation, done - 1), self.phases.epoch(done, simulation.losses)
        self._files[CSV].write(_row(self._columns, values))
        self._add_event(done, values)
        if EPOCHS in self._files and epoch:
            self._files[EPOCHS].write(_row(EPOCH, epoch))
            number = int(epoch.pop("epoch") or 0)
            self._add_event(number, {f"epoch/{name}": value for name, value in epoch.items()})
        if now >= self._flushed + FLUSH:
            self._flushed = now
            for name in self._files.keys() & {CSV, EPOCHS}:
                self._files[name].flush()

    def _add_event(self, step: int, values: dict[str, float | None]) -> None:
        if EVENTS not in self._files:
            return
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        shown = {k: value for k, value in values.items() if not k.endswith("iteration") and value is not None}
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in shown.items()])
        self._files[EVENTS].add_event(Event(step=step, wall_time=time.time(), summary=summary))

    def _note(self, text: str) -> None:
        if (log := self._files.get(LOG)) is None:
            return

        def write() -> None:
            log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {printable(' '.join(text.split()))}\n")
            log.flush()

        self._try(write)

    def _close(self) -> None:
        """Close all files, also after one could not write its last lines, as on a file system of a network."""
        open_files, self._files = self._files, {}
        with ExitStack() as stack:
            for name, file in open_files.items():
                stack.enter_context(output_errors(self.directory / name, "log "))
                stack.callback(file.close)

    def _try(self, act: Callable[..., object], *arguments: object) -> None:
        """Call `act` on rank 0 of the first group; end the log with a warning if the file system refuses."""
        if self._rank or not self._works:
            return
        try:
            act(*arguments)
        except OSError as problem:
            self._works, self._files = False, {}
            terminal.echo(f"pareprop: warning: log of {self.directory}: {reason(problem)}; the run goes on", err=True)


def _row(columns: Iterable[str], values: Mapping[str, float | None]) -> str:
    return ",".join("" if values[name] is None else f"{values[name]:.9g}" for name in columns) + "\n"


def epoch_line(epoch: Mapping[str, float | None]) -> str:
    """Return how a pass through the training data went as a line of text."""
    parts = [f"loss {epoch['loss']:.4g} ({epoch['loss_per_step']:.4g} per step)"]
    for name in ("accuracy", "validation_loss", "validation_accuracy"):
        if (value := epoch[name]) is not None:
            parts.append(f"{name.replace('_', ' ')} {value:.4g}")
    return f"epoch {epoch['epoch']}, {epoch['iteration']} iterations: {', '.join(parts)}"


def duration(seconds: float) -> str:
    """Return a time as text, in days, hours, minutes or seconds."""
    for size, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def require(curves: str) -> None:
    """Raise `InputError` if the package is missing that writes curves for TensorBoard."""
    if curves == "tensorboard" and find_spec("tensorboard") is None:
        raise InputError(
            "[run] log = tensorboard: the package is not installed; `pip install tensorboard`, or log = csv"
        )

"""The log of a run: `run.log`, lines on standard output where there is no terminal, curves as CSV or for TensorBoard.

A log is a convenience: if the disk refuses a line, it ends with a warning and the run continues. A file that cannot be
closed is an error, because its last lines may be missing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

from .. import terminal
from ..errors import InputError, ParepropError
from ..machine import job_seconds_left, peak_rss_bytes
from ..simulation.observer import Observer, Watched
from ..storage.disk import describe_os_error
from .log_files import LogFiles
from .phases import Phases

EVERY = 60.0  # seconds between lines
FIRST = 1.0  # seconds, and two iterations, after which a run says how long it will take
SHORT = 10.0  # with fewer seconds to go, it does not say so
EARLY = 5.0  # seconds until the first line


class Log(Observer):
    """Writes `run.log` and the curves of a run; prints a line each minute and at each validation.

    `phases` validates and comes before this observer; the run ends after iteration `n_iterations`. With `curves` =
    "csv" it writes `loss.csv`, and `epochs.csv` if the training data have an end, with "tensorboard" also event files,
    with "none" neither.
    """

    everywhere = False
    movable = True

    def __init__(self, directory: Path, n_iterations: int, phases: Phases, curves: str = "csv") -> None:
        self.directory, self.n_iterations, self.phases = directory, n_iterations, phases
        self._works, self._rank, self._validated, self._noted = True, 0, 0, 0
        self._files = LogFiles(directory, phases, curves)
        self._told = 0.0  # when the last line on a pass through the data was written

    def start(self, simulation: Watched) -> None:
        """Open the files; the curves of an earlier part of the run are written again."""
        self._rank = simulation.exchange.rank
        self._first, self._begun = simulation.iteration, monotonic()
        self._settled = self._begun  # when the first iteration ended
        self._next, self._said = self._begun + EARLY, False
        self._validated = len(self.phases.history.validations)
        self._try_writing(self._files.open, simulation)
        self._write_note(
            f"{'resumed' if self._first else 'started'} after {self._first} of {self.n_iterations} iterations"
        )
        self._note_new(simulation)

    def after_iteration(self, simulation: Watched, iteration: int, loss: float) -> None:
        """Add the iteration to the curves; write a line if a minute has passed or a validation ran."""
        if self._rank:
            return
        self._note_new(simulation)
        now = monotonic()
        if simulation.iteration == self._first + 1:
            self._settled = now
        self._try_writing(self._files.add_iteration, simulation)
        if not self._said and now >= self._begun + FIRST and self._is_timed(simulation.iteration):
            self._said = True
            self._report_duration(simulation.iteration)
        validated = len(self.phases.history.validations) > self._validated
        if validated or now >= self._next:
            self._validated, self._next = len(self.phases.history.validations), now + EVERY
            self._print_line(self.format_line(simulation, validated))
        if epoch := self.phases.history.summarize_epoch(simulation.iteration, simulation.losses):
            if validated or now >= self._told + FIRST or simulation.iteration == self.n_iterations:
                self._told = now
                self._print_line(epoch_line(epoch))

    def _print_line(self, line: str) -> None:
        self._write_note(line)
        if not sys.stderr.isatty():  # else there is a progress bar
            terminal.echo(line)

    def _note_new(self, simulation: Watched) -> None:
        """Write new notices of the run into the log."""
        lines = simulation.notices.lines
        for line in lines[self._noted :]:
            self._write_note(f"notice: {line}")
        self._noted = len(lines)

    def format_line(self, simulation: Watched, validated: bool) -> str:
        """Return iteration, loss or return, validation, firing rate, time left and memory as text."""
        done = simulation.iteration
        parts = [f"{name} {value:.4g}" for name, value in self.phases.summarize_iteration(simulation).items()]
        if validated:
            parts.append(f"validation {self.phases.history.validations[-1][1]:.4g}")
        parts.append(f"{simulation.rates[-1]:.3g} Hz")
        if done < self.n_iterations and self._is_timed(done):
            parts.append(f"about {format_duration(self._estimate_remaining(done))} left")
        parts.append(f"{peak_rss_bytes() / 2**20:.0f} MiB")
        return f"iteration {done} of {self.n_iterations}: {', '.join(parts)}"

    def _is_timed(self, done: int) -> bool:
        """Return whether enough iterations are done to estimate their duration; the first one also makes data."""
        return done > self._first + 1

    def _estimate_remaining(self, done: int) -> float:
        """Return the seconds that the remaining iterations will take, by the mean of those after the first one."""
        return (monotonic() - self._settled) / (done - self._first - 1) * (self.n_iterations - done)

    def _report_duration(self, done: int) -> None:
        """Say how long the run will take."""
        left, to_come = self._estimate_remaining(done), self.n_iterations - done
        if left > SHORT:
            self._print_line(
                f"expected: about {format_duration(left)} for the other {terminal.format_count(to_come, 'iteration')}"
            )
        if left > (limit := job_seconds_left()):
            line = f"the job ends in {format_duration(max(limit, 0.0))}, before the training: "
            line += "jobs/chain.sbatch stops it in time with a checkpoint and continues, others end without"
            self._write_note(line)
            terminal.echo(f"pareprop: warning: {line}", err=True)

    def finish(self, simulation: Watched) -> None:
        """Close the files."""
        self._note_new(simulation)
        for line in self.phases.format_lines():
            self._write_note(line)
        self._write_note(f"ended after {simulation.iteration} of {self.n_iterations} iterations")
        self._files.close()

    def failed(self, simulation: Watched, problem: Exception) -> str:
        """Write the reason into the log."""
        self._write_note(f"ended: {problem}")
        try:
            self._files.close()
        except ParepropError as other:
            return str(other)
        return ""

    def _write_note(self, text: str) -> None:
        self._try_writing(self._files.write_note, text)

    def _try_writing(self, act: Callable[..., object], *arguments: object) -> None:
        """Call `act` on rank 0 of the first group; end the log with a warning if the file system refuses."""
        if self._rank or not self._works:
            return
        try:
            act(*arguments)
        except OSError as problem:
            self._works = False
            self._files.drop_files()
            terminal.echo(
                f"pareprop: warning: log of {self.directory}: {describe_os_error(problem)}; the run goes on", err=True
            )


def epoch_line(epoch: Mapping[str, float | None]) -> str:
    """Return how a pass through the training data went as a line of text."""
    parts = [f"loss {epoch['loss']:.4g} ({epoch['loss_per_step']:.4g} per step)"]
    for name in ("accuracy", "validation_loss", "validation_accuracy"):
        if (value := epoch[name]) is not None:
            parts.append(f"{name.replace('_', ' ')} {value:.4g}")
    return f"epoch {epoch['epoch']}, {epoch['iteration']} iterations: {', '.join(parts)}"


def format_duration(seconds: float) -> str:
    """Return a time as text, in days, hours, minutes or seconds."""
    for size, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def require_tensorboard(curves: str) -> None:
    """Raise `InputError` if the package is missing that writes curves for TensorBoard."""
    if curves == "tensorboard" and find_spec("tensorboard") is None:
        raise InputError(
            "[run] log = tensorboard: the package is not installed; `pip install tensorboard`, or log = csv"
        )

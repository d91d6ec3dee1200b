"""The files of a run's log: `run.log`, and curves as CSV or for TensorBoard."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TextIO

from ..errors import escape_unprintable
from ..simulation.observer import Watched
from ..storage.disk import output_errors, remove_leftover
from ..storage.opened import EPOCH
from ..values import Foreign
from .phases import Phases

LOG, CSV, EPOCHS, EVENTS = "run.log", "loss.csv", "epochs.csv", "tensorboard"
FLUSH = 1.0  # seconds between writes of the curves


class LogFiles:
    """The files of a log. Every method writes and may raise an OSError; without `open`, nothing is written.

    `curves` is "csv", "tensorboard" or "none", see `log.Log`.
    """

    def __init__(self, directory: Path, phases: Phases, curves: str) -> None:
        self.directory, self.phases, self.curves = directory, phases, curves
        self._columns: list[str] = []
        self._files: dict[str, Foreign] = {}  # that are open, by name
        self._flushed = monotonic()

    def open(self, simulation: Watched) -> None:
        """Open all files; write the curves of an earlier part of the run again."""
        history = self.phases.history
        first = simulation.iteration
        self._open_file(LOG, os.O_APPEND if first else os.O_TRUNC)
        if self.curves == "none":
            return
        file = self._open_file(CSV, os.O_TRUNC)
        columns = ["iteration", "loss", "firing_rate_hz", "error", "validation"]
        self._columns = columns + (["return", "length", "entropy"] if simulation.episodes else [])
        self._columns += self.phases.annealing.ends
        self._columns += ["loss_per_step", "accuracy", "validation_loss", "validation_accuracy"]
        self._columns += ["gradient_norm"] if simulation.model.optimizer.max_norm is not None else []
        file.write(",".join(self._columns) + "\n")
        for k in range(first):
            file.write(_format_row(self._columns, self._collect_values(simulation, k)))
        if history.n_train:
            file = self._open_file(EPOCHS, os.O_TRUNC)
            file.write(",".join(EPOCH) + "\n")
            for k in range(first):
                if epoch := history.summarize_epoch(k + 1, simulation.losses):
                    file.write(_format_row(EPOCH, epoch))
        if self.curves == "tensorboard":
            from tensorboard.summary.writer.event_file_writer import EventFileWriter

            self._files[EVENTS] = EventFileWriter(str(self.directory / EVENTS))

    def _open_file(self, name: str, how: int) -> TextIO:
        """Open a file for writing, not through a link; `how`: O_APPEND or O_TRUNC."""
        path = self.directory / name
        how |= os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        self._files[name] = os.fdopen(os.open(remove_leftover(path) if how & os.O_TRUNC else path, how, 0o666), "w")
        return self._files[name]

    def _collect_values(self, simulation: Watched, k: int) -> dict[str, float | None]:
        """Return the values of all curves in iteration `k`, by column of the CSV."""
        history = self.phases.history
        error = history.errors[k] if k < len(history.errors) else None
        values = {"loss": simulation.losses[k], "firing_rate_hz": simulation.rates[k], "error": error}
        values |= {
            **history.average_returns(k, simulation.model.optimizer.batch_size),
            **self.phases.annealing.compute_rates(k),
        }
        values |= history.find_validation(k + 1) | {"accuracy": history.find_accuracy(k), "loss_per_step": None}
        if not simulation.episodes:
            values["loss_per_step"] = simulation.losses[k] / history.n_steps
        if simulation.gradient_norms:
            values["gradient_norm"] = simulation.gradient_norms[k]
        return {"iteration": k + 1, **values}

    def add_iteration(self, simulation: Watched) -> None:
        """Add the last iteration to the curves."""
        history = self.phases.history
        if CSV not in self._files:
            return
        done = simulation.iteration
        values, epoch = self._collect_values(simulation, done - 1), history.summarize_epoch(done, simulation.losses)
        self._files[CSV].write(_format_row(self._columns, values))
        self._add_event(done, values)
        if EPOCHS in self._files and epoch:
            self._files[EPOCHS].write(_format_row(EPOCH, epoch))
            number = int(epoch.pop("epoch") or 0)
            self._add_event(number, {f"epoch/{name}": value for name, value in epoch.items()})
        if monotonic() >= self._flushed + FLUSH:
            self._flushed = monotonic()
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

    def write_note(self, text: str) -> None:
        """Add a line with the time to `run.log`, and write it at once."""
        if log := self._files.get(LOG):
            stamp = datetime.now(UTC).isoformat(timespec="seconds")
            log.write(f"{stamp} {escape_unprintable(' '.join(text.split()))}\n")
            log.flush()

    def drop_files(self) -> None:
        """Write nothing more: the file system refused."""
        self._files = {}

    def close(self) -> None:
        """Close all files, also after one could not write its last lines, as on a file system of a network."""
        open_files, self._files = self._files, {}
        with ExitStack() as stack:
            for name, file in open_files.items():
                stack.enter_context(output_errors(self.directory / name, "log "))
                stack.callback(file.close)


def _format_row(columns: Iterable[str], values: Mapping[str, float | None]) -> str:
    return ",".join("" if values[name] is None else f"{values[name]:.9g}" for name in columns) + "\n"

"""Recordings of events as the samples of a configuration, in place of a file of arrays (`datafile`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..exchange_formats.event_reader import Folder, Gestures, Spoken, compute_fingerprint, open_recordings
from ..parallel.spike_log import SpikeLog
from .draws import make_one_hot
from .event_data import EventData


class EventSamples:
    """Samples of recordings, with the methods of `DataFile`: first the recordings of `path`, then of `test`.

    `recordings` were read from `path`; without `test` all of them train and validate. `sizes` has the number of cells
    by role, see `DataFile`; `step_us` is the length of a step in microseconds of the recording; `pool` neighbouring
    values of `x`, and of `y`, share an input; `by_file`: see `Folder`. The first `n_first` of the `n_samples` samples
    are of `path`. `InputError` names the recordings and everything that does not fit.
    """

    def __init__(
        self,
        path: Path,
        recordings: Spoken | Gestures | Folder,
        test: Path | None,
        sizes: dict[str, int],
        *,
        steps: int | None,
        step_us: float,
        pool: int,
        by_file: bool,
    ) -> None:
        if steps is None:
            text = "event recordings do not give the number of steps of a sample: give steps in section [task]"
            raise InputError(f"data {path}: {text}")
        size = recordings.sensor_size
        if size is None:
            raise InputError(f"data {path}: give sensor_size in section [task], the numbers of values of x, y and p")
        others = None if test is None else open_recordings(test, size, getattr(recordings, "classes", None), by_file)
        if test is not None and (others is None or type(others) is not type(recordings)):
            raise InputError(f"test_data {test}: holds no event recordings of the same format as data = {path}")
        self._sets = [(f"data {path}", recordings)] + ([] if others is None else [(f"test_data {test}", others)])
        problems = [
            f"{name}: has class {one.n_classes - 1}, the network has {sizes['readout']} readouts"
            for name, one in self._sets
            if one.n_classes > sizes["readout"]
        ]
        problems += [
            f"data {path}: recordings of events have no {role}s, the network has {sizes[role]}"
            for role in ("current", "local")
            if sizes.get(role)
        ]
        n_classes = max(sizes["readout"], recordings.n_classes)
        self._task = EventData(
            recordings, n_steps=steps, step_us=step_us, sensor_size=tuple(size), n_classes=n_classes, pool=pool
        )
        if self._task.n_inputs != sizes["input"]:
            made = f"{' x '.join(map(str, size))} values of x, y, p with pool = {pool}"
            needs = f"the recordings need {self._task.n_inputs} inputs ({made}), the network has {sizes['input']}"
            problems.append(f"data {path}: {needs}")
        if problems:
            raise InputError("; ".join(problems))
        self.n_steps, self.n_first, self.n_samples = steps, len(recordings), sum(len(one) for _, one in self._sets)
        self._latest: tuple[int, tuple[SpikeLog, int]] | None = None

    def compute_fingerprint(self) -> str:
        """Return a digest of the files, see `event_reader.compute_fingerprint`."""
        return compute_fingerprint([file for _, one in self._sets for file in one.files])

    @property
    def classes(self) -> list[str]:
        """Names of the classes; empty if the recordings do not name them."""
        return self._task.classes

    def _read_recording(self, place: int) -> tuple[SpikeLog, int]:
        if self._latest is None or self._latest[0] != place:
            is_later = place >= self.n_first
            name, recordings = self._sets[is_later]
            number = place - self.n_first * is_later
            self._latest = place, self._task.read_recording(recordings, number, f"{name}: recording {number}")
        return self._latest[1]

    def read_target(self, place: int) -> np.ndarray:
        """Return the targets of a sample, (n_steps, n_readouts)."""
        return make_one_hot(self._read_recording(place)[1], self._task.n_classes, self.n_steps)

    def read_label(self, place: int) -> int:
        """Return the class of a sample."""
        return self._read_recording(place)[1]

    def read_spikes(self, place: int) -> SpikeLog:
        """Return the spikes of a sample."""
        return self._read_recording(place)[0]

    def read_rates(self, place: int) -> None:
        """Return None: spikes are not drawn."""

    def read_currents(self, place: int) -> None:
        """Return None: there are no currents."""

    def read_local_target(self, place: int, first: int, last: int) -> np.ndarray:
        """Return no targets of single neurons."""
        return np.zeros((self.n_steps, last - first))

"""Recordings in files of Neurodata Without Borders (NWB 2, HDF5) as targets: spike trains of units, or fluorescence.

Targets are means over the trials of a file; without trials its first seconds are the only trial.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError, quote
from ..later import h5py
from ..machine import require_bytes
from .event_reader import require_numbers

UNITS = "units"
TRACES = "RoiResponseSeries"  # fluorescence of regions of interest, samples x regions
MAX_BYTES = 2**34  # longer datasets, in bytes, are refused


def is_nwb(path: Path) -> bool:
    """Return whether a file is of NWB; False if it cannot be read."""
    try:
        with files.open_hdf5(path, aliases=True) as file, files.report_read_errors(path):
            return "nwb_version" in file.attrs
    except (OSError, ValueError):
        return False


class Recording:
    """Means over trials of the activity of each cell in a file; trials have `n_steps` steps of `dt_ms`.

    `series` names the fluorescence, or is "units"; "" means units if there are any, else the only fluorescence.
    `n_cells` is the number of units or regions of interest, `has_spikes` whether they are spike trains, `remarks` has a
    line on trials that are shorter than `n_steps`.
    """

    def __init__(self, path: Path, series: str, n_steps: int, dt_ms: float) -> None:
        self._path, self._n_steps, self._seconds = path, n_steps, dt_ms / 1000.0
        with (
            files.input_errors(path, ValueError, KeyError, TypeError),
            files.open_hdf5(path, aliases=True) as file,
            files.report_read_errors(path),
        ):
            self._read(file, series)

    def _read(self, file: h5py.File, series: str) -> None:
        found = _find_traces(file)
        has_units = isinstance(file.get(f"{UNITS}/spike_times"), h5py.Dataset)
        known = [UNITS] * has_units + [name.rpartition("/")[2] for name in found]
        self.has_spikes = has_units and series in ("", UNITS)
        self._starts = (
            self._read_numbers(file, "intervals/trials/start_time") if "intervals/trials" in file else np.zeros(1)
        )
        if not len(self._starts) or not np.all(np.isfinite(self._starts)):
            raise InputError(f"{self._path}: intervals/trials/start_time must be finite numbers, at least one")
        self.remarks = self._find_short_trials(file.get("intervals/trials/stop_time"))
        if self.has_spikes:
            times = self._read_numbers(file, f"{UNITS}/spike_times")
            ends = self._read_numbers(file, f"{UNITS}/spike_times_index").astype(np.int64)
            if np.any(np.diff(ends, prepend=0) < 0) or (ends[-1] if len(ends) else 0) != len(times):
                raise InputError(f"{self._path}: units/spike_times_index does not cut {len(times)} spike_times")
            self._trains, self.n_cells = np.split(times, ends[:-1]) if len(ends) else [], len(ends)
            if not any(len(self._find_steps(times, start)) for start in self._starts):
                start = self._starts[0]
                first = f"the first takes {start:g} to {start + self._seconds * self._n_steps:g} s"
                raise InputError(f"{self._path}: no unit has a spike in any of the {len(self._starts)} trials, {first}")
            return
        chosen = [name for name in found if series in ("", name.rpartition("/")[2], name)]
        if not known:
            raise InputError(f"{self._path}: has no spike times of units and no fluorescence ({TRACES})")
        if len(chosen) != 1:
            problem = f"series = {quote(series)} is not one of" if series else "give series, one of"
            raise InputError(f"{self._path}: {problem} {', '.join(known)}")
        name = chosen[0]
        data = self._read_numbers(file, f"{name}/data", (1, 2))
        data = data[:, None] if data.ndim == 1 else data
        attributes = file[f"{name}/data"].attrs
        self._values = data * float(attributes.get("conversion", 1.0)) + float(attributes.get("offset", 0.0))
        self.n_cells = data.shape[1]
        if "timestamps" in file[name]:
            self._times = self._read_numbers(file, f"{name}/timestamps")
        else:
            rate = float(file[f"{name}/starting_time"].attrs["rate"])
            if not 0 < rate < np.inf:
                raise InputError(f"{self._path}: {name}/starting_time has rate {rate}, must be above 0 and finite")
            self._times = float(file[f"{name}/starting_time"][()]) + np.arange(len(data)) / rate
        for row, cell in np.argwhere(~np.isfinite(data))[:1]:
            raise InputError(f"{self._path}: {name}/data[{row}, {cell}] = {data[row, cell]} must be finite")
        if self._times.shape != data.shape[:1] or not len(data) or np.any(~(np.diff(self._times) > 0)):
            raise InputError(f"{self._path}: {name} needs a time for each of its {len(data)} rows, each after the last")
        step = self._seconds
        for start in self._starts:
            end = start + step * self._n_steps
            if start + step < self._times[0] - step or end > self._times[-1] + step:
                there = f"{self._times[0]:g} to {self._times[-1]:g} s"
                raise InputError(f"{self._path}: a trial takes {start:g} to {end:g} s, the fluorescence {there}")

    def _find_short_trials(self, stops: object) -> list[str]:
        if not isinstance(stops, h5py.Dataset) or stops.shape != self._starts.shape or stops.dtype.kind not in "iuf":
            return []
        lasts, seconds = stops[()] - self._starts, self._n_steps * self._seconds
        short = lasts[lasts < seconds * (1 - 1e-6)]  # times are sums of rounded numbers
        if not len(short):
            return []
        which = f"{len(short)} of {len(lasts)} trials of {self._path} end by their stop_time, the first after"
        asked = f"n_step = {self._n_steps} ({seconds:g} s)"
        return [f"{which} {short[0]:.6g} s, before {asked}: what follows counts as theirs"]

    def _read_numbers(self, file: h5py.File, name: str, axes: tuple[int, ...] = (1,)) -> np.ndarray:
        data = file.get(name)
        if not isinstance(data, h5py.Dataset) or data.shape is None:
            raise InputError(f"{self._path}: {name} is missing")
        if data.ndim not in axes:
            wanted = f"{' or '.join(map(str, axes))} {'axis' if axes == (1,) else 'axes'}"
            raise InputError(f"{self._path}: {name} has shape {data.shape}, must have {wanted}")
        size = data.dtype.itemsize * data.size
        if size > MAX_BYTES:
            raise InputError(f"{self._path}: {name} takes {size} bytes, at most {MAX_BYTES} are read")
        require_numbers(data, f"{self._path}: {name}")
        require_bytes(size, f"{self._path}: {name}")
        return np.asarray(data[()], float)

    def _find_steps(self, times: np.ndarray, start: float) -> np.ndarray:
        """Return the steps of spikes within the trial that begins at `start` (s)."""
        steps = np.floor((times - start) / self._seconds)
        return steps[(steps >= 0) & (steps < self._n_steps)].astype(np.int64)

    def compute_mean(self, first: int, last: int, respond: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return the mean over all trials of cells [first, last): (n_steps, last - first).

        `respond` maps numbers of spikes (n_steps, n) to voltages of readouts; fluorescence is interpolated linearly.
        """
        n_steps, total = self._n_steps, np.zeros((self._n_steps, last - first))
        for start in self._starts:
            if self.has_spikes:
                for k in range(first, last):
                    total[:, k - first] += np.bincount(self._find_steps(self._trains[k], start), minlength=n_steps)
            else:
                times = start + self._seconds * np.arange(1, n_steps + 1)
                total += _interpolate_values(times, self._times, self._values[:, first:last])
        total /= len(self._starts)
        return respond(total) if self.has_spikes else total


def _interpolate_values(times: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return linearly interpolated values (n_times, n), as `np.interp` does, with the same bits on every machine."""
    before = np.clip(np.searchsorted(known, times, side="right") - 1, 0, max(len(known) - 2, 0))
    after = np.minimum(before + 1, len(known) - 1)
    gap = known[after] - known[before]
    fraction = np.clip((times - known[before]) / np.where(gap > 0, gap, 1.0), 0.0, 1.0)[:, None]
    return np.asarray(values[before] + fraction * (values[after] - values[before]))


def _find_traces(file: h5py.File) -> list[str]:
    """Return the names of all fluorescence."""
    names: list[str] = []

    def add_traces(name: str, item: object) -> None:
        if isinstance(item, h5py.Group) and item.attrs.get("neurodata_type") == TRACES and "data" in item:
            names.append(name)

    for place in ("processing", "acquisition"):
        if isinstance(file.get(place), h5py.Group):
            file[place].visititems(lambda name, item, place=place: add_traces(f"{place}/{name}", item))
    return names

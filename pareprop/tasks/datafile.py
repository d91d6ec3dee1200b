"""Read the samples of a user's data file: HDF5, sample by sample, or .npz, without pickles.

Arrays of the file, for n samples:

- `targets` (n, n_steps, n_readouts);
- the inputs as one of `rates` in Hz, (n, n_inputs) or (n, n_steps, n_inputs), from which Poisson spikes are drawn
  once, or with `redraw` for each epoch; `raster` (n, n_steps, n_inputs), non-zero where an input spikes; `spikes`
  (n_spikes, 3), sample, step and id of each;
- for populations of currents `currents` (n, n_steps, n_currents) in pA;
- for readouts of single neurons `local_targets` (n, n_steps, n_neurons); `targets` may then be missing;
- for classification `labels` (n), the readout that is right; without `targets` these are 1 for it and 0 for the others.
"""

from __future__ import annotations

import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError, shorten
from ..exchange_formats.event_reader import compute_fingerprint
from ..later import h5py
from ..machine import require_bytes
from ..parallel.spike_log import SpikeLog
from ..values import AnyValue, Values

LIMIT = 2**32  # longer arrays of .npz, or samples of HDF5, in bytes, are refused
CHUNK_LIMIT = 2**28  # HDF5 with longer chunks, in bytes, is refused
ROWS = 2**20  # rows of `spikes` that are checked at a time
ARRAYS = 1000  # .npz files with more arrays are refused
HIGHEST_RATE = 1e6  # Hz; a spike in every step of 0.001 ms
NAMES = ("targets", "rates", "raster", "spikes", "currents", "labels", "local_targets", "class_names")
INPUTS = ("rates", "raster", "spikes")
WHOLE = ("spikes", "labels")  # arrays of whole numbers
STEPWISE = ("raster", "rates", "currents", "local_targets")  # arrays that may have an axis of steps
DAMAGED = (  # errors that h5py, zipfile and NumPy raise
    ValueError,
    KeyError,
    RuntimeError,
    TypeError,
    EOFError,
    SyntaxError,
    OverflowError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tokenize.TokenError,
)


class DataFile:
    """A checked file of samples: `n_samples` samples of `n_steps` steps.

    `sizes` has the number of cells by role: "input", "current", "readout", "local" for neurons with readouts of single
    neurons. `steps` is the number of steps of a sample if no array has an axis of steps. `InputError` names the file,
    every array that does not fit, its shape, and the shape it must have.
    """

    def __init__(self, path: Path, sizes: dict[str, int], steps: int | None = None) -> None:
        self.path, self._sizes, self._asked_steps = path, sizes, steps
        with self._convert_read_errors():
            # Any: arrays, datasets of HDF5, or, until they are checked, headers of arrays.
            self._arrays: Values
            self._arrays, others = _read_npz_headers(path) if path.suffix == ".npz" else _open_hdf5(path)
            problems = self._find_problems()
            if problems and others:
                shown = shorten(" ".join(", ".join(others).splitlines()), 300)
                problems.append(f"it has {shown}, which are not read; read are {', '.join(NAMES)}")
            if not problems:
                if path.suffix == ".npz":
                    self._arrays = _read_npz(path)
                self._spikes = self._sort_spikes()
                problems = self._find_bad_values()
        if problems:
            raise InputError("; ".join(f"data {path}: {problem}" for problem in problems))

    @contextmanager
    def _convert_read_errors(self) -> Iterator[None]:
        """Context that turns errors of reading into `InputError`."""
        try:
            with files.input_errors(f"data {self.path}"):
                yield
        except DAMAGED as problem:
            raise InputError(f"data {self.path}: not a file of samples: {shorten(str(problem), 300)}") from None

    def _find_problems(self) -> list[str]:
        arrays, sizes = self._arrays, self._sizes
        local = sizes.get("local", 0)
        first = "local_targets" if local and not sizes["readout"] and "targets" not in arrays else "targets"
        by_labels = first == "targets" and first not in arrays and len(getattr(arrays.get("labels"), "shape", ())) > 0
        if by_labels:
            first = "labels"
        elif first not in arrays or len(arrays[first].shape) != 3:
            width = "n_neurons" if first == "local_targets" else "n_readouts"
            instead = ", and there are no labels (n_samples,)" if first == "targets" and "labels" not in arrays else ""
            return [f"{first} (n_samples, n_steps, {width}) is missing or has another number of axes{instead}"]
        stepwise = [name for name in (first, *STEPWISE) if name in arrays and len(arrays[name].shape) == 3]
        n, steps = arrays[first].shape[0], arrays[stepwise[0]].shape[1] if stepwise else self._asked_steps
        if steps is None:
            return ["no array has an axis of steps: give steps in section [task]"]
        if self._asked_steps not in (None, steps):
            return [f"{stepwise[0]} has {steps} steps, steps = {self._asked_steps} in section [task]"]
        self.n_samples, self.n_steps = int(n), int(steps)
        inputs = [name for name in INPUTS if name in arrays]
        problems = [f"{first} has shape {arrays[first].shape}: no samples or no steps"] if not n * steps else []
        if local and "local_targets" not in arrays:
            problems.append(f"local_targets ({n}, {steps}, {local}) is missing, {local} neurons have a readout")
        if len(inputs) != (sizes["input"] > 0):
            problems.append(
                f"has {', '.join(inputs) or 'no inputs'}; the network of {sizes['input']} inputs needs "
                f"{'one of ' + ', '.join(INPUTS) if sizes['input'] else 'none'}"
            )
        if ("currents" in arrays) != (sizes["current"] > 0):
            problems.append(f"currents: the network has {sizes['current']}")
        wanted: dict[str, list[tuple[int, ...]]] = {
            "targets": [(n, steps, sizes["readout"])],
            "raster": [(n, steps, sizes["input"])],
            "rates": [(n, sizes["input"]), (n, steps, sizes["input"])],
            "currents": [(n, steps, sizes["current"])],
            "labels": [(n,)],
            "local_targets": [(n, steps, local)],
            "class_names": [(sizes["readout"],)],
        }
        for name, array in arrays.items():
            shapes = wanted.get(name, [(array.shape[0] if array.shape else 0, 3)])
            if array.shape not in shapes:
                problems.append(f"{name} has shape {array.shape}, must be {' or '.join(map(str, shapes))}")
            is_text = name == "class_names"
            if not (_is_text(array) if is_text else array.dtype.kind in ("iu" if name in WHOLE else "fiub")):
                kind = "text" if is_text else "whole numbers" if name in WHOLE else "numbers"
                problems.append(f"{name} has type {array.dtype}, must be {kind}")
            whole = is_text or name in WHOLE or isinstance(array, _Header)
            if chunks := getattr(array, "chunks", None):  # HDF5 unpacks a whole chunk for a single number
                size = array.dtype.itemsize * int(np.prod(chunks, dtype=object))
                if size > CHUNK_LIMIT:
                    problems.append(f"{name} has chunks of {size} bytes, at most {CHUNK_LIMIT} are read")
            if name == "local_targets" and not whole:  # read by blocks of neurons
                continue
            if (size := array.dtype.itemsize * int(np.prod(array.shape[not whole :], dtype=object))) > LIMIT:
                problems.append(f"{name} takes {size} bytes{'' if whole else ' per sample'}, at most {LIMIT} are read")
        return problems

    def _sort_spikes(self) -> np.ndarray | None:
        """Return the unique rows (sample, step, id), sorted."""
        if "spikes" not in self._arrays:
            return None
        rows, bounds = self._arrays["spikes"], (self.n_samples, self.n_steps, self._sizes["input"])
        if bounds[0] * bounds[1] * bounds[2] >= 2**62:
            raise ValueError("spikes: samples x steps x inputs must be below 2^62")
        require_bytes(4 * 8 * len(rows), f"data {self.path}: {len(rows)} rows of spikes")  # codes, sorted, and columns
        codes = np.empty(len(rows), np.int64)
        for first in range(0, len(rows), ROWS):
            part = np.asarray(rows[first : first + ROWS])
            for column, name, bound in zip(part.T, ("sample", "step", "id"), bounds, strict=True):
                if column.min() < 0 or column.max() >= bound:
                    worst = column.max() if column.min() >= 0 else column.min()
                    raise InputError(f"data {self.path}: spikes: {name} {worst} must lie in 0 to {bound - 1}")
            sample, step, source = part.astype(np.int64).T
            codes[first : first + ROWS] = (sample * bounds[1] + step) * bounds[2] + source
        codes = np.unique(codes)
        spikes = np.empty((len(codes), 3), np.int64)
        rest, spikes[:, 2] = np.divmod(codes, max(bounds[2], 1))
        spikes[:, 0], spikes[:, 1] = np.divmod(rest, bounds[1])
        return spikes

    def _find_bad_values(self) -> list[str]:
        """Check the values of all samples before the training; return the problems."""
        problems = []
        for name in ("targets", "rates", "currents"):
            for place in range(self.n_samples if name in self._arrays else 0):
                values = np.asarray(self._arrays[name][place], float)
                if not np.all(np.isfinite(values)):
                    problems.append(f"{name} of sample {place} are not all finite")
                elif name == "rates" and values.size and not 0 <= values.min() <= values.max() <= HIGHEST_RATE:
                    worst = values.min() if values.min() < 0 else values.max()
                    problems.append(f"rates of sample {place}: {worst:g} must lie in 0 to {HIGHEST_RATE:g} Hz")
                else:
                    continue
                break
        if "labels" in self._arrays:
            labels, n = np.asarray(self._arrays["labels"][()]), self._sizes["readout"]
            wrong = np.flatnonzero((labels < 0) | (labels >= n))
            if len(wrong):
                label = f"label {labels[wrong[0]]} of sample {wrong[0]}"
                problems.append(f"{label} is not one of the {n} readouts, 0 to {n - 1}")
        return problems

    @property
    def n_first(self) -> int:
        """Number of samples; no other file adds more."""
        return self.n_samples

    def compute_fingerprint(self) -> str:
        """Return a digest of size, first and last MiB of the file, because the whole may be too long to read."""
        with self._convert_read_errors():
            return compute_fingerprint([self.path])

    def read_target(self, place: int) -> np.ndarray:
        """Return the targets of a sample, (n_steps, n_readouts)."""
        if "targets" not in self._arrays:
            target = np.zeros((self.n_steps, self._sizes["readout"]))
            if (label := self.read_label(place)) is not None and self._sizes["readout"]:
                target[:, label] = 1.0
            return target
        return np.asarray(self._arrays["targets"][place], float)

    def read_local_target(self, place: int, first: int, last: int) -> np.ndarray:
        """Return targets of neurons [first, last) of a sample, (n_steps, n); of HDF5 only these are read."""
        targets = np.asarray(self._arrays["local_targets"][place, :, first:last])
        wrong = np.argwhere(~np.isfinite(targets))
        if len(wrong):
            step, neuron = wrong[0]
            where = f"[{place}, {step}, {first + neuron}]"
            raise InputError(f"data {self.path}: local_targets{where} = {targets[step, neuron]} must be finite")
        return targets

    def read_rates(self, place: int) -> np.ndarray | None:
        """Return the rates of a sample in Hz, None if the file has none."""
        return np.asarray(self._arrays["rates"][place], float) if "rates" in self._arrays else None

    def read_currents(self, place: int) -> np.ndarray | None:
        """Return the currents of a sample in pA, None if the file has none."""
        return np.asarray(self._arrays["currents"][place], float) if "currents" in self._arrays else None

    def read_label(self, place: int) -> int | None:
        """Return the class of a sample, None if the file has none."""
        if "labels" not in self._arrays:
            return None
        return int(self._arrays["labels"][place])

    @property
    def classes(self) -> list[str]:
        """Names of the classes, one for each readout; none if the file has none."""
        given = np.asarray(self._arrays["class_names"][()]).tolist() if "class_names" in self._arrays else []
        return [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in given]

    def read_spikes(self, place: int) -> SpikeLog:
        """Return the spikes of a sample."""
        if self._spikes is not None:
            first, last = np.searchsorted(self._spikes[:, 0], [place, place + 1])
            steps, ids = self._spikes[first:last, 1], self._spikes[first:last, 2]
        elif "raster" in self._arrays:
            steps, ids = np.nonzero(self._arrays["raster"][place])
        else:
            steps = ids = np.zeros(0, np.int64)
        return SpikeLog.from_spikes(steps, ids, self.n_steps)


@dataclass(frozen=True)
class _Header:
    """Shape and type of an array, as its header in a .npz file states them."""

    shape: tuple[int, ...]
    dtype: np.dtype


def _is_text(array: AnyValue) -> bool:
    return array.dtype.kind in "US" or h5py.check_string_dtype(array.dtype) is not None


def _read_npz_headers(path: Path) -> tuple[dict[str, _Header], list[str]]:
    """Return the headers of a .npz file, and names that are not read; sizes are checked before memory is allocated."""
    headers = {}
    with files.open_regular(path) as content, zipfile.ZipFile(content) as archive:
        if len(archive.infolist()) > ARRAYS:
            raise ValueError(f"{len(archive.infolist())} arrays, at most {ARRAYS} are read")
        for member in archive.infolist():
            with archive.open(member) as file:
                try:
                    shape, dtype = files.npy_header(file)
                except ValueError as problem:
                    raise ValueError(f"{member.filename}: {problem}") from None
            size = int(np.prod(shape, dtype=object)) * dtype.itemsize
            if min(shape, default=0) < 0 or size > min(member.file_size, LIMIT):
                raise ValueError(
                    f"{member.filename} of shape {shape} takes {size} bytes; it has {member.file_size}, "
                    f"and at most {LIMIT} are read"
                )
            headers[member.filename.removesuffix(".npy")] = _Header(shape, dtype)
    return {name: headers[name] for name in NAMES if name in headers}, sorted(headers.keys() - {*NAMES})


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with files.open_regular(path) as content, np.load(content, allow_pickle=False) as file:
        return {name: file[name] for name in NAMES if name in file}


def _open_hdf5(path: Path) -> tuple[Values, list[str]]:
    """Return the datasets of an HDF5 file, and names that are not read."""
    file = files.open_hdf5(path)
    arrays = {name: file[name] for name in NAMES if name in file}
    for name, array in arrays.items():
        if not isinstance(array, h5py.Dataset) or array.shape is None:
            raise ValueError(f"{name} must be a dataset with a shape")
    return arrays, [name for name in islice(file, ARRAYS) if name not in NAMES]

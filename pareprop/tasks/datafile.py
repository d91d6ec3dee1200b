"""Samples of a user's file: HDF5, read sample by sample, or .npz, without pickles.

Arrays of it, for n samples:

- `targets` (n, n_steps, n_readouts);
- the inputs as one of `rates` in Hz, (n, n_inputs) or (n, n_steps, n_inputs), from which Poisson spikes are drawn;
  `raster` (n, n_steps, n_inputs), non-zero where an input spikes; `spikes` (n_spikes, 3), sample, step and id of each;
- for populations of currents `currents` (n, n_steps, n_currents) in pA;
- for classification `labels` (n), the readout that is right.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import InputError

LIMIT = 2**32  # bytes of what is read at a time: an array of .npz, a sample of HDF5
NAMES = ("targets", "rates", "raster", "spikes", "currents", "labels")
INPUTS = ("rates", "raster", "spikes")


class DataFile:
    """A checked file of samples.

    Parameters
    ----------
    path : of the file
    sizes : cells by role: "input", "current", "readout"

    Attributes
    ----------
    n_samples, n_steps : sizes

    Raises
    ------
    InputError
        Names the file, every array that does not fit, its shape, and the one it must have.
    """

    def __init__(self, path: Path, sizes: dict[str, int]) -> None:
        self.path, self._sizes = path, sizes
        try:
            self._arrays = _npz(path) if path.suffix == ".npz" else _hdf5(path)
            problems = self._problems()
        except OSError as problem:
            raise InputError(f"data {path}: {problem.strerror or problem}") from None
        except (ValueError, KeyError, RuntimeError, TypeError, zipfile.BadZipFile) as problem:
            raise InputError(f"data {path}: not a file of samples: {problem}") from None
        if problems:
            raise InputError("; ".join(f"data {path}: {problem}" for problem in problems))
        self._spikes = self._sorted_spikes()

    def _problems(self) -> list[str]:
        arrays, sizes = self._arrays, self._sizes
        if "targets" not in arrays or len(arrays["targets"].shape) != 3:
            return ["targets (n_samples, n_steps, n_readouts) is missing or has another number of axes"]
        self.n_samples, self.n_steps = n, steps = arrays["targets"].shape[:2]
        inputs = [name for name in INPUTS if name in arrays]
        problems = [f"targets has shape {arrays['targets'].shape}: no samples or no steps"] if not n * steps else []
        if len(inputs) != (sizes["input"] > 0):
            problems.append(f"has {', '.join(inputs) or 'no inputs'}; the network of {sizes['input']} inputs needs "
                            f"{'one of ' + ', '.join(INPUTS) if sizes['input'] else 'none'}")  # fmt: skip
        if ("currents" in arrays) != (sizes["current"] > 0):
            problems.append(f"currents: the network has {sizes['current']}")
        wanted = {
            "targets": [(n, steps, sizes["readout"])], "raster": [(n, steps, sizes["input"])],
            "rates": [(n, sizes["input"]), (n, steps, sizes["input"])], "currents": [(n, steps, sizes["current"])],
            "labels": [(n,)],
        }  # fmt: skip
        for name, array in arrays.items():
            shapes = wanted.get(name, [(array.shape[0] if array.shape else 0, 3)])
            if array.shape not in shapes:
                problems.append(f"{name} has shape {array.shape}, must be {' or '.join(map(str, shapes))}")
            if array.dtype.kind not in ("iu" if name in ("spikes", "labels") else "fiub"):
                problems.append(f"{name} has type {array.dtype}, must be numbers")
            whole = name in ("spikes", "labels") or isinstance(array, np.ndarray)
            if (size := array.dtype.itemsize * int(np.prod(array.shape[not whole :], dtype=object))) > LIMIT:
                problems.append(f"{name} takes {size} bytes{'' if whole else ' per sample'}, at most {LIMIT} are read")
        return problems

    def _sorted_spikes(self) -> np.ndarray | None:
        """Rows (sample, step, id), sorted, each once."""
        if "spikes" not in self._arrays:
            return None
        spikes = np.unique(np.asarray(self._arrays["spikes"][()]).astype(np.int64), axis=0)
        bounds = self.n_samples, self.n_steps, self._sizes["input"]
        for column, name, bound in zip(spikes.T, ("sample", "step", "id"), bounds, strict=True):
            if len(column) and (column.min() < 0 or column.max() >= bound):
                worst = column.max() if column.min() >= 0 else column.min()
                raise InputError(f"data {self.path}: spikes: {name} {worst} must lie in 0 to {bound - 1}")
        return spikes

    def fingerprint(self) -> str:
        """Digest of the file's size, first and last MiB; all of it may be too long to read."""
        with open(self.path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            ends = [file.read(2**20)]
            file.seek(max(size - 2**20, 0))
            ends.append(file.read())
        return hashlib.blake2b(b"".join([str(size).encode(), *ends]), digest_size=16).hexdigest()

    def target(self, place: int) -> np.ndarray:
        """Targets of a sample, (n_steps, n_readouts)."""
        return np.asarray(self._arrays["targets"][place], float)

    def rates(self, place: int) -> np.ndarray | None:
        """Rates of a sample in Hz, if that is what the file has."""
        return np.asarray(self._arrays["rates"][place], float) if "rates" in self._arrays else None

    def currents(self, place: int) -> np.ndarray | None:
        """Currents of a sample in pA, if there are any."""
        return np.asarray(self._arrays["currents"][place], float) if "currents" in self._arrays else None

    def label(self, place: int) -> int | None:
        """Class of a sample, if there are classes."""
        if "labels" not in self._arrays:
            return None
        label = int(self._arrays["labels"][place])
        if not 0 <= label < self._sizes["readout"]:
            raise InputError(f"data {self.path}: label {label} of sample {place} is none of the readouts")
        return label

    def spikes(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids (uint32) and where each step begins in them (int64), of a sample."""
        if self._spikes is not None:
            first, last = np.searchsorted(self._spikes[:, 0], [place, place + 1])
            steps, ids = self._spikes[first:last, 1], self._spikes[first:last, 2]
        elif "raster" in self._arrays:
            steps, ids = np.nonzero(self._arrays["raster"][place])
        else:
            steps = ids = np.zeros(0, np.int64)
        ptr = np.zeros(self.n_steps + 1, np.int64)
        ptr[1:] = np.cumsum(np.bincount(steps, minlength=self.n_steps))
        return ids.astype(np.uint32), ptr


def _npz(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a .npz file; what their headers claim is compared with what is there before memory is taken."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
            size = int(np.prod(shape, dtype=object)) * dtype.itemsize
            if size > min(member.file_size, LIMIT):
                raise ValueError(f"{member.filename} of shape {shape} takes {size} bytes; it has {member.file_size}, "
                                 f"and at most {LIMIT} are read")  # fmt: skip
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in NAMES if name in file}


def _hdf5(path: Path) -> dict[str, Any]:
    file = h5py.File(path)
    arrays = {}
    for name in NAMES:
        if name in file:
            link, dataset = file.get(name, getlink=True), file[name]
            if not isinstance(link, h5py.HardLink) or not isinstance(dataset, h5py.Dataset):
                raise ValueError(f"{name} must be a dataset of this file")
            if dataset.external or dataset.is_virtual:
                raise ValueError(f"{name} keeps its values in another file")
            arrays[name] = dataset
    return arrays

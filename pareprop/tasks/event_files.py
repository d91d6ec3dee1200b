"""Recordings of events on disk, as sequences of (events, label): spoken digits of SHD and SSC, gestures of DVS128.

Events are structured arrays with the fields `t` (microseconds) and `x`, of cameras also `y` and `p`, as those of Tonic.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import h5py
import numpy as np

from .. import files
from ..errors import InputError, quote

COCHLEA = (700, 1, 1)  # channels
CAMERA = (128, 128, 2)  # columns, rows, polarities
LONGEST = 2**30  # bytes of a recording of the camera
POLARITY = 1  # type of a packet of AEDAT 3.1
PACKET = np.dtype(
    [
        ("kind", "<i2"),
        ("source", "<i2"),
        *((name, "<i4") for name in ("size", "offset", "overflow", "capacity", "number", "valid")),
    ]
)


class Spoken:
    """Spoken digits (SHD) or words (SSC) in a file of theirs (Cramer et al. 2020, doi 10.1109/TNNLS.2020.3044364).

    Parameters
    ----------
    path : str or Path
        Such as `shd_train.h5`: `spikes/times` (s) and `spikes/units`, one row for each recording; `labels`.

    Attributes
    ----------
    sensor_size : tuple of int
        Channels.
    n_classes : int
        Number of classes.

    Raises
    ------
    InputError
        If it is not such a file.
    """

    sensor_size = COCHLEA

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        with self._open() as file:
            self.labels = np.asarray(self._dataset(file, "labels")[()]).astype(np.int64)
            shapes = {name: self._dataset(file, f"spikes/{name}").shape for name in ("times", "units")}
        if self.labels.ndim != 1 or not len(self.labels) or self.labels.min() < 0:
            raise InputError(f"{self._path}: labels must be classes 0, 1, ..., one for each recording")
        for name, shape in shapes.items():
            if shape != self.labels.shape:
                raise InputError(f"{self._path}: spikes/{name} has shape {shape}, labels {self.labels.shape}")
        self.n_classes = int(self.labels.max()) + 1

    def _open(self) -> h5py.File:
        try:
            return files.open_hdf5(self._path)
        except OSError as problem:
            raise InputError(f"{self._path}: {problem.strerror or problem}") from None

    def _dataset(self, file: h5py.File, name: str) -> h5py.Dataset:
        data = file.get(name)
        if not isinstance(data, h5py.Dataset):
            raise InputError(f"{self._path}: {name} is missing; a file of SHD or SSC has it")
        return data

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return events and label of a recording."""
        try:
            with self._open() as file, files.reading(self._path):
                times, units = (np.asarray(file[f"spikes/{name}"][index]) for name in ("times", "units"))
        except OSError as problem:
            raise InputError(f"{self._path}: recording {index}: {problem.strerror or problem}") from None
        if times.shape != units.shape or times.ndim != 1:
            shapes = f"{times.shape} and {units.shape}"
            raise InputError(f"{self._path}: recording {index}: times and units have shapes {shapes}, must be equal")
        events = np.zeros(len(times), [("t", "i8"), ("x", "i8")])
        events["t"], events["x"] = np.rint(times.astype(float) * 1e6), units
        return events, int(self.labels[index])


class Gestures:
    """Gestures before an event camera: a file of AEDAT 3.1, cut by the table of labels that lies beside it.

    Of DVS128 Gesture (Amir et al. 2017, doi 10.1109/CVPR.2017.781): `user01_fluorescent.aedat` with
    `user01_fluorescent_labels.csv`.

    Parameters
    ----------
    *paths : str or Path
        Files, or text files that name one in each line, such as `trials_to_train.txt`.

    Attributes
    ----------
    sensor_size : tuple of int
        Columns, rows and polarities of the camera.
    n_classes : int
        Number of classes.

    Raises
    ------
    InputError
        If there are none, or a file is damaged.
    """

    sensor_size, n_classes = CAMERA, 11

    def __init__(self, *paths: str | Path) -> None:
        self._trials: list[tuple[Path, int, int, int]] = []  # file, first and last microsecond, class
        for path in [name for given in paths for name in _list_files(Path(given))]:
            table = path.with_name(f"{path.stem}_labels.csv")
            for row in csv.DictReader(io.StringIO(_read(table).decode(errors="replace"))):
                try:
                    label, first, last = (int(row[key]) for key in ("class", "startTime_usec", "endTime_usec"))
                except (KeyError, TypeError, ValueError):
                    wanted = "class, startTime_usec, endTime_usec"
                    raise InputError(f"{table}: each row must hold the numbers {wanted}") from None
                if not 1 <= label <= self.n_classes or last < first:
                    raise InputError(f"{table}: class {label} from {first} to {last} us is not a gesture")
                self._trials.append((path, first, last, label - 1))
        if not self._trials:
            raise InputError(f"no gestures in {', '.join(map(str, paths)) or 'no files'}")
        self._latest: tuple[Path, np.ndarray] | None = None  # of one file, which holds a dozen of gestures

    def __len__(self) -> int:
        return len(self._trials)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return events, whose time starts with the gesture, and class from 0."""
        path, first, last, label = self._trials[index]
        if self._latest is None or self._latest[0] != path:
            self._latest = path, read_aedat(path)
        events = self._latest[1]
        own = events[(events["t"] >= first) & (events["t"] <= last)].copy()
        own["t"] -= first
        return own, label


def read_aedat(path: str | Path) -> np.ndarray:
    """Return the events of a camera in a file of AEDAT 3.1, in order of the file.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    np.ndarray
        Structured, with `t` (microseconds), `x`, `y` and `p` (1: brighter).

    Raises
    ------
    InputError
        If it is another format, or ends within a packet.
    """
    content = _read(Path(path), LONGEST)
    if not content.startswith(b"#!AER-DAT3"):
        raise InputError(f"{path}: is not of AEDAT 3: it begins with {quote(content[:20])}")
    place = 0
    while content[place : place + 1] == b"#":
        end = content.find(b"\n", place)
        if end < 0:
            raise InputError(f"{path}: ends within its header")
        line, place = content[place:end], end + 1
        if line.strip() == b"#!END-HEADER":
            break
    parts: list[np.ndarray] = []
    while place < len(content):
        if place + PACKET.itemsize > len(content):
            raise InputError(f"{path}: ends within the header of a packet, at byte {place}")
        packet = np.frombuffer(content, PACKET, 1, place)[0]
        place += PACKET.itemsize
        size, number = int(packet["size"]), int(packet["number"])
        if size < 8 or number < 0 or place + size * number > len(content):
            raise InputError(f"{path}: a packet of {number} events of {size} bytes at byte {place} is damaged")
        if packet["kind"] == POLARITY and size == 8:
            words = np.frombuffer(content, "<u4", 2 * number, place).reshape(-1, 2).astype(np.int64)
            data, stamps = words[words[:, 0] & 1 == 1].T  # valid ones
            events = np.zeros(len(data), [(name, "i8") for name in "txyp"])
            events["t"] = stamps + (int(packet["overflow"]) << 31)
            events["x"], events["y"], events["p"] = data >> 17 & 0x7FFF, data >> 2 & 0x7FFF, data >> 1 & 1
            parts.append(events)
        place += size * number
    return np.concatenate(parts) if parts else np.zeros(0, [(name, "i8") for name in "txyp"])


def _list_files(path: Path) -> list[Path]:
    """Return a recording, or those that a text file names."""
    if path.suffix != ".txt":
        return [path]
    names = [line.strip() for line in _read(path).decode(errors="replace").splitlines()]
    return [path.with_name(name) for name in names if name]


def _read(path: Path, limit: int = files.TEXT_LIMIT) -> bytes:
    try:
        return files.read(path, limit)
    except (OSError, ValueError) as problem:
        raise InputError(f"{path}: {getattr(problem, 'strerror', None) or problem}") from None

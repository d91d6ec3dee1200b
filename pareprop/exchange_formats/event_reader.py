"""Recordings of events on disk, as sequences of (events, label): files of SHD and SSC, of cameras, and folders of them.

Events are structured arrays with the fields `t` (microseconds) and `x`, of cameras also `y` and `p`, as in Tonic. Data
sets of Tonic serve `EventData` as they are. Files are read here, as Tonic 1.7 has no reader for them: its readers of
AEDAT 2 and 3.1 raise an error, its parser of packets takes special events for pixels, and SHD must lie in a folder.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .. import files
from ..errors import InputError, quote
from ..later import h5py
from ..machine import require_bytes
from .n_mnist_reader import EVENT_BYTES, decode_events, make_events

COCHLEA = (700, 1, 1)  # channels
MAX_CLASSES = 2**16  # more classes are refused, as each needs a readout
CAMERA = (128, 128, 2)  # columns, rows, polarities
MAX_COMPARED_FILES = 1000  # a resumed run compares contents of at most so many files; else names and sizes
MAX_BYTES = 2**30  # longer recordings of the camera, in bytes, are refused
POLARITY = 1  # type of the packets of AEDAT 3.1 that hold events of the camera
EXTERNAL = 0x8000  # bit of addresses of AEDAT 2.0 that are no pixels of the DVS128, which has 15 bits
ARRAY_FORMATS = {False: "a structured array with fields t and x", True: "numbers (events, 4): x, y, p, and t in ms"}
PACKET = np.dtype(
    [
        ("kind", "<i2"),
        ("source", "<i2"),
        *((name, "<i4") for name in ("size", "offset", "overflow", "capacity", "number", "valid")),
    ]
)


class Spoken:
    """Recordings of a file of spoken digits (SHD) or words (SSC; Cramer et al. 2020, doi 10.1109/TNNLS.2020.3044364).

    Parameters
    ----------
    path : str or Path
        The file, such as `shd_train.h5`: `spikes/times` (s) and `spikes/units`, one row for each recording; `labels`.

    Attributes
    ----------
    sensor_size : tuple of int
        Channels.
    n_classes : int
        Number of classes.
    classes : list of str
        Names of the classes, in the order of their numbers; empty if the file lacks them (`extra/keys`).

    Raises
    ------
    InputError
        If the file is not one of SHD or SSC.
    """

    sensor_size = COCHLEA

    def __init__(self, path: str | Path) -> None:
        self._path = _require_path(path, "Spoken")
        self.files = [self._path]
        with self._open_file() as file:
            given = self._get_dataset(file, "labels")
            shapes = {name: self._get_dataset(file, f"spikes/{name}").shape for name in ("times", "units")}
            if given.ndim != 1 or not given.size:
                raise InputError(f"{self._path}: labels must be classes 0, 1, ..., one for each recording")
            require_bytes(given.size * given.dtype.itemsize, f"{self._path}: labels")
            self.labels = to_whole_numbers(given[()], f"{self._path}: labels", MAX_CLASSES)
            keys = file.get("extra/keys")
            has_names = isinstance(keys, h5py.Dataset) and keys.ndim == 1 and keys.size <= MAX_CLASSES
            names = keys[()].tolist() if has_names and h5py.check_string_dtype(keys.dtype) else []
            self.classes = [name.decode(errors="replace") for name in names]
        for name, shape in shapes.items():
            if shape != self.labels.shape:
                raise InputError(f"{self._path}: spikes/{name} has shape {shape}, labels {self.labels.shape}")
        self.n_classes = int(self.labels.max()) + 1

    @contextmanager
    def _open_file(self, what: str = "") -> Iterator[h5py.File]:
        """Open the file and raise errors of reading as `InputError`, with `what` before the reason."""
        here = f"{self._path}{what}"
        with (
            files.input_errors(here, ValueError),  # ValueError: a null byte in a name
            files.open_hdf5(self._path) as file,
            files.report_read_errors(self._path),
        ):
            yield file

    def _get_dataset(self, file: h5py.File, name: str) -> h5py.Dataset:
        data = file.get(name)
        if not isinstance(data, h5py.Dataset):
            raise InputError(f"{self._path}: {name} is missing; a file of SHD or SSC has it")
        return data

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return events and label of a recording."""
        here = f"{self._path}: recording {index}"
        with self._open_file(f": recording {index}") as file:
            times, units = (np.asarray(file[f"spikes/{name}"][index]) for name in ("times", "units"))
        require_numbers(times, f"{here}: times")
        units = to_whole_numbers(units, f"{here}: units", COCHLEA[0])
        if times.shape != units.shape or times.ndim != 1:
            shapes = f"{times.shape} and {units.shape}"
            raise InputError(f"{here}: times and units have shapes {shapes}, must be equal")
        us = np.rint(times.astype(float) * 1e6)
        is_whole = bool(np.all(np.abs(us) < 2.0**53))  # else NaN and infinity stay, for `EventData` to leave out
        events = np.zeros(len(times), [("t", "i8" if is_whole else "f8"), ("x", "i8")])
        events["t"], events["x"] = us, units
        return events, int(self.labels[index])


class Gestures:
    """Gestures before an event camera: files of AEDAT, cut by tables of labels in the same folder.

    As in DVS128 Gesture (Amir et al. 2017, doi 10.1109/CVPR.2017.781): `user01_fluorescent.aedat` with
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
        If there are no gestures, or a file is damaged.
    """

    sensor_size, n_classes = CAMERA, 11

    def __init__(self, *paths: str | Path) -> None:
        self._trials: list[tuple[Path, int, int, int]] = []  # file, first and last microsecond, class
        self.files: list[Path] = []
        for path in [name for given in paths for name in _list_files(given)]:
            table = path.with_name(f"{path.stem}_labels.csv")
            self._trials += [(path, *trial) for trial in _read_trials(table, self.n_classes)]
            self.files += [path, table]
        if not self._trials:
            raise InputError(f"no gestures in {', '.join(map(str, paths)) or 'no files'}")
        self._latest: tuple[Path, np.ndarray] | None = None  # events of the file read last, with a dozen gestures

    def __len__(self) -> int:
        return len(self._trials)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return events, whose time starts with the gesture, and class from 0."""
        path, first, last, label = self._trials[index]
        if self._latest is None or self._latest[0] != path:
            self._latest = path, read_aedat(path)
        events = self._latest[1]
        gesture = events[(events["t"] >= first) & (events["t"] <= last)].copy()
        gesture["t"] -= first
        return gesture, label


class Folder:
    """Recordings in a folder, with a folder for each class, as data sets of Tonic and others lie on disk.

    The classes take turns: the first recording of each, then the second of each.

    Parameters
    ----------
    path : str or Path
        The folder. Its files are `CLASS/NAME.npy`, a structured array with `t` (microseconds), `x`, of cameras also `y`
        and `p`; `CLASS/NAME.bin` of N-MNIST or N-Caltech101; `CLASS/NAME.aedat`. Others are left out.
    sensor_size : tuple of int or None
        Numbers of values of `x`, `y` and `p`; None: the DVS128's, if all files are of AEDAT.
    classes : sequence of str or None
        Names of the classes, in the order of their numbers; None: names of the subfolders, sorted.
    by_file : bool
        Whether the name of a file is the number of its class, and arrays have columns x, y, p and t (milliseconds), as
        in Tonic's copy of DVS128 Gesture.

    Attributes
    ----------
    sensor_size : tuple of int or None
        As given.
    n_classes : int
        Number of classes.
    classes : list of str
        Names of the classes, none with `by_file`.

    Raises
    ------
    InputError
        If there are no recordings, or they have other classes.
    """

    def __init__(
        self,
        path: str | Path,
        sensor_size: Sequence[int] | None = None,
        classes: Sequence[str] | None = None,
        by_file: bool = False,
    ) -> None:
        self._path, self._by_file = _require_path(path, "Folder"), by_file
        with files.input_errors(self._path, ValueError):
            found = sorted(file for file in self._path.glob("*/*") if file.suffix in READERS and file.is_file())
        if not found:
            raise InputError(f"{self._path}: has no recordings CLASS/NAME with NAME ending in {', '.join(READERS)}")
        names = sorted({file.parent.name for file in found}, key=lambda name: (len(name) * name.isdecimal(), name))
        self.classes = [] if by_file else list(names if classes is None else classes)
        labels = [self._find_label(file) for file in found]
        counts = dict.fromkeys(labels, 0)
        turns = []
        for label in labels:
            turns.append((counts[label], label))
            counts[label] += 1
        order = sorted(range(len(found)), key=turns.__getitem__)
        self.files, self.labels = [found[k] for k in order], np.array([labels[k] for k in order])
        self.n_classes = len(self.classes) or int(self.labels.max()) + 1
        is_camera = all(file.suffix == ".aedat" for file in found)
        self.sensor_size = CAMERA if sensor_size is None and (is_camera or by_file) else sensor_size

    def _find_label(self, file: Path) -> int:
        name = file.stem if self._by_file else file.parent.name
        if not self._by_file and name in self.classes:
            return self.classes.index(name)
        if not self._by_file:
            raise InputError(f"{file}: '{name}' is not one of the classes {', '.join(self.classes)}")
        if not name.isdecimal() or int(name) >= MAX_CLASSES:
            raise InputError(f"{file}: its name must be the number of a class, 0 to {MAX_CLASSES - 1}")
        return int(name)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return events and class of a recording."""
        return READERS[self.files[index].suffix](self.files[index], self._by_file), int(self.labels[index])


def _read_array(path: Path, by_columns: bool) -> np.ndarray:
    """Return the events of a `.npy` file: a structured array, or columns x, y, p and t in milliseconds."""
    try:
        values = files.read_npy(path, "fiub" if by_columns else "V")
    except (OSError, ValueError) as problem:
        wanted = "" if by_columns or isinstance(problem, OSError) else f"; must be {ARRAY_FORMATS[False]}"
        raise InputError(f"{path}: {getattr(problem, 'strerror', None) or problem}{wanted}") from None
    if not by_columns:
        return values
    if values.ndim != 2 or values.shape[1] != 4:
        raise InputError(f"{path}: has shape {values.shape}, must be {ARRAY_FORMATS[True]}")
    events = np.zeros(len(values), [("t", "f8"), *((name, values.dtype) for name in "xyp")])
    for name, column in zip("xyp", values.T, strict=False):
        events[name] = column
    events["t"] = 1000.0 * values[:, 3]
    return events


def _read_n_mnist(path: Path, by_columns: bool) -> np.ndarray:
    """Return the events of a file in the format of N-MNIST."""
    content = _read(path, MAX_BYTES)
    if len(content) % EVENT_BYTES:
        raise InputError(f"{path}: has {len(content)} bytes, not a multiple of {EVENT_BYTES}")
    return decode_events(content)


READERS = {".npy": _read_array, ".bin": _read_n_mnist, ".aedat": lambda path, by_columns: read_aedat(path)}


def open_recordings(
    path: Path, sensor_size: Sequence[int] | None = None, classes: Sequence[str] | None = None, by_file: bool = False
) -> Spoken | Gestures | Folder | None:
    """Return the recordings of events at a path; None unless it is a folder, a list of files, or a file of events."""
    if path.is_dir():
        return Folder(path, sensor_size, classes, by_file)
    if path.suffix in (".aedat", ".txt"):
        return Gestures(path)
    try:
        with files.open_hdf5(path) as file, files.report_read_errors(path):
            is_spoken = isinstance(file.get("spikes"), h5py.Group)
    except (OSError, ValueError):
        return None
    return Spoken(path) if is_spoken else None


def compute_fingerprint(paths: Sequence[Path]) -> str:
    """Return a digest of the sizes of files, and of the first and last MiB of each of at most `MAX_COMPARED_FILES`."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        with files.input_errors(path), files.open_regular(path) as file:
            size = file.seek(0, 2)
            digest.update(str(size).encode())
            if len(paths) > MAX_COMPARED_FILES:
                digest.update(f" {path.parent.name}/{path.name} ".encode(errors="replace"))
                continue
            file.seek(0)
            digest.update(file.read(2**20))
            file.seek(max(size - 2**20, 0))
            digest.update(file.read())
    return digest.hexdigest()


def read_aedat(path: str | Path) -> np.ndarray:
    """Return the events of a camera in a file of AEDAT 3.1, or of a DVS128 in one of AEDAT 2.0, in order of the file.

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
        If the file has another format, or ends within a packet.
    """
    content = _read(_require_path(path, "read_aedat"), MAX_BYTES)
    is_old = content.startswith(b"#!AER-DAT2")
    if not is_old and not content.startswith(b"#!AER-DAT3"):
        raise InputError(f"{path}: is not of AEDAT 2 or 3: it begins with {quote(content[:20])}")
    place = 0
    while content[place : place + 1] == b"#":
        end = content.find(b"\n", place)
        if end < 0:
            raise InputError(f"{path}: ends within its header")
        line, place = content[place:end], end + 1
        if line.strip() == b"#!END-HEADER":
            break
    return _read_dvs128(content[place:], path) if is_old else _read_packets(content, place, path)


def _read_dvs128(content: bytes, path: str | Path) -> np.ndarray:
    """Return the events of AEDAT 2.0: address and microsecond, big-endian; x and polarity are inverted, as in jAER."""
    if len(content) % 8:
        raise InputError(f"{path}: its events take {len(content)} bytes, not a multiple of 8")
    address, stamp = np.frombuffer(content, ">u4").reshape(-1, 2).astype(np.int64).T
    for k in np.flatnonzero(address >= 2 * EXTERNAL)[:1]:
        raise InputError(f"{path}: event {k} has address {address[k]}, which is of another camera than the DVS128")
    is_pixel = address < EXTERNAL
    address = address[is_pixel]
    return make_events(stamp[is_pixel], 127 - (address >> 1 & 127), address >> 8, 1 - (address & 1))


def _read_packets(content: bytes, place: int, path: str | Path) -> np.ndarray:
    """Return the camera's events in packets of AEDAT 3.1; the first packet begins at byte `place`."""
    parts: list[np.ndarray] = []
    while place < len(content):
        if place + PACKET.itemsize > len(content):
            raise InputError(f"{path}: ends within the header of a packet, at byte {place}")
        packet = np.frombuffer(content, PACKET, 1, place)[0]
        place += PACKET.itemsize
        size, number = int(packet["size"]), int(packet["number"])
        if size < 8 or number < 0 or place + size * number > len(content):
            raise InputError(f"{path}: a packet of {number} events of {size} bytes at byte {place} is damaged")
        if packet["kind"] == POLARITY:
            overflow, here = int(packet["overflow"]), f"{path}: a packet at byte {place - PACKET.itemsize} has"
            if size != 8:
                raise InputError(f"{here} events of the camera of {size} bytes, not of 8")
            if overflow < 0:
                raise InputError(f"{here} overflow {overflow}, must be at least 0")
            words = np.frombuffer(content, "<i4", 2 * number, place).reshape(-1, 2).astype(np.int64)
            data, stamps = words[words[:, 0] & 1 == 1].T  # valid ones
            if np.any(stamps < 0):
                raise InputError(f"{here} an event at {stamps.min()} us")
            parts.append(make_events(stamps + (overflow << 31), data >> 17 & 0x7FFF, data >> 2 & 0x7FFF, data >> 1 & 1))
        place += size * number
    return np.concatenate(parts or [decode_events(b"")])


def _require_path(given: object, here: str) -> Path:
    if not isinstance(given, str | Path) or Path(given).name in ("", ".."):
        raise InputError(f"{here}: {quote(given)} must be the path of a file")
    return Path(given)


def _list_files(given: object) -> list[Path]:
    """Return the given recording, or the recordings that a text file names."""
    path = _require_path(given, "Gestures")
    if path.suffix != ".txt":
        return [path]
    found = []
    for k, line in enumerate(_read(path).decode(errors="replace").splitlines()):
        name = line.strip()
        if name and (Path(name).name != name or name == ".." or "\0" in name):
            raise InputError(f"{path}: line {k + 1}: {quote(name)} must be the name of a file in the same folder")
        found += [path.with_name(name)] if name else []
    return found


def _read_trials(table: Path, n_classes: int) -> Iterator[tuple[int, int, int]]:
    """Yield first and last microsecond, and class from 0, of each gesture of a table."""
    rows = csv.DictReader(io.StringIO(_read(table).decode(errors="replace")))
    try:
        for row in rows:
            label, first, last = (int(row[key]) for key in ("class", "startTime_usec", "endTime_usec"))
            if not 1 <= label <= n_classes or not 0 <= first <= last < 2**62:
                named = f"class {quote(label)} from {quote(first)} to {quote(last)} us"
                raise InputError(f"{table}: {named} is not a gesture")
            yield first, last, label - 1
    except csv.Error as problem:
        raise InputError(f"{table}: {problem}") from None
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{table}: each row must hold the numbers class, startTime_usec, endTime_usec") from None


def require_numbers(values: np.ndarray, name: str) -> None:
    """Raise `InputError` unless an array holds real numbers or truth values; `name` begins the message."""
    if values.dtype.kind not in "iufb":
        raise InputError(f"{name} must be numbers, not {values.dtype}")


def to_whole_numbers(values: np.ndarray, name: str, n: int, why: str = "") -> np.ndarray:
    """Return an array as int64; raise `InputError` for the first value that is not a whole number in 0 to `n` - 1."""
    require_numbers(values, name)
    with np.errstate(invalid="ignore"):  # of infinity
        problems = {
            "must be a whole number": values % 1 != 0,
            f"must lie in 0 to {n - 1}{why}": ~((values >= 0) & (values < n)),
        }
    for problem, wrong in problems.items():
        for k in np.argwhere(wrong)[:1]:
            place = ", ".join(map(str, k.tolist()))
            raise InputError(f"{name}[{place}] = {values[tuple(k)]} {problem}")
    return values.astype(np.int64)


def _read(path: Path, limit: int = files.TEXT_LIMIT) -> bytes:
    with files.input_errors(path, ValueError):
        return files.read(path, limit)

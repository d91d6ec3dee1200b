"""Recordings of event cameras in the layout of N-MNIST, read one at a time from folders or zips.

A recording is a file `<split>/<label>/<number>.bin` without a header, 5 bytes an event: x, y, then 24 bits, big-endian,
of polarity (top bit, 1 = ON) and time in microseconds (Orchard et al. 2015, doi 10.3389/fnins.2015.00437).
"""

from __future__ import annotations

import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from .. import files
from ..errors import InputError, quote

SIDE = 34  # pixels
EVENT_BYTES = 5  # bytes of an event
MAX_BYTES = 5 * 2**20  # longer recordings, in bytes, are skipped; N-MNIST's longest have some ten thousand events
N_CLASSES = 10
LABELS = tuple(map(str, range(N_CLASSES)))  # names of the folders
MAX_NAMED = 3  # files named for each kind of problem; all are counted


def make_events(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return events as a structured array: `t` (microseconds), `x`, `y` and `p` (1 if the pixel became brighter)."""
    events = np.zeros(len(t), [(name, "i8") for name in "txyp"])
    events["t"], events["x"], events["y"], events["p"] = t, x, y, p
    return events


def decode_events(content: bytes) -> np.ndarray:
    """Return the events in the bytes of a file, in order of time."""
    x, y, high, middle, low = np.frombuffer(content, np.uint8).reshape(-1, EVENT_BYTES).astype(np.int64).T
    return make_events((high & 127) << 16 | middle << 8 | low, x, y, high >> 7)


class Problems:
    """Skipped files: the number of problems of each file, by kind of problem."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = {}

    def count_problem(self, kind: str, name: str, count: int = 1) -> None:
        """Count a problem of a file; a file counts once for each kind."""
        self._counts.setdefault(kind, {}).setdefault(name, count)

    def format_lines(self) -> list[str]:
        """Return one line for each kind of problem, with the first few names."""
        lines = []
        for kind, counts in self._counts.items():
            names = ", ".join([*counts][:MAX_NAMED]) + (", ..." if len(counts) > MAX_NAMED else "")
            lines.append(f"{sum(counts.values())} {kind}: {names}")
        return lines


class Recordings:
    """The recordings of one split, each read on demand; `labels` are int64 (n,).

    `place` is a folder with a folder for each label, or a zip file of it; `problems` counts skipped files.
    """

    def __init__(self, place: Path, problems: Problems) -> None:
        self.place, self.problems = place, problems
        if not os.path.exists(place):  # False for an impossible name, too
            raise InputError(f"data: {quote(str(place))} does not exist")
        labelled = [(name, self._find_label(name, size)) for name, size in sorted(self._list_files())]
        usable = [(name, label) for name, label in labelled if label is not None]
        if not usable:
            raise InputError(
                "; ".join([f"data: {place} has no recording <label>/<number>.bin", *problems.format_lines()])
            )
        self._names = [name for name, _ in usable]
        self.labels = np.array([label for _, label in usable])

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        here = f"data: {self.place} cannot be read as a zip"
        with files.input_errors(here, zipfile.BadZipFile, ValueError, NotImplementedError):
            files.open_regular(self.place).close()
            return zipfile.ZipFile(self.place)  # by name: a zip file closes only files that it opened itself

    def _list_files(self) -> Iterator[tuple[str, int]]:
        """Yield name and size of all files."""
        if self.place.is_dir():
            for path in self.place.rglob("*"):
                if path.is_file():
                    yield path.relative_to(self.place).as_posix(), path.stat().st_size
        else:
            yield from ((item.filename, item.file_size) for item in self._zip.infolist() if not item.is_dir())

    def _find_label(self, name: str, size: int) -> int | None:
        """Return the label of a file; count other files as problems and return None."""
        path = PurePosixPath(name)
        kind = None
        if path.suffix != ".bin" or len(path.parts) < 2 or "__MACOSX" in path.parts:
            kind = "files that are no recordings"
        elif path.parts[-2] not in LABELS:
            kind = f"recordings with a label outside 0..{N_CLASSES - 1}"
        elif size > MAX_BYTES:
            kind = f"recordings that are too long (more than {MAX_BYTES} bytes)"
        elif size == 0 or size % EVENT_BYTES:
            kind = f"recordings that are truncated (not whole events of {EVENT_BYTES} bytes)"
        if kind is None:
            return int(path.parts[-2])
        self.problems.count_problem(kind, name)
        return None

    def __len__(self) -> int:
        return len(self.labels)

    def _read_content(self, name: str) -> bytes:
        """Return the bytes of a recording, of at most `MAX_BYTES`: the size in a zip's table may be wrong."""
        if self.place.is_dir():
            return files.read(self.place / name, MAX_BYTES)
        with self._zip.open(name) as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"{name} has more than {MAX_BYTES} bytes")
        return content

    def read_events(self, index: int) -> np.ndarray | None:
        """Return the events of a recording on the sensor; None if it is damaged. Count both problems."""
        name = self._names[index]
        try:
            events = decode_events(self._read_content(name))
            if not len(events):
                raise ValueError("changed since it was listed")
        except (
            OSError,
            zipfile.BadZipFile,
            zlib.error,
            lzma.LZMAError,
            RuntimeError,
            EOFError,
            ValueError,
            MemoryError,  # for a dictionary of the size that the member claims; the number of bytes read is bounded
        ):
            self.problems.count_problem("recordings that cannot be read", name)
            return None
        inside = (events["x"] < SIDE) & (events["y"] < SIDE)
        if not inside.all():
            self.problems.count_problem(f"events outside {SIDE} x {SIDE} pixels, in", name, int(np.sum(~inside)))
        return events[inside]


def open_splits(data: str, problems: Problems) -> tuple[Recordings, Recordings]:
    """Return the training and test recordings of `data`.

    `data` is a folder with Train and Test, which are folders or zip files, or the names of two files "TRAIN,TEST".
    """
    first, comma, second = data.partition(",")
    if comma:
        return Recordings(Path(first.strip()), problems), Recordings(Path(second.strip()), problems)
    folder = Path(first)
    if folder.suffix == ".zip":  # Train.zip, next to Test.zip
        folder = folder.parent
    recordings = []
    for name in ("Train", "Test"):
        places = [place for place in (folder / name, folder / f"{name}.zip") if os.path.exists(place)]
        if not places:
            raise InputError(f"data = {quote(data)}: has neither {name}/ nor {name}.zip")
        recordings.append(Recordings(places[0], problems))
    return recordings[0], recordings[1]

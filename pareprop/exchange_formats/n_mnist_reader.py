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
BYTES = 5  # bytes of an event
LONGEST = 5 * 2**20  # longer recordings, in bytes, are skipped; N-MNIST's longest have some ten thousand events
N_CLASSES = 10
LABELS = tuple(map(str, range(N_CLASSES)))  # names of the folders
NAMED = 3  # at most this many files are named for each kind of problem; all are counted


def make_events(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return events as a structured array: `t` (microseconds), `x`, `y` and `p` (1 if the pixel became brighter)."""
    events = np.zeros(len(t), [(name, "i8") for name in "txyp"])
    events["t"], events["x"], events["y"], events["p"] = t, x, y, p
    return events


def decode(content: bytes) -> np.ndarray:
    """Return the events in the bytes of a file, in order of time."""
    x, y, high, middle, low = np.frombuffer(content, np.uint8).reshape(-1, BYTES).astype(np.int64).T
    return make_events((high & 127) << 16 | middle << 8 | low, x, y, high >> 7)


class Problems:
    """Skipped files: how many problems each has, by kind."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = {}

    def add(self, kind: str, name: str, count: int = 1) -> None:
        """Count a problem of a file; the same file counts once."""
        self._counts.setdefault(kind, {}).setdefault(name, count)

    def lines(self) -> list[str]:
        """Return one line for each kind of problem, with the first few names."""
        return [
            f"{sum(counts.values())} {kind}: {', '.join([*counts][:NAMED])}{', ...' if len(counts) > NAMED else ''}"
            for kind, counts in self._counts.items()
        ]


class Recordings:
    """The recordings of one split, each read on demand.

    Parameters
    ----------
    place : Path
        A folder with a folder for each label, or a zip of it.
    problems : Problems
        Counter of skipped files.

    Attributes
    ----------
    labels : ndarray, int64 (n,)
        Labels of the recordings.

    Raises
    ------
    InputError
        If `place` is missing, no zip, or has no recording that can be used.
    """

    def __init__(self, place: Path, problems: Problems) -> None:
        self.place, self.problems = place, problems
        if not os.path.exists(place):  # False for an impossible name, too
            raise InputError(f"data: {quote(str(place))} does not exist")
        labelled = [(name, self._label(name, size)) for name, size in sorted(self._files())]
        usable = [(name, label) for name, label in labelled if label is not None]
        if not usable:
            raise InputError("; ".join([f"data: {place} has no recording <label>/<number>.bin", *problems.lines()]))
        self._names = [name for name, _ in usable]
        self.labels = np.array([label for _, label in usable])

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        here = f"data: {self.place} cannot be read as a zip"
        with files.input_errors(here, zipfile.BadZipFile, ValueError, NotImplementedError):
            files.open_regular(self.place).close()
            return zipfile.ZipFile(self.place)  # by name: it closes only files that it has opened itself

    def _files(self) -> Iterator[tuple[str, int]]:
        """Yield name and size of all files."""
        if self.place.is_dir():
            for path in self.place.rglob("*"):
                if path.is_file():
                    yield path.relative_to(self.place).as_posix(), path.stat().st_size
        else:
            yield from ((item.filename, item.file_size) for item in self._zip.infolist() if not item.is_dir())

    def _label(self, name: str, size: int) -> int | None:
        """Return the label of a file; None, and counted, if it is not a recording."""
        path = PurePosixPath(name)
        kind = None
        if path.suffix != ".bin" or len(path.parts) < 2 or "__MACOSX" in path.parts:
            kind = "files that are no recordings"
        elif path.parts[-2] not in LABELS:
            kind = f"recordings with a label outside 0..{N_CLASSES - 1}"
        elif size > LONGEST:
            kind = f"recordings that are too long (more than {LONGEST} bytes)"
        elif size == 0 or size % BYTES:
            kind = f"recordings that are truncated (not whole events of {BYTES} bytes)"
        if kind is None:
            return int(path.parts[-2])
        self.problems.add(kind, name)
        return None

    def __len__(self) -> int:
        return len(self.labels)

    def _content(self, name: str) -> bytes:
        """Return the bytes of a recording; the size in the table of a zip is not trusted."""
        if self.place.is_dir():
            return files.read(self.place / name, LONGEST)
        with self._zip.open(name) as file:
            content = file.read(LONGEST + 1)
        if len(content) > LONGEST:
            raise ValueError(f"{name} has more than {LONGEST} bytes")
        return content

    def events(self, index: int) -> np.ndarray | None:
        """Return a recording; None, and counted, if it is damaged. Events off the sensor are dropped, and counted."""
        name = self._names[index]
        try:
            events = decode(self._content(name))
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
            MemoryError,  # of a dictionary as large as the member says; what is read is bounded
        ):
            self.problems.add("recordings that cannot be read", name)
            return None
        inside = (events["x"] < SIDE) & (events["y"] < SIDE)
        if not inside.all():
            self.problems.add(f"events outside {SIDE} x {SIDE} pixels, in", name, int(np.sum(~inside)))
        return events[inside]


def splits(data: str, problems: Problems) -> tuple[Recordings, Recordings]:
    """Find training and test split: in a folder with Train and Test, folders or zips, or in two files "TRAIN,TEST".

    Raises
    ------
    InputError
        If one of them is not there.
    """
    first, comma, second = data.partition(",")
    if comma:
        return Recordings(Path(first.strip()), problems), Recordings(Path(second.strip()), problems)
    folder = Path(first)
    if folder.suffix == ".zip":  # Train.zip, with its Test.zip beside it
        folder = folder.parent
    recordings = []
    for name in ("Train", "Test"):
        places = [place for place in (folder / name, folder / f"{name}.zip") if os.path.exists(place)]
        if not places:
            raise InputError(f"data = {quote(data)}: has neither {name}/ nor {name}.zip")
        recordings.append(Recordings(places[0], problems))
    return recordings[0], recordings[1]

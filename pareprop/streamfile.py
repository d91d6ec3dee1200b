"""An HDF5 file of growing datasets that stays readable if its writer is killed; virtual datasets that join several."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

CHUNK = 2**18  # bytes of a chunk of a dataset, about


@dataclass(frozen=True)
class Stream:
    """A dataset that grows along its first axis: type, shape of a row, unit, names of its axes, whether to compress."""

    kind: str
    row: tuple[int, ...]
    unit: str
    axes: tuple[str, ...]
    packed: bool = True


def name_of(part: int, rank: int) -> str:
    """File of a rank in a part of a run."""
    return f"part-{part:03d}-rank-{rank:05d}.h5"


class StreamFile:
    """A file of streams, in HDF5's mode of a single writer and many readers: each flush leaves it consistent.

    Parameters
    ----------
    path : of the file, replaced if it exists
    streams : by name
    constants : arrays that do not grow
    attributes : of the root
    compression : gzip level, 0 for none
    """

    def __init__(
        self, path: Path, streams: dict[str, Stream], constants: dict[str, np.ndarray], attributes: dict[str, Any],
        compression: int = 1,
    ) -> None:  # fmt: skip
        self.path = path
        self.streams = streams = {name: stream for name, stream in streams.items() if 0 not in stream.row}
        self.rows = dict.fromkeys(streams, 0)
        self.gathered_bytes = 0
        self._gathered: dict[str, list[np.ndarray]] = defaultdict(list)
        self._file = h5py.File(path, "w", libver="latest")
        self._file.attrs.update(attributes)
        for name, values in constants.items():
            self._file[name] = values
        packed = {"compression": "gzip", "compression_opts": compression, "shuffle": True} if compression else {}
        for name, stream in streams.items():
            rows = max(1, CHUNK // (np.dtype(stream.kind).itemsize * max(1, int(np.prod(stream.row)))))
            shape, limit = (0, *stream.row), (None, *stream.row)
            chunks = (rows, *stream.row)
            how = packed if stream.packed else {}
            made = self._file.create_dataset(name, shape, stream.kind, maxshape=limit, chunks=chunks, **how)
            made.attrs.update(unit=stream.unit, axes=list(stream.axes))
        self._file.swmr_mode = True

    def add(self, name: str, values: Any) -> None:
        """Gather rows of a stream; nothing if there is no such stream here."""
        if name in self.streams:
            rows = np.array(values, self.streams[name].kind)
            self._gathered[name].append(rows)
            self.gathered_bytes += rows.nbytes

    def flush(self) -> None:
        """Write what was gathered."""
        for name, parts in self._gathered.items():
            data, dataset = np.concatenate(parts), self._file[name]
            dataset.resize(self.rows[name] + len(data), axis=0)
            dataset[self.rows[name] :] = data
            self.rows[name] += len(data)
        self._gathered.clear()
        self.gathered_bytes = 0
        self._file.flush()

    def drop(self) -> int:
        """Forget what was gathered; return how many rows of the longest stream that is."""
        lost = max((sum(map(len, parts)) for parts in self._gathered.values()), default=0)
        self._gathered.clear()
        self.gathered_bytes = 0
        return lost

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


def repair(path: Path) -> None:
    """Copy the file of a killed writer, which HDF5 opens for readers of live files only."""
    try:
        with h5py.File(path):
            return
    except OSError:
        pass
    part = path.with_suffix(".part")
    with h5py.File(path, swmr=True) as source, h5py.File(part, "w", libver="latest") as copy:
        copy.attrs.update(source.attrs)
        for name in source:
            source.copy(name, copy)
    os.replace(part, path)


def join(directory: Path, parts: list[dict[str, Any]]) -> Path:
    """Join the files of a recording in `record.h5` beside their directory, in virtual datasets.

    Spikes follow one another by part and rank; neurons, readouts and synapses lie side by side in order of their ids.

    Parameters
    ----------
    parts : for each part of the run its "ranks", and by rank the "rows" of each stream
    """
    target, sources = directory.with_suffix(".h5"), defaultdict(list)
    with h5py.File(target.with_suffix(".part"), "w", libver="latest") as joined:
        for number, part in enumerate(parts):
            for rank in range(part["ranks"]):
                path = directory / name_of(number, rank)
                repair(path)
                with h5py.File(path) as file:
                    joined.attrs.update(file.attrs)
                    _note(file, number, f"{directory.name}/{path.name}", part["rows"][rank], sources)
        for name, found in sources.items():
            _virtual(joined, name, found)
    os.replace(target.with_suffix(".part"), target)
    return target


@dataclass
class _Source:
    part: int
    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    rows: int
    attributes: dict[str, Any]
    grows: bool

    @property
    def width(self) -> int:
        return self.shape[1] if len(self.shape) > 1 else 1


def _note(file: h5py.File, part: int, path: str, rows: dict[str, int], sources: dict[str, list[_Source]]) -> None:
    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            grows = name in rows
            n = rows[name] if grows else len(node)
            sources[name].append(_Source(part, path, name, node.shape, node.dtype, n, dict(node.attrs), grows))

    file.visititems(visit)


def _virtual(joined: h5py.File, name: str, found: list[_Source]) -> None:
    flat = len(found[0].shape) == 1
    if not found[0].grows:  # such as ids: the same in every part, so those of the first one
        found = [source for source in found if source.part == found[0].part]
    if flat:
        shape: tuple[int, ...] = (sum(source.rows for source in found),)
    else:
        first = [source for source in found if source.part == found[0].part]
        heights = {source.part: source.rows for source in found}
        shape = (sum(heights.values()), sum(source.width for source in first))
    layout = h5py.VirtualLayout(shape, found[0].dtype)
    row = column = 0
    for k, source in enumerate(found):
        if k and not flat and source.part != found[k - 1].part:
            row, column = row + found[k - 1].rows, 0
        origin = h5py.VirtualSource(source.path, source.name, source.shape)
        if flat and source.rows:
            layout[row : row + source.rows] = origin[: source.rows]
        elif not flat and source.rows and source.width:
            layout[row : row + source.rows, column : column + source.width] = origin[: source.rows]
        row, column = row + source.rows * flat, column + source.width
    joined.create_virtual_dataset(name, layout)
    joined[name].attrs.update(found[0].attributes)

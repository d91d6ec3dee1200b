"""HDF5 files of growing datasets, of one rank or of all together, that stay readable if their writers are killed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .disk import clear

CHUNK = 2**18  # bytes of a chunk of a dataset, about


@dataclass(frozen=True)
class Stream:
    """A dataset that grows along its first axis: type, shape of a row, unit, names of its axes, whether to compress."""

    kind: str
    row: tuple[int, ...]
    unit: str
    axes: tuple[str, ...]
    packed: bool = True


class StreamFile:
    """A file of streams, in HDF5's mode of a single writer and many readers: each flush leaves it consistent.

    Parameters
    ----------
    path : of the file, replaced if it exists
    streams : by name
    constants : arrays that do not grow
    attributes : of the root
    compression : gzip level, 0 for none

    Attributes
    ----------
    rows : written ones of each stream
    gathered_bytes : that wait for a flush
    """

    def __init__(
        self, path: Path, streams: dict[str, Stream], constants: dict[str, np.ndarray], attributes: dict[str, Any],
        compression: int = 1,
    ) -> None:  # fmt: skip
        self._begin(path, {name: stream for name, stream in streams.items() if 0 not in stream.row})
        self._file = h5py.File(clear(path), "x", libver="latest")
        self._file.attrs.update(attributes)
        for name, values in constants.items():
            self._file[name] = values
        for name, stream in self.streams.items():
            _create(self._file, name, stream, stream.row, compression)
        self._file.swmr_mode = True

    def _begin(self, path: Path, streams: dict[str, Stream]) -> None:
        self.path, self.streams = path, streams
        self.rows = dict.fromkeys(streams, 0)
        self.gathered_bytes = 0
        self._gathered: dict[str, list[np.ndarray]] = defaultdict(list)

    def add(self, name: str, values: Any, copy: bool = True) -> None:
        """Gather rows of a stream; nothing if there is no such stream here."""
        if name in self.streams:
            rows = np.array(values, self.streams[name].kind, copy=copy or None)
            self._gathered[name].append(rows)
            self.gathered_bytes += rows.nbytes

    def flush(self) -> None:
        """Write what was gathered."""
        rows = dict(self.rows)
        for name, parts in self._gathered.items():
            data, dataset = np.concatenate(parts), self._file[name]
            dataset.resize(rows[name] + len(data), axis=0)
            dataset[rows[name] :] = data
            rows[name] += len(data)
        self._file.flush()
        self.rows = rows  # only now: after a failure all streams end in the same sample
        self.drop()

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


class SharedFile(StreamFile):
    """One file of all ranks, by parallel HDF5. Making, `flush` and `close` are collective.

    Rows without further axes follow one another by rank in every flush; those of other streams lie side by side by
    rank. HDF5 writes nothing between two flushes, so a run that is killed then leaves a readable file; within a flush
    it may not, hence whoever must not lose what is in the file closes it and goes on in another one.

    Parameters
    ----------
    comm : of all ranks that write
    """

    def __init__(
        self, comm: Any, path: Path, streams: dict[str, Stream], constants: dict[str, np.ndarray],
        attributes: dict[str, Any], compression: int = 1,
    ) -> None:  # fmt: skip
        self._begin(path, streams)
        self._comm = comm
        # up to this version HDF5 leaves no mark of an open file that would keep readers off a killed run's
        self._file = h5py.File(path, "w", driver="mpio", comm=comm, libver=("earliest", "v108"))
        self._together = h5py.h5p.create(h5py.h5p.DATASET_XFER)
        self._together.set_dxpl_mpio(h5py.h5fd.MPIO_COLLECTIVE)
        self._file.attrs.update(attributes)
        self._write_constants(constants)
        everywhere = comm.allgather(streams)
        self._all = {name: stream for of_rank in everywhere for name, stream in of_rank.items()}
        self._columns = {}
        for name, stream in self._all.items():
            widths = [of_rank[name].row[0] if name in of_rank and stream.row else 0 for of_rank in everywhere]
            self._columns[name] = sum(widths[: comm.rank])
            if stream.row and not sum(widths):
                continue
            _create(self._file, name, stream, (sum(widths),) if stream.row else (), compression)
        self.rows = dict.fromkeys(self._all, 0)
        self._file.flush()

    def _write_constants(self, constants: dict[str, np.ndarray]) -> None:
        for name, values in constants.items():  # of the same names and types on all ranks
            counts = self._comm.allgather(len(values))
            dataset = self._file.create_dataset(name, (sum(counts),), values.dtype)
            self._write(dataset, (sum(counts[: self._comm.rank]),), values)

    def _write(self, dataset: h5py.Dataset, place: tuple[int, ...], data: np.ndarray) -> None:
        """Collective: write at a place; ranks that have nothing take part."""
        space, memory = dataset.id.get_space(), h5py.h5s.create_simple(data.shape)
        if data.size:
            space.select_hyperslab(place, data.shape)
        else:
            space.select_none()
            memory.select_none()
        dataset.id.write(memory, space, np.ascontiguousarray(data), dxpl=self._together)

    def flush(self) -> None:
        """Collective: write what was gathered.

        An error of HDF5 on one rank leaves the others waiting within it, so it ends the run on all ranks at once: it is
        raised as a RuntimeError, which nothing between here and the command line takes for a user's mistake.
        """
        data = {name: np.concatenate(parts) for name, parts in self._gathered.items()}
        counts = self._comm.allgather({name: len(values) for name, values in data.items()})
        rows = dict(self.rows)
        try:
            for name, stream in self._all.items():
                by_rank = [of_rank.get(name, 0) for of_rank in counts]
                added = max(by_rank) if stream.row else sum(by_rank)
                if added and name in self._file:
                    first = rows[name] + (0 if stream.row else sum(by_rank[: self._comm.rank]))
                    rows[name] += added
                    self._file[name].resize(rows[name], axis=0)
                    nothing = np.zeros((0,) * (1 + len(stream.row)), stream.kind)
                    place = (first, self._columns[name]) if stream.row else (first,)
                    self._write(self._file[name], place, data.get(name, nothing))
            self._file.flush()
        except (OSError, ValueError) as problem:
            raise RuntimeError(f"recording {self.path} by all ranks together: {problem}") from problem
        self.rows = rows
        self.drop()


def can_share(comm: Any) -> bool:
    """Whether ranks of `comm` can write one file together: several of them, and an h5py built with MPI."""
    return comm is not None and comm.size > 1 and h5py.get_config().mpi


def _create(file: h5py.File, name: str, stream: Stream, row: tuple[int, ...], compression: int) -> None:
    item = np.dtype(stream.kind).itemsize
    wide = tuple(min(n, CHUNK // item) for n in row)
    rows = max(1, CHUNK // (item * max(1, int(np.prod(wide)))))
    shuffle = np.dtype(stream.kind).kind == "f"  # whole numbers here are runs of the same ones: it would take time only
    packed = {"compression": "gzip", "compression_opts": compression, "shuffle": shuffle} if compression else {}
    how = packed if stream.packed else {}
    made = file.create_dataset(name, (0, *row), stream.kind, maxshape=(None, *row), chunks=(rows, *wide), **how)
    made.attrs.update(unit=stream.unit, axes=list(stream.axes))

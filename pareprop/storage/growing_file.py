"""HDF5 files of growing datasets, of one rank or written by all, that stay readable if a writer is killed."""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..later import h5py
from ..parallel.mpi import Comm
from ..values import Values
from .disk import clear, synchronise

CHUNK = 2**18  # about this many bytes make a chunk of a dataset


@dataclass(frozen=True)
class Column:
    """A dataset that grows along its first axis.

    Attributes
    ----------
    kind : str
        NumPy type of the values, such as "f8".
    row : tuple of int
        Shape of one row.
    unit : str
        Physical unit.
    axes : tuple of str
        Names of the axes.
    packed : bool
        Whether to compress.
    """

    kind: str
    row: tuple[int, ...]
    unit: str
    axes: tuple[str, ...]
    packed: bool = True


class GrowingFile:
    """A file of growing datasets, in HDF5's single-writer mode (SWMR): each flush leaves it readable.

    Parameters
    ----------
    path : Path
        Path of the file, which is replaced if it exists.
    columns : dict of str to Column
        Growing datasets by name.
    constants : dict of str to ndarray
        Arrays that do not grow, by name.
    attributes : dict
        Attributes of the root.
    compression : int
        Gzip level, 0 for none.

    Attributes
    ----------
    rows : dict of str to int
        Number of written rows of each column.
    crcs : dict of str to int
        CRC-32 of the values of constants and of the written rows of each column; {} in a file of all ranks.
    buffered_bytes : int
        Bytes that wait for a flush.
    """

    def __init__(
        self,
        path: Path,
        columns: dict[str, Column],
        constants: dict[str, np.ndarray],
        attributes: Values,
        compression: int = 1,
    ) -> None:
        self._begin(path, {name: column for name, column in columns.items() if 0 not in column.row})
        self._file = h5py.File(clear(path), "x", libver="latest")
        self._file.attrs.update(attributes)
        for name, values in constants.items():
            self._file[name] = values
            self.crcs[name] = checksum(values)
        for name, column in self.columns.items():
            _create(self._file, name, column, column.row, compression)
        self._file.swmr_mode = True

    def _begin(self, path: Path, columns: dict[str, Column]) -> None:
        self.path, self.columns = path, columns
        self.rows = dict.fromkeys(columns, 0)
        self.crcs: dict[str, int] = {}
        self.buffered_bytes = 0
        self._buffered: dict[str, list[np.ndarray]] = defaultdict(list)

    def add(self, name: str, values: object, copy: bool = True) -> None:
        """Buffer rows of a column; do nothing if this file has no such column."""
        if name in self.columns:
            rows = np.array(values, self.columns[name].kind, copy=copy or None)
            self._buffered[name].append(rows)
            self.buffered_bytes += rows.nbytes

    def flush(self) -> None:
        """Write the buffered rows."""
        rows, crcs = dict(self.rows), dict(self.crcs)
        for name, parts in self._buffered.items():
            data, dataset = np.concatenate(parts), self._file[name]
            dataset.resize(rows[name] + len(data), axis=0)
            dataset[rows[name] :] = data
            rows[name] += len(data)
            crcs[name] = checksum(data, crcs.get(name, 0))
        self._file.flush()
        self.rows, self.crcs = rows, crcs  # not before: after a failed write all columns must end in the same sample
        self.drop()

    def drop(self) -> int:
        """Drop the buffered rows; return the number of those of the longest column."""
        lost = max((sum(map(len, parts)) for parts in self._buffered.values()), default=0)
        self._buffered.clear()
        self.buffered_bytes = 0
        return lost

    @property
    def descriptor(self) -> int | None:
        """Descriptor of the open file; None for a file of all ranks."""
        return self._file.id.get_vfd_handle()

    def synchronise(self) -> None:
        """Bring the written rows to the disk, so that they outlive the machine."""
        if self.descriptor is None:
            synchronise(self.path)
        else:
            os.fsync(self.descriptor)

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


class SharedFile(GrowingFile):
    """One file of all ranks, by parallel HDF5. Construction, `flush` and `close` are collective.

    In each flush, scalar rows of the ranks follow one another by rank; wider rows lie side by side by rank. A run that
    is killed between two flushes leaves a readable file, as HDF5 writes nothing then; during a flush it may not. To
    secure rows, close the file and continue in another one.

    Parameters
    ----------
    comm : Comm
        Communicator of all ranks that write.
    path : Path
        Path of the file, which is replaced if it exists.
    columns : dict of str to Column
        Growing datasets of this rank, by name.
    constants : dict of str to ndarray
        Arrays that do not grow, by name.
    attributes : dict
        Attributes of the root.
    compression : int
        Gzip level, 0 for none.
    """

    def __init__(
        self,
        comm: Comm,
        path: Path,
        columns: dict[str, Column],
        constants: dict[str, np.ndarray],
        attributes: Values,
        compression: int = 1,
    ) -> None:
        self._begin(path, columns)
        self._comm = comm
        # later versions mark an open file, and readers would refuse the file of a killed run
        self._file = h5py.File(path, "w", driver="mpio", comm=comm, libver=("earliest", "v108"))
        self._together = h5py.h5p.create(h5py.h5p.DATASET_XFER)
        self._together.set_dxpl_mpio(h5py.h5fd.MPIO_COLLECTIVE)
        self._file.attrs.update(attributes)
        self._write_constants(constants)
        everywhere = comm.allgather(columns)
        self._all = {name: column for of_rank in everywhere for name, column in of_rank.items()}
        self._first_columns = {}
        for name, column in self._all.items():
            widths = [of_rank[name].row[0] if name in of_rank and column.row else 0 for of_rank in everywhere]
            self._first_columns[name] = sum(widths[: comm.rank])
            if column.row and not sum(widths):
                continue
            _create(self._file, name, column, (sum(widths),) if column.row else (), compression)
        self.rows = dict.fromkeys(self._all, 0)
        self._file.flush()

    @property
    def descriptor(self) -> int | None:
        """None: each rank has its own."""
        return None

    def _write_constants(self, constants: dict[str, np.ndarray]) -> None:
        for name, values in constants.items():  # of the same names and types on all ranks
            counts = self._comm.allgather(len(values))
            dataset = self._file.create_dataset(name, (sum(counts),), values.dtype)
            self._write(dataset, (sum(counts[: self._comm.rank]),), values)

    def _write(self, dataset: h5py.Dataset, place: tuple[int, ...], data: np.ndarray) -> None:
        """Collective: write `data` at `place`; ranks without data take part."""
        space, memory = dataset.id.get_space(), h5py.h5s.create_simple(data.shape)
        if data.size:
            space.select_hyperslab(place, data.shape)
        else:
            space.select_none()
            memory.select_none()
        dataset.id.write(memory, space, np.ascontiguousarray(data), dxpl=self._together)

    def flush(self) -> None:
        """Collective: write the buffered rows.

        An error of HDF5 on one rank leaves the others waiting inside HDF5, so it must end all ranks at once. It is
        raised as a RuntimeError, on which the command line aborts.
        """
        data = {name: np.concatenate(parts) for name, parts in self._buffered.items()}
        counts = self._comm.allgather({name: len(values) for name, values in data.items()})
        rows = dict(self.rows)
        try:
            for name, column in self._all.items():
                by_rank = [of_rank.get(name, 0) for of_rank in counts]
                added = max(by_rank) if column.row else sum(by_rank)
                if added and name in self._file:
                    first = rows[name] + (0 if column.row else sum(by_rank[: self._comm.rank]))
                    rows[name] += added
                    self._file[name].resize(rows[name], axis=0)
                    nothing = np.zeros((0,) * (1 + len(column.row)), column.kind)
                    place = (first, self._first_columns[name]) if column.row else (first,)
                    self._write(self._file[name], place, data.get(name, nothing))
            self._file.flush()
        except (OSError, ValueError) as problem:
            raise RuntimeError(f"recording {self.path} by all ranks: {problem}") from problem
        self.rows = rows
        self.drop()


def checksum(values: np.ndarray, crc: int = 0) -> int:
    """Return the CRC-32 of the bytes of an array, appended to those with CRC-32 `crc`."""
    return zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data, crc)


def can_share(comm: Comm) -> bool:
    """Return whether several ranks can write one file together: h5py must be built with MPI."""
    return comm is not None and comm.size > 1 and h5py.get_config().mpi


def _create(file: h5py.File, name: str, column: Column, row: tuple[int, ...], compression: int) -> None:
    item = np.dtype(column.kind).itemsize
    wide = tuple(min(n, CHUNK // item) for n in row)
    rows = max(1, CHUNK // (item * max(1, int(np.prod(wide)))))
    shuffle = np.dtype(column.kind).kind == "f"  # no use for whole numbers, which are runs of equal values
    packed = {"compression": "gzip", "compression_opts": compression, "shuffle": shuffle} if compression else {}
    how = packed if column.packed else {}
    made = file.create_dataset(name, (0, *row), column.kind, maxshape=(None, *row), chunks=(rows, *wide), **how)
    made.attrs.update(unit=column.unit, axes=list(column.axes))

"""HDF5 files of growing datasets, one for each rank, that stay readable if a writer is killed."""

from __future__ import annotations

import os
import weakref
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..later import h5py
from ..values import Values
from .disk import OutputFile, remove_leftover

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

    The file at `path` is replaced if it exists. `columns` are the growing datasets and `constants` the other arrays, by
    name; `attributes` belong to the root. `compression` is the gzip level, 0 for none.

    Attributes
    ----------
    rows : dict of str to int
        Number of written rows of each column.
    crcs : dict of str to int
        CRC-32 of the values of constants and of the written rows of each column.
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
        self.path = path
        self.columns = {name: column for name, column in columns.items() if 0 not in column.row}
        self.rows = dict.fromkeys(self.columns, 0)
        self.crcs: dict[str, int] = {}
        self.buffered_bytes = 0
        self._buffered: dict[str, list[np.ndarray]] = defaultdict(list)
        self._raw = OutputFile(remove_leftover(path), "x+")
        with self._raw.raise_write_errors():
            self._file = h5py.File(self._raw, "w", libver="latest")
            weakref.finalize(self, self._file.close)  # HDF5 itself would close it when there is no Python any more
            self._file.attrs.update(attributes)
            for name, values in constants.items():
                self._file[name] = values
                self.crcs[name] = compute_checksum(values)
            for name, column in self.columns.items():
                _create_dataset(self._file, name, column, compression)
            self._file.swmr_mode = True

    def add_rows(self, name: str, values: object, copy: bool = True) -> None:
        """Buffer rows of a column; do nothing if this file has no such column."""
        if name in self.columns:
            rows = np.array(values, self.columns[name].kind, copy=copy or None)
            self._buffered[name].append(rows)
            self.buffered_bytes += rows.nbytes

    def write_rows(self) -> None:
        """Write the buffered rows."""
        rows, crcs = dict(self.rows), dict(self.crcs)
        with self._raw.raise_write_errors():
            for name, parts in self._buffered.items():
                data, dataset = np.concatenate(parts), self._file[name]
                dataset.resize(rows[name] + len(data), axis=0)
                dataset[rows[name] :] = data
                rows[name] += len(data)
                crcs[name] = compute_checksum(data, crcs.get(name, 0))
            self._file.flush()
        self.rows, self.crcs = rows, crcs  # not before: after a failed write all columns must end in the same sample
        self.drop_rows()

    def drop_rows(self) -> int:
        """Drop the buffered rows; return the number of rows of the longest column."""
        lost = max((sum(map(len, parts)) for parts in self._buffered.values()), default=0)
        self._buffered.clear()
        self.buffered_bytes = 0
        return lost

    @property
    def descriptor(self) -> int:
        """Descriptor of the open file."""
        return self._raw.fileno()

    def sync_rows(self) -> None:
        """Bring the written rows to the disk, so that they outlive the machine."""
        os.fsync(self.descriptor)

    def close(self) -> None:
        """Close the file."""
        with self._raw, self._raw.raise_write_errors():
            self._file.close()


def compute_checksum(values: np.ndarray, crc: int = 0) -> int:
    """Return the CRC-32 of the bytes of an array, appended to those with CRC-32 `crc`."""
    return zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data, crc)


def _create_dataset(file: h5py.File, name: str, column: Column, compression: int) -> None:
    row, item = column.row, np.dtype(column.kind).itemsize
    wide = tuple(min(n, CHUNK // item) for n in row)
    rows = max(1, CHUNK // (item * max(1, int(np.prod(wide)))))
    shuffle = np.dtype(column.kind).kind == "f"  # no use for whole numbers, which are runs of equal values
    packed = {"compression": "gzip", "compression_opts": compression, "shuffle": shuffle} if compression else {}
    how = packed if column.packed else {}
    made = file.create_dataset(name, (0, *row), column.kind, maxshape=(None, *row), chunks=(rows, *wide), **how)
    made.attrs.update(unit=column.unit, axes=list(column.axes))

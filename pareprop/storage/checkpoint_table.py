"""The table of a checkpoint: which rank wrote which items of each array, at which byte, with which checksum.

`table.bin` has a row for each rank that wrote, and a last one with the ends. A row has an entry for each array: the
number of the rank's first item in the whole array, the first byte of its items in the node's file, and their CRC-32.
A rank that reads finds its items by bisection, from a few rows, however many ranks wrote.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .checkpoint_pieces import Piece

NAME = "table.bin"
ENTRY = np.dtype([("first", "<i8"), ("offset", "<i8"), ("crc", "<u4")])
MOST = 2**48  # arrays of as many items, or files of as many bytes, are refused
BLOCK = 2**24  # bytes that are read at a time


def row_of(pieces: Sequence[Piece]) -> np.ndarray:
    """Return the row of a rank for `join`, ENTRY (n_arrays,): its field `first` holds the number of items."""
    return np.array([(piece.count, piece.offset, piece.crc) for piece in pieces], ENTRY)


def join_rows(rows: np.ndarray, n_arrays: int, n_ranks: int) -> np.ndarray:
    """Return a table, ENTRY (n_ranks + 1, n_arrays), of the rows that `row_of` returned on the ranks, joined.

    Rank 0 has more arrays than the others, its first ones: those that are the same on all ranks.
    """
    entries = np.zeros((n_ranks + 1, n_arrays), ENTRY)
    entries[0], others = rows[:n_arrays], rows[n_arrays:].reshape(max(n_ranks - 1, 1), -1)
    entries[1:-1, n_arrays - others.shape[1] :] = others
    counts = entries["first"][:-1].copy()
    entries["first"][0] = 0
    np.cumsum(counts, axis=0, out=entries["first"][1:])
    return entries


def write(path: Path, entries: np.ndarray) -> str:
    """Write a table into a new file and synchronise it; return its checksum."""
    with open(path, "xb") as file:
        file.write(entries.data)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.blake2b(entries.data, digest_size=32).hexdigest()


def read(file: BinaryIO, n_ranks: int, n_arrays: int, checksum: str) -> Iterator[np.ndarray]:
    """Yield the rows of a table, ENTRY (.., n_arrays), some at a time.

    `ValueError` if the size differs, or, at the end, the checksum.
    """
    found, size = hashlib.blake2b(digest_size=32), (n_ranks + 1) * n_arrays * ENTRY.itemsize
    if (there := os.fstat(file.fileno()).st_size) != size:
        raise ValueError(f"has {there} bytes, not {size}")
    row = n_arrays * ENTRY.itemsize
    while data := file.read(max(BLOCK // row, 1) * row):
        found.update(data)
        yield np.frombuffer(data, ENTRY).reshape(-1, n_arrays)
    if found.hexdigest() != checksum:
        raise ValueError("its checksum differs")


def check(blocks: Iterable[np.ndarray], names: Sequence[str]) -> list[int]:
    """Return the number of items of each array, from the rows of a table in blocks.

    `ValueError` if the entries of an array are impossible; names the array.
    """
    begins, ends = None, np.zeros((1, len(names)), np.int64)
    possible = np.ones(len(names), bool)
    for block in blocks:
        begins = block["first"][0] if begins is None else begins
        firsts = np.concatenate([ends, block["first"]])
        possible &= np.all(np.diff(firsts, axis=0) >= 0, axis=0)
        possible &= np.all((block["offset"] >= 0) & (block["offset"] < MOST), axis=0)
        ends = firsts[-1:]
    possible &= (begins == 0) & (ends[0] < MOST)
    if not possible.all():
        raise ValueError(f"array {names[int(np.argmin(possible))]} has places that cannot be")
    return ends[0].tolist()


class Table:
    """Places of the items of arrays in the files of a checkpoint.

    `n_ranks` is the number of ranks that wrote; `row` returns a row by its number, ENTRY (n_arrays,).
    """

    def __init__(self, n_ranks: int, row: Callable[[int], np.ndarray]) -> None:
        self.n_ranks, self._row = n_ranks, lru_cache(maxsize=4096)(row)

    @classmethod
    def of_file(cls, file: BinaryIO, n_ranks: int, n_arrays: int) -> Table:
        """Return the table in an open file; rows are read when they are needed."""

        def read_row(number: int) -> np.ndarray:
            size = n_arrays * ENTRY.itemsize
            data = os.pread(file.fileno(), size, number * size)
            if len(data) < size:
                raise OSError(None, "ends too early", file.name)
            return np.frombuffer(data, ENTRY)

        return cls(n_ranks, read_row)

    def count_items(self, column: int) -> int:
        """Return the number of items of an array."""
        return self._find_first(self.n_ranks, column)

    def read_entry(self, number: int, column: int) -> tuple[int, int, int]:
        """Return a rank's entry of an array: number of items, their first byte in the file, their CRC-32."""
        _, offset, crc = self._row(number)[column].item()
        return self._find_first(number + 1, column) - self._find_first(number, column), offset, crc

    def list_parts(self, column: int, first: int, last: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield the parts of items [first, last) of an array that one rank each wrote.

        As (that rank, first item, last + 1, index of the first item within the rank's part).
        """
        low, high = 0, self.n_ranks
        while first < last and high - low > 1:  # low: the last rank whose first item is at most `first`
            middle = (low + high) // 2
            low, high = (middle, high) if self._find_first(middle, column) <= first else (low, middle)
        while first < last and low < self.n_ranks:
            begin, end = self._find_first(low, column), min(self._find_first(low + 1, column), last)
            if first < end:
                yield low, first, end, first - begin
                first = end
            low += 1

    def _find_first(self, number: int, column: int) -> int:
        return int(self._row(number)[column]["first"])

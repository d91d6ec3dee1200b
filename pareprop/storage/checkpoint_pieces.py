"""The part of a checkpoint that one rank writes: pieces of raw numbers, written and read chunk by chunk.

A piece is the part of one array of a `State` that a rank owns, `count` items long. The pieces of all ranks, by rank,
form the whole array: neurons by id, synapses in the order of `SynapseTable.yield_own_places`. Only one chunk
of a piece is held in memory at a time.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np

from ..engines.state import State
from ..errors import StateError
from ..network.synapse_table import ProjectionSlice, SynapseTable
from ..parallel import collectives
from ..parallel.mpi import Comm
from ..parallel.spike_log import SpikeLog, join_logs

ALIGNMENT = 4096
SYNCHRONISE = 2**26  # bytes between two requests to write to the disk
CHUNK = 2**20  # items of a chunk; the system allocates larger buffers again each time, smaller ones take longer to sort
POLYNOMIAL = 0xEDB88320  # of CRC-32, with its bits in reverse order


@dataclass
class Piece:
    """The part of one array that this rank owns.

    Attributes
    ----------
    name, kind : str
        Name and kind of the array in `State`; arrays of kind "shared" belong to rank 0.
    array : ndarray
        Values (count, ...), or of the synapses of `span` in memory order.
    table : SynapseTable or None
        Table of the synapses.
    span : ProjectionSlice or None
        Their projection in the table.
    count : int
        Number of items of this rank.
    offset : int
        First byte in the file, set by `write`.
    crc : int
        CRC-32, set by `write`.
    """

    name: str
    kind: str
    array: np.ndarray
    count: int
    table: SynapseTable | None = None
    span: ProjectionSlice | None = None
    offset: int = 0
    crc: int = 0

    @property
    def item(self) -> tuple[int, ...]:
        """Shape of one item."""
        return () if self.kind == "synapses" else self.array.shape[1:]

    @property
    def item_bytes(self) -> int:
        """Bytes of one item."""
        return self.array.dtype.itemsize * int(np.prod(self.item, dtype=np.int64))

    @property
    def room(self) -> int:
        """Bytes in the file."""
        return -(-self.count * self.item_bytes // ALIGNMENT) * ALIGNMENT


@dataclass
class _Group:
    """Pieces of the same synapses, which are written and read together, chunk by chunk."""

    pieces: list[Piece] = field(default_factory=list)

    def list_indices(self) -> Iterator[slice | np.ndarray]:
        """Yield the indices of each chunk in the arrays of the pieces, in the order of the file."""
        first = self.pieces[0]
        if first.table is None or first.span is None:
            step = max(1, CHUNK // max(1, first.item_bytes // 8))
            for start in range(0, first.count, step):
                yield slice(start, min(start + step, first.count))
        else:
            for index in first.table.yield_own_places(first.span, CHUNK):
                index -= first.span.first
                yield index


def list_pieces(state: State, rank: int, comm: Comm = None) -> list[Piece]:
    """Collective: return this rank's pieces of a state; kind "shared" comes first, on rank 0 only."""
    require_same(comm, state)
    shared = state.shared | {name: _gather_rows(comm, *entry) for name, entry in state.rows.items()}
    for name, own in state.spikes.items():
        shared |= _gather_spikes(comm, name, own())
    pieces = [Piece(name, "shared", array, len(array)) for name, array in shared.items() if rank == 0]
    for name, array in state.neurons.items():
        owned = np.moveaxis(array, -1, 0)  # a view: last axis in memory, first in the file
        pieces.append(Piece(name, "neurons", owned, len(owned)))
    for name, (table, span, array) in state.synapses.items():
        pieces.append(Piece(name, "synapses", array, len(array), table, span))
    return pieces


def require_same(comm: Comm, state: State) -> None:
    """Collective: raise `StateError` if ranks keep different arrays: a checkpoint knows arrays by their order."""
    names = [f"{name} ({array.dtype.str}, {array.shape[:-1]})" for name, array in state.neurons.items()]
    names += [f"{name} ({array.dtype.str})" for name, (_, _, array) in state.synapses.items()]
    names = [*state.rows, *state.spikes, *names]
    if collectives.is_same(comm, "\n".join(names)):
        return
    by_rank = collectives.gather_values(comm, names)
    rank, other = next((rank, other) for rank, other in enumerate(by_rank) if other != by_rank[0])
    place = next(k for k, pair in enumerate(zip_longest(by_rank[0], other)) if pair[0] != pair[1])
    shown = [names[place] if place < len(names) else "none" for names in (by_rank[0], other)]
    raise StateError(f"ranks keep different arrays: {shown[0]} on rank 0, {shown[1]} on rank {rank} in its place")


def _gather_rows(comm: Comm, table: SynapseTable, array: np.ndarray) -> np.ndarray:
    """Collective: gather the rows of a table on rank 0, each from a rank that has, or may get, synapses in it."""
    rows, n_rows = table.number_whole_rows()
    whole = np.zeros((n_rows, *array.shape[1:]), array.dtype)
    whole[rows] = array
    known = np.diff(table.row_ptr) > 0
    for span in table.spans:
        if span.projection.rewire and span.first < span.last:
            known[span.own_rows] = True
    mine = np.flatnonzero(known)
    for places, values in collectives.send_items_to_root(comm, [(rows[mine], array[mine])]):
        whole[places] = values
    return whole


def _gather_spikes(comm: Comm, name: str, own: SpikeLog) -> dict[str, np.ndarray]:
    """Collective: gather the spikes of all ranks' neurons on rank 0."""
    parts = [SpikeLog.from_arrays(*arrays) for arrays in collectives.send_items_to_root(comm, [(own.ids, own.ptr)])]
    whole = join_logs(parts or [own], len(own.ptr) - 1)
    return {f"{name}_ids": whole.ids, f"{name}_ptr": whole.ptr}


def _group_pieces(pieces: list[Piece]) -> list[_Group]:
    groups: list[_Group] = []
    for piece in pieces:
        last = groups[-1].pieces[0] if groups else None
        if last is not None and piece.table is not None and piece.table is last.table and piece.span is last.span:
            groups[-1].pieces.append(piece)
        else:
            groups.append(_Group([piece]))
    return groups


def write(path: Path, pieces: list[Piece], begin: int = 0) -> None:
    """Write pieces into a file from byte `begin` on, and synchronise it; set their offsets and checksums.

    Other ranks write to other places of the file at the same time; whoever comes first makes it. A thread synchronises
    the chunks that are written while further ones are sorted.
    """
    for piece in pieces:
        piece.offset, piece.crc = begin, 0
        begin += piece.room
    from concurrent.futures import ThreadPoolExecutor

    with open(path, "wb", buffering=0, opener=_open_whole) as file, ThreadPoolExecutor(1) as disk:
        waiting, synchronised = 0, []
        for piece, data, place in _list_chunks(pieces):
            piece.crc = zlib.crc32(data.data, piece.crc)
            _write_all(file.fileno(), data, place)
            waiting += len(data)
            if waiting >= SYNCHRONISE:
                synchronised.append(disk.submit(os.fdatasync, file.fileno()))
                waiting = 0
        for done in synchronised:
            done.result()  # raises the error of a failed write, which a later request does not repeat
        os.fsync(file.fileno())


def _open_whole(path: str, flags: int) -> int:
    """Open a file as `open` would, but do not truncate it."""
    return os.open(path, flags & ~os.O_TRUNC, 0o666)


def copy(piece: Piece) -> np.ndarray:
    """Return a copy of the items of a piece, in the order of the file."""
    items, done = np.empty((piece.count, *piece.item), piece.array.dtype), 0
    for place in _Group([piece]).list_indices() if piece.count else ():
        part = piece.array[place]
        items[done : done + len(part)] = part
        done += len(part)
    return items


def _list_chunks(pieces: list[Piece]) -> Iterator[tuple[Piece, np.ndarray, int]]:
    """Yield chunks of pieces as bytes, with their offsets in the file."""
    for group in _group_pieces(pieces):
        at = [piece.offset for piece in group.pieces]
        for place in group.list_indices() if group.pieces[0].count else ():
            for k, piece in enumerate(group.pieces):
                data = np.ascontiguousarray(piece.array[place]).reshape(-1).view(np.uint8)
                yield piece, data, at[k]
                at[k] += len(data)


def _write_all(descriptor: int, data: np.ndarray, offset: int) -> None:
    view = data.data
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def fill_pieces(pieces: list[Piece], firsts: list[int], read: Callable[[int, int, int], np.ndarray]) -> None:
    """Fill the arrays of pieces of neurons and synapses.

    `firsts` has the number of items of each piece on the ranks before this one; `read`, called with the index of a
    piece, first and last, returns items [first, last) of the whole array.
    """
    number = {id(piece): k for k, piece in enumerate(pieces)}
    for group in _group_pieces(pieces):
        done = 0
        for place in group.list_indices() if group.pieces[0].count else ():
            n = len(place) if isinstance(place, np.ndarray) else place.stop - place.start
            for piece in group.pieces:
                k = number[id(piece)]
                piece.array[place] = read(k, firsts[k] + done, firsts[k] + done + n)
            done += n


def compute_checksum(descriptor: int, offset: int, size: int) -> int:
    """Return the CRC-32 of `size` bytes of a file, or of those up to its end."""
    crc = 0
    while size > 0 and (data := os.pread(descriptor, min(size, 2**24), offset)):
        crc = zlib.crc32(data, crc)
        offset, size = offset + len(data), size - len(data)
    return crc


def extend_checksum(crc: int, n_bytes: int) -> int:
    """Return the term, for XOR, of a text with CRC-32 `crc` in the CRC-32 of a longer text: `n_bytes` bytes follow it.

    Remainders of polynomials over two elements: each byte that follows is a factor x^8.
    """
    power = 1 << 23  # x^8, as the highest bit is x^0
    while n_bytes:
        if n_bytes & 1:
            crc = _multiply_remainders(crc, power)
        power, n_bytes = _multiply_remainders(power, power), n_bytes >> 1
    return crc


def _multiply_remainders(a: int, b: int) -> int:
    """Return the product of two remainders."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (POLYNOMIAL if b & 1 else 0)
    return product

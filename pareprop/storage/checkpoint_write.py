"""Write checkpoints: the exact state of a run on disk, for any number of ranks; version of the format (`FORMAT`).

A checkpoint is a directory `iteration-<n>`. Every rank writes the part of each array that it owns, as raw numbers;
which arrays, `Simulation.state` says. The ranks of a node share the file `rank-<r>.bin`, each with a range of
bytes; `r` is the first of these ranks. `table.bin` holds place and CRC-32 of every piece, see `checkpoint_table`.
`manifest.json` describes the arrays, names the first rank of each node, and has BLAKE2b hashes of the table and of
itself. All files are written into `iteration-<n>.part`, synchronised, and the directory is renamed at the end. One that
is to be removed gets the name `.part` first; one that another takes the place of, `.old`. So a directory with the final
name is complete, and checksums detect later damage. Nothing in it is ever executed or unpickled.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import cast

import numpy as np

from .. import __version__, files
from ..errors import StateError
from ..parallel import collectives
from ..parallel.exchange import Exchange, Ranks
from ..parallel.node import Nodes
from ..simulation.loop import Simulation
from ..values import Values
from . import checkpoint_pieces, checkpoint_table
from .checkpoint_pieces import Piece
from .disk import on_disk, require_space, sync_path

FORMAT = "pareprop-checkpoint-6"
MANIFEST = "manifest.json"
NO_CHECKSUM = "0" * 64  # stands for the checksum of the table until that is known
MANIFEST_LIMIT = 256 * 2**20  # longer manifests, in bytes, are neither written nor read
PART, OLD = ".part", ".old"  # ends of the names of those that are not whole, or were written again
NAME = r"iteration-\d{8,18}"  # names of checkpoints; other names in the folder are ignored


def write(
    simulation: Simulation, folder: Path, identity: Values, keep: int | None = 2, *, with_observers: bool = True
) -> Path:
    """Collective: write a checkpoint of the state between two iterations, then remove all but the last `keep`.

    With `keep`, later ones are removed, too: they were damaged, and the run continued from this or an earlier one.
    `identity` is the configuration, as JSON, that a resumed run must have in common with this one. With `keep` = None
    all checkpoints stay. `with_observers` is whether the states of observers are written, too. Raises a `StateError`
    on all ranks if one cannot write; earlier checkpoints stay as they are.
    """
    exchange, nodes = simulation.exchange, find_nodes(simulation.exchange)
    comm, rank = exchange.comm, exchange.rank
    final = folder / directory_name(simulation.iteration)
    part = final.with_suffix(PART)
    state = simulation.state(with_observers)
    pieces = checkpoint_pieces.list_pieces(state, rank, comm)
    before, total = collectives.sum_lower_ranks(comm, np.array([sum(piece.room for piece in pieces)], np.int64))
    begin = int(before[0])
    leader, start = (rank, begin) if nodes.local is None else nodes.local.bcast((rank, begin))
    text, old = "", list[Path]()
    with on_disk(comm, "checkpoint", final):
        if rank == 0:
            take_back(folder)
            old = _list_unfinished(folder)
    remove_checkpoints(exchange, old)
    try:
        with on_disk(comm, "checkpoint", final):
            if rank == 0:
                text = _format_manifest(final, simulation.iteration, state.numbers, pieces, nodes, identity)
                part.mkdir(parents=True)
                table_bytes = (exchange.size + 1) * len(pieces) * checkpoint_table.ENTRY.itemsize
                require_space(part / MANIFEST, int(total[0]) + table_bytes + len(text))
        with on_disk(comm, "checkpoint", final):
            checkpoint_pieces.write(part / rank_file_name(leader), pieces, begin - start)
        rows = collectives.gather_rows(comm, checkpoint_table.row_of(pieces))
        with on_disk(comm, "checkpoint", final):
            if rank == 0:
                checksum = checkpoint_table.write(
                    part / checkpoint_table.NAME, checkpoint_table.join_rows(rows, len(pieces), exchange.size)
                )
                _finish_checkpoint(part, final, text.replace(NO_CHECKSUM, checksum, 1))
                old = [final.with_suffix(OLD)]
                if keep is not None:
                    old += _list_superfluous(folder, simulation.iteration, max(keep, 1))
    except StateError:
        remove_checkpoints(exchange, [part])
        raise
    remove_checkpoints(exchange, old)
    return final


def find_nodes(exchange: Exchange) -> Nodes:
    """Return the nodes of an exchange; one process is one node."""
    return Nodes(None, None, 0, np.array([0, 1])) if exchange.comm is None else cast(Ranks, exchange).nodes


def count_files(n_nodes: int) -> int:
    """Return the number of files of a checkpoint that ranks on so many nodes write: theirs, the table, the manifest."""
    return n_nodes + 2


def remove_checkpoints(exchange: Exchange, paths: Iterable[Path]) -> None:
    """Collective: remove checkpoints that rank 0 names; the first ranks of nodes share their files among them.

    Each is first renamed to an unfinished one, so that no part of one passes for a whole. Files that cannot be removed
    stay.
    """
    nodes = find_nodes(exchange)
    if nodes.local is not None and nodes.local.rank:
        return
    parts, found = list[Path](), list[Path]()
    for path in paths if exchange.rank == 0 else ():
        with suppress(OSError):
            if not path.is_symlink():
                parts.append(path if path.suffix else path.rename(path.with_suffix(PART)))
                found += parts[-1].iterdir()
    if nodes.leaders is not None:
        found = nodes.leaders.bcast(found)
    for path in found[nodes.index :: nodes.count]:
        with suppress(OSError):
            path.unlink()
    if nodes.leaders is not None:
        collectives.wait_for_all(nodes.leaders)
    for path in parts:
        shutil.rmtree(path, ignore_errors=True)


def directory_name(iteration: int) -> str:
    """Return the directory name of the checkpoint after `iteration` iterations."""
    return f"iteration-{iteration:08d}"


def rank_file_name(rank: int) -> str:
    """Return the name of the file of the ranks from `rank` on, up to the first of the next node."""
    return f"rank-{rank:05d}.bin"


def _format_manifest(
    final: Path, iteration: int, numbers: Values, pieces: list[Piece], nodes: Nodes, identity: Values
) -> str:
    """Return the text of the manifest, with `NO_CHECKSUM` for the checksum of the table, which is not written yet.

    `Unfit` if the text is too long to be read again.
    """
    arrays = [
        {"name": piece.name, "kind": piece.kind, "dtype": piece.array.dtype.str, "item": list(piece.item)}
        for piece in pieces
    ]
    *leaders, n_ranks = nodes.starts.tolist()
    text = json.dumps(
        {
            "table": NO_CHECKSUM,
            "format": FORMAT,
            "version": __version__,
            "identity": identity,
            "iteration": iteration,
            "ranks": n_ranks,
            "leaders": leaders,
            "numbers": numbers,
            "arrays": arrays,
        }
    )
    if len(text) > MANIFEST_LIMIT:
        reason = f"numbers of {len(text)} bytes, at most {MANIFEST_LIMIT} can be read again"
        raise files.Unfit(errno.EFBIG, f"{reason}; arrays of numbers do not count", str(final))
    return text


def hash_manifest(text: str) -> str:
    """Return the checksum of a manifest's text."""
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def _finish_checkpoint(part: Path, final: Path, text: str) -> None:
    """Write the manifest and rename the directory; both reach the disk before this returns."""
    with open(part / MANIFEST, "w") as file:
        file.write(f"{hash_manifest(text)}\n{text}\n")
        file.flush()
        os.fsync(file.fileno())
    sync_path(part)
    if final.exists():  # the same iteration again, after a resume from an earlier one
        os.rename(final, final.with_suffix(OLD))
    os.rename(part, final)
    sync_path(final.parent)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a run, the latest first."""
    if not folder.is_dir():
        return []
    paths = [path for path in folder.iterdir() if re.fullmatch(NAME, path.name) and not path.is_symlink()]
    return sorted(paths, key=iteration_of, reverse=True)


def _list_superfluous(folder: Path, iteration: int, keep: int) -> list[Path]:
    """Return the checkpoints after an iteration, and all but the last `keep` of the others."""
    paths = list_checkpoints(folder)
    n_later = sum(iteration_of(path) > iteration for path in paths)
    return paths[:n_later] + paths[n_later + keep :]


def iteration_of(path: Path) -> int:
    """Return the iterations done in a checkpoint, from its directory name."""
    return int(path.name.removeprefix("iteration-"))


def take_back(folder: Path) -> None:
    """Give its name back to a checkpoint of which a killed run had not put the one written again in its place."""
    for path in _list_unfinished(folder):
        if path.suffix == OLD and not path.with_suffix("").exists():
            path.rename(path.with_suffix(""))


def _list_unfinished(folder: Path) -> list[Path]:
    """Return unfinished checkpoints that killed runs left when they wrote or removed them."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return [path for path in paths if path.suffix in (PART, OLD) and re.fullmatch(NAME, path.stem)]

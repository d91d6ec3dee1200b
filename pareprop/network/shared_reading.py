"""Read SONATA edges without an index on many ranks: each reads a part, and sends edges to the ranks of the targets."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from ..errors import InputError, ParepropError
from ..parallel import collectives
from ..parallel.mpi import Comm
from ..sonata.edges import CHUNK, EdgeChunk, Edges, LoadedEdges
from .connectivity import Projection
from .local import LocalNetwork
from .model import Model
from .partition_bounds import choose_bounds

FEW = 4  # up to so many ranks, each reads the whole file, which is faster than sorting and sending


def hold_own_edges(model: Model, comm: Comm, cuts: np.ndarray | None = None, chunk: int = CHUNK) -> Model:
    """Collective: return a model that holds this rank's part of edges without an index until its table is filled.

    Every edge is read once, `chunk` at a time on each rank, and takes 32 bytes on the rank of its target. `cuts` are
    the partition bounds, int64 (n_ranks + 1,); None: `choose_bounds` sets them. Returns the same model if there are few
    ranks, or no such edges. Raises `InputError` on all ranks if an edge that any rank read is wrong.
    """
    if comm is None or comm.size <= FEW:
        return model
    cuts = choose_bounds(model, comm.size) if cuts is None else cuts
    return replace(model, projections=[_read_own_edges(model, item, comm, cuts, chunk) for item in model.projections])


def _read_own_edges(model: Model, projection: Projection, comm: Comm, cuts: np.ndarray, chunk: int) -> Projection:
    edges = projection.edges
    if edges is None or edges.index or not edges.n_edges or projection.post.role != "recurrent":
        return projection
    bounds = cuts - model.offset(projection.post)
    own_pieces, problem = [], None
    for first in range(0, edges.n_edges, chunk * comm.size):
        start = min(first + chunk * comm.rank, edges.n_edges)
        try:
            parts = _sort_by_owner(edges, start, min(start + chunk, edges.n_edges), bounds)
        except ParepropError as error:  # all ranks read to the end of the file, then stop together
            parts, problem = [None] * comm.size, problem or error
        own_pieces += [piece for piece in comm.alltoall(parts) if piece is not None]
    collectives.raise_together(comm, problem)
    known = {item.name: getattr(edges, item.name) for item in fields(Edges)}
    return projection.model_copy(update={"edges": LoadedEdges(**known, chunks=own_pieces)})


def _sort_by_owner(edges: Edges, start: int, stop: int, bounds: np.ndarray) -> list[EdgeChunk | None]:
    """Read rows [start, stop); return the edges of each rank, None without any; targets of ranks start at `bounds`."""
    if start == stop:
        return [None] * (len(bounds) - 1)
    piece = edges.read_rows(start, stop)
    owner = np.searchsorted(bounds, piece.target, side="right") - 1
    order = np.argsort(owner, kind="stable")
    ends = np.searchsorted(owner[order], np.arange(len(bounds)))
    return [
        EdgeChunk(*(getattr(piece, name)[order[low:high]] for name in ("source", "target", "delay", "weight")))
        if high > low
        else None
        for low, high in itertools.pairwise(ends)
    ]


def require_all(network: LocalNetwork, comm: Comm) -> None:
    """Collective: raise `InputError` unless all ranks together have all edges of each SONATA file.

    An incomplete index would give another network than the file describes.
    """
    n_read: dict[tuple[Path, str], int] = {}
    read: dict[tuple[Path, str], Edges] = {}
    for table in network.list_tables().values():
        for span in table.spans:
            if (edges := span.projection.edges) is not None:
                key = edges.path, edges.name
                read[key] = edges
                n_read[key] = n_read.get(key, 0) + collectives.sum_over_ranks(
                    comm, span.last - span.first
                )  # of all parts
    for key, edges in read.items():
        if n_read[key] != edges.n_edges:
            how = f"its index leads to {n_read[key]} of {edges.n_edges} edges; build it anew, or remove it"
            raise InputError(f"{edges.path}: edge population '{edges.name}': {how}")


def release_edges(model: Model) -> None:
    """Release the edges of `hold_own_edges`, once tables are filled."""
    for item in model.projections:
        if isinstance(item.edges, LoadedEdges):
            item.edges.chunks.clear()

"""Refuse networks that cannot fit into memory before memory is taken, by a rough lower bound of their size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..machine import require_bytes
from ..parallel.partition import overlap
from .connectivity import RULES, Projection
from .cuts import cut
from .model import Model

SYNAPSE, ROW, STEP = 12, 8, 8  # bytes of a synapse (target, weight), of a row (start), of a number kept in each step


def require(model: Model, n_steps: int, rank: int = 0, size: int = 1, cuts: np.ndarray | None = None) -> None:
    """Raise `InputError` if a rank's share of a network is larger than the memory.

    Parameters
    ----------
    model : Model
        The whole network.
    n_steps : int
        Steps of a sample.
    rank, size : int
        The rank, and the number of ranks.
    cuts : np.ndarray or None
        int64 (size + 1,), first neuron of each rank, and the number of all; None: as `cut` says.

    Raises
    ------
    InputError
        Names the largest part of the share.
    """
    cuts = cut(model, size) if cuts is None else cuts
    parts = list(_parts(model, n_steps, *cuts[rank : rank + 2].tolist()))
    most, what = max(parts)
    require_bytes(most, what)
    require_bytes(sum(n_bytes for n_bytes, _ in parts), f"the network of rank {rank}, most of all {what},")


def _parts(model: Model, n_steps: int, first: int, last: int) -> Iterator[tuple[int, str]]:
    """Yield bytes and name of each part of the share of a rank with neurons [first, last)."""
    if not model.eprop.is_online:
        yield (last - first) * n_steps * STEP, f"history of {last - first} neurons over n_steps = {n_steps}"
    yield model.size("readout") * n_steps * STEP, f"signals of {model.size('readout')} readouts in {n_steps} steps"
    if model.local:
        n_bytes = (last - first) * n_steps * np.dtype(model.kernels.real).itemsize
        yield n_bytes, f"signals of local readouts of {last - first} neurons"
    for projection in model.projections:
        onto_readouts = projection.post.role == "readout"  # on the ranks of their sources
        mine = projection.pre if onto_readouts else projection.post
        offset = model.offset(mine)
        low, high = overlap(first, last, offset, offset + mine.size) if mine.role == "recurrent" else (0, mine.size)
        if not projection.is_drawn:
            continue
        indegree, n_delays = RULES[projection.rule].indegree(projection), np.ptp(projection.delay_range) + 1
        if onto_readouts:
            synapses = int(indegree * projection.post.size * (high - low) / projection.pre.size)
            what = f"projection '{projection.name}' ({_describe(projection, projection.post.size)})"
            n_rows = n_delays * (high - low)
        else:
            synapses = int(indegree) * (high - low)
            what = f"projection '{projection.name}' ({_describe(projection, high - low)})"
            n_rows = n_delays * projection.pre.size
        yield synapses * SYNAPSE, what
        if not (onto_readouts or projection.moves):  # others have no empty rows
            n_rows = min(n_rows, synapses)
        yield int(n_rows) * ROW, f"projection '{projection.name}', rows of its sources,"


def _describe(projection: Projection, n_targets: int) -> str:
    values = {name: getattr(projection, name) for name in RULES[projection.rule].options}
    options = [f"{name} = {getattr(value, '__qualname__', value)}" for name, value in values.items()]
    return ", ".join([projection.rule, *options, f"{projection.pre.size} x {n_targets}"])

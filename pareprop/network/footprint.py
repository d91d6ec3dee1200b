"""Refuse what can't fit into memory before memory is taken: a rough lower bound, not a plan."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..machine import require_bytes
from ..parallel.partition import block
from .connectivity import RULES, Projection
from .model import Model
from .sharing import count_sharing

SYNAPSE, ROW, STEP = 12, 16, 8  # bytes: target and weight; count and start; of a number kept in each step


def require(model: Model, n_steps: int, rank: int = 0, size: int = 1) -> None:
    """Raise `InputError` if a rank's share of a network is larger than the memory.

    Parameters
    ----------
    model : Model
        The whole network.
    n_steps : int
        Steps of a sample.
    rank, size : int
        The rank, and the number of ranks.

    Raises
    ------
    InputError
        Names the largest part of the share.
    """
    parts = list(_parts(model, n_steps, rank, size))
    most, what = max(parts)
    require_bytes(most, what)
    require_bytes(sum(n_bytes for n_bytes, _ in parts), f"the network of rank {rank}, most of all {what},")


def _parts(model: Model, n_steps: int, rank: int, size: int) -> Iterator[tuple[int, str]]:
    n_sharing = count_sharing(model, size)
    first, last = block(model.size("recurrent"), n_sharing, rank)
    if not model.eprop.is_online:
        yield (last - first) * n_steps * STEP, f"history of {last - first} neurons over n_steps = {n_steps}"
    yield model.size("readout") * n_steps * STEP, f"signals of {model.size('readout')} readouts in {n_steps} steps"
    if model.local:
        n_bytes = (last - first) * n_steps * np.dtype(model.kernels.real).itemsize
        yield n_bytes, f"signals of local readouts of {last - first} neurons"
    for projection in model.projections:
        if projection.is_drawn and projection.post.role == "readout":  # on the ranks of their sources
            first, last = block(projection.pre.size, n_sharing, rank)
            n_bytes = int(RULES[projection.rule].indegree(projection) * projection.post.size / n_sharing) * SYNAPSE
            yield n_bytes, f"projection '{projection.name}' ({_words(projection, projection.post.size)})"
            n_rows = (projection.delay_range[1] - projection.delay_range[0] + 1) * (last - first)
            yield n_rows * ROW, f"projection '{projection.name}', rows of {last - first} sources,"
            continue
        # about; populations lie somewhere in a rank's block
        first, last = block(projection.post.size, n_sharing if projection.post.role == "recurrent" else size, rank)
        if projection.is_drawn:
            n_bytes = int(RULES[projection.rule].indegree(projection)) * (last - first) * SYNAPSE
            yield n_bytes, f"projection '{projection.name}' ({_words(projection, last - first)})"
            n_rows = (projection.delay_range[1] - projection.delay_range[0] + 1) * projection.pre.size * (last > first)
            yield n_rows * ROW, f"projection '{projection.name}', rows of {projection.pre.size} sources,"


def _words(projection: Projection, n_targets: int) -> str:
    options = [f"{name} = {getattr(projection, name)}" for name in RULES[projection.rule].options]
    return ", ".join([projection.rule, *options, f"{projection.pre.size} x {n_targets}"])

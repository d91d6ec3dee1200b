"""Refuse what can't fit into memory before memory is taken: a rough lower bound, not a plan."""

from __future__ import annotations

from collections.abc import Iterator

from ..machine import require_bytes
from ..parallel.partition import block
from .connectivity import Projection
from .model import Model

SYNAPSE, STEP, SINGLE = 12, 8, 4  # bytes: target and weight; of a number kept in each step


def require(model: Model, n_steps: int, rank: int = 0, size: int = 1) -> None:
    """Raise `InputError` if a rank's share of a network is larger than the memory; names its largest part."""
    parts = list(_parts(model, n_steps, rank, size))
    most, what = max(parts)
    require_bytes(most, what)
    require_bytes(sum(n_bytes for n_bytes, _ in parts), f"the network of rank {rank}, most of all {what},")


def _parts(model: Model, n_steps: int, rank: int, size: int) -> Iterator[tuple[int, str]]:
    first, last = block(model.size("recurrent"), size, rank)
    if model.variant == "interval":
        yield (last - first) * n_steps * STEP, f"history of {last - first} neurons over n_steps = {n_steps}"
    yield model.size("readout") * n_steps * STEP, f"signals of {model.size('readout')} readouts in {n_steps} steps"
    if model.local:
        yield (last - first) * n_steps * SINGLE, f"signals of local readouts of {last - first} neurons"
    for projection in model.projections:
        first, last = block(projection.post.size, size, rank)  # about; populations lie somewhere in a rank's block
        count, words = _synapses(projection, last - first)
        yield count * SYNAPSE, f"projection '{projection.name}' ({words})"


def _synapses(projection: Projection, n_targets: int) -> tuple[int, str]:
    n = projection.pre.size
    if projection.rule == "fixed_indegree":
        return int(projection.indegree) * n_targets, f"indegree = {projection.indegree}, {n_targets} targets"
    if projection.rule == "fixed_probability":
        return int(projection.probability * n) * n_targets, f"{projection.probability} of {n} x {n_targets}"
    if projection.rule == "explicit":
        return 0, "explicit"
    return n * n_targets, f"all to all, {n} x {n_targets}"

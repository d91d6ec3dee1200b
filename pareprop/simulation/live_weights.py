"""Weights of a simulation as arrays, in the order of results, and set from arrays."""

from __future__ import annotations

import hashlib

import numpy as np

from ..arrays import find_equal, number_synapses
from ..errors import InputError, StateError, quote
from ..machine import require_bytes
from ..network.parameters import suggest_name
from ..network.signs import check_weights
from ..network.synapse_table import ProjectionSlice, SynapseTable
from ..parallel import collectives
from . import digest
from .observer import Watched


def get_weights(simulation: Watched, projection: str) -> dict[str, np.ndarray]:
    """Collective: return source, target, delay and weight of all synapses of a projection, on all ranks."""
    table, span = _find_span(simulation, projection)
    comm = simulation.exchange.comm
    n = collectives.sum_over_ranks(comm, span.last - span.first)
    with collectives.share_errors(comm):
        require_bytes(2 * n * digest.SYNAPSE.itemsize, f"weights('{projection}'): {n} synapses")
    shown = simulation.engine.show_weights().get(id(table))
    records = np.concatenate([np.empty(0, digest.SYNAPSE), *digest.hash_synapses(comm, table, span, shown)])
    records = records if comm is None else comm.bcast(records)
    return {name: np.ascontiguousarray(records[name]) for name in ("source", "target", "delay", "weight")}


def set_weights(simulation: Watched, projection: str, given: object) -> None:
    """Collective: set the weights of a projection, in the order of `get`, the same values on all ranks."""
    table, span = _find_span(simulation, projection)
    here, item, comm = f"set_weights('{projection}')", span.projection, simulation.exchange.comm
    synapses, waiting = get_weights(simulation, projection), simulation.engine.show_weights()
    with collectives.share_errors(comm):
        if item.rewire is not None:
            raise InputError(f"{here}: its synapses move, and their weights with them")
        if item.feedback in ("symmetric", "adaptive"):
            raise InputError(f"{here}: feedback = '{item.feedback}' follows the weights of the readouts")
        if waiting:
            raise StateError(f"{here}: in the spike variant synapses wait with changes: set weights before it learns")
        weight = _check(simulation, here, span, synapses, given)
    shape = item.pre.size, int(synapses["delay"].max(initial=0)) + 1
    keys = number_synapses(synapses["source"], synapses["target"], synapses["delay"], shape)
    source, target, delay, index = table.list_columns(span)
    own = number_synapses(source, target, delay, shape)
    simulation.engine.set_weights(table, index, weight[find_equal(own, keys)])
    simulation.network.following.copy_weights()


def hash_weights(values: object) -> str:
    """Return a digest of weights, by which ranks compare their arguments."""
    if not isinstance(values, np.ndarray | list | tuple):
        return quote(values)
    try:
        return hashlib.blake2b(np.array(values, float).tobytes(), digest_size=8).hexdigest()
    except (TypeError, ValueError):
        return quote(values)


def _find_span(simulation: Watched, projection: object) -> tuple[SynapseTable, ProjectionSlice]:
    known = {span.projection.name: (table, span) for table, span in digest.list_tables(simulation.network)}
    if not isinstance(projection, str) or projection not in known:
        raise InputError(f"weights: no projection {quote(projection)}{suggest_name(str(projection), list(known))}")
    return known[projection]


def _check(
    simulation: Watched, here: str, span: ProjectionSlice, synapses: dict[str, np.ndarray], values: object
) -> np.ndarray:
    """Return checked weights, float64 (n_synapses,)."""
    try:
        weight = np.array(values, float)
    except (TypeError, ValueError):
        raise InputError(f"{here}: {quote(values)} must be numbers") from None
    n, item = len(synapses["weight"]), span.projection
    if weight.shape != (n,):
        raise InputError(f"{here}: the weights have shape {weight.shape}, must be ({n},), one for each synapse")
    if not np.all(np.isfinite(weight)):
        raise InputError(f"{here}: weight {weight[~np.isfinite(weight)][0]} must be finite")
    rule = item.optimizer or simulation.model.optimizer
    outside = weight[(weight < rule.Wmin) | (weight > rule.Wmax)] if item.plastic else weight[:0]
    if len(outside):
        raise InputError(f"{here}: weight {outside[0]:g} must lie in Wmin = {rule.Wmin:g} to Wmax = {rule.Wmax:g}")
    if item.keeps_signs and item.signs is not None:
        check_weights(item.signs, synapses["source"], weight, item.requires_positive, here)
    return weight

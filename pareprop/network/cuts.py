"""Which neurons each rank has: ids are cut where the expected cost is equal.

The cost of a neuron is that of its steps and of the spikes that arrive at its synapses. Results do not depend on cuts.
"""

from __future__ import annotations

import os

import numpy as np

from ..errors import InputError, quote
from ..parallel.partition import firsts
from .connectivity import RULES, Population, Projection
from .model import Model
from .sharing import RATE, count_sharing
from .sharing import VARIABLE as SHARE_ABOVE

VARIABLE = "PAREPROP_CUTS"  # a cut of one's own: for tests
STEP, EVENT = 10_000, 4_000  # picoseconds of a step of a neuron, and of an arrival at a synapse that learns
CHUNK = 2**18  # neurons whose costs are held at a time


def cut(model: Model, size: int) -> np.ndarray:
    """Return the first neuron of each rank, and the number of all: int64 (size + 1,), the same on all ranks.

    Parameters
    ----------
    model : Model
        The whole network.
    size : int
        Number of ranks.

    Raises
    ------
    InputError
        If PAREPROP_CUTS does not name the first neuron of each rank but the first one, ascending; or if the ranks do
        not share the network.
    """
    n, n_sharing, given = model.size("recurrent"), count_sharing(model, size), os.environ.get(VARIABLE)
    if given and n_sharing < size:
        raise InputError(f"{VARIABLE} = {quote(given)}: one rank has this small network; {SHARE_ABOVE}=0 shares it")
    if given:
        return _parse(given, n, size)
    if not n or n_sharing == 1:
        return firsts(n, size, 1)
    groups = model.of_role("recurrent")
    chunks = [(group, low, min(low + CHUNK, group.size)) for group in groups for low in range(0, group.size, CHUNK)]
    return cut_equally([_costs(model, *chunk) for chunk in chunks], [high - low for _, low, high in chunks], size)


def cut_equally(costs: list[np.ndarray], lengths: list[int], size: int) -> np.ndarray:
    """Cut ids so that costs are as equal as whole neurons allow.

    Parameters
    ----------
    costs : list of np.ndarray
        int64 (length,) each, above 0, costs of the neurons of a chunk; (1,) if they all cost the same.
    lengths : list of int
        Neurons of each chunk.
    size : int
        Number of ranks.

    Returns
    -------
    np.ndarray
        int64 (size + 1,), first neuron of each rank, and the number of all; equal blocks for equal costs.
    """
    totals = [int(cost.sum()) * (length if len(cost) == 1 else 1) for cost, length in zip(costs, lengths, strict=True)]
    ends, ids = np.cumsum([0, *totals]), np.cumsum([0, *lengths])
    ranks = np.arange(size)
    share, left = divmod(int(ends[-1]), size)
    wanted = share * ranks + left * ranks // size  # total * rank // size, which could overflow
    places = np.searchsorted(ends, wanted, side="right") - 1
    bounds = np.full(size + 1, ids[-1], np.int64)
    for k in np.unique(places).tolist():
        first, last = np.searchsorted(places, [k, k + 1])
        rest, cost = wanted[first:last] - ends[k], costs[k]
        inside = rest // cost[0] if len(cost) == 1 else np.searchsorted(np.cumsum(cost), rest, side="right")
        bounds[first:last] = ids[k] + inside
    return bounds


def _costs(model: Model, group: Population, low: int, high: int) -> np.ndarray:
    """Return what neurons [low, high) of a population cost in a step: int64 (high - low,), or (1,) for one cost."""
    cost: np.ndarray = np.array([STEP * (1 + _states(group))], np.int64)
    for item in model.projections:
        if item.post is group and item.pre.role in ("input", "recurrent"):
            rate = _rate(item) * model.dt_ms / 1000.0
            indegrees = RULES[item.rule].indegrees(model.seed, item, low, high)
            cost = cost + np.rint(EVENT * rate * indegrees).astype(np.int64)
    return cost[:1] if np.all(cost == cost[0]) else cost


def _states(group: Population) -> float:
    """Return how many further steps a step of a neuron is worth, by its state variables."""
    definition = getattr(group.params, "definition", None)
    return 0 if definition is None else len(definition.states) // 2


def _rate(item: Projection) -> float:
    """Return the expected rate of the sources of a projection in Hz."""
    target = getattr(item.pre.params, "f_target", None) if item.pre.role == "recurrent" else None
    return float(target) if isinstance(target, int | float) else RATE


def _parse(text: str, n: int, size: int) -> np.ndarray:
    parts = text.split(",") if size > 1 else []
    if not all(part.strip().isdecimal() for part in parts) or len(parts) != size - 1:
        raise InputError(f"{VARIABLE} = {quote(text)} must name the first neuron of each of {size} ranks but the first")
    bounds = np.array([0, *map(int, parts), n])
    if np.any(np.diff(bounds) < 0):
        raise InputError(f"{VARIABLE} = {quote(text)} must ascend from 0 to {n}, the number of neurons")
    return bounds

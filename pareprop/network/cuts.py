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

BALANCE = 1.1  # times the mean that a node may cost, so that cuts between nodes fall where delays are long
LONGEST = 256  # steps between meetings of nodes, whose sums for readouts are kept until then
VARIABLE = "PAREPROP_CUTS"  # a cut of one's own: for tests
CHUNK = 2**18  # neurons whose costs are held at a time


def cut(model: Model, size: int, nodes: np.ndarray | None = None) -> np.ndarray:
    """Return the first neuron of each rank, and the number of all: int64 (size + 1,), the same on all ranks.

    Nodes are cut at ends of populations where that makes the shortest delay between nodes longer, and at ends of areas,
    as long as no node costs more than `BALANCE` times the mean; delays count more.

    Parameters
    ----------
    model : Model
        The whole network.
    size : int
        Number of ranks.
    nodes : np.ndarray or None
        int64 (n_nodes + 1,), first rank of each node, and the number of ranks; None: one node.

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
    costs, lengths = _list_costs(model)
    bounds = cut_equally(costs, lengths, size)
    places = None if nodes is None else _cut_nodes(model, costs, lengths, bounds, nodes)
    if nodes is None or places is None:
        return bounds
    parts = [
        cut_equally(costs[low:high], lengths[low:high], ranks)[:-1] + sum(lengths[:low])
        for low, high, ranks in zip(places[:-1], places[1:], np.diff(nodes).tolist(), strict=True)
    ]
    return np.concatenate([*parts, bounds[-1:]])


def unit_costs(model: Model) -> tuple[int, int]:
    """Return picoseconds of a step of a neuron, and of an arrival at a synapse."""
    return round(1e12 * model.eprop.step_seconds), round(1e12 * model.eprop.event_seconds)


def is_given() -> bool:
    """Return whether PAREPROP_CUTS says which neurons each rank has."""
    return bool(os.environ.get(VARIABLE))


def cost_of_rank(model: Model, bounds: np.ndarray) -> np.ndarray:
    """Return what a step costs each rank, in picoseconds: int64 (n_ranks,).

    Parameters
    ----------
    model : Model
        The whole network.
    bounds : np.ndarray
        int64 (n_ranks + 1,), first neuron of each rank, and the number of all.
    """
    costs, lengths = _list_costs(model)
    ids = np.cumsum([0, *lengths])
    below = np.zeros(len(bounds), np.int64)  # cost of all neurons before
    for cost, first, length in zip(costs, ids[:-1], lengths, strict=True):
        n = np.clip(bounds - first, 0, length)
        below += n * cost[0] if len(cost) == 1 else np.concatenate(([0], np.cumsum(cost)))[n]
    return np.diff(below)


def _list_costs(model: Model) -> tuple[list[np.ndarray], list[int]]:
    """Return costs and numbers of neurons of all chunks of ids, as of `cut_equally`."""
    groups = model.of_role("recurrent")
    chunks = [(group, low, min(low + CHUNK, group.size)) for group in groups for low in range(0, group.size, CHUNK)]
    return [_costs(model, *chunk) for chunk in chunks], [high - low for _, low, high in chunks]


def round_steps(
    model: Model, n_steps: int, nodes: np.ndarray | None = None, bounds: np.ndarray | None = None
) -> tuple[int, int]:
    """Return after how many steps the ranks of a node must meet, and after how many nodes must.

    Ranks meet every shortest delay of the spikes between them. In the spike variant they also meet in time for learning
    signals, which all ranks make of sums that come from all: so delays to and from readouts bound both.

    Parameters
    ----------
    model : Model
        The whole network.
    n_steps : int
        Steps of a sample.
    nodes : np.ndarray or None
        int64 (n_nodes + 1,), first rank of each node, and the number of ranks; None: one node.
    bounds : np.ndarray or None
        int64 (n_ranks + 1,), first neuron of each rank, and the number of all.
    """
    most = min(_signal_delay(model), n_steps)
    within = int(min(model.min_delay("recurrent") or n_steps, most))
    if nodes is None or bounds is None:
        return within, within
    return within, int(max(within, min(_delay_between(model, bounds[nodes]), most, LONGEST)))


def _signal_delay(model: Model) -> float:
    """Return the shortest delay to or from readouts whose errors are learned from within a sample."""
    items = [item for item in model.projections if "readout" in (item.pre.role, item.post.role) and not item.is_empty]
    return min((item.delay_range[0] for item in items if model.eprop.is_online), default=np.inf)


def _spans(model: Model) -> list[tuple[int, int, int]]:
    """Return shortest delay, first and last population of each projection among neurons."""
    groups = model.of_role("recurrent")
    items = [item for item in model.projections if item.pre in groups and item.post in groups and not item.is_empty]
    pairs = [(groups.index(item.pre), groups.index(item.post)) for item in items]
    return [(item.delay_range[0], min(pair), max(pair)) for item, pair in zip(items, pairs, strict=True)]


def _delay_between(model: Model, firsts: np.ndarray) -> float:
    """Return the shortest delay of a projection that may cross nodes, whose first neurons are given, and their end."""
    ends = np.cumsum([0, *(group.size for group in model.of_role("recurrent"))])
    low, high = (np.searchsorted(firsts, ids, side="right") for ids in (ends[:-1], ends[1:] - 1))
    return min((delay for delay, first, last in _spans(model) if low[first] != high[last]), default=np.inf)


def _cut_nodes(
    model: Model, costs: list[np.ndarray], lengths: list[int], bounds: np.ndarray, nodes: np.ndarray
) -> np.ndarray | None:
    """Return the first chunk of each node, and the number of all, None if equal cuts are as good."""
    before, most = _delay_between(model, bounds[nodes]), _signal_delay(model)
    groups, spans = model.of_role("recurrent"), _spans(model)
    cost = np.cumsum([0, *(_total(*chunk) for chunk in zip(costs, lengths, strict=True))])
    first_chunk = np.searchsorted(np.cumsum([0, *lengths]), np.cumsum([0, *(group.size for group in groups)]))
    ends = cost[first_chunk]  # of populations
    wanted = ends[-1] * (nodes / nodes[-1])
    of_areas = {k for k in range(1, len(groups)) if groups[k].area and groups[k].area == groups[k - 1].area}
    delays = sorted({np.inf, *(delay for delay, *_ in spans if delay > before)}, reverse=True) if before < most else []
    tries = [(delay, areas) for delay in delays for areas in ([of_areas, set()] if of_areas else [set()])]
    if any(group.area for group in groups):
        tries.append((0, of_areas))
    for delay, areas in tries:
        inside = areas | {k for shorter, low, high in spans if shorter < delay for k in range(low + 1, high + 1)}
        allowed = np.array([k for k in range(len(ends)) if k not in inside])
        nearest = allowed[np.argmin(np.abs(ends[allowed] - wanted[:, None]), axis=1)]
        if np.all(np.diff(ends[nearest]) <= BALANCE * ends[-1] * np.diff(nodes) / nodes[-1]):
            return first_chunk[nearest]
    return None


def _total(cost: np.ndarray, length: int) -> int:
    """Return the cost of the neurons of a chunk."""
    return int(cost.sum()) * (length if len(cost) == 1 else 1)


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
    if not lengths:
        return np.zeros(size + 1, np.int64)
    totals = [_total(*chunk) for chunk in zip(costs, lengths, strict=True)]
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
    step, event = unit_costs(model)
    cost: np.ndarray = np.array([step * (1 + _states(group))], np.int64)
    for item in model.projections:
        if item.post is group and item.pre.role in ("input", "recurrent"):
            rate = _rate(model, item) * model.dt_ms / 1000.0
            indegrees = RULES[item.rule].indegrees(model.seed, item, low, high)
            cost = cost + np.rint(event * rate * indegrees).astype(np.int64)
    return cost[:1] if np.all(cost == cost[0]) else cost


def _states(group: Population) -> float:
    """Return how many further steps a step of a neuron is worth, by its state variables."""
    definition = getattr(group.params, "definition", None)
    return 0 if definition is None else len(definition.states) // 2


def _rate(model: Model, item: Projection) -> float:
    """Return the expected rate of the sources of a projection in Hz: measured, else the one that they should have."""
    if item.pre.name in model.rates_hz:
        return model.rates_hz[item.pre.name]
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

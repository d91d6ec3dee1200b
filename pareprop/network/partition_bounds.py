"""Choose the neurons of each rank so that all ranks cost the same, see `costs`; results do not depend on it."""

from __future__ import annotations

import os

import numpy as np

from ..errors import InputError, quote
from ..parallel.partition import list_first_ids
from .costs import TableCosts, list_costs, sum_cost, sum_costs
from .model import Model
from .sharing import VARIABLE as SHARE_ABOVE
from .sharing import count_sharing

BALANCE = 1.1  # a node may cost this times the mean, if its bounds then cross only long delays
LONGEST = 256  # most steps between exchanges of nodes, for which sums for readouts are stored
VARIABLE = "PAREPROP_CUTS"  # environment variable that sets the bounds, for tests
UNEQUAL = 1.005  # neurons are partitioned again while a rank costs more than this times the mean
TRIES = 16  # most partitions that are tried


def choose_bounds(model: Model, size: int, nodes: np.ndarray | None = None) -> np.ndarray:
    """Return the partition bounds, int64 (size + 1,), the same on all ranks: each rank's first neuron, and the number
    of all.

    Bounds of nodes are placed at ends of populations if that makes the shortest delay between nodes longer, and at ends
    of areas, as long as no node costs more than `BALANCE` times the mean; delays have priority. `size` is the number of
    ranks; `nodes` has the first rank of each node, and the number of ranks, int64 (n_nodes + 1,); None: one node.
    Raises an `InputError` if PAREPROP_CUTS does not name the first neuron of each rank after the first, ascending, or
    if the ranks do not share the network.
    """
    n, n_sharing, given = model.size("recurrent"), count_sharing(model, size), os.environ.get(VARIABLE)
    if given and n_sharing < size:
        raise InputError(f"{VARIABLE} = {quote(given)}: one rank has this small network; {SHARE_ABOVE}=0 shares it")
    if given:
        return _parse_bounds(given, n, size)
    if not n or n_sharing == 1:
        return list_first_ids(n, size, 1)
    (costs, lengths), tables = list_costs(model), TableCosts(model)
    bounds = _choose_even_bounds(tables, costs, lengths, size)
    places = None if nodes is None else _choose_node_bounds(model, costs, lengths, bounds, nodes)
    if nodes is None or places is None:
        return bounds
    parts = [
        _choose_even_bounds(tables, costs[low:high], lengths[low:high], ranks, sum(lengths[:low]))[:-1]
        for low, high, ranks in zip(places[:-1], places[1:], np.diff(nodes).tolist(), strict=True)
    ]
    return np.concatenate([*parts, bounds[-1:]])


def has_given_bounds() -> bool:
    """Return whether PAREPROP_CUTS sets the partition bounds."""
    return bool(os.environ.get(VARIABLE))


def count_round_steps(
    model: Model, n_steps: int, nodes: np.ndarray | None = None, bounds: np.ndarray | None = None
) -> tuple[int, int]:
    """Return the steps between exchanges of the ranks of a node, and between exchanges of nodes.

    Spikes are exchanged once per shortest delay between ranks. In the spike variant, learning signals are sums over all
    ranks, so that delays to and from readouts bound both numbers. `n_steps` is the number of steps of a sample; `nodes`
    and `bounds` have the first rank of each node and the first neuron of each rank, then the number of all.
    """
    most = min(_find_signal_delay(model), n_steps)
    within = int(min(model.min_delay("recurrent") or n_steps, most))
    if nodes is None or bounds is None:
        return within, within
    return within, int(max(within, min(_find_delay_between(model, bounds[nodes]), most, LONGEST)))


def _find_signal_delay(model: Model) -> float:
    """Return the shortest delay to or from readouts; infinity in the interval variant, which learns after samples."""
    items = [item for item in model.projections if "readout" in (item.pre.role, item.post.role) and not item.is_empty]
    return min((item.delay_range[0] for item in items if model.eprop.is_online), default=np.inf)


def _list_spans(model: Model) -> list[tuple[int, int, int]]:
    """Return for each projection among neurons the shortest delay, and the indices of its populations, lower first."""
    places = {group.name: k for k, group in enumerate(model.of_role("recurrent"))}
    named = [item for item in model.projections if item.pre.name in places and item.post.name in places]
    items = [item for item in named if not item.is_empty]
    pairs = [(places[item.pre.name], places[item.post.name]) for item in items]
    return [(item.delay_range[0], min(pair), max(pair)) for item, pair in zip(items, pairs, strict=True)]


def _find_delay_between(model: Model, firsts: np.ndarray) -> float:
    """Return the shortest delay of projections that may cross nodes; `firsts` are the first neurons of nodes."""
    ends = np.cumsum([0, *(group.size for group in model.of_role("recurrent"))])
    low, high = (np.searchsorted(firsts, ids, side="right") for ids in (ends[:-1], ends[1:] - 1))
    return min((delay for delay, first, last in _list_spans(model) if low[first] != high[last]), default=np.inf)


def _choose_node_bounds(
    model: Model, costs: list[np.ndarray], lengths: list[int], bounds: np.ndarray, nodes: np.ndarray
) -> np.ndarray | None:
    """Return the first chunk of each node, and the number of chunks; None if equal parts are as good."""
    before, most = _find_delay_between(model, bounds[nodes]), _find_signal_delay(model)
    groups, spans = model.of_role("recurrent"), _list_spans(model)
    cost = np.cumsum([0, *(sum_cost(*chunk) for chunk in zip(costs, lengths, strict=True))])
    first_chunk = np.searchsorted(np.cumsum([0, *lengths]), np.cumsum([0, *(group.size for group in groups)]))
    ends = cost[first_chunk]  # costs of all neurons before each population
    wanted = ends[-1] * (nodes / nodes[-1])
    of_areas = {k for k in range(1, len(groups)) if groups[k].area and groups[k].area == groups[k - 1].area}
    across = np.full(len(ends), np.inf)  # shortest delay between the populations before each one and from it on
    for shortest, low, high in spans:
        across[low + 1 : high + 1] = np.minimum(across[low + 1 : high + 1], shortest)
    delays = sorted({np.inf, *(delay for delay, *_ in spans if delay > before)}, reverse=True) if before < most else []
    tries = [(delay, areas) for delay in delays for areas in ([of_areas, set()] if of_areas else [set()])]
    if any(group.area for group in groups):
        tries.append((0, of_areas))
    for delay, areas in tries:
        allowed = np.array([k for k in range(len(ends)) if across[k] >= delay and k not in areas])
        nearest = allowed[np.argmin(np.abs(ends[allowed] - wanted[:, None]), axis=1)]
        if np.all(np.diff(ends[nearest]) <= BALANCE * ends[-1] * np.diff(nodes) / nodes[-1]):
            return first_chunk[nearest]
    return None


def _choose_even_bounds(
    tables: TableCosts, costs: list[np.ndarray], lengths: list[int], size: int, first: int = 0
) -> np.ndarray:
    """Choose bounds of neurons from `first` on so that ranks cost the same, including synapse tables.

    The cost of tables depends on the bounds, so bounds are chosen again with the costs at the last bounds.
    """
    ids, whole = np.cumsum([first, *lengths]), sum(sum_cost(*chunk) for chunk in zip(costs, lengths, strict=True))
    bounds = best = first + choose_equal_bounds(costs, lengths, size)
    least, expected = np.inf, np.zeros(size, np.int64)
    for k in range(TRIES):
        added = tables.estimate_ranks(bounds)
        each = sum_costs(costs, ids, bounds) + added
        if each.max() < least:
            best, least = bounds, each.max()
        if each.max() * size <= UNEQUAL * int(each.sum()):
            break
        expected = (
            added if k == 0 else (expected + added) // 2
        )  # a mean, or else the same neurons would move back and forth
        shares = np.maximum((whole + int(expected.sum())) // size - expected, 0)
        bounds = first + choose_equal_bounds(costs, lengths, size, shares)
    return best


def choose_equal_bounds(
    costs: list[np.ndarray], lengths: list[int], size: int, shares: np.ndarray | None = None
) -> np.ndarray:
    """Return the first neuron of each rank, and the number of all, so that costs are as equal as whole neurons allow.

    `costs` are int64 (length,) for each chunk, above 0, or (1,) if its neurons cost the same; `lengths` are the neurons
    of each chunk. `shares` int64 (size,), of at least 0 and some above 0, are the ranks' parts in proportion (None:
    equal). Equal costs give equal blocks.
    """
    if not lengths:
        return np.zeros(size + 1, np.int64)
    totals = [sum_cost(*chunk) for chunk in zip(costs, lengths, strict=True)]
    ends, ids = np.cumsum([0, *totals]), np.cumsum([0, *lengths])
    ranks = np.arange(size)
    share, left = divmod(int(ends[-1]), size)
    wanted = share * ranks + left * ranks // size  # is total * rank // size, without overflow
    if shares is not None:
        before = np.cumsum(shares)
        wanted = np.concatenate(([0], (before[:-1] * (int(ends[-1]) / before[-1])).astype(np.int64)))
    places = np.minimum(np.searchsorted(ends, wanted, side="right") - 1, len(costs) - 1)
    bounds = np.full(size + 1, ids[-1], np.int64)
    for k in np.unique(places).tolist():
        first, last = np.searchsorted(places, [k, k + 1])
        rest, cost = wanted[first:last] - ends[k], costs[k]
        inside = rest // cost[0] if len(cost) == 1 else np.searchsorted(np.cumsum(cost), rest, side="right")
        bounds[first:last] = ids[k] + inside
    return bounds


def _parse_bounds(text: str, n: int, size: int) -> np.ndarray:
    parts = text.split(",") if size > 1 else []
    if not all(part.strip().isdecimal() for part in parts) or len(parts) != size - 1:
        raise InputError(f"{VARIABLE} = {quote(text)} must name the first neuron of each of {size} ranks but the first")
    bounds = np.array([0, *map(int, parts), n])
    if np.any(np.diff(bounds) < 0):
        raise InputError(f"{VARIABLE} = {quote(text)} must ascend from 0 to {n}, the number of neurons")
    return bounds

"""Estimate the cost of a time step on each rank: the sum over its neurons, and the cost of its synapse tables."""

from __future__ import annotations

import itertools

import numpy as np

from .. import elementary
from ..machine import CACHE
from .connectivity import RULES, Population, Projection
from .model import Model
from .sharing import RATE
from .synapse_table import count_spread_steps

CHUNK = 2**18  # neurons whose costs are held at a time
NEAR = 40_000  # bytes of arrived input, about, that stay in a core's first cache


def estimate_rank_costs(model: Model, *cuts: np.ndarray) -> list[np.ndarray]:
    """Return the cost of a step on each rank for each of several partitions, in picoseconds: int64 (n_ranks,).

    `cuts` are int64 (n_ranks + 1,): the first neuron of each rank, and the number of neurons.
    """
    costs, lengths = list_costs(model)
    ids, tables = np.cumsum([0, *lengths]), TableCosts(model)
    return [sum_costs(costs, ids, bounds) + tables.estimate_ranks(bounds) for bounds in cuts]


def sum_costs(costs: list[np.ndarray], ids: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return the cost of the neurons of each rank: rank k has neurons `bounds[k]` to `bounds[k + 1]`.

    `costs[k]` holds the costs of neurons `ids[k]` to `ids[k + 1]`: one for each, or one for all.
    """
    lengths = np.diff(ids).tolist()
    below = np.cumsum([0, *(sum_cost(cost, length) for cost, length in zip(costs, lengths, strict=True))])
    chunks = np.clip(np.searchsorted(ids, bounds, side="right") - 1, 0, len(costs) - 1)
    inside = np.array([cost[0] for cost in costs])[chunks] * (bounds - ids[chunks])
    for k in [k for k, cost in enumerate(costs) if len(cost) > 1]:
        first, last = np.searchsorted(chunks, [k, k + 1])
        inside[first:last] = np.concatenate(([0], np.cumsum(costs[k])))[bounds[first:last] - ids[k]]
    return np.diff(below[chunks] + inside)


class TableCosts:
    """Costs of a model's synapse tables on each rank.

    A spike opens one row of each projection in which its source has targets on the rank, however many. Synapses come
    from memory if the table exceeds the cache, and so do targets if there are many.
    """

    def __init__(self, model: Model) -> None:
        self._model, groups = model, model.of_role("recurrent")
        onto: dict[str, list[tuple[float, float, float]]] = {group.name: [] for group in groups}
        for item in model.projections:
            if item.post.role == "recurrent" and item.pre.role in ("input", "recurrent") and not item.is_empty:
                shortest, longest = item.delay_range
                places = item.pre.size * (1 if count_spread_steps(model, item) else longest - shortest + 1)
                arrivals = _find_rate(model, item) * model.dt_ms / 1000.0
                onto[item.post.name].append((arrivals, places, RULES[item.rule].compute_indegree(item)))
        self._ends = np.cumsum([0, *(group.size for group in groups)])
        self._onto = [np.array(part).reshape(-1, 3, 1).swapaxes(0, 1) for part in onto.values()]

    def estimate_ranks(self, bounds: np.ndarray) -> np.ndarray:
        """Return the cost of a step on each rank without its neurons, in picoseconds: int64 (n_ranks,)."""
        costs, size = self._model.eprop.costs, len(bounds) - 1
        rows, synapses, events = np.zeros(size), np.zeros(size), np.zeros(size)
        low = np.searchsorted(bounds, self._ends[:-1], side="right") - 1
        high = np.searchsorted(bounds, self._ends[1:], side="left")
        for k in np.flatnonzero(low < high).tolist():  # the ranks that have neurons of the population
            mine = slice(max(low[k], 0), min(high[k], size))
            arrivals, places, indegrees = self._onto[k]
            ids = np.clip(bounds[mine.start : mine.stop + 1], *self._ends[k : k + 2])
            here = np.diff(ids) * indegrees
            rows[mine] += elementary.total_rows((arrivals * places * (1.0 - elementary.exp(-here / places))).T)
            synapses[mine] += elementary.total_rows(here.T)
            events[mine] += elementary.total_rows((arrivals * here).T)
        cold = np.maximum(0.0, 1.0 - CACHE / np.maximum(synapses * self._model.eprop.event_bytes, 1.0))
        numbers = np.diff(bounds) * np.dtype(self._model.kernels.real).itemsize
        far = np.maximum(0.0, 1.0 - NEAR / np.maximum(numbers, 1))
        return np.rint(costs.row * rows + (costs.cold_event * cold + costs.far_event * far) * events).astype(np.int64)


def list_costs(model: Model) -> tuple[list[np.ndarray], list[int]]:
    """Return the costs and lengths of all chunks of neurons, in the form of `choose_equal_bounds`."""
    costs, lengths = [], []
    of_group: dict[str, list[Projection]] = {group.name: [] for group in model.of_role("recurrent")}
    for item in model.projections:
        if (group := item.pre if item.post.role == "readout" else item.post).name in of_group:
            of_group[group.name].append(item)
    for group in model.of_role("recurrent"):
        offset = int(model.offset(group))
        places, times = model.load_factors or (np.zeros(1, np.int64), np.ones(1))
        inner = [place - offset for place in places.tolist() if 0 < place - offset < group.size]
        for low, high in itertools.pairwise(sorted({*range(0, group.size, CHUNK), *inner, group.size})):
            factor = times[np.searchsorted(places, offset + low, side="right") - 1]
            cost = _estimate_costs(model, group, of_group[group.name], low, high)
            costs.append(np.maximum(np.rint(factor * cost), 1).astype(np.int64))
            lengths.append(high - low)
    return costs, lengths


def sum_cost(cost: np.ndarray, length: int) -> int:
    """Return the cost of the neurons of a chunk."""
    return int(cost.sum()) * (length if len(cost) == 1 else 1)


def _estimate_costs(model: Model, group: Population, items: list[Projection], low: int, high: int) -> np.ndarray:
    """Return the costs of neurons [low, high) of a population in a step: int64 (high - low,), or (1,) for one cost.

    `items` are the projections onto the population, and from it onto readouts.
    """
    costs = model.eprop.costs
    cost: np.ndarray = np.array([costs.step * (1 + _count_extra_steps(group))], np.int64)
    for item in items:
        if item.post.role == "recurrent" and item.pre.role in ("input", "recurrent"):
            rate = _find_rate(model, item) * model.dt_ms / 1000.0
            indegrees = RULES[item.rule].list_indegrees(model.seed, item, low, high)
            cost = cost + np.rint(costs.event * rate * indegrees).astype(np.int64)
        elif item.pre.role == "readout":
            cost = cost + round(costs.signal * RULES[item.rule].compute_indegree(item))
        elif item.post.role == "readout":
            outdegree = RULES[item.rule].compute_indegree(item) * item.post.size / group.size
            cost = cost + round(costs.readout_event * _find_rate(model, item) * model.dt_ms / 1000.0 * outdegree)
    return cost[:1] if np.all(cost == cost[0]) else cost


def _count_extra_steps(group: Population) -> int:
    """Return the cost of further state variables of a neuron in a step, in steps of a plain neuron."""
    definition = getattr(group.params, "definition", None)
    return 0 if definition is None else len(definition.states) // 2


def _find_rate(model: Model, item: Projection) -> float:
    """Return the expected rate of a projection's sources in Hz: the measured rate, else the target, else `RATE`."""
    if item.pre.name in model.rates_hz:
        return model.rates_hz[item.pre.name]
    target = getattr(item.pre.params, "f_target", None) if item.pre.role == "recurrent" else None
    return float(target) if isinstance(target, int | float) else RATE

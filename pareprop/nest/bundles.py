"""All connections of a network: their values at any time, and an index to find some of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from operator import attrgetter

import numpy as np

from ..arrays import list_ranges
from ..values import AnyValue, Values
from .connections import AMONG_NEURONS, TO_RECORDERS, Bundle

ENDS = attrgetter("source"), attrgetter("target")
SMALL = 1000  # connections; bundles below are joined to one
Level = tuple[np.ndarray, np.ndarray, np.ndarray]  # node, bundle, place; by node


class Bundles(list[Bundle]):
    """Bundles in the order in which they were made.

    Attributes
    ----------
    n : int
        Number of connections.
    n_of_model : Counter
        Number of connections by name of the synapse model.
    delays : tuple of int or None
        Smallest and largest delay in steps; None without connections.
    is_range_set : bool
        Whether the script has set them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.n, self.n_of_model = 0, Counter[str]()
        self.delays: tuple[int, int] | None = None
        self.is_range_set = False
        self._n_joined = 0
        self._numbered = (0, 0)
        self._ports = np.zeros(0, np.int64)
        self._indices = tuple(ConnectionIndex(end) for end in ENDS)

    def append(self, bundle: Bundle) -> None:
        """Add a bundle that is not empty."""
        super().append(bundle)
        self.n += len(bundle)
        self.n_of_model[bundle.model.name] += len(bundle)
        self.note_delays(bundle)

    def note_delays(self, bundle: Bundle) -> None:
        """Widen the range of delays by the delays of a bundle."""
        low, high = bundle.delays
        if self.delays is None:
            self.delays = low, high
        elif not self.is_range_set:
            self.delays = min(low, self.delays[0]), max(high, self.delays[1])

    def join_small_bundles(self) -> None:
        """Join the new small bundles of a model, so that connections made one by one are found and wired as one bundle.

        Connections of one model and table stay in their order; bundles that were settled before stay where they are.
        """
        joined: list[list[Bundle]] = []
        open_: dict[tuple[str, int, bool], list[Bundle]] = {}
        for bundle in self[self._n_joined :]:
            key = bundle.model.name, bundle.table, bundle.records
            if len(bundle) >= SMALL or (key in open_ and open_[key][0].receptor != bundle.receptor):
                open_.pop(key, None)
            if key in open_:
                open_[key].append(bundle)
                continue
            joined.append([bundle])
            if len(bundle) < SMALL:
                open_[key] = joined[-1]
        self[self._n_joined :] = [_join_bundles(members) for members in joined]
        self._n_joined = len(self)

    def find_connections(
        self, source: np.ndarray | None, target: np.ndarray | None, model: str | None, models: Iterable[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find connections between nodes.

        `source` and `target` are int64 ids, `model` is the name of a synapse model; None stands for all. `models` has
        the names of all models, in their order. Returns bundles and indices in them, int64 (n,) each, sorted by model,
        NEST's table, source and target, then by age.
        """
        self.join_small_bundles()
        chosen = [ids if ids is None or len(ids) == 1 else np.unique(ids) for ids in (source, target)]
        sizes = [np.inf if ids is None else len(ids) for ids in chosen]
        key = int(sizes[1] < sizes[0])
        bundle, place = self._indices[key].find_connections(self, chosen[key])
        other = chosen[1 - key]
        if other is not None and len(bundle):
            kept = _is_in(self._gather_values(bundle, place, ENDS[1 - key]), other)
            bundle, place = bundle[kept], place[kept]
        if len(bundle) < 2:
            mine = model is None or all(self[index].model.name == model for index in bundle.tolist())
            return (bundle, place) if mine else (bundle[:0], place[:0])
        ranks = {name: rank for rank, name in enumerate(models)}
        here, inverse = np.unique(bundle, return_inverse=True)
        keys = [(self[index].model.name, self[index].table) for index in here.tolist()]
        rank = np.array([3 * ranks[name] + table if model in (None, name) else -1 for name, table in keys], np.int64)[
            inverse
        ]
        source, target = (self._gather_values(bundle, place, end) for end in ENDS)
        order = np.lexsort((place, bundle, target, source, rank))
        order = order[np.searchsorted(rank[order], 0) :]
        return bundle[order], place[order]

    def list_ports(self, bundle: np.ndarray, place: np.ndarray, n_processes: int) -> np.ndarray:
        """Return NEST's ports: numbers of connections within their model, table and virtual process.

        `bundle` and `place` are int64 (n,): bundles, and indices of connections in them.
        """
        self.join_small_bundles()
        key = len(self), n_processes
        if self._numbered != key:
            self._ports, self._numbered = self._compute_ports(n_processes), key
        first = np.cumsum([0, *map(len, self)])
        return self._ports[first[bundle] + place]

    def list_owner_nodes(self, bundle: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Return nodes whose virtual process stores connections: targets, or sources if the target is a recorder."""
        node = np.zeros(len(bundle), np.int64)
        for which in np.unique(bundle).tolist():
            mine = bundle == which
            end = ENDS[0] if self[which].table == TO_RECORDERS else ENDS[1]
            node[mine] = end(self[which])[place[mine]]
        return node

    def _compute_ports(self, n_processes: int) -> np.ndarray:
        """Ports of all connections, one bundle after the other."""
        parts = [np.zeros(0, np.int64)] * len(self)
        members: dict[tuple[str, int], list[int]] = {}
        for index, bundle in enumerate(self):
            members.setdefault((bundle.model.name, bundle.table), []).append(index)
        for (_, table), indices in members.items():
            source, target = (np.concatenate([getattr(self[k], end) for k in indices]) for end in ("source", "target"))
            process = target % n_processes
            order = np.lexsort((source, process))
            group = process if table == AMONG_NEURONS else process * (source.max() + 1) + source
            first = np.flatnonzero(np.diff(group[order], prepend=-1))
            number = np.empty(len(order), np.int64)
            number[order] = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
            for k, part in zip(indices, np.split(number, np.cumsum([len(self[k]) for k in indices])[:-1]), strict=True):
                parts[k] = part
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def _gather_values(
        self, bundle: np.ndarray, place: np.ndarray, column: Callable[[Bundle], np.ndarray]
    ) -> np.ndarray:
        """Values of connections, at least one, of several bundles."""
        first = int(bundle[0])
        if len(bundle) == 1 or np.all(bundle == first):
            return column(self[first])[place]
        values = np.zeros(len(bundle), np.int64)
        order = np.argsort(bundle, kind="stable")
        cuts = np.flatnonzero(np.diff(bundle[order])) + 1
        for mine in np.split(order, cuts):
            values[mine] = column(self[int(bundle[mine[0]])])[place[mine]]
        return values


def _join_bundles(members: Sequence[Bundle]) -> Bundle:
    first = members[0]
    if len(members) == 1:
        return first
    sizes = [len(member) for member in members]
    values: Values = {  # a number for all, or one for each
        key: np.concatenate([getattr(member, key) for member in members]) for key in ("source", "target", "weight")
    }

    def join_values(given: list[AnyValue]) -> AnyValue:
        """Return one number if it is the same for all, else one for each."""
        if all(np.ndim(value) == 0 for value in given) and len(set(given)) == 1:
            return given[0]
        return np.concatenate([np.broadcast_to(value, size) for value, size in zip(given, sizes, strict=True)])

    values["delay"] = join_values([member.delay for member in members])
    values["per_synapse"] = {
        key: join_values([member.per_synapse[key] for member in members]) for key in first.per_synapse
    }
    sources, targets = (np.unique(np.concatenate([member.ends[end] for member in members])) for end in (0, 1))
    return replace(first, **values, ends=(sources, targets))


class ConnectionIndex:
    """Connections by the node at one of their ends, in sorted levels of which each is more than twice the next.

    New bundles make a level when some are looked for, so that both cost little for one connection among many. `end`
    returns the ids at that end of a bundle.
    """

    def __init__(self, end: Callable[[Bundle], np.ndarray]) -> None:
        self._end, self._n = end, 0
        self._levels: list[Level] = []

    def find_connections(self, bundles: Sequence[Bundle], ids: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Bundles and places of connections whose end is among ascending `ids`, or of all."""
        self._add_bundles(bundles)
        levels: list[Level] = []
        for level in self._levels:
            if ids is None:
                levels.append(level)
                continue
            if len(ids) == 1:
                low, high = level[0].searchsorted((ids[0], ids[0] + 1)).tolist()
                levels.append(_take_rows(level, slice(low, high)))
                continue
            first, last = (np.searchsorted(level[0], ids, side=side) for side in ("left", "right"))
            levels.append(_take_rows(level, list_ranges(first, last)))
        _, bundle, place = _join_levels(levels)
        return bundle, place

    def _add_bundles(self, bundles: Sequence[Bundle]) -> None:
        new = bundles[self._n :]
        if not new:
            return
        sizes = np.array([len(bundle) for bundle in new])
        node = np.concatenate([self._end(bundle) for bundle in new])
        which = np.repeat(np.arange(self._n, len(bundles)), sizes)
        place = list_ranges(np.zeros(len(sizes), np.int64), sizes)
        self._levels.append(_sort_level((node, which, place)))
        self._n = len(bundles)
        while len(self._levels) > 1 and len(self._levels[-2][0]) <= 2 * len(self._levels[-1][0]):
            self._levels[-2:] = [_sort_level(_join_levels(self._levels[-2:]))]


def _sort_level(level: Level) -> Level:
    return _take_rows(level, np.argsort(level[0], kind="stable"))


def _take_rows(level: Level, rows: np.ndarray | slice) -> Level:
    node, bundle, place = level
    return node[rows], bundle[rows], place[rows]


def _join_levels(levels: Sequence[Level]) -> Level:
    if not levels:
        return (np.zeros(0, np.int64),) * 3
    if len(levels) == 1:
        return levels[0]
    node, bundle, place = (np.concatenate(column) for column in zip(*levels, strict=True))
    return node, bundle, place


def _is_in(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Whether each value is among ascending ids."""
    if len(ids) < 2:
        return values == ids[0] if len(ids) else np.zeros(len(values), bool)
    return ids[np.minimum(np.searchsorted(ids, values), len(ids) - 1)] == values

"""Read edges of an edge population in chunks: all edges onto a range of targets, or some rows of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..later import h5py
from ..values import Values
from . import hdf5

CHUNK = 2**20  # edges read at a time
MAX_GAP = 2**12  # edges that are read rather than skipped: a further read costs more
MAX_SPREAD = 4  # a group's values are read from first to last if they are at most so many times the needed values
ROWS_PER_READ = 1000  # values that are read at a time otherwise
TOLERANCE = 1e-6  # steps by which a delay may miss a whole number
MAX_DELAY = 2**15  # steps

Covered = Callable[[np.ndarray], np.ndarray | slice]  # from numbers of edges: a selection of those in an index


@dataclass(frozen=True)
class EdgeChunk:
    """Some edges, in the order of the file: node ids and delay in steps, int64 (n,), and weight, float64 (n,)."""

    source: np.ndarray
    target: np.ndarray
    delay: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Edges:
    """An edge population; the edges themselves stay in the file `path`.

    `source` and `target` name the node populations, of sizes `n_sources` and `n_targets`. `index` is the path of the
    index by target, "" if there is none; `groups` hold values of single edges. `types` maps an edge type to weight and
    delay in ms, None where the table has none, and `receptors` to its `receptor_type`; edges without a value get
    `default_weight` and `default_delay`. With `round_delays`, delays are rounded to whole steps of `dt_ms`, at least 1.
    `delays` are all that may occur, int64, in steps, ascending. `transmission` has the parameters of short-term
    plasticity, as of NEST's `tsodyks2_synapse`, or is None.

    `part` selects edges: ("receptor", k) the edges of that type; ("sign", s) the edges with weights of that sign, 0
    counts as positive.
    """

    path: Path
    name: str
    source: str
    target: str
    n_sources: int
    n_targets: int
    n_edges: int
    index: str
    groups: tuple[str, ...]
    types: dict[int, tuple[float | None, float | None]]
    default_weight: float | None
    default_delay: float | None
    dt_ms: float
    round_delays: bool
    delays: np.ndarray = field(default_factory=lambda: np.ones(1, np.int64))
    receptors: dict[int, int] = field(default_factory=dict)
    transmission: Values | None = None
    part: tuple[str, int] | None = None

    def split_by_sign(self) -> dict[int, Edges]:
        """Return the edges of each sign of weights, sign to edges; one entry if all types have weights of one sign."""
        signs = {weight >= 0 for weight, _ in self.types.values() if weight is not None}
        known = not self.groups and len(signs) == 1 and all(weight is not None for weight, _ in self.types.values())
        chosen = signs if known else (True, False)
        return {sign: replace(self, part=("sign", sign)) for sign in (1 if positive else -1 for positive in chosen)}

    def split_by_receptor(self) -> dict[int, Edges]:
        """Return the edges of each receptor type, type to edges."""
        missing = [number for number in self.types if number not in self.receptors]
        if missing or not self.receptors:
            who = f"type {missing[0]} of '{self.name}' has" if missing else f"types of '{self.name}' have"
            raise InputError(f"{self.path}: edge {who} no receptor_type, which its targets need")
        return {number: replace(self, part=("receptor", number)) for number in sorted(set(self.receptors.values()))}

    def read_chunks(self, low: int, high: int, chunk: int = CHUNK) -> Iterator[EdgeChunk]:
        """Yield the edges onto the targets [low, high), at most `chunk` at a time, in the order of the file.

        `InputError` names the file, the edge and the problem.
        """
        if low == high or not self.n_edges:
            return
        with hdf5.open_file(self.path) as file:
            group = file[f"edges/{self.name}"]
            targets = group["target_node_id"]
            ranges, covered = self._find_ranges(group, low, high)
            for first, last in ranges:
                for start in range(first, last, chunk):
                    stop = min(start + chunk, last)
                    target = _read_ids(targets, start, stop, self.n_targets)
                    mine = np.flatnonzero((target >= low) & (target < high))
                    mine = mine[covered(start + mine)]
                    if len(mine):
                        ends = start + mine[0], start + mine[-1] + 1
                        yield self._read_chunk(group, *ends, target[mine], mine - mine[0])

    def count_indegrees(self, low: int, high: int) -> np.ndarray | None:
        """Return the number of edges onto each of the targets [low, high), of all parts: int64; None without an index.

        This is an estimate: edges are not read, and ranges that the file lacks count nothing.
        """
        if not self.index:
            return None
        with hdf5.open_file(self.path) as file:
            nodes, ranges = self._open_index(file[f"edges/{self.name}"])
            lots = hdf5.to_int64(nodes[low : min(high, len(nodes))]).clip(0, len(ranges))
            first, last = int(lots[:, 0].min(initial=len(ranges))), int(lots[:, 1].max(initial=0))
            bounds = hdf5.to_int64(ranges[first : max(first, last)]).clip(0, self.n_edges)
        before = np.concatenate(([0], np.cumsum(np.maximum(bounds[:, 1] - bounds[:, 0], 0))))
        counts = np.zeros(high - low, np.int64)
        some = np.flatnonzero(lots[:, 0] < lots[:, 1])
        counts[some] = before[lots[some, 1] - first] - before[lots[some, 0] - first]
        return counts

    def read_rows(self, first: int, last: int) -> EdgeChunk:
        """Return the edges of rows [first, last) of the file, onto any targets."""
        with hdf5.open_file(self.path) as file:
            group = file[f"edges/{self.name}"]
            target = _read_ids(group["target_node_id"], first, last, self.n_targets)
            return self._read_chunk(group, first, last, target, np.arange(last - first))

    def find_source_signs(self) -> np.ndarray:
        """Return the sign of all weights of each source, int8 (n_sources,), 0 for sources without weights.

        `InputError` names the first source with weights of both signs.
        """
        has_signs = [np.zeros(self.n_sources, bool) for _ in range(2)]
        for piece in self.read_chunks(0, self.n_targets):
            has_signs[0][piece.source[piece.weight < 0]] = True
            has_signs[1][piece.source[piece.weight > 0]] = True
        both = np.flatnonzero(has_signs[0] & has_signs[1])
        if len(both):
            raise InputError(f"{self.path}: source {both[0]} of '{self.name}' has weights of both signs")
        return has_signs[1].astype(np.int8) - has_signs[0].astype(np.int8)

    def _find_ranges(self, group: h5py.Group, low: int, high: int) -> tuple[list[tuple[int, int]], Covered]:
        """Return ascending ranges with all edges onto the targets, and a function that selects edges in the index."""
        if not self.index:
            return [(0, self.n_edges)], _select_all
        nodes, ranges = self._open_index(group)
        lots = hdf5.to_int64(nodes[low : min(high, len(nodes))])
        lots = lots[(lots[:, 0] >= 0) & (lots[:, 0] < lots[:, 1])]
        if not len(lots):
            return [], _select_all
        first, last = int(lots[:, 0].min()), int(lots[:, 1].max())
        if last > len(ranges):
            raise InputError(f"'{nodes.name}' names range {last - 1}, there are {len(ranges)}")
        n_open = np.zeros(last - first + 1, np.int64)
        np.add.at(n_open, lots[:, 0] - first, 1)
        np.add.at(n_open, lots[:, 1] - first, -1)
        bounds = hdf5.to_int64(ranges[first:last])[np.cumsum(n_open[:-1]) > 0]
        bounds = bounds[(bounds[:, 0] >= 0) & (bounds[:, 0] < bounds[:, 1])]
        if len(bounds) and bounds[:, 1].max() > self.n_edges:
            raise InputError(f"'{ranges.name}' names edge {bounds[:, 1].max() - 1}, there are {self.n_edges}")
        return _merge_ranges(bounds), partial(_are_covered, _merge_ranges(bounds, 0))

    def _open_index(self, group: h5py.Group) -> tuple[h5py.Dataset, h5py.Dataset]:
        """Return the index: first range and end of each target, first edge and end of each range."""
        parent, name = self.index.split("/")
        index = hdf5.get_group(hdf5.get_group(group, parent), name)
        name = "node_id_to_ranges" if "node_id_to_ranges" in index else "node_id_to_range"
        return hdf5.get_dataset(index, name, columns=2), hdf5.get_dataset(index, "range_to_edge_id", columns=2)

    def _read_chunk(self, group: h5py.Group, start: int, stop: int, target: np.ndarray, mine: np.ndarray) -> EdgeChunk:
        source = _read_ids(group["source_node_id"], start, stop, self.n_sources)[mine]
        kind = hdf5.find_dataset(group, "edge_type_id")
        kind = np.full(len(mine), -1) if kind is None else hdf5.to_int64(kind[start:stop])[mine]
        own = hdf5.find_dataset(group, "edge_group_id")
        owner = np.zeros(len(mine), np.int64) if own is None else hdf5.to_int64(own[start:stop])[mine]
        at = hdf5.find_dataset(group, "edge_group_index")
        index = start + mine if at is None else hdf5.to_int64(at[start:stop])[mine]
        weight, delay = self._find_type_values(kind, start + mine)
        for number in np.unique(owner) if self.groups or own is not None else ():
            if str(number) not in self.groups:
                if own is None:  # the only group is missing, as it may be
                    continue
                raise InputError(f"edge_group_id = {number} of '{group.name}': there is no such group")
            some = np.flatnonzero(owner == number)
            self._read_edge_values(hdf5.get_group(group, str(number)), index, some, weight, delay)
        piece = EdgeChunk(
            source, target, self._fill_delays(delay, start + mine), self._fill_weights(weight, start + mine)
        )
        return piece if self.part is None else self._select_part(piece, kind)

    def _select_part(self, piece: EdgeChunk, kind: np.ndarray) -> EdgeChunk:
        """Return the edges that belong to `part`."""
        what, which = self.part or ("", 0)
        if what == "sign":
            chosen = (piece.weight >= 0) == (which > 0)
        else:
            chosen = np.isin(kind, [number for number, receptor in self.receptors.items() if receptor == which])
        return EdgeChunk(piece.source[chosen], piece.target[chosen], piece.delay[chosen], piece.weight[chosen])

    def _find_type_values(self, kind: np.ndarray, edge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weights and delays of the edges' types, NaN where there are none."""
        numbers, place = np.unique(kind, return_inverse=True)
        unknown = [number for number in numbers.tolist() if number not in self.types and number != -1]
        if unknown and self.types:
            first = edge[np.argmax(kind == unknown[0])]
            raise InputError(f"edge_type_id = {unknown[0]} of edge {first} of '{self.name}' is not in its table")
        rows = [self.types.get(number, (None, None)) for number in numbers.tolist()]
        values = np.array([[np.nan if value is None else value for value in row] for row in rows])
        return values[place, 0], values[place, 1]

    def _read_edge_values(
        self, group: h5py.Group, index: np.ndarray, some: np.ndarray, weight: np.ndarray, delay: np.ndarray
    ) -> None:
        """Write the values that a group has for edges `some` into `weight` and `delay`."""
        for key, into in (("syn_weight", weight), ("delay", delay)):
            if (values := hdf5.find_dataset(group, key, "iuf")) is not None:
                into[some] = _take_rows(values, index[some])
        if (count := hdf5.find_dataset(group, "nsyns", "iuf")) is not None:
            weight[some] = np.where(np.isnan(weight[some]), _or_nan(self.default_weight), weight[some])
            weight[some] *= _take_rows(count, index[some])

    def _fill_weights(self, weight: np.ndarray, edge: np.ndarray) -> np.ndarray:
        weight = np.where(np.isnan(weight), _or_nan(self.default_weight), weight)
        wrong = np.flatnonzero(~np.isfinite(weight))
        if len(wrong):
            value = weight[wrong[0]]
            raise InputError(
                f"edge {edge[wrong[0]]} of '{self.name}' has no finite weight"
                + ("; default_weight sets missing weights" if np.isnan(value) else f", but {value}")
            )
        return weight

    def _fill_delays(self, delay_ms: np.ndarray, edge: np.ndarray) -> np.ndarray:
        delay_ms = np.where(np.isnan(delay_ms), _or_nan(self.default_delay), delay_ms)
        return convert_to_steps(
            delay_ms, self.dt_ms, self.round_delays, lambda k: f"edge {edge[k]} of '{self.name}': delay"
        )


def convert_to_steps(
    delay_ms: np.ndarray,
    dt_ms: float,
    round_delays: bool,
    name: Callable[[int], str],
    hint: str = "; round_delays = true rounds them",
) -> np.ndarray:
    """Return delays in whole steps; `name(k)` begins the message on delay k."""
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite delay is wrong
        exact = delay_ms / dt_ms
        whole = np.rint(exact)
        if round_delays:
            whole = np.maximum(whole, 1.0)
            wrong = ~(whole <= MAX_DELAY)
        else:
            wrong = ~((np.abs(exact - whole) <= TOLERANCE) & (whole >= 1) & (whole <= MAX_DELAY))
    if np.any(wrong):
        k = int(np.argmax(wrong))
        raise InputError(
            f"{name(k)} = {delay_ms[k]:g} ms must be whole steps of {dt_ms:g} ms from 1 to {MAX_DELAY}"
            + ("" if round_delays else hint)
        )
    return whole.astype(np.int64)


def _select_all(edges: np.ndarray) -> slice:
    return slice(None)


def _are_covered(ranges: list[tuple[int, int]], edges: np.ndarray) -> np.ndarray:
    """Return which edges lie in one of the ranges, which ascend and do not overlap."""
    starts, ends = np.array(ranges, np.int64).reshape(-1, 2).T
    place = np.searchsorted(starts, edges, side="right") - 1
    return (place >= 0) & (edges < ends[place])


def _merge_ranges(ranges: np.ndarray, gap: int = MAX_GAP) -> list[tuple[int, int]]:
    """Return ranges in ascending order; ranges that overlap or have a small gap are merged."""
    if not len(ranges):
        return []
    ranges = ranges[np.argsort(ranges[:, 0], kind="stable")]
    reached = np.maximum.accumulate(ranges[:, 1])
    starts = np.flatnonzero(np.concatenate(([True], ranges[1:, 0] > reached[:-1] + gap)))
    ends = np.append(starts[1:], len(ranges)) - 1
    return list(zip(ranges[starts, 0].tolist(), reached[ends].tolist(), strict=True))


def _take_rows(values: h5py.Dataset, index: np.ndarray) -> np.ndarray:
    """Return `values[index]`, without reading all values."""
    low, high = int(index.min()), int(index.max()) + 1
    if low < 0 or high > len(values):
        raise InputError(
            f"edge_group_index = {low if low < 0 else high - 1} is beyond '{values.name}' of {len(values)}"
        )
    if high - low <= MAX_SPREAD * max(len(index), CHUNK):
        return values[low:high][index - low].astype(float)
    distinct, place = np.unique(index, return_inverse=True)
    parts = [values[distinct[first : first + ROWS_PER_READ]] for first in range(0, len(distinct), ROWS_PER_READ)]
    return np.concatenate(parts)[place].astype(float)


@dataclass(frozen=True)
class LoadedEdges(Edges):
    """Edges in memory: `chunks` have all edges onto the rank's targets, in the order of the file in `path`."""

    chunks: list[EdgeChunk] = field(default_factory=list)

    def read_chunks(self, low: int, high: int, chunk: int = CHUNK) -> Iterator[EdgeChunk]:
        """Yield the loaded edges; the targets [low, high) are the rank's."""
        yield from self.chunks


def _read_ids(ids: h5py.Dataset, start: int, stop: int, bound: int) -> np.ndarray:
    node_ids = hdf5.to_int64(ids[start:stop])
    wrong = np.flatnonzero((node_ids < 0) | (node_ids >= bound))
    if len(wrong):
        edge = wrong[0]
        raise InputError(
            f"'{ids.name}' of edge {start + edge} is {ids[start + int(edge)]}, the population has {bound} nodes"
        )
    return node_ids


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value

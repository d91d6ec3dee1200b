"""Read edges of an edge population in pieces: those onto a range of targets, or those of some rows of the file."""

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
GAP = 2**12  # edges that are read rather than skipped: one more read costs more
SPREAD = 4  # a group's values are read from first to last if these are at most so many times the wanted ones
LOT = 1000  # values that are read at a time otherwise
WHOLE = 1e-6  # steps by which a delay may miss a whole number
MAX_DELAY = 2**15  # steps

Covered = Callable[[np.ndarray], np.ndarray | slice]  # from numbers of edges: which of them an index names


@dataclass(frozen=True)
class Piece:
    """Some edges, in the order of the file.

    Attributes
    ----------
    source, target, delay : np.ndarray
        int64 (n,): node ids, and steps.
    weight : np.ndarray
        float64 (n,).
    """

    source: np.ndarray
    target: np.ndarray
    delay: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Edges:
    """An edge population; the edges themselves stay in the file.

    Attributes
    ----------
    path : Path
        Path of the file.
    name, source, target : str
        Name of the population, and of the node populations that it connects.
    n_sources, n_targets : int
        Sizes of the node populations.
    n_edges : int
        Number of edges.
    index : str
        Path of the index by target, "" if there is none.
    groups : tuple of str
        The groups that hold values of single edges.
    types : dict
        Edge type to (weight, delay in ms), None where the table has none.
    default_weight, default_delay : float or None
        Value of edges to which neither group nor type gives one.
    dt_ms : float
        Step.
    round_delays : bool
        Whether delays that are no whole steps are rounded, to at least 1.
    delays : np.ndarray
        int64, all that may occur, in steps, ascending.
    receptors : dict
        Edge type to its `receptor_type`, for the types that have one.
    transmission : dict or None
        Parameters of short-term plasticity, as of NEST's `tsodyks2_synapse`; None without.
    part : tuple or None
        ("receptor", k): edges of that type alone; ("sign", s): those with weights of that sign, 0 counts as positive.
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

    def parts_by_sign(self) -> dict[int, Edges]:
        """Return the edges of each sign of weights, sign to edges; one entry if all types have weights of one sign."""
        signs = {weight >= 0 for weight, _ in self.types.values() if weight is not None}
        known = not self.groups and len(signs) == 1 and all(weight is not None for weight, _ in self.types.values())
        chosen = signs if known else (True, False)
        return {sign: replace(self, part=("sign", sign)) for sign in (1 if positive else -1 for positive in chosen)}

    def parts_by_receptor(self) -> dict[int, Edges]:
        """Return the edges of each receptor type, type to edges."""
        missing = [number for number in self.types if number not in self.receptors]
        if missing or not self.receptors:
            who = f"type {missing[0]} of '{self.name}' has" if missing else f"types of '{self.name}' have"
            raise InputError(f"{self.path}: edge {who} no receptor_type, which its targets need")
        return {number: replace(self, part=("receptor", number)) for number in sorted(set(self.receptors.values()))}

    def pieces(self, low: int, high: int, chunk: int = CHUNK) -> Iterator[Piece]:
        """Yield the edges onto the targets [low, high), at most `chunk` at a time, in the order of the file.

        Raises
        ------
        InputError
            Names the file, the edge and what is wrong.
        """
        if low == high or not self.n_edges:
            return
        with hdf5.open_file(self.path) as file:
            group = file[f"edges/{self.name}"]
            targets = group["target_node_id"]
            ranges, covered = self._ranges(group, low, high)
            for first, last in ranges:
                for start in range(first, last, chunk):
                    stop = min(start + chunk, last)
                    target = self._ids(targets, start, stop, self.n_targets)
                    mine = np.flatnonzero((target >= low) & (target < high))
                    mine = mine[covered(start + mine)]
                    if len(mine):
                        ends = start + mine[0], start + mine[-1] + 1
                        yield self._piece(group, *ends, target[mine], mine - mine[0])

    def indegrees(self, low: int, high: int) -> np.ndarray | None:
        """Return the number of edges onto each of the targets [low, high), of all parts: int64; None without an index.

        For estimates: ranges that the file does not have count nothing, and edges are not read.
        """
        if not self.index:
            return None
        with hdf5.open_file(self.path) as file:
            nodes, ranges = self._open_index(file[f"edges/{self.name}"])
            lots = hdf5.integers(nodes[low : min(high, len(nodes))]).clip(0, len(ranges))
            first, last = int(lots[:, 0].min(initial=len(ranges))), int(lots[:, 1].max(initial=0))
            bounds = hdf5.integers(ranges[first : max(first, last)]).clip(0, self.n_edges)
        before = np.concatenate(([0], np.cumsum(np.maximum(bounds[:, 1] - bounds[:, 0], 0))))
        counts = np.zeros(high - low, np.int64)
        some = np.flatnonzero(lots[:, 0] < lots[:, 1])
        counts[some] = before[lots[some, 1] - first] - before[lots[some, 0] - first]
        return counts

    def rows(self, first: int, last: int) -> Piece:
        """Return the edges of rows [first, last) of the file, onto any targets."""
        with hdf5.open_file(self.path) as file:
            group = file[f"edges/{self.name}"]
            target = self._ids(group["target_node_id"], first, last, self.n_targets)
            return self._piece(group, first, last, target, np.arange(last - first))

    def source_signs(self) -> np.ndarray:
        """Return the sign that all weights of each source share, int8 (n_sources,), 0 for sources without weights.

        Raises
        ------
        InputError
            Names the first source with weights of both signs.
        """
        has_signs = [np.zeros(self.n_sources, bool) for _ in range(2)]
        for piece in self.pieces(0, self.n_targets):
            has_signs[0][piece.source[piece.weight < 0]] = True
            has_signs[1][piece.source[piece.weight > 0]] = True
        both = np.flatnonzero(has_signs[0] & has_signs[1])
        if len(both):
            raise InputError(f"{self.path}: source {both[0]} of '{self.name}' has weights of both signs")
        return has_signs[1].astype(np.int8) - has_signs[0].astype(np.int8)

    def _ranges(self, group: h5py.Group, low: int, high: int) -> tuple[list[tuple[int, int]], Covered]:
        """Return ranges of edges that hold all those onto the targets, ascending, and which edges the index names."""
        if not self.index:
            return [(0, self.n_edges)], _cover_all
        nodes, ranges = self._open_index(group)
        lots = hdf5.integers(nodes[low : min(high, len(nodes))])
        lots = lots[(lots[:, 0] >= 0) & (lots[:, 0] < lots[:, 1])]
        if not len(lots):
            return [], _cover_all
        first, last = int(lots[:, 0].min()), int(lots[:, 1].max())
        if last > len(ranges):
            raise InputError(f"'{nodes.name}' names range {last - 1}, there are {len(ranges)}")
        n_open = np.zeros(last - first + 1, np.int64)
        np.add.at(n_open, lots[:, 0] - first, 1)
        np.add.at(n_open, lots[:, 1] - first, -1)
        bounds = hdf5.integers(ranges[first:last])[np.cumsum(n_open[:-1]) > 0]
        bounds = bounds[(bounds[:, 0] >= 0) & (bounds[:, 0] < bounds[:, 1])]
        if len(bounds) and bounds[:, 1].max() > self.n_edges:
            raise InputError(f"'{ranges.name}' names edge {bounds[:, 1].max() - 1}, there are {self.n_edges}")
        return _merge(bounds), partial(_cover, _merge(bounds, 0))

    def _open_index(self, group: h5py.Group) -> tuple[h5py.Dataset, h5py.Dataset]:
        """Return the index: first range and end of each target, first edge and end of each range."""
        parent, name = self.index.split("/")
        index = hdf5.group(hdf5.group(group, parent), name)
        name = "node_id_to_ranges" if "node_id_to_ranges" in index else "node_id_to_range"
        return hdf5.dataset(index, name, columns=2), hdf5.dataset(index, "range_to_edge_id", columns=2)

    def _ids(self, ids: h5py.Dataset, start: int, stop: int, bound: int) -> np.ndarray:
        node_ids = hdf5.integers(ids[start:stop])
        wrong = np.flatnonzero((node_ids < 0) | (node_ids >= bound))
        if len(wrong):
            edge = wrong[0]
            raise InputError(
                f"'{ids.name}' of edge {start + edge} is {ids[start + int(edge)]}, the population has {bound} nodes"
            )
        return node_ids

    def _piece(self, group: h5py.Group, start: int, stop: int, target: np.ndarray, mine: np.ndarray) -> Piece:
        source = self._ids(group["source_node_id"], start, stop, self.n_sources)[mine]
        kind = hdf5.optional(group, "edge_type_id")
        kind = np.full(len(mine), -1) if kind is None else hdf5.integers(kind[start:stop])[mine]
        own = hdf5.optional(group, "edge_group_id")
        owner = np.zeros(len(mine), np.int64) if own is None else hdf5.integers(own[start:stop])[mine]
        at = hdf5.optional(group, "edge_group_index")
        index = start + mine if at is None else hdf5.integers(at[start:stop])[mine]
        weight, delay = self._values_of_types(kind, start + mine)
        for number in np.unique(owner) if self.groups or own is not None else ():
            if str(number) not in self.groups:
                if own is None:  # the only group is missing, as it may be
                    continue
                raise InputError(f"edge_group_id = {number} of '{group.name}': there is no such group")
            some = np.flatnonzero(owner == number)
            self._own_values(hdf5.group(group, str(number)), index, some, weight, delay)
        piece = Piece(source, target, self._steps(delay, start + mine), self._weights(weight, start + mine))
        return piece if self.part is None else self._of_part(piece, kind)

    def _of_part(self, piece: Piece, kind: np.ndarray) -> Piece:
        """Return the edges that belong to `part`."""
        what, which = self.part or ("", 0)
        if what == "sign":
            chosen = (piece.weight >= 0) == (which > 0)
        else:
            chosen = np.isin(kind, [number for number, receptor in self.receptors.items() if receptor == which])
        return Piece(piece.source[chosen], piece.target[chosen], piece.delay[chosen], piece.weight[chosen])

    def _values_of_types(self, kind: np.ndarray, edge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weights and delays of the edges' types, NaN where there are none."""
        numbers, place = np.unique(kind, return_inverse=True)
        unknown = [number for number in numbers.tolist() if number not in self.types and number != -1]
        if unknown and self.types:
            first = edge[np.argmax(kind == unknown[0])]
            raise InputError(f"edge_type_id = {unknown[0]} of edge {first} of '{self.name}' is not in its table")
        rows = [self.types.get(number, (None, None)) for number in numbers.tolist()]
        values = np.array([[np.nan if value is None else value for value in row] for row in rows])
        return values[place, 0], values[place, 1]

    def _own_values(
        self, group: h5py.Group, index: np.ndarray, some: np.ndarray, weight: np.ndarray, delay: np.ndarray
    ) -> None:
        """Write the values that edges `some` have in their group into `weight` and `delay`."""
        for key, into in (("syn_weight", weight), ("delay", delay)):
            if (values := hdf5.optional(group, key, "iuf")) is not None:
                into[some] = _take_rows(values, index[some])
        if (count := hdf5.optional(group, "nsyns", "iuf")) is not None:
            weight[some] = np.where(np.isnan(weight[some]), self._default(self.default_weight), weight[some])
            weight[some] *= _take_rows(count, index[some])

    @staticmethod
    def _default(value: float | None) -> float:
        return np.nan if value is None else value

    def _weights(self, weight: np.ndarray, edge: np.ndarray) -> np.ndarray:
        weight = np.where(np.isnan(weight), self._default(self.default_weight), weight)
        wrong = np.flatnonzero(~np.isfinite(weight))
        if len(wrong):
            value = weight[wrong[0]]
            raise InputError(
                f"edge {edge[wrong[0]]} of '{self.name}' has no finite weight"
                + ("; default_weight gives those without one" if np.isnan(value) else f", but {value}")
            )
        return weight

    def _steps(self, delay_ms: np.ndarray, edge: np.ndarray) -> np.ndarray:
        delay_ms = np.where(np.isnan(delay_ms), self._default(self.default_delay), delay_ms)
        return steps(delay_ms, self.dt_ms, self.round_delays, lambda k: f"edge {edge[k]} of '{self.name}': delay")


def steps(
    delay_ms: np.ndarray,
    dt_ms: float,
    round_delays: bool,
    name: Callable[[int], str],
    hint: str = "; round_delays = true rounds them",
) -> np.ndarray:
    """Return delays in whole steps; `name` gives the start of a message on the k-th one."""
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite delay is wrong
        exact = delay_ms / dt_ms
        whole = np.rint(exact)
        if round_delays:
            whole = np.maximum(whole, 1.0)
            wrong = ~(whole <= MAX_DELAY)
        else:
            wrong = ~((np.abs(exact - whole) <= WHOLE) & (whole >= 1) & (whole <= MAX_DELAY))
    if np.any(wrong):
        k = int(np.argmax(wrong))
        raise InputError(
            f"{name(k)} = {delay_ms[k]:g} ms must be whole steps of {dt_ms:g} ms from 1 to {MAX_DELAY}"
            + ("" if round_delays else hint)
        )
    return whole.astype(np.int64)


def _cover_all(edges: np.ndarray) -> slice:
    return slice(None)


def _cover(ranges: list[tuple[int, int]], edges: np.ndarray) -> np.ndarray:
    """Return which edges lie in one of some ranges, which ascend and do not overlap."""
    starts, ends = np.array(ranges, np.int64).reshape(-1, 2).T
    place = np.searchsorted(starts, edges, side="right") - 1
    return (place >= 0) & (edges < ends[place])


def _merge(ranges: np.ndarray, gap: int = GAP) -> list[tuple[int, int]]:
    """Return ranges in ascending order; those that overlap or have a small gap are merged."""
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
    if high - low <= SPREAD * max(len(index), CHUNK):
        return values[low:high][index - low].astype(float)
    distinct, place = np.unique(index, return_inverse=True)
    parts = [values[distinct[first : first + LOT]] for first in range(0, len(distinct), LOT)]
    return np.concatenate(parts)[place].astype(float)


@dataclass(frozen=True)
class HeldEdges(Edges):
    """Edges in memory, which a rank was given of the file in `path`.

    Attributes
    ----------
    held : list of Piece
        All edges onto the rank's targets, in the order of the file.
    """

    held: list[Piece] = field(default_factory=list)

    def pieces(self, low: int, high: int, chunk: int = CHUNK) -> Iterator[Piece]:
        """Yield the edges that are held; the targets [low, high) are those of the rank."""
        yield from self.held

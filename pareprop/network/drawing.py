"""Draw the synapses onto this rank's targets: a class each for drawn and streamed synapses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

from .. import rng
from ..errors import InputError
from ..kernels import checksum, members, row_map, topology
from ..parallel.partition import find_overlap
from ..sonata.edges import EdgeChunk
from . import delays, totals
from .connectivity import RULES, Population, Projection
from .model import Model
from .parameters import Distribution
from .signs import check_weights

AT_ONCE = 2**18  # synapses that are sorted at a time


class Draft(ABC):
    """The synapses of one projection on this rank, before a `SynapseTable` lays them out in rows.

    Parameters
    ----------
    projection : Projection
        The projection.
    targets : tuple of int
        Half-open range of its targets on this rank, ids in the population.
    base : int
        Local index of the first target.
    sources : tuple of int
        Half-open range of the sources whose synapses are wanted, ids in the population.

    Attributes
    ----------
    delays : np.ndarray
        int64 (n_delays,), delays in steps that may occur, ascending.
    leaves_out_self : bool
        Whether targets are never their own source.
    shorter : int
        Number of `delays` below all drawn delays: learned delays may become so short.
    """

    delays: np.ndarray
    shorter: int = 0

    def __init__(self, projection: Projection, targets: tuple[int, int], base: int, sources: tuple[int, int]) -> None:
        self.projection = projection
        self.targets = targets
        self.base = base
        self.sources = sources
        self.leaves_out_self = projection.pre == projection.post and not RULES[projection.rule].draws_self(projection)

    @property
    def n_sources(self) -> int:
        """Number of sources whose synapses are wanted."""
        return self.sources[1] - self.sources[0]

    @property
    def expected(self) -> float:
        """Expected number of synapses; 0 only if there is none."""
        n_targets = self.targets[1] - self.targets[0]
        share = self.n_sources / max(self.projection.pre.size, 1)
        return n_targets * share * RULES[self.projection.rule].compute_indegree(self.projection) if n_targets else 0.0

    @abstractmethod
    def mark_sources(self, bits: np.ndarray, offset: int) -> None:
        """Add the sources that have synapses, plus `offset`, to the set `bits`, see `members.pxd`.

        Sources without bits in the set are left out.
        """

    @abstractmethod
    def mark_rows(self, rows: row_map.RowMap) -> None:
        """Mark the rows that have synapses."""

    @abstractmethod
    def count_synapses(self, rows: row_map.RowMap, counts: np.ndarray) -> None:
        """Add the number of synapses of each row to `counts`, int64 (n_rows,)."""

    @abstractmethod
    def fill_rows(self, rows: row_map.RowMap, cursor: np.ndarray, target: np.ndarray, weight: np.ndarray) -> None:
        """Write the synapses of each row from `cursor[row]` on; the cursor moves to the end of the row."""


class _DrawnDraft(Draft):
    """Synapses that `topology` draws; marking, counting and writing draw the same synapses again."""

    def __init__(
        self, model: Model, projection: Projection, targets: tuple[int, int], base: int, sources: tuple[int, int]
    ) -> None:
        super().__init__(projection, targets, base, sources)
        low, high = projection.delay
        self.delays, self.shorter = list_delays(projection), low - projection.delay_range[0]
        rule, n = RULES[projection.rule], projection.pre.size
        indegree, law = int(projection.indegree or 0), projection.delay_law
        levels = delays.list_levels(law, low, high) if isinstance(law, Distribution) else np.zeros(0, np.uint32)
        numbers, moved = make_scratch(rule.code, n, indegree, projection.allow_multapses)
        self._drawing = topology.Drawing(
            {
                "rule": rule.code,
                "n_sources": n,
                "indegree": indegree,
                "indegrees": self._list_indegrees(model.seed),
                "first_target": targets[0],
                "probability": projection.probability or 0.0,
                "allow_multapses": projection.allow_multapses,
                "self_offset": 0 if self.leaves_out_self else None,
                "delays": projection.delay,
                "levels": levels,
                "weight": (projection.weight.kernel_code, *projection.weight.numbers),
                "keys": [
                    rng.make_key(model.seed, f"{projection.name}/{what}") for what in ("topology", "delay", "weight")
                ],
                "numbers": numbers,
                "moved": moved,
            }
        )

    def _list_indegrees(self, seed: int) -> np.ndarray:
        """Return the in-degree of each target if the rule fixes only their sum, else (0,)."""
        number, name = self.projection.N, self.projection.name
        if number is None:
            return np.zeros(0, np.int64)
        return totals.divide_total(
            rng.make_key(seed, f"{name}/totals"), number, self.projection.post.size, *self.targets
        )

    def mark_sources(self, bits: np.ndarray, offset: int) -> None:
        if RULES[self.projection.rule].reaches_all and self.expected:
            members.add(bits, np.arange(max(offset, 0), min(offset + self.n_sources, 64 * len(bits))))
        else:
            self._drawing.mark_sources(*self.targets, bits, offset)

    def mark_rows(self, rows: row_map.RowMap) -> None:
        self._drawing.mark_rows(*self.targets, rows)

    def count_synapses(self, rows: row_map.RowMap, counts: np.ndarray) -> None:
        self._drawing.count(*self.targets, rows, counts)

    def fill_rows(self, rows: row_map.RowMap, cursor: np.ndarray, target: np.ndarray, weight: np.ndarray) -> None:
        self._drawing.fill(*self.targets, self.base, rows, cursor, target, weight)


class _NoDraft(Draft):
    """The empty draft of a drawn projection without a target on this rank."""

    def __init__(self, projection: Projection) -> None:
        super().__init__(projection, (0, 0), 0, (0, projection.pre.size))
        self.delays = list_delays_elsewhere(projection)

    def mark_sources(self, bits: np.ndarray, offset: int) -> None:
        """Add none."""

    def mark_rows(self, rows: row_map.RowMap) -> None:
        """Mark none."""

    def count_synapses(self, rows: row_map.RowMap, counts: np.ndarray) -> None:
        """Add none."""

    def fill_rows(self, rows: row_map.RowMap, cursor: np.ndarray, target: np.ndarray, weight: np.ndarray) -> None:
        """Write none."""


class _StreamedDraft(Draft):
    """Synapses that a rule yields in chunks, each time the same; rows are sorted by target, then in the order of
    arrival.
    """

    def __init__(
        self, model: Model, projection: Projection, targets: tuple[int, int], base: int, sources: tuple[int, int]
    ) -> None:
        super().__init__(projection, targets, base, sources)
        self.delays = list_delays(projection)
        self._seed, self._marks = model.seed, list[int]()

    def _yield_chunks(self, weights: bool) -> Iterator[EdgeChunk]:
        signs, pieces = self.projection.signs, RULES[self.projection.rule].yield_chunks
        for k, piece in enumerate(pieces(self._seed, self.projection, *self.targets, weights)):
            if self.projection.synapses is not None:
                self._require_same(k, piece)
            if weights and signs is not None and not self.projection.is_drawn:
                here, of_port = f"projection '{self.projection.name}'", self.projection.requires_positive
                check_weights(signs, piece.source, piece.weight, of_port, here)
            mine = _lies_in(piece.source, self.sources)
            yield piece if mine.all() else EdgeChunk(*(array[mine] for array in vars(piece).values()))

    def _require_same(self, k: int, piece: EdgeChunk) -> None:
        """Raise `InputError` if a function returns other synapses than in its first call, for which rows have room."""
        ends = np.concatenate([piece.source, piece.target, piece.delay])
        mark = checksum.xxh64(ends.view(np.uint8))
        if k == len(self._marks):
            self._marks.append(mark)
        if self._marks[k] != mark:
            raise InputError(
                f"projection '{self.projection.name}': rule returned other synapses for the same targets when called "
                "again: they must depend on the target alone; draw from np.random.default_rng([seed, target]), say"
            )

    def _list_places(self, piece: EdgeChunk) -> tuple[np.ndarray, np.ndarray]:
        """Return the index of its delay in `delays`, and the source, of each synapse of a chunk."""
        return np.searchsorted(self.delays, piece.delay), np.asarray(piece.source, np.int64)

    def mark_sources(self, bits: np.ndarray, offset: int) -> None:
        for piece in self._yield_chunks(False):
            members.add(bits, np.asarray(piece.source, np.int64) + offset)

    def mark_rows(self, rows: row_map.RowMap) -> None:
        for piece in self._yield_chunks(False):
            rows.mark_all(*self._list_places(piece))

    def count_synapses(self, rows: row_map.RowMap, counts: np.ndarray) -> None:
        for piece in self._yield_chunks(False):
            np.add.at(counts, rows.rows(*self._list_places(piece)), 1)

    def fill_rows(self, rows: row_map.RowMap, cursor: np.ndarray, target: np.ndarray, weight: np.ndarray) -> None:
        first, last = rows.first_row, rows.first_row + rows.n_rows
        start = int(cursor[first]) if last > first else 0
        for piece in self._yield_chunks(True):
            row = rows.rows(*self._list_places(piece))
            order = np.argsort(row, kind="stable")
            row = row[order]
            begins = np.flatnonzero(np.diff(row, prepend=-1))
            lengths = np.diff(np.append(begins, len(row)))
            place = cursor[row] + np.arange(len(row)) - np.repeat(begins, lengths)
            cursor[row[begins]] += lengths
            target[place] = piece.target[order] - self.targets[0] + self.base
            weight[place] = piece.weight[order]
        self._sort_rows(start, cursor[first:last], target, weight)

    @staticmethod
    def _sort_rows(start: int, ends: np.ndarray, target: np.ndarray, weight: np.ndarray) -> None:
        """Sort each row by target, unless all are sorted already; `AT_ONCE` synapses at a time, to save memory."""
        row = 0
        while row < len(ends):
            last = max(int(np.searchsorted(ends, start + AT_ONCE, side="right")), row + 1)
            mine = slice(start, int(ends[last - 1]))
            key = np.repeat(np.arange(last - row), np.diff(ends[row:last], prepend=start)) * 2**32 + target[mine]
            if np.any(key[1:] < key[:-1]):
                order = np.argsort(key, kind="stable")
                target[mine], weight[mine] = target[mine][order], weight[mine][order]
            row, start = last, mine.stop


def list_delays(projection: Projection) -> np.ndarray:
    """Return the delays in steps that synapses have, or may learn, int64 ascending."""
    if projection.is_drawn or projection.learn_delay is not None or projection.is_empty:
        low, high = projection.delay_range
        return np.arange(low, high + 1)
    return np.unique(projection.delay)


def list_delays_elsewhere(projection: Projection) -> np.ndarray:
    """Return the delays for which ranks without a target have blocks: one delay if synapses are drawn and do not move.

    Each step visits all blocks; a network with many projections would have a million.
    """
    delays = list_delays(projection)
    return delays[:1] if _is_fixed(projection) else delays


def _is_fixed(projection: Projection) -> bool:
    return projection.is_drawn and not projection.moves and not RULES[projection.rule].streamed


def make_scratch(rule: int, n_sources: int, indegree: int, allow_multapses: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the scratch arrays of a draw: the numbers of all sources, or a table of the few that are moved.

    They are uint32 (n_sources,) or (0,), and uint32 (n_entries, 2) or (0, 2).
    """
    shuffles = topology.shuffles(rule, allow_multapses)
    n_entries = topology.count_entries(n_sources, indegree) * shuffles
    moved = np.full((n_entries, 2), 2**32 - 1, np.uint32)
    return np.arange(n_sources * (shuffles and not n_entries), dtype=np.uint32), moved


def _lies_in(ids: np.ndarray, bounds: tuple[int, int]) -> np.ndarray:
    return (ids >= bounds[0]) & (ids < bounds[1])


def find_local_range(model: Model, population: Population, first: int, last: int) -> tuple[int, int]:
    """Return the members of a population among cells [first, last) of its role, as a half-open range of its ids."""
    offset = model.offset(population)
    low, high = find_overlap(first, last, offset, offset + population.size)
    return (low - offset, high - offset) if low < high else (0, 0)


def draft_synapses(
    model: Model, projection: Projection, first: int, last: int, sources: tuple[int, int] | None = None
) -> Draft:
    """Return the draft of a projection's synapses onto its targets on this rank, among cells [first, last) of their
    role.

    If `sources` is given, only synapses of this half-open range of cells of the sources' role are included. Rows are
    not split into tiles of targets: memory reads long rows faster than caches lose by wide ones (loops of the same
    accesses, up to a million targets: scripts/README.md).
    """
    targets = low, high = find_local_range(model, projection.post, first, last)
    base = model.offset(projection.post) + low - first if high > low else 0
    if low == high and _is_fixed(projection):
        return _NoDraft(projection)
    taken = 0, projection.pre.size
    if sources is not None:
        offset = model.offset(projection.pre)
        low, high = np.clip(np.array(sources) - offset, 0, projection.pre.size)
        taken = int(low), int(high)
    kind = _StreamedDraft if RULES[projection.rule].streamed else _DrawnDraft
    return kind(model, projection, targets, base, taken)

"""The synapses onto one rank's targets as CSR arrays: a row per source and delay, a block per delay of a projection."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..arrays import allocate_aligned
from ..kernels import layout, members, row_map
from ..kernels import rows as row_kernel
from ..kernels import signs as sign_kernel
from ..parallel.messages import Sources
from ..values import Values
from . import transmission
from .connectivity import RULES, Projection
from .drawing import Draft, draft_synapses, list_delays
from .model import Model

T = TypeVar("T")

SOURCE, LOG = layout.SOURCE, layout.LOG
FEWEST_ROWS = 4096  # a projection with fewer possible rows has all rows: they take little memory
SPARSE = 0.5  # synapses per possible row, below which empty rows are left out


@dataclass(frozen=True)
class ProjectionSlice:
    """The part of a projection in the arrays of a `SynapseTable`.

    Attributes
    ----------
    projection : Projection
        The projection.
    first, last : int
        Half-open range of its synapses.
    rows, n_rows : int
        First row, and number of rows, which are sorted by source, then delay.
    delays : np.ndarray
        int64 (n_blocks,), the delay of each of its blocks in steps, ascending.
    targets : tuple of int
        Half-open range of its targets on this rank, ids in the population.
    base : int
        Local index of the first target.
    sources : np.ndarray or None
        uint32 (n_sources,) ascending, the sources that may have rows, None if all may.
    bits : np.ndarray or None
        uint64 (n_words,), the pairs of these sources and delays that have a row, see `members.pxd`; None if all have.
    """

    projection: Projection
    first: int
    last: int
    rows: int
    n_rows: int
    delays: np.ndarray
    targets: tuple[int, int]
    base: int
    sources: np.ndarray | None = None
    bits: np.ndarray | None = None

    @property
    def synapses(self) -> slice:
        """Its synapses."""
        return slice(self.first, self.last)

    @property
    def own_rows(self) -> slice:
        """Its rows."""
        return slice(self.rows, self.rows + self.n_rows)

    @property
    def n_sources(self) -> int:
        """Number of sources that may have rows."""
        return self.projection.pre.size if self.sources is None else len(self.sources)

    @property
    def ring_steps(self) -> int:
        """Steps of the ring buffer of arrivals, if spikes are spread over all delays at once; else 0."""
        return count_ring_steps(self.delays)

    def list_source_numbers(self) -> np.ndarray:
        """Return for each row the index of its source among those that may have rows, int64 (n_rows,)."""
        return self._list_places(np.arange(self.n_rows)) // len(self.delays)

    def find_sources(self, row: np.ndarray) -> np.ndarray:
        """Return the sources, ids in the population, of rows counted from `rows`."""
        number = self._list_places(row) // len(self.delays)
        return number if self.sources is None else self.sources[number].astype(np.int64)

    def find_blocks(self, row: np.ndarray) -> np.ndarray:
        """Return the blocks, counted from 0, of rows counted from `rows`."""
        return self._list_places(row) % len(self.delays)

    def _list_places(self, row: np.ndarray) -> np.ndarray:
        """Return the indices of rows among all pairs of source and delay, also those without a row."""
        if self.bits is None:
            return row
        places = np.empty(self.n_rows, np.int64)
        members.write(self.bits, places)
        return places[row]

    def list_row_signs(self) -> np.ndarray:
        """Return the sign of the source of each row, int8 (n_rows,); (0,) if none is bound."""
        signs = self.projection.signs
        return np.zeros(0, np.int8) if signs is None else signs[self.find_sources(np.arange(self.n_rows))]


def count_ring_steps(delays: Sequence[int] | np.ndarray) -> int:
    """Return the steps of the ring buffer for a projection's `delays` (steps), 0 if it needs none; see `delivery.pxi`.

    Projections need a ring buffer if their spikes are spread over all delays at once.
    """
    steps = int(delays[-1] - delays[0])
    return steps + 1 if 0 < steps < layout.WIDEST else 0


def count_spread_steps(model: Model, item: Projection) -> int:
    """Return the steps of the ring buffer that a projection needs, 0 for none; see `Cells.allocate_ring`."""
    waits = item.post.role == "recurrent" and not (model.eprop.is_online and item.plastic)
    return count_ring_steps(item.delay_range) if waits else 0


class SynapseTable:
    """All synapses from `projections` onto the cells [first, last) of one role; arrays as the kernels take them.

    Parameters
    ----------
    model : Model
        The whole network.
    projections : list of Projection
        Projections onto populations of one role.
    first, last : int
        Half-open range of this rank's cells of that role.
    sources : tuple of int or None
        Half-open range of this rank's cells of the sources' role, if ranks own sources instead of targets: only these
        have rows, and blocks number them by their ids.
    choose : callable or None
        Takes the drafts of all projections; returns the neurons that have rows here, including all with synapses, which
        blocks number by their index; or None for all neurons.

    Attributes
    ----------
    blocks : np.ndarray
        int64 (n_blocks, BLOCK_COLUMNS), columns as in `kernels.layout`.
    row_ptr : np.ndarray
        int64 (n_rows + 1,), the synapses of row k are `row_ptr[k]:row_ptr[k + 1]`.
    target : np.ndarray
        uint32 (n_synapses,), local index of the target.
    weight : np.ndarray
        (n_synapses,), of the model's precision.
    spans : list of ProjectionSlice
        One for each projection.
    by_source : bool
        Whether ranks own sources instead of targets.
    factors : np.ndarray
        float64 (2, n_rows, FACTOR_COLUMNS), short-term plasticity, see `transmission`; no rows without.
    """

    def __init__(
        self,
        model: Model,
        projections: list[Projection],
        first: int,
        last: int,
        sources: tuple[int, int] | None = None,
        choose: Callable[[list[Draft]], Sources | None] | None = None,
    ) -> None:
        self.by_source = sources is not None
        drafts = [draft_synapses(model, projection, first, last, sources) for projection in projections]
        self._listed = choose(drafts) if choose else None
        maps = self._number_rows(model, drafts)
        self.row_ptr = np.zeros(maps[-1].first_row + maps[-1].n_rows + 1 if maps else 1, np.int64)
        for draft, rows in zip(drafts, maps, strict=True):
            draft.count_synapses(rows, self.row_ptr[1:])
        np.cumsum(self.row_ptr, out=self.row_ptr)
        n = int(self.row_ptr[-1])
        self.target, self.weight = allocate_aligned(n, np.uint32), allocate_aligned(n, model.kernels.real)
        for draft, rows in zip(drafts, maps, strict=True):
            draft.fill_rows(rows, self.row_ptr, self.target, self.weight)
        row_kernel.shift(self.row_ptr)  # cursors are at the ends of rows now
        self.spans = [self._make_span(model, draft, rows) for draft, rows in zip(drafts, maps, strict=True)]
        self.factors = self._list_factors(model)
        blocks: list[list[int]] = []
        for draft, rows, span in zip(drafts, maps, self.spans, strict=True):
            blocks += self._list_blocks(model, draft, rows)
            if draft.projection.is_drawn or draft.projection.rewire:  # nonzero given weights have their signs
                factor = draft.projection.inhibition if draft.projection.is_drawn else 1.0
                sign_kernel.take_signs(self.row_ptr[span.rows :], span.list_row_signs(), factor, self.weight)
        self.blocks = np.array(blocks, np.int64).reshape(-1, layout.BLOCK_COLUMNS)
        self._indices = [rows.index for rows in maps if rows.is_indexed]  # kept: blocks hold their addresses

    def _number_rows(self, model: Model, drafts: list[Draft]) -> list[row_map.RowMap]:
        """Return the map from source and delay to row of each projection; one without synapses has no rows."""
        maps: list[row_map.RowMap] = []
        for draft in drafts:
            arguments: Values = {"shorter": draft.shorter}
            if self._listed is not None and draft.projection.pre.role == "recurrent":
                arguments |= {"listed": self._listed.index, "offset": model.offset(draft.projection.pre)}
            first = maps[-1].first_row + maps[-1].n_rows if maps else 0
            sources = draft.sources if draft.expected else (0, 0)
            rows = row_map.RowMap(first, len(draft.delays), sources, False, **arguments)
            if not self.by_source and pays_index(draft.expected, rows.n_rows) and not draft.projection.moves:
                rows = row_map.RowMap(first, len(draft.delays), sources, True, **arguments)
                draft.mark_rows(rows)
                rows.number_rows()
            maps.append(rows)
        return maps

    def _make_span(self, model: Model, draft: Draft, rows: row_map.RowMap) -> ProjectionSlice:
        """Return the slice of a projection."""
        first, n_rows = rows.first_row, rows.n_rows
        ends = int(self.row_ptr[first]), int(self.row_ptr[first + n_rows])
        sources, bits = None, rows.index[0] if rows.is_indexed else None
        if self._listed is not None and self._listed.ids is not None and rows.is_listed:
            listed = self._listed.ids[rows.low_number : rows.low_number + rows.n_sources]
            offset = model.offset(draft.projection.pre)
            sources = listed - np.uint32(offset) if offset else listed
        elif self.by_source or not rows.n_sources:
            sources = np.arange(rows.first_source, rows.first_source + rows.n_sources, dtype=np.uint32)
        if sources is not None and len(sources) == draft.projection.pre.size:
            sources = None
        return ProjectionSlice(
            draft.projection, *ends, first, n_rows, draft.delays, draft.targets, draft.base, sources, bits
        )

    def _list_blocks(self, model: Model, draft: Draft, rows: row_map.RowMap) -> list[list[int]]:
        """Return the blocks of a projection."""
        projection, (low, high) = draft.projection, draft.targets
        first = rows.first_source + model.offset(projection.pre)
        source = rows.low_number if rows.is_listed else first
        hole = model.offset(projection.post) + low + source - first if draft.leaves_out_self else layout.NO_HOLE
        blocks = []
        dense = not rows.is_indexed and self._is_dense(draft, rows.first_row, rows.n_rows)
        addresses = [array.ctypes.data if rows.is_indexed else 0 for array in rows.index]
        for k, delay in enumerate(draft.delays):
            blocks.append(
                [
                    rows.first_row,
                    source,
                    source + rows.n_sources,
                    int(delay),
                    int(projection.pre.role != "input"),
                    int(dense),
                    draft.base,
                    hole,
                    high - low,
                    int(projection.plastic),
                    projection.port_index,
                    *addresses,
                    rows.n_rows,
                    len(draft.delays),
                    k,
                    0,
                    self._find_address(projection, rows.first_row, transmission.LIVE),
                ]
            )
        return blocks

    @property
    def has_transmission(self) -> bool:
        """Whether synapses have short-term plasticity, the same on all ranks."""
        return any(span.projection.transmission for span in self.spans)

    def _list_factors(self, model: Model) -> np.ndarray:
        """Return the short-term plasticity of all rows."""
        spans = [span for span in self.spans if span.projection.transmission is not None]
        factors = np.zeros((2, (len(self.row_ptr) - 1) * bool(spans), layout.FACTOR_COLUMNS))
        for span in spans:
            rows = factors[transmission.LIVE, span.own_rows]
            transmission.fill_rows(model, span.projection, span.find_sources(np.arange(span.n_rows)), rows)
        transmission.start_rows(factors[transmission.LIVE])
        factors[transmission.AGAIN] = factors[transmission.LIVE]
        return factors

    def _find_address(self, projection: Projection, row: int, which: int) -> int:
        """Return the address of the short-term plasticity from a row on, 0 for none; `which`: see `transmission`."""
        if projection.transmission is None:
            return 0
        return self.factors.ctypes.data + (which * self.factors.shape[1] + row) * self.factors[0, :1].nbytes

    @property
    def blocks_again(self) -> np.ndarray:
        """The blocks for the second pass through an interval: short-term plasticity starts as at the start of the
        interval.
        """
        blocks = self.blocks.copy()
        for span, mine in zip(self.spans, self._split_blocks(blocks), strict=True):
            mine[:, layout.FACTORS] = self._find_address(span.projection, span.rows, transmission.AGAIN)
        return blocks

    def _is_dense(self, draft: Draft, row: int, n: int) -> bool:
        """Return whether there is one delay, and each source has one synapse onto each target that it may have."""
        if draft.projection.moves:
            return False
        if len(draft.delays) > 1 or RULES[draft.projection.rule].reaches_all:
            return len(draft.delays) == 1
        width = draft.targets[1] - draft.targets[0]
        start, stop = self.row_ptr[row], self.row_ptr[row + n]
        whole = width * (draft.n_sources - draft.leaves_out_self)
        if draft.projection.is_drawn or n != draft.n_sources or stop - start != whole:
            return False
        repeated = np.diff(self.target[start:stop].astype(np.int64)) == 0
        ends = self.row_ptr[row + 1 : row + n] - start - 1  # a row may end where the next one starts
        repeated[ends[(ends >= 0) & (ends < len(repeated))]] = False
        return not repeated.any()

    def list_row_signs(self) -> np.ndarray:
        """Return the sign that the weights of each row keep, int8 (n_rows,); (0,) if no projection keeps signs."""
        bound = [span for span in self.spans if span.projection.keeps_signs]
        signs = np.zeros((len(self.row_ptr) - 1) * bool(bound), np.int8)
        for span in bound:
            signs[span.own_rows] = span.list_row_signs()
        return signs

    def list_used_neurons(self) -> np.ndarray:
        """Return the recurrent neurons that have synapses here, int64 ascending, by their numbers in the log."""
        neurons = [np.zeros(0, np.int64)]
        for span, blocks in zip(self.spans, self._split_blocks(self.blocks), strict=True):
            if blocks[0, LOG]:
                filled = np.diff(self.row_ptr[span.rows : span.rows + span.n_rows + 1]) > 0
                neurons.append(blocks[0, SOURCE] + np.unique(span.list_source_numbers()[filled]))
        return np.unique(np.concatenate(neurons))

    def map_blocks(self, find: Callable[[Projection], T]) -> list[T]:
        """Return the results of a function of a projection, for each block."""
        return [found for span in self.spans for found in [find(span.projection)] * len(span.delays)]

    def _split_blocks(self, blocks: np.ndarray) -> list[np.ndarray]:
        """Return views of the blocks of each projection."""
        return np.split(blocks, np.cumsum([len(span.delays) for span in self.spans]))[:-1]

    def find_row(self, block: int, source: int) -> int | None:
        """Return the row of a source in a block, None without one; `source` is its number in the spike log."""
        span = self.spans[np.searchsorted(np.cumsum([len(span.delays) for span in self.spans]), block, side="right")]
        number, rows = source - self.blocks[block, SOURCE], np.arange(span.n_rows)
        places = np.flatnonzero(
            (span.list_source_numbers() == number) & (span.find_blocks(rows) == self.blocks[block, layout.NUMBER])
        )
        return span.rows + int(places[0]) if len(places) else None

    def find_block(self, row: int) -> int:
        """Return the block of a row."""
        first = 0
        for span in self.spans:
            if span.rows <= row < span.rows + span.n_rows:
                return first + int(span.find_blocks(np.array([row - span.rows]))[0])
            first += len(span.delays)
        raise IndexError(row)

    def number_whole_rows(self) -> tuple[np.ndarray, int]:
        """Return each row's number in a table with rows for all sources, int64 (n_rows,), and that table's n_rows."""
        numbers, first = [np.zeros(0, np.int64)], 0
        for span in self.spans:
            n, rows = span.projection.pre.size, np.arange(span.n_rows)
            numbers.append(first + n * span.find_blocks(rows) + span.find_sources(rows))
            first += n * len(list_delays(span.projection))
        return np.concatenate(numbers), first

    def count_by_source(self, span: ProjectionSlice, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Return for each row of a block its source, counted from the block's first source, and its length."""
        mine = np.flatnonzero(span.find_blocks(np.arange(span.n_rows)) == block)
        return span.list_source_numbers()[mine], np.diff(self.row_ptr)[span.rows + mine]

    def yield_chunks(self, span: ProjectionSlice, limit: int = 1_000_000) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the span's synapses in canonical order, by target, source, delay; about `limit` are held at a time.

        Yields source and target, ids in the populations, delay in steps, and index in `weight`, int64 (n,) each.
        """
        row = np.arange(span.n_rows)
        source, delay = span.find_sources(row), span.delays[span.find_blocks(row)]
        for index, rows in self.yield_places(span, limit, rows=True):
            target = self.target[index].astype(np.int64) - span.base + span.targets[0]
            yield source[rows], target, delay[rows], index

    def list_columns(self, span: ProjectionSlice) -> np.ndarray:
        """Return source, target, delay and index of all synapses of `yield_chunks`, int64 (4, n)."""
        return np.concatenate([np.zeros((4, 0), np.int64), *map(np.stack, self.yield_chunks(span))], axis=1)

    def yield_own_places(self, span: ProjectionSlice, limit: int = 1_000_000) -> Iterator[np.ndarray]:
        """Yield the indices in `weight` of the span's synapses, in an order in which the parts of ranks do not overlap.

        Canonical order; or by source, delay, target if ranks own sources. About `limit` are held at a time.
        """
        if not self.by_source:
            yield from (index for index, _ in self.yield_places(span, limit))
            return
        for first in range(span.first, span.last, limit):
            yield np.arange(first, min(first + limit, span.last))

    def yield_places(
        self, span: ProjectionSlice, limit: int = 1_000_000, rows: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the indices in `weight` of the span's synapses in canonical order, and with `rows` the row of each."""
        low, high = span.targets
        n_chunks = max(1, -(-(span.last - span.first) // limit))
        n_rows = span.n_rows
        cursor = self.row_ptr[span.rows : span.rows + n_rows].copy()
        ends = self.row_ptr[span.rows + 1 : span.rows + n_rows + 1]
        bounds = [span.base + (high - low) * chunk // n_chunks for chunk in range(n_chunks + 1)]
        for first, last in itertools.pairwise(bounds):
            counts = np.zeros(n_rows, np.int64)
            row_kernel.advance(cursor, ends, self.target, last, counts)
            index = np.empty(int(counts.sum()), np.int64)
            row = np.empty_like(index) if rows else np.zeros(0, np.int64)
            place = np.zeros(last - first + 1, np.int64)
            row_kernel.order(first, cursor, counts, self.target, place, index, row)
            cursor += counts
            yield index, row

    @property
    def nbytes(self) -> int:
        """Bytes of topology and weights, and of the lists of sources that have rows."""
        lists = [span.sources for span in self.spans if span.sources is not None and span.sources.base is None]
        arrays = [
            self.blocks,
            self.factors,
            self.row_ptr,
            self.target,
            self.weight,
            *lists,
            *itertools.chain(*self._indices),
        ]
        return sum(array.nbytes for array in arrays) + (self._listed.nbytes if self._listed else 0)


def pays_index(synapses: float, n_rows: float) -> bool:
    """Return whether leaving out empty rows saves memory, for `n_rows` pairs of source and delay."""
    return n_rows >= FEWEST_ROWS and synapses < SPARSE * n_rows


def count_bytes(
    real: type,
    synapses: float,
    rows: float,
    blocks: float = 0,
    words: float = 0,
    ids: float = 0,
    has_transmission: bool = False,
) -> float:
    """Return the bytes of a table with weights of type `real`, from the numbers of its parts.

    `words` counts words of 64 bits of all sets: of rows of blocks and of listed neurons. `ids` counts entries of the
    lists of sources. `has_transmission`: a projection has short-term plasticity, so that all rows have room for it.
    """
    rows_of_factors = 2 * rows * has_transmission  # see `SynapseTable.factors`
    synapse = 4 + np.dtype(real).itemsize
    numbers = rows + 1 + layout.BLOCK_COLUMNS * blocks + layout.FACTOR_COLUMNS * rows_of_factors
    return synapses * synapse + 8 * numbers + 12 * words + 4 * ids

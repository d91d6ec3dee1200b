"""The synapses onto one rank's targets: flat CSR arrays by source, cut into blocks of one projection and one delay."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..arrays import allocate_aligned
from ..kernels import layout
from ..kernels import rows as row_kernel
from ..kernels import signs as sign_kernel
from .connectivity import RULES, Projection
from .drawing import Block, draft_block
from .model import Model

ROW, SOURCE, SOURCES, LOG, TARGET, HOLE = (
    layout.ROW, layout.SOURCE, layout.SOURCES, layout.LOG, layout.TARGET, layout.HOLE
)  # fmt: skip


@dataclass(frozen=True)
class ProjectionSlice:
    """The place of a projection in the arrays of a `SynapseTable`.

    Attributes
    ----------
    projection : Projection
        The rule.
    first, last : int
        Half-open range of its synapses.
    rows : int
        Its first row; it has `len(delays) * n_sources` rows, by delay and source.
    delays : np.ndarray
        int64 (n_blocks,), the delay of each of its blocks in steps, ascending.
    targets : tuple of int
        Half-open range of its targets on this rank, ids in the population.
    base : int
        Local index of the first of them.
    sources : np.ndarray or None
        int64 (n_sources,) ascending, the sources that have rows, None if all have.
    """

    projection: Projection
    first: int
    last: int
    rows: int
    delays: np.ndarray
    targets: tuple[int, int]
    base: int
    sources: np.ndarray | None = None

    @property
    def n_sources(self) -> int:
        """Number of rows for each delay."""
        return self.projection.pre.size if self.sources is None else len(self.sources)

    def source(self, row: np.ndarray) -> np.ndarray:
        """Return the sources, ids in the population, of rows counted from `rows`."""
        index = row % self.n_sources
        return index if self.sources is None else self.sources[index]

    def row_signs(self) -> np.ndarray:
        """Return the sign of the source of each row, int8 (n_rows,); (0,) if none is bound."""
        signs = self.projection.signs
        if signs is None:
            return np.zeros(0, np.int8)
        return np.tile(signs if self.sources is None else signs[self.sources], len(self.delays))


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
        Half-open range of this rank's cells of the sources' role, where ranks own sources instead of targets: only
        these have rows, and blocks number them by their ids.

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
    """

    def __init__(
        self, model: Model, projections: list[Projection], first: int, last: int,
        sources: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        self.by_source = sources is not None
        drafts = [draft_block(model, projection, first, last, sources) for projection in projections]
        n_rows = sum(draft.counts.size for draft in drafts)
        self.row_ptr = np.zeros(n_rows + 1, np.int64)
        row = 0
        for draft in drafts:
            self.row_ptr[row + 1 : row + 1 + draft.counts.size] = draft.counts.ravel()
            row += draft.counts.size
        np.cumsum(self.row_ptr, out=self.row_ptr)
        self.target = allocate_aligned(int(self.row_ptr[-1]), np.uint32)
        self.weight = allocate_aligned(int(self.row_ptr[-1]), model.kernels.real)
        self.spans: list[ProjectionSlice] = []
        blocks: list[list[int]] = []
        row = 0
        for draft in drafts:
            self.spans.append(self._span(draft, row))
            blocks += self._place(model, draft, row)
            if draft.projection.is_drawn or draft.projection.rewire:  # given ones were checked; -0.0
                factor = draft.projection.inhibition if draft.projection.is_drawn else 1.0
                sign_kernel.take_signs(self.row_ptr[row:], self.spans[-1].row_signs(), factor, self.weight)
            row += draft.counts.size
        self.blocks = np.array(blocks, np.int64).reshape(-1, layout.BLOCK_COLUMNS)

    def _span(self, draft: Block, row: int) -> ProjectionSlice:
        """Return the place of a projection whose first row is `row`."""
        ends = int(self.row_ptr[row]), int(self.row_ptr[row + draft.counts.size])
        sources = np.arange(*draft.sources) if self.by_source else None
        return ProjectionSlice(draft.projection, *ends, row, draft.delays, draft.targets, draft.base, sources)

    def _place(self, model: Model, draft: Block, row: int) -> list[list[int]]:
        """Fill the rows of a projection and return its blocks."""
        projection, (low, high) = draft.projection, draft.targets
        n_sources, n_rows = draft.n_sources, draft.counts.size
        draft.fill(self.row_ptr[row : row + n_rows].reshape(draft.counts.shape), self.target, self.weight)
        source = model.offset(projection.pre) + draft.sources[0]
        hole = model.offset(projection.post) + low if draft.leaves_out_self else layout.NO_HOLE
        blocks = []
        for k, delay in enumerate(draft.delays):
            dense = self._is_dense(draft, row + k * n_sources)
            blocks.append(
                [row + k * n_sources, source, source + n_sources, int(delay), int(projection.pre.role != "input"),
                 int(dense), draft.base, hole, high - low, int(projection.plastic), projection.port_index]
            )  # fmt: skip
        return blocks

    def _is_dense(self, draft: Block, row: int) -> bool:
        """Return whether each source reaches every target of the block once (but itself if the draft leaves it out)."""
        if RULES[draft.projection.rule].reaches_all:
            return len(draft.delays) == 1
        n, width = draft.n_sources, draft.targets[1] - draft.targets[0]
        start, stop = self.row_ptr[row], self.row_ptr[row + n]
        if draft.projection.is_drawn or stop - start != width * (n - draft.leaves_out_self):
            return False
        repeated = np.diff(self.target[start:stop].astype(np.int64)) == 0
        ends = self.row_ptr[row + 1 : row + n] - start - 1  # a row may end where the next one starts
        repeated[ends[(ends >= 0) & (ends < len(repeated))]] = False
        return not repeated.any()

    def row_signs(self) -> np.ndarray:
        """Return the sign that the weights of each row keep, int8 (n_rows,); (0,) if no projection keeps signs."""
        bound = [span for span in self.spans if span.projection.keeps_signs]
        signs = np.zeros((len(self.row_ptr) - 1) * bool(bound), np.int8)
        for span in bound:
            signs[span.rows : span.rows + len(span.delays) * span.n_sources] = span.row_signs()
        return signs

    def list_used_neurons(self) -> np.ndarray:
        """Return the recurrent neurons that have synapses here, int64 ascending."""
        neurons = [np.zeros(0, np.int64)]
        for row, source, sources in self.blocks[self.blocks[:, LOG] == 1, :3]:
            neurons.append(source + np.flatnonzero(np.diff(self.row_ptr[row : row + sources - source + 1])))
        return np.unique(np.concatenate(neurons))

    def compact(self, sources: np.ndarray) -> None:
        """Keep only rows of inputs and of some recurrent neurons, among them all that have synapses here.

        From then on blocks number neurons by their place in `sources` (int64 ascending). Projections without synapses
        keep no rows.
        """
        parts = np.split(self.blocks, np.cumsum([len(span.delays) for span in self.spans]))[:-1]  # views, by span
        chosen = [self._chosen(span, blocks, sources) for span, blocks in zip(self.spans, parts, strict=True)]
        keep = np.ones(len(self.row_ptr) - 1, bool)
        for span, blocks, kept in zip(self.spans, parts, chosen, strict=True):
            keep[span.rows : span.rows + len(blocks) * span.n_sources] = False
            keep[(blocks[:, ROW, None] + kept).ravel()] = True
        place = np.concatenate(([0], np.cumsum(keep)))
        self.row_ptr = self.row_ptr[np.append(np.flatnonzero(keep), len(keep))]  # rows left out are empty
        for blocks, kept in zip(parts, chosen, strict=True):
            if blocks[0, LOG]:
                first = blocks[0, SOURCE]
                low = np.searchsorted(sources, first)
                blocks[:, SOURCE], blocks[:, SOURCES] = low, low + len(kept)
                blocks[blocks[:, HOLE] != layout.NO_HOLE, HOLE] += low - first
            blocks[:, ROW] = place[blocks[:, ROW]]
        self.spans = [
            replace(span, rows=int(place[span.rows]), sources=None if len(kept) == span.n_sources else kept)
            for span, kept in zip(self.spans, chosen, strict=True)
        ]

    @staticmethod
    def _chosen(span: ProjectionSlice, blocks: np.ndarray, sources: np.ndarray) -> np.ndarray:
        """Return the sources that keep their rows, ids in the population."""
        first, last = blocks[0, SOURCE : SOURCE + 2]
        if not blocks[0, LOG]:
            return np.arange(last - first)
        ends = np.searchsorted(sources, (first, last) if span.first < span.last else (first, first))
        return sources[slice(*ends)] - first

    def whole_rows(self) -> tuple[np.ndarray, int]:
        """Return the rows' numbers in a table with rows for all sources, int64 (n_rows,), and that table's n_rows."""
        numbers, first = [np.zeros(0, np.int64)], 0
        for span in self.spans:
            n, sources = span.projection.pre.size, np.arange(span.n_sources)
            starts = first + n * np.arange(len(span.delays))
            numbers.append((starts[:, None] + span.source(sources)).ravel())
            first += n * len(span.delays)
        return np.concatenate(numbers), first

    def chunks(self, span: ProjectionSlice, limit: int = 1_000_000) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the span's synapses in canonical order: by target, source, delay.

        Parameters
        ----------
        span : ProjectionSlice
            The projection.
        limit : int
            About how many synapses are held at a time.

        Yields
        ------
        source, target : np.ndarray
            int64 (n,), ids in the populations.
        delay : np.ndarray
            int64 (n,), in steps.
        index : np.ndarray
            int64 (n,), places in `weight`.
        """
        for index, rows in self.yield_places(span, limit, rows=True):
            target = self.target[index].astype(np.int64) - span.base + span.targets[0]
            yield span.source(rows), target, span.delays[rows // span.n_sources], index

    def yield_own_places(self, span: ProjectionSlice, limit: int = 1_000_000) -> Iterator[np.ndarray]:
        """Yield the places in `weight` of the span's synapses in an order in which ranks' shares do not overlap.

        Canonical order, or by source, delay, target if ranks own sources. About `limit` are held at a time.
        """
        if not self.by_source:
            yield from (index for index, _ in self.yield_places(span, limit))
            return
        n_sources = span.n_sources
        rows = span.rows + np.arange(len(span.delays) * n_sources).reshape(len(span.delays), n_sources).T.ravel()
        counts = np.diff(self.row_ptr)[rows]
        for part in np.array_split(np.arange(len(rows)), max(1, -(-(span.last - span.first) // limit))):
            n = counts[part]
            yield np.repeat(self.row_ptr[rows[part]] - (np.cumsum(n) - n), n) + np.arange(n.sum())

    def yield_places(
        self, span: ProjectionSlice, limit: int = 1_000_000, rows: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the places in `weight` of the span's synapses in canonical order, and with `rows` the row of each."""
        low, high = span.targets
        n_chunks = max(1, -(-(span.last - span.first) // limit))
        n_sources = span.n_sources
        n_rows = len(span.delays) * n_sources
        cursor = self.row_ptr[span.rows : span.rows + n_rows].copy()
        ends = self.row_ptr[span.rows + 1 : span.rows + n_rows + 1]
        bounds = [span.base + (high - low) * chunk // n_chunks for chunk in range(n_chunks + 1)]
        for first, last in itertools.pairwise(bounds):
            counts = np.zeros(n_rows, np.int64)
            row_kernel.advance(cursor, ends, self.target, last, counts)
            index = np.empty(counts.sum(), np.int64)
            row = np.empty_like(index) if rows else np.zeros(0, np.int64)
            place = np.zeros(last - first + 1, np.int64)
            row_kernel.order(n_sources, first, cursor, counts, self.target, place, index, row)
            cursor += counts
            yield index, row

    @property
    def nbytes(self) -> int:
        """Bytes of topology and weights."""
        lists = (span.sources for span in self.spans if span.sources is not None)
        return sum(array.nbytes for array in (self.blocks, self.row_ptr, self.target, self.weight, *lists))

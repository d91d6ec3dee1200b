"""Drawing the synapses onto this rank's targets, rule by rule."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import rng
from ..kernels import topology
from ..parallel.partition import overlap
from ..sonata.edges import Piece
from .connectivity import RULES, Projection
from .model import Model
from .signs import check_weights


class Block:
    """One projection on this rank, counted but not yet laid out.

    Parameters
    ----------
    projection : Projection
        The rule.
    targets : tuple of int
        Half-open range of its targets on this rank, ids in the population.
    base : int
        Local index of the first of them.
    sources : tuple of int
        Half-open range of the sources that have rows, ids in the population.

    Attributes
    ----------
    delays : np.ndarray
        int64 (n_delays,), delays in steps that may occur, ascending.
    counts : np.ndarray
        int64 (n_delays, n_sources), synapses of each row.
    leaves_out_self : bool
        Whether no target has itself as a source.
    """

    delays: np.ndarray
    counts: np.ndarray

    def __init__(self, projection: Projection, targets: tuple[int, int], base: int, sources: tuple[int, int]) -> None:
        self.projection = projection
        self.targets = targets
        self.base = base
        self.sources = sources
        self.leaves_out_self = projection.pre == projection.post and not projection.allow_autapses

    @property
    def n_sources(self) -> int:
        """Number of rows for each delay."""
        return self.sources[1] - self.sources[0]

    def fill(self, starts: np.ndarray, target: np.ndarray, weight: np.ndarray) -> None:
        """Write the synapses of each row, which begin at `starts` (n_delays, n_sources), into the flat arrays."""
        raise NotImplementedError


class _RuledBlock(Block):
    """Synapses that a rule draws, twice with the same numbers: once to count, once to write."""

    def __init__(
        self, model: Model, projection: Projection, targets: tuple[int, int], base: int, sources: tuple[int, int]
    ) -> None:
        super().__init__(projection, targets, base, sources)
        low, high = projection.delay
        self.delays = np.arange(low, high + 1)
        rule = RULES[projection.rule]
        n_shuffled = projection.pre.size if topology.shuffles(rule.code, projection.allow_multapses) else 0
        self._drawing = topology.Drawing(
            rule.code, projection.pre.size, int(projection.indegree or 0), projection.probability or 0.0,
            projection.allow_multapses, 0 if self.leaves_out_self else None, projection.delay,
            (projection.weight.kernel_code, *projection.weight.numbers),
            [rng.key(model.seed, f"{projection.name}/{what}") for what in ("topology", "delay", "weight")],
            np.arange(n_shuffled, dtype=np.uint32),
        )  # fmt: skip
        self.counts = np.zeros((len(self.delays), self.n_sources), np.int64)
        self._drawing.count(*targets, self.counts, sources[0])

    def fill(self, starts: np.ndarray, target: np.ndarray, weight: np.ndarray) -> None:
        self._drawing.fill(*self.targets, self.base, starts.copy(), target, weight, self.sources[0])


class _ExplicitBlock(Block):
    """Synapses given as arrays, of which this rank takes those onto its own targets."""

    def __init__(self, projection: Projection, targets: tuple[int, int], base: int, sources: tuple[int, int]) -> None:
        super().__init__(projection, targets, base, sources)
        source, target = projection.source, projection.target
        assert source is not None and target is not None  # they are given
        same = projection.pre == projection.post
        self.leaves_out_self = same and not np.any(source == target)
        self.delays = np.unique(projection.delay) if len(projection.delay) else np.array([1])
        mine = np.flatnonzero(_lies_in(target, targets) & _lies_in(source, sources))
        kind = np.searchsorted(self.delays, projection.delay[mine])
        self._order = mine[np.lexsort((target[mine], source[mine], kind))]
        self._target = target[self._order]
        n_sources = self.n_sources
        self.counts = np.bincount(
            kind * n_sources + source[mine] - sources[0], minlength=len(self.delays) * n_sources
        ).reshape(len(self.delays), n_sources)

    def fill(self, starts: np.ndarray, target: np.ndarray, weight: np.ndarray) -> None:
        start = starts.ravel()[0] if starts.size else 0
        mine = slice(start, start + len(self._order))
        target[mine] = self._target - self.targets[0] + self.base
        weight[mine] = self.projection.weight[self._order]


class _StreamedBlock(Block):
    """Synapses that come in pieces, once to count and once to write; rows are sorted by target, then as they came."""

    def __init__(
        self, model: Model, projection: Projection, targets: tuple[int, int], base: int, sources: tuple[int, int]
    ) -> None:
        super().__init__(projection, targets, base, sources)
        low, high = projection.delay_range
        self.delays = np.arange(low, high + 1) if projection.is_drawn else projection.delay
        self._seed = model.seed
        counts = np.zeros(len(self.delays) * self.n_sources, np.int64)
        for piece in self._pieces(False):
            counts += np.bincount(self._rows(piece), minlength=len(counts))
        self.counts = counts.reshape(len(self.delays), self.n_sources)

    def _pieces(self, weights: bool) -> Iterator[Piece]:
        signs = self.projection.signs
        for piece in RULES[self.projection.rule].pieces(self._seed, self.projection, *self.targets, weights):
            if weights and signs is not None and not self.projection.is_drawn:
                check_weights(signs, piece.source, piece.weight, f"projection '{self.projection.name}'")
            mine = _lies_in(piece.source, self.sources)
            yield piece if mine.all() else Piece(*(array[mine] for array in vars(piece).values()))

    def _rows(self, piece: Piece) -> np.ndarray:
        return np.searchsorted(self.delays, piece.delay) * self.n_sources + piece.source - self.sources[0]

    def fill(self, starts: np.ndarray, target: np.ndarray, weight: np.ndarray) -> None:
        cursor = starts.ravel().copy()
        first = int(cursor[0]) if len(cursor) else 0
        for piece in self._pieces(True):
            row = self._rows(piece)
            order = np.argsort(row, kind="stable")
            row = row[order]
            begins = np.flatnonzero(np.diff(row, prepend=-1))
            lengths = np.diff(np.append(begins, len(row)))
            place = cursor[row] + np.arange(len(row)) - np.repeat(begins, lengths)
            cursor[row[begins]] += lengths
            target[place] = piece.target[order] - self.targets[0] + self.base
            weight[place] = piece.weight[order]
        self._sort(first, target, weight)

    def _sort(self, first: int, target: np.ndarray, weight: np.ndarray) -> None:
        """Sort each row by target, unless all rows are sorted already."""
        lengths = self.counts.ravel()
        mine = slice(first, first + int(lengths.sum()))
        row = np.repeat(np.arange(len(lengths)), lengths)
        key = row * (2**32) + target[mine]
        if np.any(key[1:] < key[:-1]):
            order = np.argsort(key, kind="stable")
            target[mine], weight[mine] = target[mine][order], weight[mine][order]


def _lies_in(ids: np.ndarray, bounds: tuple[int, int]) -> np.ndarray:
    return (ids >= bounds[0]) & (ids < bounds[1])


def draft_block(
    model: Model, projection: Projection, first: int, last: int, sources: tuple[int, int] | None = None
) -> Block:
    """Draft the synapses of a projection onto its targets on this rank.

    Rows are not cut into tiles of targets: memory gives long rows faster than caches lose by wide ones (the loops
    `scatter` and `gather` of scripts/bandwidth.py, up to a million targets).

    Parameters
    ----------
    model : Model
        The whole network.
    projection : Projection
        The rule.
    first, last : int
        Half-open range of this rank's cells of the targets' role.
    sources : tuple of int or None
        Half-open range of this rank's cells of the sources' role, if it takes the synapses of these alone.

    Returns
    -------
    Block
        Without synapses if no target is on this rank.
    """
    offset = model.offset(projection.post)
    low, high = overlap(first, last, offset, offset + projection.post.size)
    base = low - first if high > low else 0
    targets = (low - offset, high - offset) if high > low else (0, 0)
    taken = 0, projection.pre.size
    if sources is not None:
        offset = model.offset(projection.pre)
        low, high = np.clip(np.array(sources) - offset, 0, projection.pre.size)
        taken = int(low), int(high)
    if projection.source is not None:
        return _ExplicitBlock(projection, targets, base, taken)
    kind = _StreamedBlock if RULES[projection.rule].streamed else _RuledBlock
    return kind(model, projection, targets, base, taken)

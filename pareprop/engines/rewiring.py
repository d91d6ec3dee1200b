"""Rewiring of a projection while it learns: DEEP R with a constant number of synapses per target and delay.

Bellec, Kappel, Maass, Legenstein 2018, arXiv:1711.05136. After a step of the optimizer each parameter theta = s w
(s the sign of the synapse) shrinks by eta l1 and walks at random by sqrt(2 eta T). A synapse with theta < 0 is dormant;
every so many steps, dormant synapses move to other sources of their target. New sources are drawn by
the distance with the rule of that name, else evenly from all. Draws are keyed by target, source and step,
and each decision concerns one target, so any partition of the targets gives the same network.

In the spike variant, whose optimizer steps whenever a spike arrives and keeps signs of sources itself, a step is a
sample: at the end of every so many samples weights shrink, and those that are 0 then are dormant, too. Before that, all
rows are worked off up to the present. What a new synapse keeps for learning starts at 0 then: only spikes that enter
the history later change it.
"""

from __future__ import annotations

import math

import numpy as np

from .. import rng
from ..kernels import rewire as kernel
from ..network.delays import DistanceDelay
from ..network.optimizers import Optimizer
from ..network.rules import RULES
from ..network.synapse_table import ProjectionSlice, SynapseTable

MOVE = 5  # columns of a move: step of the optimizer, target, source that went, source that came, new delay
AT_ONCE = 2**14  # synapses that get new sources by the distance at a time


class Rewiring:
    """The moving synapses of one projection on this rank.

    Parameters
    ----------
    table : SynapseTable
        Table of the synapses.
    span : ProjectionSlice
        The projection, which keeps rows for all its sources.
    seed : int
        Seed of the model.
    by_samples : bool
        Whether a step is a sample of the spike variant.

    Attributes
    ----------
    latest : np.ndarray
        int64 (n, 5), moves of the latest step, by target and source that went: step, target, source that went, source
        that came, its delay; ids of the populations.
    kept : list of np.ndarray or None
        A list to which the moves of all steps are appended; None at first.
    """

    def __init__(self, table: SynapseTable, span: ProjectionSlice, seed: int, by_samples: bool = False) -> None:
        projection, rule = span.projection, span.projection.rewire
        assert rule is not None  # synapses of others stay where they are
        self.table, self.span, self.rule, self._by_samples = table, span, rule, by_samples
        self._keys = {
            what: rng.key(seed, f"{projection.name}/{what}") for what in ("rewire", "rewire-sign", "rewire-noise")
        }
        self._signs = np.ascontiguousarray(projection.signs) if projection.keeps_signs else np.zeros(0, np.int8)
        self._near = RULES[projection.rule].near(seed, projection)
        law = projection.delay_law
        self._delays = law if isinstance(law, DistanceDelay) else None  # other delays stay as they are
        self._excludes_self = projection.pre == projection.post and not projection.allow_autapses
        self._first_target = span.targets[0] - span.base
        self._bits = np.zeros((span.last - span.first + 7) // 8, np.uint8)
        self.latest = np.zeros((0, MOVE), np.int64)
        self.kept: list[np.ndarray] | None = None
        self._kept_topology: tuple[np.ndarray, np.ndarray] | None = None

    def begin(self) -> None:
        """Keep the signs of all synapses before weights change."""
        self._kept_topology = None  # that of a checkpoint is of no more use
        kernel.sign_bits(self.table.weight[self.span.first : self.span.last], self._bits)
        if self._by_samples and len(self._signs):  # a weight at its bound 0 is +0.0 there, of either sign
            kernel.source_bits(self._row_ptr(), self._signs, self._bits)

    def step(self, n_step: int, eta: float, optimizer: Optimizer, others: list[np.ndarray]) -> None:
        """Shrink weights after a step of the optimizer, or after a sample, and move dormant synapses.

        Parameters
        ----------
        n_step : int
            Number of the step, from 1.
        eta : float
            Learning rate of the step.
        optimizer : Optimizer
            Has the bounds of the weights.
        others : list of np.ndarray
            (n_synapses,) of the span each, such as moments; they move with the synapses.
        """
        span, table = self.span, self.table
        due = n_step % self.rule.every == 0
        rate = eta if due or not self._by_samples else 0.0
        count = kernel.shrink(
            self._by_samples,
            rate * self.rule.l1,
            math.sqrt(2.0 * rate * self.rule.temperature),
            optimizer.Wmin,
            optimizer.Wmax,
            n_step,
            self._keys["rewire-noise"],
            self._row_ptr(),
            len(span.delays),
            self._first_target,
            table.target[span.first : span.last],
            self._bits,
            table.weight[span.first : span.last],
        )
        self.latest = self._replace_dormant(n_step, count, others) if due and count else np.zeros((0, MOVE), np.int64)
        if self.kept is not None:
            self.kept.append(self.latest)

    def topology(self) -> dict[str, np.ndarray]:
        """Return source and delay in steps of each synapse for a checkpoint, as they can't be drawn again."""
        row = np.repeat(np.arange(len(self._row_ptr()) - 1), np.diff(self._row_ptr()))
        source, block = np.divmod(row, len(self.span.delays))
        kept = source.astype(np.uint32), self.span.delays[block].astype(np.int32)
        self._kept_topology = kept
        return dict(zip(("source", "delay"), kept, strict=True))

    def restore(self, others: list[np.ndarray]) -> None:
        """Sort synapses into the rows that the arrays of `topology`, filled from a checkpoint, name.

        Each synapse has its target and values already.

        Parameters
        ----------
        others : list of np.ndarray
            (n_synapses,) of the span each, sorted with the synapses.
        """
        span, table, ptr = self.span, self.table, self._row_ptr()
        assert self._kept_topology is not None  # `topology` was called before
        source, delay = self._kept_topology
        mine = slice(span.first, span.last)
        row = source.astype(np.int64) * len(span.delays) + np.searchsorted(span.delays, delay)
        order = np.lexsort((table.target[mine], row))
        for array in (table.target[mine], table.weight[mine], *others):
            array[...] = array[order]
        ptr[1:] = ptr[0] + np.cumsum(np.bincount(row, minlength=len(ptr) - 1))
        self._kept_topology = None

    def _row_ptr(self) -> np.ndarray:
        first = self.span.rows
        return self.table.row_ptr[first : first + len(self.span.delays) * self.span.n_sources + 1]

    def _replace_dormant(self, n_step: int, count: int, others: list[np.ndarray]) -> np.ndarray:
        """Give the dormant synapses new sources; return the moves, see `latest`."""
        span, table = self.span, self.table
        gone = np.empty(count, np.int64)
        kernel.set_bits(self._bits, gone)
        row = np.searchsorted(table.row_ptr, gone + span.first, side="right") - 1 - span.rows
        target = table.target[gone + span.first]
        source, block = np.divmod(row, len(span.delays))
        order = np.lexsort((source, target))
        came, negative = self._choose_sources(n_step, target[order], source[order])
        order, came, negative = (array[came >= 0] for array in (order, came, negative))  # others find no source
        if not len(order):
            return np.zeros((0, MOVE), np.int64)
        left = np.sort(order)
        gone, row, target, source, block = gone[left], row[left], target[order], source[order], block[order]
        ids = target.astype(np.int64) + self._first_target
        if self._near is not None and self._delays is not None:
            block = np.searchsorted(span.delays, self._delays.steps(self._near.lengths(came, ids)))
        self._move_synapses(gone, row, came * len(span.delays) + block, target, negative, others)
        moves = np.empty((len(came), MOVE), np.int64)
        moves[:, 0], moves[:, 1], moves[:, 2], moves[:, 3], moves[:, 4] = n_step, ids, source, came, span.delays[block]
        return moves

    def _choose_sources(self, n_step: int, target: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return new sources of targets in place of those that left, and the synapses' sign bits.

        Targets are sorted. A source of -1 says that none is within the cutoff.
        """
        span, table, near = self.span, self.table, self._near
        came, negative = np.empty(len(target), np.int64), np.empty(len(target), np.uint8)
        keys = self._keys["rewire"], self._keys["rewire-sign"]
        itself, rows = self._excludes_self, (self._first_target, len(span.delays), span.rows)
        topology = self._signs, table.row_ptr, table.target
        if near is None:
            kernel.choose(n_step, *keys, *topology, span.n_sources, itself, *rows, target, came, negative)
            return came, negative
        space, probability, first = near.space, span.projection.probability, 0
        assert probability is not None  # the rule has one
        while first < len(target):
            last = int(np.searchsorted(target, target[min(first + AT_ONCE, len(target)) - 1], side="right"))
            places = near.targets(np.unique(target[first:last]).astype(np.int64) + self._first_target)
            parts = near.parts(near.cells(places))
            chance = np.empty(np.diff(parts).sum(axis=(1, 2)).max())
            kernel.choose_near(
                n_step,
                *keys,
                *topology,
                itself,
                *rows,
                target[first:last],
                left[first:last],
                parts,
                near.order,
                near.sources,
                places,
                np.array(space.extent),
                space.periodic,
                space.profile == "gaussian",
                space.length,
                space.cutoff,
                probability,
                chance,
                came[first:last],
                negative[first:last],
            )
            first = last
        return came, negative

    def _move_synapses(
        self,
        gone: np.ndarray,
        row: np.ndarray,
        new_row: np.ndarray,
        target: np.ndarray,
        negative: np.ndarray,
        others: list[np.ndarray],
    ) -> None:
        """Remove synapses from their rows and insert new ones into others, in place; rows count from `span.rows`."""
        span, table = self.span, self.table
        mine, ptr = slice(span.first, span.last), self._row_ptr()
        order = np.lexsort((target, new_row))
        before, places = np.empty(len(gone), np.int64), np.empty(len(gone), np.int64)
        moved = np.empty((2 * len(gone), 3), np.int64)
        kernel.insertions(ptr, table.target, new_row[order], target[order], before)
        kernel.segments(gone, before - span.first, moved, places)
        for array in (table.target[mine], table.weight[mine], *others):
            kernel.move(moved, array.itemsize, array.view(np.uint8))
        table.target[mine][places] = target[order]
        table.weight[mine][places] = np.where(negative[order] == 1, -0.0, 0.0)
        for array in others:
            array[places] = 0.0
        n = len(ptr) - 1
        ptr[1:] += np.cumsum(np.bincount(new_row, minlength=n) - np.bincount(row, minlength=n))

    @property
    def nbytes(self) -> int:
        """Bytes of the signs, and of positions."""
        return self._bits.nbytes + (self._near.nbytes if self._near else 0)

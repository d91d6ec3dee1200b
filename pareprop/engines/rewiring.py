"""Rewiring of a projection while it learns: DEEP R with a constant number of synapses per target and delay.

Bellec, Kappel, Maass, Legenstein 2018, arXiv:1711.05136. After a step of the optimizer each parameter theta = s w
(s the sign of the synapse) shrinks by eta l1 and walks at random by sqrt(2 eta T). A synapse with theta < 0 is dormant;
every so many steps, dormant synapses move to other sources of their target. New sources are drawn by distance if the
connection rule is `distance`, else evenly from all. Draws are keyed by target, source and step, and each decision
concerns one target, so any partition of the targets gives the same network.

In the spike variant, whose optimizer steps whenever a spike arrives and keeps signs of sources itself, a step is a
sample: at the end of every so many samples weights shrink, and weights of 0 are dormant, too. Before that, all rows
apply their pending updates. The learning state of a new synapse starts at 0: only later spikes change it.
"""

from __future__ import annotations

import math

import numpy as np

from .. import rng
from ..kernels import rewire as kernel
from ..network.connection_rules import RULES
from ..network.delays import DistanceDelay
from ..network.optimizers import Optimizer
from ..network.synapse_table import ProjectionSlice, SynapseTable
from .moving import MovingSynapses

MOVE = 5  # columns of a move: step of the optimizer, target, old source, new source, new delay
AT_ONCE = 2**14  # synapses that get new sources by distance at a time


class Rewiring(MovingSynapses):
    """The moving synapses of one projection on this rank; with `by_samples` a step is a sample of the spike variant.

    Attributes
    ----------
    latest : np.ndarray
        int64 (n, 5), moves of the latest step, by target and old source: step, target, old source, new source, new
        delay; ids in the populations.
    kept : list of np.ndarray or None
        A list to which the moves of all steps are appended; None at first.
    """

    def __init__(self, table: SynapseTable, span: ProjectionSlice, seed: int, by_samples: bool = False) -> None:
        projection, rule = span.projection, span.projection.rewire
        assert rule is not None  # else synapses stay where they are
        super().__init__(table, span)
        self.rule, self._by_samples = rule, by_samples
        self._keys = {
            what: rng.make_key(seed, f"{projection.name}/{what}") for what in ("rewire", "rewire-sign", "rewire-noise")
        }
        self._signs = np.ascontiguousarray(projection.signs) if projection.keeps_signs else np.zeros(0, np.int8)
        self._near = RULES[projection.rule].make_grid(seed, projection)
        law = projection.delay_law
        self._delays = law if isinstance(law, DistanceDelay) else None  # other delays stay as they are
        self._excludes_self = projection.pre == projection.post and not projection.allow_autapses
        self._first_target = span.targets[0] - span.base
        self._bits = np.zeros((span.last - span.first + 7) // 8, np.uint8)
        self.latest = np.zeros((0, MOVE), np.int64)
        self.kept: list[np.ndarray] | None = None
        self._kept_topology: tuple[np.ndarray, np.ndarray] | None = None

    def keep_signs(self) -> None:
        """Keep the signs of all synapses before weights change."""
        self._kept_topology = None  # from a checkpoint, not needed any more
        kernel.sign_bits(self.weight, self._bits)
        if self._by_samples and len(self._signs):  # a weight at its bound 0 is +0.0 there, of either sign
            kernel.source_bits(self.row_ptr, self._signs, self._bits)

    def step(self, n_step: int, eta: float, optimizer: Optimizer) -> None:
        """Shrink weights after step `n_step`, from 1, of the optimizer or after a sample, and move dormant synapses.

        `eta` is the learning rate of the step; `optimizer` has the bounds of the weights.
        """
        moves = n_step % self.rule.every == 0
        rate = eta if moves or not self._by_samples else 0.0
        shrinking = kernel.Shrinking(
            {
                "at_zero": self._by_samples,
                "loss": rate * self.rule.l1,
                "noise": math.sqrt(2.0 * rate * self.rule.temperature),
                "Wmin": optimizer.Wmin,
                "Wmax": optimizer.Wmax,
                "key": self._keys["rewire-noise"],
                "n_delays": len(self.span.delays),
                "first_target": self._first_target,
            }
        )
        count = shrinking.run(n_step, self.row_ptr, self.target, self._bits, self.weight)
        self.latest = self._replace_dormant(n_step, count) if moves and count else np.zeros((0, MOVE), np.int64)
        if self.kept is not None:
            self.kept.append(self.latest)

    def copy_topology(self) -> dict[str, np.ndarray]:
        """Return source and delay in steps of each synapse for a checkpoint, because they can't be drawn again."""
        row = np.repeat(np.arange(len(self.row_ptr) - 1), np.diff(self.row_ptr))
        source, block = np.divmod(row, len(self.span.delays))
        kept = source.astype(np.uint32), self.span.delays[block].astype(np.int32)
        self._kept_topology = kept
        return dict(zip(("source", "delay"), kept, strict=True))

    def restore_rows(self) -> None:
        """Sort synapses by the sources and delays that a checkpoint filled into the arrays of `copy_topology`.

        Each synapse has its target and values already.
        """
        span, ptr = self.span, self.row_ptr
        assert self._kept_topology is not None  # `copy_topology` was called before
        source, delay = self._kept_topology
        row = source.astype(np.int64) * len(span.delays) + np.searchsorted(span.delays, delay)
        order = np.lexsort((self.target, row))
        for array in self.moving:
            array[...] = array[order]
        ptr[1:] = ptr[0] + np.cumsum(np.bincount(row, minlength=len(ptr) - 1))
        self._kept_topology = None

    def _replace_dormant(self, n_step: int, count: int) -> np.ndarray:
        """Give the dormant synapses new sources; return the moves, see `latest`."""
        span, table = self.span, self.table
        gone = np.empty(count, np.int64)
        kernel.set_bits(self._bits, gone)
        row = np.searchsorted(table.row_ptr, gone + span.first, side="right") - 1 - span.rows
        target = self.target[gone]
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
            block = np.searchsorted(span.delays, self._delays.compute_steps(self._near.compute_lengths(came, ids)))
        self._move_synapses(gone, row, came * len(span.delays) + block, target, negative)
        moves = np.empty((len(came), MOVE), np.int64)
        moves[:, 0], moves[:, 1], moves[:, 2], moves[:, 3], moves[:, 4] = n_step, ids, source, came, span.delays[block]
        return moves

    def _choose_sources(self, n_step: int, target: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return new sources of targets in place of those that left, and the synapses' sign bits.

        Targets are sorted. A source of -1 says that none is within the cutoff.
        """
        span, table, near = self.span, self.table, self._near
        came, negative = np.empty(len(target), np.int64), np.empty(len(target), np.uint8)
        found = {
            "key": self._keys["rewire"],
            "key_sign": self._keys["rewire-sign"],
            "signs": self._signs,
            "row_ptr": table.row_ptr,
            "target": table.target,
            "n_sources": span.n_sources,
            "excludes_self": self._excludes_self,
            "first_target": self._first_target,
            "n_delays": len(span.delays),
            "first_row": span.rows,
        }
        if near is None:
            kernel.Candidates(found).choose(n_step, target, came, negative)
            return came, negative
        space, probability, first = near.space, span.projection.probability, 0
        assert probability is not None  # the rule has one
        candidates = kernel.NearCandidates(
            found
            | {
                "order": near.order,
                "sources": near.sources,
                "extent": np.array(space.extent),
                "periodic": space.periodic,
                "gaussian": space.profile == "gaussian",
                "length": space.length,
                "cutoff": space.cutoff,
                "probability": probability,
            }
        )
        while first < len(target):
            last = int(np.searchsorted(target, target[min(first + AT_ONCE, len(target)) - 1], side="right"))
            places = near.position_targets(np.unique(target[first:last]).astype(np.int64) + self._first_target)
            parts, some = near.list_ranges(near.index_cells(places)), slice(first, last)
            chance = np.empty(np.diff(parts).sum(axis=(1, 2)).max())
            candidates.choose_near(n_step, target[some], left[some], parts, places, chance, came[some], negative[some])
            first = last
        return came, negative

    def _move_synapses(
        self,
        gone: np.ndarray,
        row: np.ndarray,
        new_row: np.ndarray,
        target: np.ndarray,
        negative: np.ndarray,
    ) -> None:
        """Remove synapses from their rows and insert new ones into others, in place; rows count from `span.rows`."""
        ptr = self.row_ptr
        order = np.lexsort((target, new_row))
        before, places = np.empty(len(gone), np.int64), np.empty(len(gone), np.int64)
        moved = np.empty((2 * len(gone), 3), np.int64)
        kernel.insertions(ptr, self.table.target, new_row[order], target[order], before)
        kernel.segments(gone, before - self.span.first, moved, places)
        for array in self.moving:
            kernel.move(moved, array.itemsize, array.view(np.uint8))
            array[places] = 0
        self.target[places] = target[order]
        self.weight[places] = np.where(negative[order] == 1, -0.0, 0.0)
        n = len(ptr) - 1
        ptr[1:] += np.cumsum(np.bincount(new_row, minlength=n) - np.bincount(row, minlength=n))

    @property
    def nbytes(self) -> int:
        """Bytes of the signs, and of positions."""
        return self._bits.nbytes + (self._near.nbytes if self._near else 0)

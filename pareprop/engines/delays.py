"""Delays of a projection that learn while its weights do, one per synapse (interval variant).

Each synapse keeps a real delay; spikes take the whole one nearest to it, ties to even. The gradient of a delay is the
mean of the derivatives to either side, as if a spike were shared linearly between the two steps next to its arrival:
w (B[t + 1] - B[t - 1]) / 2 for an arrival in step t, where it adds B[t] to the gradient of the weight.

Rows of synapses are sorted by source, then delay, and exist for each delay within the bounds. So a synapse moves among
the rows of its source, on the rank of its target.
"""

from __future__ import annotations

import numpy as np

from ..arrays import allocate_aligned
from ..kernels import rewire as kernel
from ..network.synapse_table import ProjectionSlice, SynapseTable
from .moving import MovingSynapses
from .optimized import Optimized

AT_ONCE = 2**16  # synapses that are sorted at a time, about: their values stay in the cache


class LearnedDelays(MovingSynapses, Optimized):
    """The delays of one projection on this rank with their optimizer and its state.

    Attributes
    ----------
    delay : np.ndarray
        (n_synapses,) of the span, delays in steps, of any fraction, in the type of the weights.
    moved : int
        Synapses that the latest step moved to another row.
    """

    def __init__(self, table: SynapseTable, span: ProjectionSlice) -> None:
        rule = span.projection.learn_delay
        assert rule is not None and rule.low is not None and rule.high is not None  # else delays do not learn
        n, real = span.last - span.first, table.weight.dtype
        Optimized.__init__(self, rule, n, real)
        MovingSynapses.__init__(self, table, span)
        self.name = f"{span.projection.name}.delay"
        self._rule = rule.model_copy(update={"Wmin": rule.low, "Wmax": rule.high})
        self.delay = allocate_aligned(n, real)
        whole = np.repeat(span.delays[span.find_blocks(np.arange(span.n_rows))], np.diff(self.row_ptr))
        self.delay[:] = np.clip(whole, rule.low, rule.high)  # bounds need not be whole
        self.moved = 0
        self.arrays = {"delay": self.delay} | {f"delay_{name}": array for name, array in self.moments.items()}
        self.moving += self.arrays.values()

    def step(self, gradient: np.ndarray, divisor: float) -> None:
        """Take one optimizer step with `gradient` / `divisor`, (n_synapses,) of the span, and clear the gradient."""
        self.n_steps += 1
        bad = ~np.isfinite(gradient)
        self._rule.step(self.eta, divisor, self.n_steps, gradient, self.delay, **self.moments)
        if bad.any():  # bounds would hide it; the next sample ends the run
            self.delay[bad] = self.weight[bad] = np.nan
        self.moved = self.sort_rows()

    def sort_rows(self) -> int:
        """Move each synapse into the row of the whole delay nearest to its delay; return how many moved."""
        ptr, n_delays, moved = self.row_ptr, len(self.span.delays), 0
        ends = ptr[::n_delays].copy()  # of the sources
        source, n_sources = 0, len(ends) - 1
        while source < n_sources:
            last = max(int(np.searchsorted(ends, ends[source] + AT_ONCE, side="right")) - 1, source + 1)
            rows = slice(source * n_delays, last * n_delays + 1)
            mine = slice(int(ends[source]) - self.span.first, int(ends[last]) - self.span.first)
            source, n = last, mine.stop - mine.start
            if not n:
                continue
            order, scratch = np.empty(n, np.int64), np.empty(n, np.int64)
            target, delay = self.target[mine], self.delay[mine]
            here = kernel.sort_by_delay(int(self.span.delays[0]), n_delays, ptr[rows], target, delay, order, scratch)
            for array in self.moving if here else ():
                array[mine] = array[mine].take(order)
            moved += here
        return moved

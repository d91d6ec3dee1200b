"""Plastic projections of this rank, each with its optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..errors import InputError
from ..kernels import signs as kernel
from ..network import rewire, scaled, signs
from ..network.connection_rules import RULES
from ..network.model import Model
from ..network.optimizers import Optimizer
from ..network.parameters import Scaled
from ..network.synapse_table import ProjectionSlice, SynapseTable
from ..rules.definition import Eprop, Rule
from .delays import LearnedDelays
from .optimized import Optimized
from .rewiring import Rewiring
from .state import State


class Plastic(Optimized):
    """A plastic projection on this rank with its optimizer and the optimizer's state.

    The interval variant keeps the moments here (`keeps_moments`); in the spike variant the kernel keeps them.

    Attributes
    ----------
    gain : float
        Factor of `eta` in each step, see `Optimizer.normalized` and `Optimizer.scaled`.
    keeps_signs : bool
        Whether weights are clipped here to keep their signs; in the spike variant the kernel does it.
    rewiring : Rewiring or None
        Moves its synapses, None if they stay.
    delays : LearnedDelays or None
        Its delays, None if they stay.
    leader : Plastic or None
        The projection whose learning rate it uses: for adaptive feedback, its readout projection.
    """

    leader: Plastic | None = None

    def __init__(
        self,
        table: SynapseTable,
        span: ProjectionSlice,
        optimizer: Optimizer,
        keeps_moments: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(optimizer, span.last - span.first, table.weight.dtype)
        self.table, self.span, self.name, self.gain = table, span, span.projection.name, 1.0
        if not keeps_moments:
            self.moments, self.arrays = {}, {}
        self.row_etas: np.ndarray | None = None  # learning rate of each row of the span, if they differ
        projection = span.projection
        self.keeps_signs = keeps_moments and projection.keeps_signs and not projection.rewire
        self._signs = self._list_signs()
        self.delays = LearnedDelays(table, span) if projection.learn_delay else None
        self.rewiring = Rewiring(table, span, seed, by_samples=not keeps_moments) if projection.rewire else None
        for part in filter(None, (self.delays, self.rewiring)):
            part.moving += self.moments.values()
        self.arrays |= self.delays.arrays if self.delays else {}
        # the optimizer's step may take theta across 0; `Rewiring` applies the bounds to theta
        unbounded = {"Wmin": -math.inf, "Wmax": math.inf}
        self._rule = optimizer.model_copy(update=unbounded) if self.rewiring else optimizer

    def _list_signs(self) -> np.ndarray:
        """Return ranges of synapses of one sign, 0 if none is kept: (n, 3), first, one past the last, sign."""
        if not self.keeps_signs or not self.span.n_rows:
            return np.array([[self.span.first, self.span.last, 0]])
        of_rows = self.span.list_row_signs()
        rows = np.concatenate([[0], np.flatnonzero(np.diff(of_rows)) + 1, [len(of_rows)]])
        ends = self.table.row_ptr[self.span.rows + rows]
        return np.column_stack([ends[:-1], ends[1:], of_rows[rows[:-1]]]).astype(np.int64)

    def step(self, gradient: np.ndarray, divisor: float) -> None:
        """Take one optimizer step with `gradient` / `divisor` and clear the gradient (n_synapses of the table,)."""
        self.n_steps += 1
        for eta, first, last in self._list_rates():
            mine, own = slice(first, last), slice(first - self.span.first, last - self.span.first)
            moments = {name: array[own] for name, array in self.moments.items()}
            self._rule.step(eta, divisor, self.n_steps, gradient[mine], self.table.weight[mine], **moments)
        self._finish_step()

    def _list_rates(self) -> list[tuple[float, int, int]]:
        """Return learning rates, each with its half-open range of synapses of the table."""
        if self.row_etas is None:
            return [(self.rate, self.span.first, self.span.last)]
        cuts = np.flatnonzero(np.diff(self.row_etas)) + 1
        rows = np.concatenate([[0], cuts, [len(self.row_etas)]])
        ends = self.table.row_ptr[self.span.rows + rows].tolist()
        etas = self.row_etas[rows[:-1]].tolist()
        return [(eta, first, last) for eta, first, last in zip(etas, ends[:-1], ends[1:], strict=True) if last > first]

    @property
    def eta(self) -> float:
        """Learning rate; the leader's, if there is one."""
        return self.leader.eta if self.leader else self._eta

    @eta.setter
    def eta(self, value: float) -> None:
        self._eta = value

    @property
    def rate(self) -> float:
        """Factor of the gradient in a step."""
        return self.eta * self.gain

    @property
    def n_moved(self) -> int | None:
        """Synapses that moved in the latest step, None if they stay where they are."""
        if self.delays:
            return self.delays.moved
        return len(self.rewiring.latest) if self.rewiring else None

    def add_to(self, state: State, kind: str) -> None:
        """Add weights, `arrays`, and the ends of synapses that move to a state."""
        ends = self.rewiring.copy_topology() if self.rewiring else {}
        state.add_synapses(kind, self.table, self.span, weight=self.table.weight, **self.arrays, **ends)

    def restore_rows(self) -> None:
        """Move synapses into their rows after `arrays` were filled from a checkpoint."""
        if self.rewiring:
            self.rewiring.restore_rows()
        if self.delays:
            self.delays.sort_rows()

    def clip_weights(self) -> None:
        """Count a step whose gradient was added straight to the weights, and clip them."""
        self.n_steps += 1
        self._finish_step(is_clipped=False)

    def end_sample(self) -> None:
        """Count a sample in which weights changed, and rewire; see `Rewiring` about the spike variant."""
        self.n_steps += 1
        self._finish_step()

    def begin_step(self) -> None:
        """Prepare for a change of the weights."""
        if self.rewiring:
            self.rewiring.keep_signs()

    def _finish_step(self, is_clipped: bool = True) -> None:
        """Rewire, or clip weights that changed their sign at 0; moments stay as they are, like at NEST's bounds."""
        if self.rewiring:
            rate = self.rate if self.optimizer.scaled else self.eta
            self.rewiring.step(self.n_steps, rate, self.optimizer)
        elif self.keeps_signs or not is_clipped:
            kernel.clip(self.optimizer.Wmin, self.optimizer.Wmax, self._signs, self.table.weight)


def list_plastic(table: SynapseTable, default: Optimizer, keeps_moments: bool = True, seed: int = 0) -> list[Plastic]:
    """Return the plastic projections of a table, in its order; projections without an optimizer get `default`.

    `InputError` for a weight outside of its bounds, as in NEST, or for bounds that exclude a sign.
    """
    for span in table.spans:
        optimizer = span.projection.optimizer or default
        if (kept := span.projection.signs) is not None and span.projection.keeps_signs:
            here = f"projection '{span.projection.name}'"
            signs.check_bounds(kept, optimizer.Wmin, optimizer.Wmax, span.projection.requires_positive, here)
        if span.projection.rewire:
            rewire.check_bounds(span.projection, optimizer.Wmin, optimizer.Wmax, f"projection '{span.projection.name}'")
        _require_bounds(span, optimizer, table.weight[span.synapses])
    return [
        Plastic(table, span, span.projection.optimizer or default, keeps_moments=keeps_moments, seed=seed)
        for span in table.spans
        if span.projection.plastic
    ]


def share_rates(adaptive: Iterable[Plastic], projections: Iterable[Plastic]) -> None:
    """Make adaptive feedback learn with the rates of the readout projections of the same names."""
    leaders = {item.name: item for item in projections}
    for item in adaptive:
        item.leader = leaders[item.name]


def set_gains(items: Iterable[Plastic], model: Model, n_steps: int, n_signals: float) -> None:
    """Set the gain of projections whose optimizer is `normalized` or `scaled`; adaptive feedback has its readouts'.

    Rules without e-prop's filter keep a gain of 1. The `name` of each item is the name of a projection that carries
    spikes. A sample has `n_steps` steps, in each of which the spike variant takes a step of the optimizer, unless there
    are batches; gradients are sums over `n_signals` steps with a learning signal, 1 for means.
    """
    projections = {item.name: item for item in model.projections}
    n_taken = n_steps if model.eprop.is_online and model.optimizer.batch_size == 1 else 1
    for item in items:
        rule, projection = item.optimizer, projections[item.name]
        if (rule.normalized or rule.scaled) and rule.follows_gradient and _is_filtered(projection.learning_rule):
            item.gain = model.eprop.compute_gain(projection.post, model.dt_ms)
        if rule.scaled:
            here, n_sources = (
                f"projection '{item.name}': optimizer: scaled",
                RULES[projection.rule].compute_indegree(projection),
            )
            scale = scaled.compute_std(Scaled(), here, projection, n_sources, model.dt_ms)
            item.gain *= scale * scale / max(n_signals, 1.0) if rule.follows_gradient else scale / n_taken


def _is_filtered(rule: Rule | None) -> bool:
    """Return whether a learning rule filters its traces as e-prop does; custom rules do not."""
    return rule is None or (isinstance(rule, Eprop) and rule.filter == "readout")


def _require_bounds(span: ProjectionSlice, optimizer: Optimizer, weight: np.ndarray) -> None:
    if not span.projection.plastic or not len(weight):
        return
    low, high = weight.dtype.type(optimizer.Wmin), weight.dtype.type(optimizer.Wmax)  # a weight may be on the bound
    for worst, beyond, name in (
        (weight.min(), weight.min() < low, "at least Wmin"),
        (weight.max(), weight.max() > high, "at most Wmax"),
    ):
        if beyond:
            bound = optimizer.Wmin if "Wmin" in name else optimizer.Wmax
            here = f"projection '{span.projection.name}': weight = {worst:.9g}"
            raise InputError(f"{here} must be {name} = {bound:.9g} of its optimizer")

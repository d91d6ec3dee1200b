"""Connections as a rule chooses them, with parameters drawn for each of them in NEST's order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..kernels import nest_draws
from ..machine import require_bytes
from .errors import NESTErrors
from .random import Generators, Parameter, compile_program, draw_parameters

CONNECTION_BYTES = 40  # ids, weight, and memory to choose them
CHUNK_SIZE = 1 << 20  # connections that are chosen at a time where their number is not known before


@dataclass(frozen=True)
class Pairs:
    """The pairs that a connection rule made.

    Attributes
    ----------
    source, target : np.ndarray
        int64 (n,), ids.
    shape : tuple of int or None
        Of a matrix of weights, (rows, columns).
    kept : np.ndarray or None
        bool (rows x columns), which entries of it belong to the pairs; None for all.
    drawn : dict
        Name to float64 (n,), parameters drawn with the pairs.
    """

    source: np.ndarray
    target: np.ndarray
    drawn: Mapping[tuple[int, str], np.ndarray]
    shape: tuple[int, int] | None = None
    kept: np.ndarray | None = None

    def select_from_matrix(self, values: np.ndarray) -> np.ndarray:
        """Values of the pairs from a matrix of `shape`."""
        return values.ravel() if self.kept is None else values.ravel()[self.kept]


class Draws:
    """Random choices among two collections, with parameters drawn for each connection as it is made.

    `source` and `target` are int64 ids. With `autapses` a node may be connected to itself. `random` has the parameters
    to draw for each connection, in this order.
    """

    def __init__(
        self,
        source: np.ndarray,
        target: np.ndarray,
        autapses: bool,
        generators: Generators,
        random: Mapping[tuple[int, str], Parameter],
    ) -> None:
        self.source, self.target = (np.ascontiguousarray(ids, np.int64) for ids in (source, target))
        self.autapses, self.generators, self.random = autapses, generators, dict(random)

    def draw_in_order(
        self,
        source: np.ndarray,
        target: np.ndarray,
        shape: tuple[int, int] | None = None,
        kept: np.ndarray | None = None,
    ) -> Pairs:
        """Draw the parameters of connections that were chosen before, ids."""
        drawn = (
            draw_parameters(list(self.random.values()), self.generators, target) if self.random else np.empty((0, 0))
        )
        return Pairs(source, target, self._name_drawn(drawn), shape, kept)

    def choose_indegree(self, n: int, multapses: bool) -> Pairs:
        """Choose `n` sources of each target."""
        shape = len(self.target), n
        chosen, drawn = self._choose_partners(self.target, self.source, n, multapses, False)
        return Pairs(self.source[chosen], np.repeat(self.target, n), self._name_drawn(drawn), shape)

    def choose_outdegree(self, n: int, multapses: bool) -> Pairs:
        """Choose `n` targets of each source."""
        chosen = self._choose_partners(self.source, self.target, n, multapses, True)[0]
        return self.draw_in_order(np.repeat(self.source, n), self.target[chosen], (len(self.source), n))

    def _choose_partners(
        self, nodes: np.ndarray, others: np.ndarray, n: int, multapses: bool, shared: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Places of the chosen ones, and parameters unless the generator is the shared one."""
        chosen = np.empty(len(nodes) * n, np.int64)
        random = [] if shared else list(self.random.values())
        drawn, taken = np.empty((len(random), len(chosen))), np.full(0 if multapses else len(others), -1)
        with compile_program(random, self.generators) as program:
            nest_draws.choose_degree(
                self.generators.state, nodes, others, n, shared, self.autapses, multapses, taken, program, chosen, drawn
            )
        return chosen, drawn

    def choose_by_probability(self, p: float) -> Pairs:
        """Connect each pair with probability `p`."""
        room = estimate_connections(p, len(self.source), len(self.target))
        counts, first = np.zeros(len(self.target), np.int64), 0
        pieces: list[tuple[np.ndarray, np.ndarray]] = []
        with compile_program(list(self.random.values()), self.generators) as program:
            while first < len(self.target) or not pieces:
                chosen, drawn = np.empty(room, np.int64), np.empty((len(self.random), room))
                last = nest_draws.choose_each(
                    self.generators.state,
                    self.source,
                    self.target,
                    p,
                    self.autapses,
                    program,
                    first,
                    chosen,
                    counts,
                    drawn,
                )
                n = int(counts[first:last].sum())
                pieces.append((chosen[:n], drawn[:, :n]))
                first, room = last, max(CHUNK_SIZE, len(self.source))
        chosen, drawn = (
            np.concatenate(column, axis=-1) if len(column) > 1 else column[0] for column in zip(*pieces, strict=True)
        )
        return Pairs(self.source[chosen], np.repeat(self.target, counts), self._name_drawn(drawn))

    def choose_total(self, n: int) -> Pairs:
        """Choose `n` pairs; virtual processes share them at random, by their numbers of targets."""
        process = self.target % self.generators.n
        counts = np.bincount(process, minlength=self.generators.n)
        shares = np.empty(self.generators.n, np.int64)
        nest_draws.binomial(self.generators.state, counts, n, shares)
        pair, drawn, start = np.empty((2, n), np.int64), np.empty((len(self.random), n)), 0
        with compile_program(list(self.random.values()), self.generators) as program:
            for vp in np.flatnonzero(shares).tolist():
                targets, end = self.target[process == vp], start + int(shares[vp])
                nest_draws.choose_pairs(
                    self.generators.state,
                    vp,
                    self.source,
                    targets,
                    self.autapses,
                    program,
                    pair[0, start:end],
                    pair[1, start:end],
                    drawn,
                    start,
                )
                pair[1, start:end] = targets[pair[1, start:end]]
                start = end
        return Pairs(self.source[pair[0]], pair[1], self._name_drawn(drawn), (1, n))

    def choose_both_ways(self, p: float) -> Pairs:
        """Connect each pair with probability `p`, there and back."""
        room = estimate_connections(p, len(self.source), len(self.target))
        taken, first, waiting = np.full(len(self.source), -1), 0, np.nan
        pieces: list[np.ndarray] = []
        while first < len(self.target) or not pieces:
            places = np.empty((2, room), np.int64)
            first, n, waiting = nest_draws.choose_both_ways(
                self.generators.state, self.source, self.target, p, taken, waiting, first, *places
            )
            pieces.append(np.stack([self.source[places[0, :n]], self.target[places[1, :n]]], axis=1))
        ends = np.concatenate(pieces)
        return Pairs(ends.ravel(), ends[:, ::-1].ravel(), {})

    def _name_drawn(self, drawn: np.ndarray) -> dict[tuple[int, str], np.ndarray]:
        return dict(zip(self.random, drawn, strict=True)) if self.random else {}


def estimate_connections(p: float, n: int, m: int) -> int:
    """Estimate connections from `n` to `m` nodes with probability `p`: rarely exceeded, and room for one more node."""
    return int(p * n * m + 6.0 * np.sqrt(p * n * m)) + n


def check_memory(n: float) -> None:
    """Refuse more connections than the memory of the machine takes."""
    try:
        require_bytes(CONNECTION_BYTES * int(n), f"{int(n)} connections of one call of Connect")
    except InputError as problem:
        raise NESTErrors.BadProperty(str(problem)) from None

"""Pairs of nodes as a rule chooses them, with parameters drawn for each connection in NEST's order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .errors import notice
from .mersenne import Twister
from .random import Generators, Parameter

MOST_EXACT = 300_000  # connections with random parameters of their own that are drawn one by one, as in NEST


@dataclass(frozen=True)
class Pairs:
    """What a rule gave.

    Attributes
    ----------
    source, target : np.ndarray
        int64 (n,), places in the two collections.
    shape : tuple of int or None
        Of a matrix of weights, (rows, columns).
    row, column : np.ndarray or None
        int64 (n,), place of each pair in it; None if pairs come by target and columns count those of one target.
    drawn : dict or None
        Name to float64 (n,), parameters drawn with the pairs.
    """

    source: np.ndarray
    target: np.ndarray
    shape: tuple[int, int] | None = None
    row: np.ndarray | None = None
    column: np.ndarray | None = None
    drawn: Mapping[str, np.ndarray] | None = None

    def of_matrix(self, values: np.ndarray) -> np.ndarray:
        """Values of the pairs from a matrix of `shape`."""
        if self.row is not None:
            return values[self.row, self.column]
        return values[self.target, np.arange(len(self.target)) - np.searchsorted(self.target, self.target)]


class Draws:
    """Random choices of a rule, with parameters drawn for each connection as it is made.

    Parameters
    ----------
    generators : Generators
        Random numbers.
    random : dict
        Parameters to draw for each connection.
    n : float
        About how many connections are made; with more than `MOST_EXACT` parameters are drawn after all pairs.
    """

    def __init__(self, generators: Generators, random: Mapping[str, Parameter], n: float) -> None:
        self.generators, self.random = generators, dict(random)
        self.exact = not random or n <= MOST_EXACT
        if not self.exact:
            notice(
                f"random parameters of about {n:.0f} connections: they are drawn after the pairs, so they are not the "
                f"numbers that NEST draws; up to {MOST_EXACT} connections they are"
            )

    def of(self, vp: int) -> Twister:
        """Generator of a virtual process."""
        return self.generators.of(vp)

    def by_target(
        self, target: np.ndarray, choose: Callable[[int, int], Iterator[np.ndarray]], shape: tuple[int, int] | None
    ) -> Pairs:
        """Choose the sources of each target.

        Parameters
        ----------
        target : np.ndarray
            int64, ids.
        choose : Callable
            Takes a virtual process and the place of a target; yields pieces of places of sources, after each of which
            the generator stands as NEST's does when it has made these connections, one at a time if needed.
        shape : tuple of int or None
            Of a matrix of weights.

        Returns
        -------
        Pairs
            By target.
        """
        sources, drawn = [np.zeros(0, np.int64)], {name: [] for name in self.random}
        counts = np.zeros(len(target), np.int64)
        for k, node in enumerate(target.tolist()):
            vp = self.generators.of_node(node)
            for piece in choose(vp, k):
                sources.append(piece)
                counts[k] += len(piece)
                if self.singly:
                    self.draw(vp, drawn)
        source, place = np.concatenate(sources), np.repeat(np.arange(len(target)), counts)
        values = {name: np.array(row) for name, row in drawn.items()} if self.singly else self.in_order(target[place])
        return Pairs(source, place, shape, drawn=values)

    def in_order(self, target: np.ndarray) -> dict[str, np.ndarray]:
        """Draw the parameters of connections onto nodes `target` in this order."""
        if not self.exact:
            return {name: parameter.bulk(self.generators.bulk(), len(target))
                    for name, parameter in self.random.items()}  # fmt: skip
        if len(self.random) < 2:
            return {name: parameter.of_nodes(self.generators, target) for name, parameter in self.random.items()}
        drawn: dict[str, list[float]] = {name: [] for name in self.random}
        for node in target.tolist():
            self.draw(self.generators.of_node(node), drawn)
        return {name: np.array(column) for name, column in drawn.items()}

    def draw(self, vp: int, drawn: dict[str, list[float]]) -> None:
        """Draw the parameters of one connection."""
        for name, parameter in self.random.items():
            drawn[name].append(parameter.draw(self.generators.of(vp), vp))

    @property
    def singly(self) -> bool:
        """Whether connections are made one at a time."""
        return bool(self.random) and self.exact

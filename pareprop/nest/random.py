"""Random parameters (`nest.random`): what is drawn when nodes or connections are made, with NEST's own numbers."""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import NESTErrors
from .mersenne import RANK_SYNCED, THREAD_SPECIFIC, NormalPairs, Twister

Draw = Callable[[Twister, int], float]
Bulk = Callable[[np.random.Generator, int], np.ndarray]
Many = Callable[[Twister, int, int], np.ndarray]


class Generators:
    """NEST's random generators for a seed: one per virtual process, and one that all share.

    Parameters
    ----------
    seed : int
        `rng_seed`.
    n : int
        Number of virtual processes.

    Attributes
    ----------
    present : Generators
        Those of the present network.
    """

    present: Generators

    def __init__(self, seed: int, n: int) -> None:
        self.n = n
        self._entropy = [(seed, THREAD_SPECIFIC, vp) for vp in range(n)]
        self._made: dict[int, Twister] = {}
        self._shared: Twister | None = None
        self._seed, self._n_bulks = seed, 0
        Generators.present = self

    def of(self, vp: int) -> Twister:
        """Generator of a virtual process."""
        if vp not in self._made:
            self._made[vp] = Twister(*self._entropy[vp])
        return self._made[vp]

    @property
    def shared(self) -> Twister:
        """Generator that is the same everywhere."""
        if self._shared is None:
            self._shared = Twister(self._seed, RANK_SYNCED)
        return self._shared

    def bulk(self) -> np.random.Generator:
        """Another generator at each call, for numbers that NEST does not draw; the same on all ranks."""
        self._n_bulks += 1
        return np.random.Generator(np.random.Philox(key=[self._seed, self._n_bulks]))

    def of_node(self, node_id: Any) -> Any:
        """Virtual process of a node, or of each node of an array."""
        return node_id % self.n


class Parameter:
    """A random parameter, or an expression of some.

    Parameters
    ----------
    draw : Callable
        Takes a generator and a virtual process, returns a number.
    bulk : Callable
        Takes a generator of NumPy and a number n, returns n numbers of the same distribution, float64 (n,).
    many : Callable or None
        Takes a generator, a virtual process and a number n, returns the numbers of n calls of `draw`, float64 (n,).
    """

    def __init__(self, draw: Draw, bulk: Bulk, many: Many | None = None) -> None:
        self._draw, self.bulk = draw, bulk
        self._many = many

    def draw(self, twister: Twister, vp: int) -> float:
        """Draw one number with the generator of a virtual process."""
        return self._draw(twister, vp)

    def of_nodes(self, generators: Generators, ids: np.ndarray) -> np.ndarray:
        """Draw one number for each node, in this order."""
        vps = generators.of_node(ids)
        values = np.zeros(len(ids))
        for vp in np.unique(vps).tolist():
            mine = vps == vp
            values[mine] = self.many(generators.of(vp), vp, int(np.count_nonzero(mine)))
        return values

    def many(self, twister: Twister, vp: int, n: int) -> np.ndarray:
        """Draw `n` numbers with the generator of a virtual process."""
        if self._many is not None:
            return self._many(twister, vp, n)
        return np.array([self._draw(twister, vp) for _ in range(n)])

    def GetValue(self) -> float:
        """Draw one number."""
        return self._draw(Generators.present.shared, 0)

    def _combine(self, other: Any, action: Callable[[Any, Any], Any], swapped: bool = False) -> Parameter:
        if not isinstance(other, Parameter | int | float | np.number):
            return NotImplemented

        def act(a: Any, b: Any) -> Any:
            return action(b, a) if swapped else action(a, b)

        if isinstance(other, Parameter):
            return Parameter(lambda twister, vp: act(self._draw(twister, vp), other._draw(twister, vp)),
                             lambda rng, n: act(self.bulk(rng, n), other.bulk(rng, n)))  # fmt: skip
        number = float(other)
        many = None
        if action is not operator.pow:  # of NumPy it may round otherwise
            many = lambda twister, vp, n: act(self.many(twister, vp, n), number)  # noqa: E731
        return Parameter(lambda twister, vp: act(self._draw(twister, vp), number),
                         lambda rng, n: act(self.bulk(rng, n), number), many)  # fmt: skip

    def __add__(self, other: Any) -> Parameter:
        return self._combine(other, operator.add)

    def __radd__(self, other: Any) -> Parameter:
        return self._combine(other, operator.add, swapped=True)

    def __sub__(self, other: Any) -> Parameter:
        return self._combine(other, operator.sub)

    def __rsub__(self, other: Any) -> Parameter:
        return self._combine(other, operator.sub, swapped=True)

    def __mul__(self, other: Any) -> Parameter:
        return self._combine(other, operator.mul)

    def __rmul__(self, other: Any) -> Parameter:
        return self._combine(other, operator.mul, swapped=True)

    def __truediv__(self, other: Any) -> Parameter:
        return self._combine(other, operator.truediv)

    def __pow__(self, exponent: float) -> Parameter:
        return self._combine(exponent, operator.pow)

    def __neg__(self) -> Parameter:
        return self._combine(-1.0, operator.mul)


def uniform(min: float = 0.0, max: float = 1.0) -> Parameter:
    """Evenly distributed in [min, max)."""
    if min >= max:
        raise NESTErrors.BadProperty(f"nest.random.uniform: min = {min} must be below max = {max}")
    return Parameter(
        lambda twister, vp: min + (max - min) * twister.drand(),
        lambda rng, n: rng.uniform(min, max, n),
        lambda twister, vp, n: min + (max - min) * twister.uniform(n),
    )


def uniform_int(max: int) -> Parameter:
    """Whole numbers below `max`, evenly distributed."""
    if max < 1:
        raise NESTErrors.BadProperty(f"nest.random.uniform_int: max = {max} must be at least 1")
    return Parameter(
        lambda twister, vp: float(twister.whole(max, 1)[0]),
        lambda rng, n: rng.integers(max, size=n).astype(float),
        lambda twister, vp, n: twister.whole(max, n).astype(float),
    )


def exponential(beta: float = 1.0) -> Parameter:
    """Exponentially distributed with mean `beta`."""
    return Parameter(
        lambda twister, vp: beta * (-math.log(1 - twister.drand())), lambda rng, n: rng.exponential(beta, n)
    )


def normal(mean: float = 0.0, std: float = 1.0) -> Parameter:
    """Normally distributed; each parameter has a method of pairs of its own per virtual process, as in NEST."""
    if not std > 0:
        raise NESTErrors.BadProperty(f"nest.random.normal: std = {std} must be above 0")
    pairs: dict[int, NormalPairs] = defaultdict(NormalPairs)
    return Parameter(
        lambda twister, vp: pairs[vp].draw(twister, mean, std),
        lambda rng, n: rng.normal(mean, std, n),
        lambda twister, vp, n: pairs[vp].many(twister, mean, std, n),
    )


def lognormal(mean: float = 0.0, std: float = 1.0) -> Parameter:
    """Exponentials of normal numbers."""
    if not std > 0:
        raise NESTErrors.BadProperty(f"nest.random.lognormal: std = {std} must be above 0")
    pairs: dict[int, NormalPairs] = defaultdict(NormalPairs)
    return Parameter(
        lambda twister, vp: math.exp(pairs[vp].draw(twister, mean, std)), lambda rng, n: rng.lognormal(mean, std, n)
    )

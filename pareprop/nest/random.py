"""Random parameters (`nest.random`): what is drawn when nodes or connections are made, with NEST's own numbers."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import NESTErrors
from .mersenne import RANK_SYNCED, THREAD_SPECIFIC, NormalPairs, Twister


class Generators:
    """NEST's random generators for a seed: one per virtual process, and one that all share.

    Parameters
    ----------
    seed : `rng_seed`
    n : number of virtual processes

    Attributes
    ----------
    present : those of the present network
    """

    present: Generators

    def __init__(self, seed: int, n: int) -> None:
        self.n = n
        self._entropy = [(seed, THREAD_SPECIFIC, vp) for vp in range(n)]
        self._made: dict[int, Twister] = {}
        self._shared: Twister | None = None
        self._seed = seed
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

    def of_node(self, node_id: int) -> int:
        """Virtual process of a node."""
        return int(node_id) % self.n


class Parameter:
    """A random parameter, or an expression of some.

    Parameters
    ----------
    draw : takes a generator and a virtual process, returns a number
    """

    def __init__(self, draw: Callable[[Twister, int], float]) -> None:
        self._draw = draw

    def draw(self, twister: Twister, vp: int) -> float:
        """Draw one number with the generator of a virtual process."""
        return self._draw(twister, vp)

    def of_nodes(self, generators: Generators, ids: np.ndarray) -> np.ndarray:
        """Draw one number for each node."""
        vps = [generators.of_node(node) for node in ids.tolist()]
        return np.array([self._draw(generators.of(vp), vp) for vp in vps])

    def GetValue(self) -> float:
        """Draw one number."""
        return self._draw(Generators.present.shared, 0)

    def _combined(self, other: Any, action: Callable[[float, float], float], swapped: bool = False) -> Parameter:
        if not isinstance(other, Parameter | int | float | np.number):
            return NotImplemented
        right = other._draw if isinstance(other, Parameter) else lambda twister, vp: float(other)

        def draw(twister: Twister, vp: int) -> float:
            a = self._draw(twister, vp)
            b = right(twister, vp)
            return action(b, a) if swapped else action(a, b)

        return Parameter(draw)

    def __add__(self, other: Any) -> Parameter:
        return self._combined(other, operator.add)

    def __radd__(self, other: Any) -> Parameter:
        return self._combined(other, operator.add, swapped=True)

    def __sub__(self, other: Any) -> Parameter:
        return self._combined(other, operator.sub)

    def __rsub__(self, other: Any) -> Parameter:
        return self._combined(other, operator.sub, swapped=True)

    def __mul__(self, other: Any) -> Parameter:
        return self._combined(other, operator.mul)

    def __rmul__(self, other: Any) -> Parameter:
        return self._combined(other, operator.mul, swapped=True)

    def __truediv__(self, other: Any) -> Parameter:
        return self._combined(other, operator.truediv)

    def __pow__(self, exponent: float) -> Parameter:
        return self._combined(exponent, operator.pow)

    def __neg__(self) -> Parameter:
        return self._combined(-1.0, operator.mul)


def uniform(min: float = 0.0, max: float = 1.0) -> Parameter:
    """Evenly distributed in [min, max)."""
    if min >= max:
        raise NESTErrors.BadProperty(f"nest.random.uniform: min = {min} must be below max = {max}")
    return Parameter(lambda twister, vp: min + (max - min) * twister.drand())


def uniform_int(max: int) -> Parameter:
    """Whole numbers below `max`, evenly distributed."""
    if max < 1:
        raise NESTErrors.BadProperty(f"nest.random.uniform_int: max = {max} must be at least 1")
    return Parameter(lambda twister, vp: float(twister.whole(max, 1)[0]))


def exponential(beta: float = 1.0) -> Parameter:
    """Exponentially distributed with mean `beta`."""
    return Parameter(lambda twister, vp: beta * (-math.log(1 - twister.drand())))


def normal(mean: float = 0.0, std: float = 1.0) -> Parameter:
    """Normally distributed; each parameter has a method of pairs of its own per virtual process, as in NEST."""
    if not std > 0:
        raise NESTErrors.BadProperty(f"nest.random.normal: std = {std} must be above 0")
    pairs: dict[int, NormalPairs] = {}
    return Parameter(lambda twister, vp: pairs.setdefault(vp, NormalPairs()).draw(twister, mean, std))


def lognormal(mean: float = 0.0, std: float = 1.0) -> Parameter:
    """Exponentials of normal numbers."""
    if not std > 0:
        raise NESTErrors.BadProperty(f"nest.random.lognormal: std = {std} must be above 0")
    pairs: dict[int, NormalPairs] = {}
    return Parameter(lambda twister, vp: math.exp(pairs.setdefault(vp, NormalPairs()).draw(twister, mean, std)))

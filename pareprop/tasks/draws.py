"""Random inputs of tasks, keyed by (seed, purpose): all ranks draw the same numbers in any order."""

from __future__ import annotations

import math

import numpy as np

from .. import elementary, rng
from ..parallel.spike_log import SpikeLog


def draw_noise(seed: int, purpose: str, probability: np.ndarray, n_steps: int, group: int = 1) -> SpikeLog:
    """Draw spikes of independent sources in steps 1 to n_steps - 1; a spike in step 0 would be lost.

    `probability` per step has shape (n_sources,), or (n_steps, n_groups) with `group` sources in each group.
    """
    key, probability = rng.make_key(seed, purpose), np.asarray(probability, float)
    if probability.ndim == 2:
        raster = np.empty((group * probability.shape[1], n_steps), bool)
        for k, column in enumerate(probability.T):  # group by group: large arrays would be allocated anew every time
            sources = np.arange(k * group, (k + 1) * group)
            np.less(rng.draw_uniform(key, sources, n_steps), column, out=raster[sources[0] : sources[-1] + 1])
        raster[:, 0] = False
        return SpikeLog.from_raster(raster.T)
    ids, ptr = rng.draw_bernoulli(key, probability, n_steps)
    return SpikeLog.from_arrays(ids[ptr[1] :].copy(), np.maximum(ptr - ptr[1], 0))


def compute_glorot_bound(n_in: int, n_out: int) -> float:
    """Return the bound of Glorot's uniform distribution (Glorot and Bengio 2010)."""
    return math.sqrt(6.0 / (n_in + n_out))


class LegacyNormal:
    """The numbers of `numpy.random.RandomState.randn`, except for the processor-dependent last bit of its logarithm.

    Draws from `state` by Marsaglia's polar method, and leaves it as `randn` would.
    """

    def __init__(self, state: np.random.RandomState) -> None:
        self._state, self._left = state, np.zeros(0)

    def draw_normals(self, *shape: int) -> np.ndarray:
        """Draw standard normal numbers of this shape."""
        n = math.prod(shape)
        parts = [self._left]
        missing = (n - len(self._left) + 1) // 2  # pairs, of which a quarter is rejected
        while missing > 0:
            x = 2.0 * self._state.random_sample((missing, 2)) - 1.0
            square = x[:, 0] * x[:, 0] + x[:, 1] * x[:, 1]
            inside = (square < 1.0) & (square != 0.0)
            factor = np.sqrt(-2.0 * elementary.log(square[inside]) / square[inside])
            parts.append((factor[:, None] * x[inside, ::-1]).reshape(-1))
            missing -= len(factor)
        drawn = np.concatenate(parts)
        self._left = drawn[n:]
        return drawn[:n].reshape(shape)


def draw_permutation(seed: int, purpose: str, number: int, n: int) -> np.ndarray:
    """Return the numbers 0 to `n` - 1 in random order, permutation `number` of the key (seed, purpose)."""
    return np.argsort(rng.draw_uniform(rng.make_key(seed, purpose), [number], n)[0], kind="stable")


def make_one_hot(label: int, n_classes: int, n_steps: int) -> np.ndarray:
    """Return the target of a classification, (n_steps, n_classes): 1 for the readout of the class, else 0."""
    target = np.zeros((n_steps, n_classes))
    target[:, label] = 1.0
    return target

"""Random inputs of tasks, keyed by (seed, purpose), so that all ranks draw the same ones in any order."""

from __future__ import annotations

import numpy as np

from .. import rng
from ..parallel.spike_log import SpikeLog


def noise(seed: int, purpose: str, probability: np.ndarray, n_steps: int, group: int = 1) -> SpikeLog:
    """Draw spikes of sources that fire independently in every step but the first, where a spike would be lost.

    Parameters
    ----------
    seed, purpose : int, str
        Key of the draw, see `rng.key`.
    probability : ndarray
        Probability of a spike per step (n_sources,), or (n_steps, n_groups).
    n_steps : int
        Number of steps of the sample.
    group : int
        Number of sources of each group.

    Returns
    -------
    SpikeLog
        Spikes of steps 0 to n_steps - 1.
    """
    key, probability = rng.key(seed, purpose), np.asarray(probability, float)
    if probability.ndim == 2:
        raster = np.empty((group * probability.shape[1], n_steps), bool)
        for k, column in enumerate(probability.T):  # group by group: large arrays would be allocated anew every time
            sources = np.arange(k * group, (k + 1) * group)
            np.less(rng.uniform(key, sources, n_steps), column, out=raster[sources[0] : sources[-1] + 1])
        raster[:, 0] = False
        return SpikeLog.from_raster(raster.T)
    ids, ptr = rng.bernoulli(key, probability, n_steps)
    return SpikeLog.from_arrays(ids[ptr[1] :].copy(), np.maximum(ptr - ptr[1], 0))


def glorot(n_in: int, n_out: int) -> float:
    """Return the bound of Glorot's uniform distribution (Glorot and Bengio 2010)."""
    return (6.0 / (n_in + n_out)) ** 0.5


def one_hot(label: int, n_classes: int, n_steps: int) -> np.ndarray:
    """Return the target of a classification, (n_steps, n_classes): 1 for the readout of the class, else 0."""
    target = np.zeros((n_steps, n_classes))
    target[:, label] = 1.0
    return target

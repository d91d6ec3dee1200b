"""Log-normal in- and out-degrees: how many synapses each target has, and from whom, the same on any number of ranks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import elementary, rng
from ..kernels import degrees as kernel

AT_MOST = 0.5  # of the sources that a target may have: rewiring needs the others
STEP = 4096  # targets drawn at a time


def drawn(
    seed: int, name: str, n_sources: int, n_choices: int, indegree: float, sigma_in: float, sigma_out: float,
    targets: tuple[int, int],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Draw the synapses of some targets at a time.

    Target j has `indegree` exp(sigma_in n - sigma_in^2 / 2) synapses, n normal, rounded, at most half of `n_choices`;
    sources are drawn without repetition in proportion to exp(sigma_out n).

    Parameters
    ----------
    seed : int
        Seed of the model.
    name : str
        Name of the projection.
    n_sources, n_choices : int
        Number of sources, and of those that a target may have: with one less, target j leaves out source j.
    indegree : float
        Mean number of synapses per target.
    sigma_in, sigma_out : float
        Standard deviations of the logarithms of in- and out-degrees.
    targets : tuple of int
        Half-open range of targets.

    Yields
    ------
    targets, counts : np.ndarray
        int64 (n,), targets and their numbers of synapses.
    source : np.ndarray
        int64 (n_synapses,), sources of all of them, target after target.
    """
    weight = elementary.exp(sigma_out * rng.normal(rng.key(seed, f"{name}/outdegree"), np.arange(n_sources), 1)[:, 0])
    chance, other = np.empty(n_sources), np.empty(n_sources, np.uint32)
    kernel.alias(weight / weight.mean(), np.empty(n_sources, np.uint32), chance, other)
    taken, mark = np.zeros(n_sources, np.uint32), 1
    keys = rng.key(seed, f"{name}/indegree"), rng.key(seed, f"{name}/topology")
    for first in range(*targets, STEP):
        ids = np.arange(first, min(first + STEP, targets[1]))
        exact = indegree * elementary.exp(sigma_in * rng.normal(keys[0], ids, 1)[:, 0] - sigma_in**2 / 2)
        counts = np.minimum(np.rint(exact), int(AT_MOST * n_choices)).astype(np.int64)
        ptr = np.concatenate(([0], np.cumsum(counts)))
        source = np.empty(ptr[-1], np.int64)
        kernel.choose(keys[1], first, ptr, chance, other, n_choices < n_sources, taken, mark, source)
        mark += len(ids)
        yield ids, counts, source

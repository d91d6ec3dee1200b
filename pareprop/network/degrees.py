"""Log-normal in- and out-degrees: how many synapses each target has, and from whom, the same on any number of ranks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache

import numpy as np

from .. import elementary, rng
from ..kernels import degrees as kernel
from ..kernels import random

AT_MOST = 0.5  # of the sources that a target may have: rewiring needs the others
STEP = 4096  # targets drawn at a time
NODES = 256  # of a normal distribution


@cache
def _normal() -> np.ndarray:
    """Return values that a normal number takes with equal probability, for means over it."""
    out = np.empty(NODES)
    random.normal_quantile((np.arange(NODES, dtype=np.uint64) * 2 + 1) * (2**63 // NODES), out)
    return out


def list_indegrees(n_choices: int, indegree: float, sigma_in: float) -> np.ndarray:
    """Return numbers of synapses, as of equally likely targets."""
    exact = indegree * elementary.exp(sigma_in * _normal() - sigma_in * sigma_in / 2)
    return np.minimum(np.rint(exact), int(AT_MOST * n_choices))


@lru_cache(maxsize=4096)
def compute_silent(n_choices: int, indegree: float, sigma_in: float, sigma_out: float, n_targets: int) -> float:
    """Return the probability that a source has no synapse onto some targets.

    A target with k synapses has a source of weight w with probability 1 - exp(-w c), and c such that the mean is
    k / `n_choices`, as where sources come after times that are exponential with rates w.
    """
    share = list_indegrees(n_choices, indegree, sigma_in) / max(n_choices, 1)
    weight = elementary.exp(sigma_out * _normal())
    weight /= elementary.mean(weight)
    c = share.copy()
    for _ in range(30):  # Newton's steps from below
        left = elementary.exp(-np.outer(c, weight))
        total, slope = elementary.total_rows(left), elementary.total_rows(left * weight)
        c += (NODES * (share - 1.0) + total) / slope
    without = elementary.total_rows(elementary.exp(-np.outer(weight, c))) / NODES
    return float(elementary.mean(elementary.power(without, n_targets)))


def draw_indegrees(
    seed: int, name: str, n_choices: int, indegree: float, sigma_in: float, low: int, high: int
) -> np.ndarray:
    """Draw the numbers of synapses of the targets [low, high), int64; arguments as of `draw`."""
    normal = rng.normal(rng.key(seed, f"{name}/indegree"), np.arange(low, high), 1)[:, 0]
    exact = indegree * elementary.exp(sigma_in * normal - sigma_in * sigma_in / 2)
    return np.minimum(np.rint(exact), int(AT_MOST * n_choices)).astype(np.int64)


def draw(
    seed: int,
    name: str,
    n_sources: int,
    n_choices: int,
    indegree: float,
    sigma_in: float,
    sigma_out: float,
    targets: tuple[int, int],
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
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
    kernel.alias(weight / elementary.mean(weight), np.empty(n_sources, np.uint32), chance, other)
    taken, mark = np.zeros(n_sources, np.uint32), 1
    key = rng.key(seed, f"{name}/topology")
    for first in range(*targets, STEP):
        ids = np.arange(first, min(first + STEP, targets[1]))
        counts = draw_indegrees(seed, name, n_choices, indegree, sigma_in, first, first + len(ids))
        ptr = np.concatenate(([0], np.cumsum(counts)))
        source = np.empty(ptr[-1], np.int64)
        kernel.choose(key, first, ptr, chance, other, n_choices < n_sources, taken, mark, source)
        mark += len(ids)
        yield ids, counts, source

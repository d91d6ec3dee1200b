"""Log-normal in- and out-degrees: number and sources of each target's synapses, the same on any number of ranks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

from .. import elementary, rng
from ..kernels import degrees as kernel
from ..kernels import random

AT_MOST = 0.5  # largest in-degree, as a share of the sources: rewiring needs the others
CHUNK = 4096  # targets drawn at a time
N_QUANTILES = 256  # quantiles that represent a normal distribution


@cache
def _normal_quantiles() -> np.ndarray:
    """Return equally likely values of a standard normal number, for means over it."""
    out = np.empty(N_QUANTILES)
    random.normal_quantile((np.arange(N_QUANTILES, dtype=np.uint64) * 2 + 1) * (2**63 // N_QUANTILES), out)
    return out


def list_indegrees(n_choices: int, indegree: float, sigma_in: float) -> np.ndarray:
    """Return equally likely in-degrees, one for each quantile."""
    exact = indegree * elementary.exp(sigma_in * _normal_quantiles() - sigma_in * sigma_in / 2)
    return np.minimum(np.rint(exact), int(AT_MOST * n_choices))


def draw_indegrees(
    seed: int, name: str, n_choices: int, indegree: float, sigma_in: float, low: int, high: int
) -> np.ndarray:
    """Draw the numbers of synapses of the targets [low, high), int64; arguments as of `draw_synapses`."""
    normal = rng.draw_normal(rng.make_key(seed, f"{name}/indegree"), np.arange(low, high), 1)[:, 0]
    exact = indegree * elementary.exp(sigma_in * normal - sigma_in * sigma_in / 2)
    return np.minimum(np.rint(exact), int(AT_MOST * n_choices)).astype(np.int64)


def draw_synapses(
    seed: int,
    name: str,
    n_sources: int,
    n_choices: int,
    indegree: float,
    sigma_in: float,
    sigma_out: float,
    targets: tuple[int, int],
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Draw the synapses of some targets at a time: yield targets and counts, int64 (n,), and sources, int64
    (n_synapses,).

    Target j has `indegree` exp(sigma_in n - sigma_in^2 / 2) synapses, n normal, rounded, at most half of `n_choices`;
    sources are drawn without repetition in proportion to exp(sigma_out n). `n_choices` is the number of possible
    sources of a target: `n_sources`, or one less without autapses. `targets` is a half-open range. Sources are listed
    target after target.
    """
    weight = elementary.exp(
        sigma_out * rng.draw_normal(rng.make_key(seed, f"{name}/outdegree"), np.arange(n_sources), 1)[:, 0]
    )
    chance, other = np.empty(n_sources), np.empty(n_sources, np.uint32)
    kernel.alias(weight / elementary.mean_in_order(weight), np.empty(n_sources, np.uint32), chance, other)
    taken, mark = np.zeros(n_sources, np.uint32), 1
    key = rng.make_key(seed, f"{name}/topology")
    for first in range(*targets, CHUNK):
        ids = np.arange(first, min(first + CHUNK, targets[1]))
        counts = draw_indegrees(seed, name, n_choices, indegree, sigma_in, first, first + len(ids))
        ptr = np.concatenate(([0], np.cumsum(counts)))
        source = np.empty(ptr[-1], np.int64)
        kernel.choose(key, first, ptr, chance, other, n_choices < n_sources, taken, mark, source)
        mark += len(ids)
        yield ids, counts, source

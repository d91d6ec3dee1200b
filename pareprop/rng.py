"""Random numbers that depend on (seed, purpose, id, index) alone, never on the rank or on the order of the draws.

A purpose names the drawn numbers, such as ``"rec->rec/weight"``; with the seed it gives a 128-bit key. Under a key
every id has a separate stream, as of ``numpy.random.Philox(key=key, counter=[0, id, 0, 0])``.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike

from . import kernels

SPAN = 2**32  # numbers of 32 bits lie in [0, SPAN)


def make_key(seed: int, purpose: str) -> np.ndarray:
    """Return the key of a purpose under a seed: uint64 (2,), the 16 bytes of BLAKE2b of ``"<seed>/<purpose>"``,
    little-endian.

    Different purposes give independent numbers.
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=16).digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)


def draw_uniform(key: np.ndarray, ids: ArrayLike, n: int) -> np.ndarray:
    """Draw uniform numbers in [0, 1), multiples of 2**-53; arguments and result as of `draw_values`."""
    return draw_values(kernels.random.UNIFORM, 0.0, 1.0, key, ids, n)


def draw_normal(key: np.ndarray, ids: ArrayLike, n: int) -> np.ndarray:
    """Draw standard normal numbers by inversion (Wichura 1988, AS241); arguments and result as of `draw_values`."""
    return draw_values(kernels.random.NORMAL, 0.0, 1.0, key, ids, n)


def draw_values(kind: int, a: float, b: float, key: np.ndarray, ids: ArrayLike, n: int) -> np.ndarray:
    """Draw `n` numbers of a distribution from each stream, float64 (n_ids, n).

    `kind` is the number of the distribution in `kernels.random`, such as `NORMAL`; `a` and `b` are its parameters, such
    as mean and standard deviation. `key` is from `make_key`; `ids` are the streams, non-negative integers (n_ids,).
    """
    ids = np.ascontiguousarray(ids, dtype=np.uint64)
    out = np.empty((ids.size, n))
    kernels.random.draw(kind, a, b, key, ids, out)
    return out


def make_levels(cumulative: np.ndarray) -> np.ndarray:
    """Return the thresholds that turn numbers of 32 bits into whole numbers of a distribution, uint32 (n, ...).

    `cumulative` is float64 (n, ...), above 0: element k is the probability of at most k. The thresholds are
    ceil(2^32 cumulative) - 1; a number of 32 bits becomes the number of thresholds below it.
    """
    return (np.ceil(cumulative * SPAN).clip(1, SPAN) - 1).astype(np.uint32)


def count_levels(levels: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Return the number of ascending `levels` (n,) below the high 32 bits of each uniform number, int64."""
    return np.searchsorted(levels, np.floor(uniform * SPAN).astype(np.uint32), side="left")


def draw_bernoulli(key: np.ndarray, probability: ArrayLike, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the spikes of sources that fire independently in every step, as ids and ptr.

    Source i uses stream i of `key` and spikes with `probability` (n_sources,) per step. ids, uint32 (n_spikes,), are
    sources in order of (step, source); ptr is int64 (n_steps + 1,): the spikes of step t are ``ids[ptr[t]:ptr[t +
    1]]``.
    """
    return bernoulli_of(key, range(np.size(probability)), probability, n_steps)


def bernoulli_of(
    key: np.ndarray, ids: np.ndarray | range, probability: ArrayLike, n_steps: int, number: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the spikes that `draw_bernoulli` draws for some sources only.

    `ids` are the sources: uint32 ascending, or a range in steps of one; `probability` is one value, or (n_sources,).
    `number` is the number of the first source in the result, and the next ones follow (None: the range's first, else
    0).
    """
    given, first = (ids, 0) if isinstance(ids, np.ndarray) else (np.zeros(0, np.uint32), ids.start)
    chance = np.ascontiguousarray(np.atleast_1d(probability), np.float64)
    ptr = np.empty(n_steps + 1, np.int64)
    kernels.random.bernoulli_count(key, given, first, len(ids), chance, ptr)
    numbers = np.empty(ptr[-1], np.uint32)
    start = first if number is None else number
    kernels.random.bernoulli_fill(key, given, first, len(ids), chance, ptr, start, numbers)
    return numbers, ptr

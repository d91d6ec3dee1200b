"""Partition of ids among ranks into contiguous blocks; pure functions."""

from __future__ import annotations

import numpy as np


def find_block(n: int, size: int, rank: int) -> tuple[int, int]:
    """Return the half-open range of the ids [0, n) that `rank` of `size` ranks owns; it may be empty.

    Ranks from `size` on own nothing.
    """
    return min(n * rank // size, n), min(n * (rank + 1) // size, n)


def find_overlap(first: int, last: int, low: int, high: int) -> tuple[int, int]:
    """Return the intersection of [first, last) and [low, high); an empty range starts at `first`."""
    start, stop = max(first, low), min(last, high)
    return (start, stop) if start < stop else (start, start)


def list_first_ids(n: int, size: int, n_sharing: int = 0) -> np.ndarray:
    """Return the first id of each rank, then `n`: int64 (size + 1,).

    Ids belong to the first `n_sharing` ranks, 0 for all.
    """
    return np.minimum(n * np.arange(size + 1, dtype=np.int64) // (n_sharing or size), n)

"""Which rank owns what: contiguous blocks of ids, pure functions."""

from __future__ import annotations

import numpy as np


def block(n: int, size: int, rank: int) -> tuple[int, int]:
    """Half-open range of the ids [0, n) that `rank` of `size` ranks owns; ranks without ids get an empty one."""
    return n * rank // size, n * (rank + 1) // size


def owner(n: int, size: int, index: int) -> int:
    """Rank whose block holds `index`."""
    return ((index + 1) * size - 1) // n


def overlap(first: int, last: int, low: int, high: int) -> tuple[int, int]:
    """Intersection of [first, last) and [low, high), as an empty range at `first` where there is none."""
    start, stop = max(first, low), min(last, high)
    return (start, stop) if start < stop else (start, start)


def firsts(n: int, size: int) -> np.ndarray:
    """First of the cells of each rank, and `n`; int64 (size + 1,)."""
    return np.array([block(n, size, rank)[0] for rank in range(size)] + [n], np.int64)

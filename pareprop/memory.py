"""Arrays that start with a cache line, so that vector instructions on them don't straddle two."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LINE = 64  # bytes
ALIAS = 4096  # a read may wait for a write that differs by a multiple of this


def aligned(shape: int | tuple[int, ...], dtype: Any = float) -> np.ndarray:
    """Zeros of a shape and type, from the start of a cache line on."""
    n = math.prod(shape if isinstance(shape, tuple) else (shape,)) * np.dtype(dtype).itemsize
    memory = np.zeros(n + LINE - 1, np.uint8)
    first = -memory.ctypes.data % LINE
    return memory[first : first + n].view(dtype).reshape(shape)


def apart(count: int, n: int, dtype: Any = float) -> list[np.ndarray]:
    """Arrays of n zeros that loops go through side by side: aligned, and none just ahead of another modulo `ALIAS`.

    They are one piece of memory, taken now: large pages serve it, and no page is first touched while a network runs.
    """
    size = np.dtype(dtype).itemsize
    stride = (n * size + ALIAS - 1) // ALIAS * ALIAS + ALIAS // 3 // LINE * LINE
    memory = aligned((count, stride // size), dtype)
    memory.fill(0)
    return [row[:n] for row in memory]


def aligned_copy(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Copy of an array in another type; what that can't hold, such as a bound far away, is infinite."""
    copy = aligned(array.shape, dtype)
    with np.errstate(over="ignore"):
        copy[...] = array
    return copy

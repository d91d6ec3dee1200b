"""Arrays that start with a cache line, so that vector instructions on them don't straddle two."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LINE = 64  # bytes


def aligned(shape: int | tuple[int, ...], dtype: Any = float) -> np.ndarray:
    """Zeros of a shape and type, from the start of a cache line on."""
    n = math.prod(shape if isinstance(shape, tuple) else (shape,)) * np.dtype(dtype).itemsize
    memory = np.zeros(n + LINE - 1, np.uint8)
    first = -memory.ctypes.data % LINE
    return memory[first : first + n].view(dtype).reshape(shape)


def aligned_copy(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Copy of an array in another type; what that can't hold, such as a bound far away, is infinite."""
    copy = aligned(array.shape, dtype)
    with np.errstate(over="ignore"):
        copy[...] = array
    return copy

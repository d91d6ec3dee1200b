"""Arrays that start with a cache line, so that vector instructions on them don't straddle two."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

LINE = 64  # bytes
PAGE = 4096
# Large arrays that one loop goes through must not start at the same place of a page, or just before: processors find
# their lines at the same places of a cache and take a read for one of what was just written some pages away. Memory
# from the system starts with a page, so arrays take these places in turn.
_places = itertools.cycle(range(0, PAGE, PAGE // 5 // LINE * LINE + LINE))


def aligned(shape: int | tuple[int, ...], dtype: Any = float) -> np.ndarray:
    """Zeros of a shape and type, from the start of a cache line on."""
    n = math.prod(shape if isinstance(shape, tuple) else (shape,)) * np.dtype(dtype).itemsize
    place = next(_places) if n >= PAGE else 0
    memory = np.zeros(n + place + LINE - 1, np.uint8)
    first = place + -memory.ctypes.data % LINE
    return memory[first : first + n].view(dtype).reshape(shape)


def aligned_copy(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Copy of an array in another type; what that can't hold, such as a bound far away, is infinite."""
    copy = aligned(array.shape, dtype)
    with np.errstate(over="ignore"):
        copy[...] = array
    return copy

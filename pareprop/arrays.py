"""Arrays that start at a cache line, so that vector instructions do not straddle two lines; sorting and matching."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

LINE = 64  # bytes
PAGE = 4096
# Page offsets of large arrays, in turn. If two arrays of one loop start at the same offset within a page, their lines
# compete for the same cache sets, and the CPU mistakes a load for a recent store at the same offset (4 KiB aliasing).
# Memory from the system starts at a page boundary.
_offsets = itertools.cycle(range(0, PAGE, PAGE // 5 // LINE * LINE + LINE))


@dataclass(frozen=True)
class Array:
    """An array of a part of an engine; memory reports, states and restarts use lists of these.

    Attributes
    ----------
    name : str
        Name in a state.
    values : np.ndarray
        Values: of neurons along the last axis, of rows or synapses along the first, any shape for "rank".
    per : str
        Its owner; an array "rank" is the same on every rank.
    saved : bool
        Whether states store it; other arrays are derived, or written before they are read.
    ring : str
        Meaning of the entries of the first axis, modulo its length: the latest time steps or blocks of steps; "" for
        neither.
    whole : np.ndarray or None
        Memory that contains the values, None if they own their memory.
    """

    name: str
    values: np.ndarray
    per: Literal["neuron", "row", "synapse", "rank"] = "neuron"
    saved: bool = True
    ring: Literal["", "steps", "blocks"] = ""
    whole: np.ndarray | None = None


def count_array_bytes(arrays: Iterable[Array]) -> int:
    """Return the bytes of arrays; arrays may share memory, which counts once."""
    wholes = [item.values if item.whole is None else item.whole for item in arrays]
    return sum({id(whole): whole.nbytes for whole in wholes}.values())


def allocate_aligned(shape: int | tuple[int, ...], dtype: DTypeLike = float) -> np.ndarray:
    """Return zeros that start at a cache line."""
    n = math.prod(shape if isinstance(shape, tuple) else (shape,)) * np.dtype(dtype).itemsize
    offset = next(_offsets) if n >= PAGE else 0
    memory = np.zeros(n + offset + LINE - 1, np.uint8)
    first = offset + -memory.ctypes.data % LINE
    return memory[first : first + n].view(dtype).reshape(shape)


def round_to_lines(n: int) -> int:
    """Return at least n, rounded up so that n numbers of eight bytes fill whole cache lines."""
    return -(-n // (LINE // 8)) * (LINE // 8)


def copy_aligned(array: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """Return an aligned copy of an array in another type; values out of its range become infinite."""
    copy = allocate_aligned(array.shape, dtype)
    with np.errstate(over="ignore"):
        copy[...] = array
    return copy


def list_ranges(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the whole numbers of the ranges [first, last), one range after the other: int64.

    `first` and `last` are int64 (n,), with `first` at most `last`.
    """
    n = last - first
    return np.repeat(first - np.cumsum(n) + n, n) + np.arange(n.sum())


def sort_by(*keys: np.ndarray) -> np.ndarray:
    """Return `np.lexsort(keys)` for whole numbers of at least 0, in a fifth of its time.

    Keys are split into digits of 16 bits, which NumPy sorts by counting.
    """
    digits: list[np.ndarray] = []
    for key in keys:
        left, most = key, int(key.max(initial=0))
        while most or not digits:
            digits.append((left & 0xFFFF).astype(np.uint16))
            left, most = left >> 16, most >> 16
    return np.lexsort(digits)


def number_synapses(
    source: np.ndarray, target: np.ndarray, delay: np.ndarray | int, shape: tuple[int, int]
) -> np.ndarray:
    """Return a number for the ends and delay of each synapse, int64; `shape` has the numbers of sources and delays."""
    n_sources, n_delays = shape
    return (target.astype(np.int64) * n_sources + source) * n_delays + delay


def find_places(ids: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the indices of ids in the ascending array `among`; -1 for missing ids."""
    place = np.minimum(np.searchsorted(among, ids), max(len(among) - 1, 0))
    there = among[place] == ids if len(among) else np.zeros(len(ids), bool)
    return np.where(there, place, -1)


def find_equal(ids: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the index of each id in `among`, which contains all ids; equal ids are matched in order."""
    order, own = np.argsort(among, kind="stable"), np.argsort(ids, kind="stable")
    ascending, places = ids[own], np.empty(len(ids), np.int64)
    again = np.arange(len(ids)) - np.searchsorted(ascending, ascending)
    places[own] = order[np.searchsorted(among, ascending, sorter=order) + again]
    return places

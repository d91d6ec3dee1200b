"""Sums and norms over all ranks that depend neither on the order of the numbers nor on who holds them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from . import collectives
from .mpi import Comm

BLOCK = 2**20  # numbers that are squared at a time
BITS = 30  # bits of each of two integers that stand for a number in exact sums, of up to 2^32 numbers


def sum_exactly(comm: Comm, values: np.ndarray) -> np.ndarray:
    """Collective: return sums (n_sums,) of `values` (n_sums, n) over all ranks, for any order of the numbers.

    All numbers of a row are rounded to the same 60 bits below the largest one; sums of such numbers are exact. A sum is
    NaN if a number is not finite.
    """
    sizes = np.max(np.abs(values), axis=1, initial=0.0)
    largest = np.max(collectives.gather_values(comm, np.where(np.isfinite(sizes), sizes, np.inf)), axis=0)
    exponents, wholes = np.frexp(np.where(np.isfinite(largest), largest, 0.0))[1], []
    for row, exponent, size in zip(values, exponents, largest, strict=True):
        scaled = np.ldexp(row, BITS - exponent) if np.isfinite(size) else np.zeros(1)  # below 2^BITS
        high = np.rint(scaled)
        low = np.rint(np.ldexp(scaled - high, BITS))
        wholes.append((int(high.astype(np.int64).sum()) << BITS) + int(low.astype(np.int64).sum()))
    totals = [sum(map(int, each)) for each in zip(*collectives.gather_values(comm, wholes), strict=True)]
    sums = [math.ldexp(float(total), int(e) - 2 * BITS) for total, e in zip(totals, exponents, strict=True)]
    return np.where(np.isfinite(largest), sums, np.nan)


def find_norm(comm: Comm, parts: Sequence[tuple[np.ndarray, float]]) -> float:
    """Collective: return the Euclidean norm of numbers over all ranks, independent of their order.

    Each part has numbers (n,) and their divisor. Squares are rounded to the same 40 bits below the largest one; sums of
    such numbers are exact. The norm is NaN or infinite if a number is.
    """
    sizes = [float(np.max(np.abs(values), initial=0.0)) / divisor for values, divisor in parts]
    largest = float(np.max(collectives.gather_values(comm, max([0.0, *sizes], key=lambda size: (size != size, size)))))
    if not largest or not math.isfinite(largest):
        return largest
    whole = 0
    for values, divisor in parts:
        for first in range(0, len(values), BLOCK):
            shares = values[first : first + BLOCK].astype(float) / divisor / largest
            whole += int(np.rint(np.ldexp(shares * shares, 40)).astype(np.int64).sum())
    high, low = (collectives.sum_over_ranks(comm, part) for part in divmod(whole, 2**32))  # each far below 2**63
    return largest * math.sqrt(math.ldexp(float(high * 2**32 + low), -40))

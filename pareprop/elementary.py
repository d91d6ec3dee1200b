"""Elementary functions and sums with the same bits on every processor and C library, for all results of a run.

NumPy and the C library choose their code by the processor, and the last bit depends on it: `exp`, `log`, `expm1`,
`log1p` and powers differ between AVX-512, AVX2 and neither, sines between FMA and none; so does the order in which
NumPy and BLAS add. The functions here use additions, multiplications, divisions and roots alone, which are exact to the
last bit everywhere; their errors are below 1 unit in the last place (`expm1` 3, `tanh` 4, `power` one per doubling of
the exponent).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from . import kernels
from .values import Numbers


def _apply_function(function: Callable, x: ArrayLike) -> Numbers:
    values = np.ascontiguousarray(x, dtype=float)
    out = np.empty(values.shape)
    function(values.reshape(-1), out.reshape(-1))
    return out.reshape(np.shape(x)) if np.ndim(x) else float(out.reshape(-1)[0])


def exp(x: ArrayLike) -> Numbers:
    """Return the exponential function: float64 of the shape of `x`, a float for a number."""
    return _apply_function(kernels.elementary_arrays.exp, x)


def log(x: ArrayLike) -> Numbers:
    """Return the natural logarithm: float64 of the shape of `x`, a float for a number."""
    return _apply_function(kernels.elementary_arrays.log, x)


def log1p(x: ArrayLike) -> Numbers:
    """Return log(1 + x): float64 of the shape of `x`, a float for a number."""
    return _apply_function(kernels.elementary_arrays.log1p, x)


def expm1(x: ArrayLike) -> Numbers:
    """Return exp(x) - 1: float64 of the shape of `x`, a float for a number."""
    return _apply_function(kernels.elementary_arrays.expm1, x)


def tanh(x: ArrayLike) -> Numbers:
    """Return the hyperbolic tangent: float64 of the shape of `x`, a float for a number."""
    return _apply_function(kernels.elementary_arrays.tanh, x)


def sin(x: ArrayLike) -> Numbers:
    """Return the sine, NaN where abs(x) is 10^6 or more: float64 of the shape of `x`, a float for a number."""
    return _apply_function(kernels.elementary_arrays.sin, x)


def cos(x: ArrayLike) -> Numbers:
    """Return the cosine, NaN where abs(x) is 10^6 or more: float64 of the shape of `x`, a float for a number."""
    return _apply_function(kernels.elementary_arrays.cos, x)


def power(x: ArrayLike, n: ArrayLike) -> np.ndarray:
    """Return x to the power of whole numbers n, float64, broadcast."""
    x, n = np.broadcast_arrays(np.asarray(x, float), np.asarray(n, np.int64))
    out = np.empty(x.shape)
    base, exponent = (np.ascontiguousarray(array).reshape(-1) for array in (x, n))
    kernels.elementary_arrays.power(base, exponent, out.reshape(-1))
    return out


def interpolate(x: np.ndarray, places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return at x the values (n,) at ascending places (n,), interpolated linearly, constant beyond the ends."""
    k = np.clip(np.searchsorted(places, x, side="right") - 1, 0, len(places) - 2)
    slope = (values[k + 1] - values[k]) / (places[k + 1] - places[k])
    line = slope * (np.maximum(x, places[0]) - places[k]) + values[k]
    return np.where(x >= places[-1], values[-1], line)


def sum_in_order(x: ArrayLike) -> np.float64:
    """Return the sum of all numbers, float64, always added in the order that NumPy takes on most processors."""
    return total_rows(np.reshape(x, (1, -1)))[0]


def total_rows(x: ArrayLike) -> np.ndarray:
    """Return the sums over the last axis, float64, each in the order of `sum_in_order`."""
    values = np.asarray(x, dtype=float)
    out = np.empty(values.shape[:-1])
    rows = np.ascontiguousarray(values).reshape(out.size, values.shape[-1])
    kernels.elementary_arrays.total(rows, out.reshape(-1))
    return out


def mean_in_order(x: ArrayLike) -> np.float64:
    """Return the mean of all numbers, float64, NaN of none."""
    return sum_in_order(x) / np.float64(np.size(x))

"""Elementary functions and sums of arrays, see elementary.pxd."""

from libc.stdint cimport int64_t

from pareprop.core cimport elementary

ctypedef double (*Function)(double) noexcept nogil


cdef void fill(Function function, const double[::1] x, double[::1] out):
    cdef int64_t i
    with nogil:
        for i in range(x.shape[0]):
            out[i] = function(x[i])


def exp(const double[::1] x, double[::1] out):
    """Exponential function of x (n,)."""
    fill(elementary.exp, x, out)


def log(const double[::1] x, double[::1] out):
    """Natural logarithm of x (n,)."""
    fill(elementary.log, x, out)


def log1p(const double[::1] x, double[::1] out):
    """log(1 + x) of x (n,)."""
    fill(elementary.log1p, x, out)


def expm1(const double[::1] x, double[::1] out):
    """exp(x) - 1 of x (n,)."""
    fill(elementary.expm1, x, out)


def tanh(const double[::1] x, double[::1] out):
    """Hyperbolic tangent of x (n,)."""
    fill(elementary.tanh, x, out)


def sin(const double[::1] x, double[::1] out):
    """Sine of x (n,), NaN from 10^6 on."""
    fill(elementary.sin, x, out)


def cos(const double[::1] x, double[::1] out):
    """Cosine of x (n,), NaN from 10^6 on."""
    fill(elementary.cos, x, out)


def power(const double[::1] x, const int64_t[::1] n, double[::1] out):
    """x to the n of x and n (n,)."""
    cdef int64_t i
    with nogil:
        for i in range(x.shape[0]):
            out[i] = elementary.power_of(x[i], n[i])


cdef double add(const double* x, int64_t n) noexcept nogil:
    """Sum of x (n,): up to 128 numbers by eight partial sums, more by adding the sums of both halves."""
    cdef int64_t i, k, half, whole = n - n % 8
    cdef double total = 0.0
    cdef double[8] side
    if n > 128:
        half = n // 16 * 8
        return add(x, half) + add(x + half, n - half)
    if whole > 0:
        for k in range(8):
            side[k] = x[k]
        for i in range(8, whole, 8):
            for k in range(8):
                side[k] += x[i + k]
        total = ((side[0] + side[1]) + (side[2] + side[3])) + ((side[4] + side[5]) + (side[6] + side[7]))
    for i in range(whole, n):
        total += x[i]
    return total


def total(const double[:, ::1] x, double[::1] out):
    """Sums of the rows of x (m, n), to (m,)."""
    cdef int64_t i, n = x.shape[1]
    with nogil:
        for i in range(x.shape[0]):
            out[i] = add(&x[0, 0] + i * n, n) if n > 0 else 0.0

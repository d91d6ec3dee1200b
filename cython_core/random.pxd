# Numbers of the distributions, by which parameters and weights are drawn: one formula each, for all that draw.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from pareprop.core.elementary cimport exp
from pareprop.core.philox cimport DRAWS, Stream, draw_raw, normals, units

cpdef enum:
    CONSTANT = 0    # a
    NORMAL = 1      # mean a, standard deviation b
    UNIFORM = 2     # in [a, b)
    LOGNORMAL = 3   # exponential of NORMAL


cdef inline void count_levels(
    int64_t k, const uint32_t* levels, int64_t row, bint each, const uint32_t* numbers, int n, uint32_t* counts
) noexcept nogil:
    """How many of k ascending thresholds each of n numbers exceeds: whole numbers of any distribution, by inversion.

    Thresholds stand `row` apart; `each`: number j has its own, j further on.
    """
    cdef int64_t i
    cdef int j
    for j in range(n):
        counts[j] = 0
    for i in range(k):
        for j in range(n):
            counts[j] += numbers[j] > levels[i * row + j * each]


cdef inline void draw_values(
    int kind, double a, double b, Stream stream, int64_t first, int n, double* values
) noexcept nogil:
    """Numbers first .. first + n - 1 of a stream; first is a multiple of 4, n at most DRAWS."""
    cdef uint64_t numbers[DRAWS]
    cdef int k
    if kind == CONSTANT:
        for k in range(n):
            values[k] = a
        return
    draw_raw(stream, first, n, numbers)
    if kind == UNIFORM:
        units(numbers, n, values)
        for k in range(n):
            values[k] = a + (b - a) * values[k]
        return
    normals(numbers, n, values)
    for k in range(n):
        values[k] = a + b * values[k]
        if kind == LOGNORMAL:
            values[k] = exp(values[k])

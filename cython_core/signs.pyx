"""Signs of sources: weights of a row are at least 0 if its source excites, at most 0 if it inhibits."""

from libc.math cimport INFINITY, copysign
from libc.stdint cimport int8_t, int64_t

from pareprop.core.precision cimport real

cdef enum:
    NEIGHBOURS = 512    # weights that are written if one of them is wrong


cdef inline int64_t end_of_run(const int8_t[::1] signs, int64_t row) noexcept nogil:
    """One past the last of the rows from `row` on that have the same sign: of a population, nearly all."""
    cdef int64_t last = row + 1
    while last < signs.shape[0] and signs[last] == signs[row]:
        last += 1
    return last


def take_signs(
    const int64_t[::1] row_ptr,       # IN (at least n_rows + 1)
    const int8_t[::1] signs,          # IN (n_rows)
    double inhibition,                # factor where the sign is -1
    real[::1] weight,                 # UPDATED
):
    """w = |w| * sign, where a row has one."""
    cdef double factor
    cdef int64_t row = 0, last, k
    with nogil:
        while row < signs.shape[0]:
            last = end_of_run(signs, row)
            if signs[row] != 0:
                factor = inhibition if signs[row] < 0 else 1.0
                for k in range(row_ptr[row], row_ptr[last]):
                    weight[k] = <real>copysign(weight[k] * factor, signs[row])
            row = last


cdef inline bint are_right(int64_t n, real Wmin, real Wmax, real sign, const real* weight) noexcept nogil:
    cdef int64_t k
    cdef int wrong = 0
    if sign == 0:
        for k in range(n):
            wrong |= (not weight[k] >= Wmin) | (not weight[k] <= Wmax)
    else:
        for k in range(n):
            wrong |= (not weight[k] * sign > 0) | (not weight[k] >= Wmin) | (not weight[k] <= Wmax)
    return wrong == 0


cdef inline void mend(int64_t n, real Wmin, real Wmax, real sign, real* weight) noexcept nogil:
    cdef int64_t k
    cdef real w
    for k in range(n):
        w = weight[k] if weight[k] > Wmin else Wmin
        w = w if w < Wmax else Wmax
        weight[k] = w if sign == 0 or w * sign > 0 else 0


def clip(
    double Wmin,
    double Wmax,
    const int64_t[:, ::1] runs,       # IN (n_runs, 3): first synapse, one past the last, sign of their sources
    real[::1] weight,                 # UPDATED
):
    """Clip weights to [Wmin, Wmax]; then set weights of the wrong sign, and -0.0, to +0.0.

    Nearly all weights are right: they are only read, unless a neighbour is wrong.
    """
    cdef int64_t r, k, n
    with nogil:
        for r in range(runs.shape[0]):
            if runs[r, 2] == 0 and <real> Wmin == -INFINITY and <real> Wmax == INFINITY:
                continue
            k = runs[r, 0]
            while k < runs[r, 1]:
                n = min(runs[r, 1] - k, <int64_t> NEIGHBOURS)
                if not are_right(n, <real> Wmin, <real> Wmax, <real> runs[r, 2], &weight[k]):
                    mend(n, <real> Wmin, <real> Wmax, <real> runs[r, 2], &weight[k])
                k += n

"""Signs of sources: weights of a row are at least 0 if its source excites, at most 0 if it inhibits."""

from libc.math cimport copysign
from libc.stdint cimport int8_t, int64_t

from pareprop.core.precision cimport real


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


def bound(
    const int64_t[::1] row_ptr,       # IN (at least n_rows + 1)
    const int8_t[::1] signs,          # IN (n_rows)
    real[::1] weight,                 # UPDATED
):
    """Weights of the wrong sign become +0.0, as does -0.0."""
    cdef int64_t row = 0, last, k
    with nogil:
        while row < signs.shape[0]:
            last = end_of_run(signs, row)
            if signs[row] > 0:
                for k in range(row_ptr[row], row_ptr[last]):
                    weight[k] = weight[k] if weight[k] > 0 else 0
            elif signs[row] < 0:
                for k in range(row_ptr[row], row_ptr[last]):
                    weight[k] = weight[k] if weight[k] < 0 else 0
            row = last

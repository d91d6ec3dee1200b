# Softmax of the readouts in a step of the spike variant; the interval variant has its own over all steps (losses.py).

from libc.stdint cimport int64_t

from pareprop.core cimport elementary


cdef inline void softmax(double* row, int64_t n) noexcept nogil:
    """Replace the numbers of a row (n,) by their softmax."""
    cdef int64_t k
    cdef double most = -1e300, total = 0.0
    for k in range(n):
        most = max(most, row[k])
    for k in range(n):
        row[k] = elementary.exp(row[k] - most)
        total += row[k]
    for k in range(n):
        row[k] /= total

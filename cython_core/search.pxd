# Search in ascending numbers; prefetch.

from libc.stdint cimport int64_t, uint32_t

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void*) nogil


cdef inline int64_t first_at_least(const uint32_t* ids, int64_t low, int64_t high, int64_t bound) noexcept nogil:
    """Index of the first of the ascending ids[low:high] that is at least `bound`."""
    cdef int64_t middle
    while low < high:
        middle = (low + high) >> 1
        if ids[middle] < bound:
            low = middle + 1
        else:
            high = middle
    return low

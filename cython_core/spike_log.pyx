"""Memory of spike logs. A log grows by itself; kernels hold it by reference and always see its present arrays."""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, malloc

import numpy as np

cdef enum:
    SMALLEST = 64     # spikes that a log grows by


cdef class SpikeLog:
    """Spikes of steps 0..n_steps-1: those of step t are `ids[ptr[t]:ptr[t + 1]]`, ascending.

    Parameters
    ----------
    n_steps : int
    capacity : int
        Spikes that there is room for at first.

    Attributes
    ----------
    ids : uint32 (capacity,)
    ptr : int64 (n_steps + 1,)
    """

    def __init__(self, int64_t n_steps, int64_t capacity=1024):
        self.hold(np.zeros(capacity, np.uint32), np.zeros(n_steps + 1, np.int64))

    cpdef hold(self, ids, ptr):
        """Keep these arrays, uint32 and int64, without a copy; one that is read-only must never be written to."""
        cdef const uint32_t[::1] some_ids = ids
        cdef const int64_t[::1] some_ptr = ptr
        self.ids, self.ptr = ids, ptr
        self.at.ids = <uint32_t*> &some_ids[0] if some_ids.shape[0] else NULL
        self.at.ptr = <int64_t*> &some_ptr[0]
        self.at.capacity = some_ids.shape[0]

    def reserve(self, int64_t capacity):
        """Make room for at least `capacity` spikes."""
        self.make_room(capacity)

    cdef int make_room(self, int64_t capacity) except -1 nogil:
        cdef int64_t larger = self.at.capacity
        if capacity > larger:
            while larger < capacity:              # by steps that don't depend on when it is asked for more
                larger += larger // 4 + SMALLEST
            with gil:
                self.hold(np.concatenate([self.ids, np.zeros(larger - self.at.capacity, np.uint32)]), self.ptr)
        return 0

    @property
    def nbytes(self):
        """Bytes held."""
        return self.ids.nbytes + self.ptr.nbytes


cdef class SegmentedLog:
    """Logs of neighbours, walked one after the other in each step: ids ascend over all of them.

    Parameters
    ----------
    segments : iterable of SpikeLog
    """

    def __init__(self, segments):
        cdef int64_t k
        cdef SpikeLog log
        self.segments = tuple(segments)
        self.n = len(self.segments)
        free(self.at)
        self.at = <Spikes**> malloc((self.n + 1) * sizeof(Spikes*))
        if self.at == NULL:
            raise MemoryError(f"{self.n} segments of a spike log")
        for k in range(self.n):
            log = self.segments[k]
            self.at[k] = &log.at

    def __dealloc__(self):
        free(self.at)

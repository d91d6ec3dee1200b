"""Memory of spike logs. A log grows by itself; kernels hold it by reference and always see its present arrays."""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

import os

import numpy as np

cdef enum:
    SMALLEST = 64     # spikes that a log grows by


cdef class SpikeLog:
    """Spikes of steps 0..n_steps-1; spikes of step t are `ids[ptr[t]:ptr[t + 1]]`, ascending.

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


cdef class SharedSpikeLog(SpikeLog):
    """A log in the shared memory of a node, written to by one rank. It grows where it lies, so the others see it grow.

    Addresses are taken for the most spikes there can be, memory only for those that there is room for.

    Parameters
    ----------
    fd : int
        Of the shared memory; negative for a rank that only reads.
    first_byte : int
        Where in it the ids start.
    ids, ptr : ndarray
        Views of the shared memory.
    capacity : int
        Spikes that memory is taken for at first.
    full : callable
        Makes the exception to raise of an OSError, when there is no more memory.
    """

    def __init__(self, int fd, int64_t first_byte, ids, ptr, int64_t capacity, full):
        self.hold(ids, ptr)
        self.full = full
        self.fd, self.first_byte, self.length = fd, first_byte, self.at.capacity
        if fd >= 0:
            self.at.capacity = 0
            self.make_room(min(capacity, self.length))

    cdef int make_room(self, int64_t capacity) except -1 nogil:
        cdef int64_t larger = self.at.capacity
        capacity = min(capacity, self.length)     # no neuron spikes twice in a step
        if capacity > larger:
            if larger == 0:
                larger = capacity
            while larger < capacity:
                larger += larger // 4 + SMALLEST
            larger = min(larger, self.length)
            self.allocate(larger)
        return 0

    cdef int allocate(self, int64_t capacity) except -1 with gil:
        """Allocate memory; a separate function, else `make_room` takes the interpreter's lock in every call."""
        try:
            os.posix_fallocate(self.fd, self.first_byte, 4 * capacity)
        except OSError as problem:
            raise self.full(problem) from None
        self.at.capacity = capacity
        return 0

    @property
    def nbytes(self):
        """Bytes held."""
        return 4 * self.at.capacity + self.ptr.nbytes


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

    def count(self, int64_t first, int64_t last):
        """Return the number of spikes in steps [first, last)."""
        cdef int64_t k, total = 0
        for k in range(self.n):
            total += self.at[k].ptr[last] - self.at[k].ptr[first]
        return total

    def join(self, int64_t first, int64_t last):
        """Copy steps [first, last) into new arrays, `ids` and `ptr`."""
        cdef int64_t t, k, n, place = 0
        ids, ptr = np.empty(self.count(first, last), np.uint32), np.zeros(last - first + 1, np.int64)
        cdef uint32_t[::1] all_ids = ids
        cdef int64_t[::1] all_ptr = ptr
        with nogil:
            for t in range(first, last):
                for k in range(self.n):
                    n = self.at[k].ptr[t + 1] - self.at[k].ptr[t]
                    if n > 0:
                        memcpy(&all_ids[place], self.at[k].ids + self.at[k].ptr[t], 4 * n)
                        place += n
                all_ptr[t - first + 1] = place
        return ids, ptr

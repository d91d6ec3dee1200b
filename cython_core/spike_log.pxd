# Spike logs, for kernels.

from libc.stdint cimport int64_t, uint32_t

cdef struct Spikes:           # spikes of step t: ids[ptr[t]:ptr[t + 1]], ascending
    uint32_t* ids
    int64_t* ptr
    int64_t capacity          # of ids


cdef class SpikeLog:
    cdef readonly object ids      # uint32 (capacity,), replaced by a larger one when the log grows
    cdef readonly object ptr      # int64 (n_steps + 1,)
    cdef Spikes at                # stays where it is, so kernels may keep its address

    cpdef hold(self, ids, ptr)
    cdef int make_room(self, int64_t capacity) except -1 nogil


cdef class SharedSpikeLog(SpikeLog):
    cdef int fd                   # of the shared memory
    cdef int64_t first_byte       # of the ids in it
    cdef int64_t length           # spikes that there was room for when the addresses were taken
    cdef public object full       # makes an exception of an OSError

    cdef int allocate(self, int64_t capacity) except -1 with gil


cdef class SegmentedLog:
    cdef readonly tuple segments  # of SpikeLog
    cdef Spikes** at              # (n,)
    cdef readonly int64_t n

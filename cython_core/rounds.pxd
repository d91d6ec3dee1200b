# How ranks meet, as the kernels that run a sample see it.

from libc.stdint cimport int64_t

cdef enum:
    LINE = 16         # int64 in a line of shared memory: two cache lines, which processors fetch together


cdef class Meeting:
    cdef public double waited, transferred, looked_up    # seconds of the meetings so far

    cdef int meet(self, int64_t first, int64_t last) except -1 nogil
    cdef int64_t end_of_part(self, int64_t part, int64_t first, int64_t last) noexcept nogil
    cdef int follow(self, int64_t first, int64_t last) except -1 nogil
    cdef int gather(self) except -1 nogil
    cpdef int64_t agree(self, int64_t flags) except? -1
    cpdef int64_t hear(self, int64_t flags) except? -1

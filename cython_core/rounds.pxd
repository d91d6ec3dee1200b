# How ranks meet, as the kernels that run a sample see it.

from libc.stdint cimport int64_t

cdef enum:
    LINE = 16         # int64 in a line of shared memory: two cache lines, which processors fetch together


cdef class Meeting:
    cdef public double waited, transferred, packed, looked_up    # seconds of the meetings so far
    cdef public int64_t n_within, n_between

    cdef inline double seconds(self) noexcept nogil:
        return self.waited + self.transferred + self.packed + self.looked_up

    cdef int meet(self, int64_t first, int64_t last) except -1 nogil
    cdef int64_t end_of_part(self, int64_t part, int64_t first, int64_t last) noexcept nogil
    cdef int64_t meet_part(self, int64_t part, int64_t stop, int64_t first, int64_t last) except -1 nogil
    cdef int gather(self) except -1 nogil
    cpdef int64_t agree(self, int64_t flags) except? -1
    cpdef int64_t agree_without_waiting(self, int64_t flags) except? -1


cdef class Messages:
    cdef public double waited, transferred               # seconds of the leader in `transfer`

    cdef bint lay_out(self, int64_t n_steps) except -1 nogil
    cdef int64_t pack(self, int64_t first, int64_t last) except -1 nogil
    cdef int64_t transfer(self, int64_t need) except -1 nogil
    cdef bint make_room(self, int64_t need) except -1 nogil
    cdef int unpack(self, int64_t first, int64_t last) except -1 nogil
    cdef void hold_back(self, int64_t first, int64_t last) noexcept nogil

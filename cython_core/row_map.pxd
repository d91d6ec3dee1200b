# Where the rows of a projection are, see row_map.pyx.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from pareprop.core.source_set cimport SourceSet
from pareprop.core.members cimport place_of

cdef enum:
    NO_ROW = -1


cdef class RowMap:
    cdef readonly int64_t n_sources       # that may have rows
    cdef readonly int64_t first_source    # first of them, unless `is_listed`
    cdef readonly bint is_listed
    cdef readonly bint is_indexed
    cdef SourceSet listed
    cdef readonly int64_t first_row
    cdef readonly int64_t n_rows
    cdef int64_t offset, low, n_delays, shorter
    cdef uint64_t[::1] bits
    cdef uint32_t[::1] before

    cdef inline int64_t number(self, int64_t source) noexcept nogil:
        """Place of a source among those that may have rows, NO_ROW if it is none of them."""
        if self.is_listed:
            source = self.listed.find(self.offset + source)
            return NO_ROW if source < 0 else source - self.low
        source -= self.first_source
        return source if 0 <= source < self.n_sources else NO_ROW

    cdef inline void mark(self, int64_t delay, int64_t number) noexcept nogil:
        number = number * self.n_delays + delay + self.shorter
        self.bits[number >> 6] |= <uint64_t> 1 << (number & 63)

    cdef inline int64_t row(self, int64_t delay, int64_t number) noexcept nogil:
        number = number * self.n_delays + delay + self.shorter
        if self.is_indexed:
            number = place_of(&self.bits[0], &self.before[0], number)
        return self.first_row + number

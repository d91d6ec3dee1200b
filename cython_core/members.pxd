# Sets of numbers as bits, and the place of a number among the members.
#
# Bit k of word w stands for the number 64 w + k; `before[w]` is how many members the words before w have.

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from *:
    int popcount "__builtin_popcountll"(unsigned long long) nogil


cdef inline bint has(const uint64_t* bits, int64_t number) noexcept nogil:
    return (bits[number >> 6] >> (number & 63)) & 1


cdef inline int64_t place_of(const uint64_t* bits, const uint32_t* before, int64_t number) noexcept nogil:
    """Members below `number`: its place among them, if it is one."""
    return before[number >> 6] + popcount(bits[number >> 6] & ((<uint64_t> 1 << (number & 63)) - 1))

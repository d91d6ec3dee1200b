"""Sets of numbers as bits, with the place of each member, as members.pxd tells."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from pareprop.core.members cimport popcount

ctypedef fused integer:
    uint32_t
    int64_t


def add(uint64_t[::1] bits, const int64_t[::1] numbers):
    """Make some numbers members."""
    cdef int64_t k
    with nogil:
        for k in range(numbers.shape[0]):
            bits[numbers[k] >> 6] |= <uint64_t> 1 << (numbers[k] & 63)


def count(const uint64_t[::1] bits, uint32_t[::1] before):
    """Write how many members the words before each word have; return how many there are."""
    cdef int64_t w, n = 0
    with nogil:
        for w in range(bits.shape[0]):
            before[w] = <uint32_t> n
            n += popcount(bits[w])
    return n


def write(const uint64_t[::1] bits, integer[::1] members):
    """Write the members, ascending, as many as there is room for."""
    cdef int64_t w, n = 0
    cdef uint64_t word
    with nogil:
        for w in range(bits.shape[0]):
            word = bits[w]
            while word and n < members.shape[0]:
                members[n] = <integer> (64 * w + popcount((word & -word) - 1))
                word &= word - 1
                n += 1

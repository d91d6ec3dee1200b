"""Sets of numbers as bits, with the index of each member, see members.pxd."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from pareprop.core.members cimport popcount

ctypedef fused integer:
    uint32_t
    int64_t


cdef extern from *:
    """
    static inline void set_bit(void* word, int bit) {
        __atomic_fetch_or((unsigned long long*) word, 1ULL << bit, __ATOMIC_RELAXED);
    }
    """
    void set_bit(void*, int) nogil


def add(uint64_t[::1] bits, const int64_t[::1] numbers):
    """Make those numbers members for which there are bits; ranks that share these may do so at the same time."""
    cdef int64_t k
    with nogil:
        for k in range(numbers.shape[0]):
            if 0 <= numbers[k] < 64 * bits.shape[0]:
                set_bit(&bits[numbers[k] >> 6], <int> (numbers[k] & 63))


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
    write_between(bits, 0, 64 * bits.shape[0], members)


cdef inline uint64_t word_between(const uint64_t[::1] bits, int64_t w, int64_t first, int64_t last) noexcept nogil:
    """Word `w` with those members alone that lie in [first, last)."""
    cdef uint64_t word = bits[w]
    if 64 * w < first:
        word &= <uint64_t> -1 << (first - 64 * w)
    if 64 * w + 64 > last:
        word &= ((<uint64_t> 1) << (last - 64 * w)) - 1
    return word


def count_between(const uint64_t[::1] bits, int64_t first, int64_t last):
    """Return how many numbers of [first, last) are members."""
    cdef int64_t w, n = 0
    with nogil:
        for w in range(first // 64, (last + 63) // 64):
            n += popcount(word_between(bits, w, first, last))
    return n


def write_between(const uint64_t[::1] bits, int64_t first, int64_t last, integer[::1] members):
    """Write the members in [first, last), counted from `first`, ascending, as many as there is room for."""
    cdef int64_t w, n = 0
    cdef uint64_t word
    with nogil:
        for w in range(first // 64, (last + 63) // 64):
            word = word_between(bits, w, first, last)
            while word and n < members.shape[0]:
                members[n] = <integer> (64 * w + popcount((word & -word) - 1) - first)
                word &= word - 1
                n += 1

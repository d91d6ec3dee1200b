# The set of a rank's sources (target table), and the index of each source.
#
# Many sources: one bit per neuron (`top`, see members.pxd; `shift` is 0). Few sources: `words` has only nonzero words
# of 64 bits, with the members before each; a bit of `top` marks each nonzero word (`shift` is 6).

from libc.stdint cimport int64_t, uint32_t, uint64_t

from pareprop.core.members cimport has, place_of, popcount


cdef class SourceSet:
    cdef readonly int64_t shift
    cdef const uint64_t[::1] top
    cdef const uint32_t[::1] top_before
    cdef const uint64_t[::1] words           # and one more, 0
    cdef const uint32_t[::1] words_before    # and all members, behind the last word

    cdef inline bint may_have(self, int64_t number) noexcept nogil:
        """Whether the number, or one that shares its word, is a member."""
        return has(&self.top[0], number >> self.shift)

    cdef inline int64_t below(self, int64_t number) noexcept nogil:
        """Members below a number."""
        cdef int64_t k = place_of(&self.top[0], &self.top_before[0], number >> self.shift)
        if self.shift == 0:
            return k
        return self.words_before[k] + self.may_have(number) * popcount(
            self.words[k] & ((<uint64_t> 1 << (number & 63)) - 1))

    cdef inline int64_t find(self, int64_t number) noexcept nogil:
        """Place of a number among the members; -1 if it is none."""
        cdef int64_t k
        if not self.may_have(number):
            return -1
        k = place_of(&self.top[0], &self.top_before[0], number >> self.shift)
        if self.shift == 0:
            return k
        if not self.words[k] >> (number & 63) & 1:
            return -1
        return self.words_before[k] + popcount(self.words[k] & ((<uint64_t> 1 << (number & 63)) - 1))

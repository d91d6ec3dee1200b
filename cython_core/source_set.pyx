"""The set of a rank's sources, see the header of the same name."""

from libc.stdint cimport int64_t


cdef class SourceSet:
    """A set of numbers.

    Parameters
    ----------
    shift : int
        0, or 6 if bits of `top` mark words of 64 bits that have members.
    top : ndarray
        uint64 (n,), bits of the numbers, or of the words.
    top_before : ndarray
        uint32 (n,), members of `top` before each of its words.
    words : ndarray
        uint64 (n_words + 1,), the words that have members, and 0; (1,) if `shift` is 0.
    words_before : ndarray
        uint32 (n_words + 1,), members before each of these, and all members.
    """

    def __init__(self, int64_t shift, top, top_before, words, words_before):
        self.shift, self.top, self.top_before = shift, top, top_before
        self.words, self.words_before = words, words_before

    def place(self, int64_t number):
        """Place of a number among the members; -1 if it is none."""
        return self.find(number)

    @property
    def nbytes(self):
        """Bytes of the arrays."""
        return 12 * (self.top.shape[0] + self.words.shape[0])

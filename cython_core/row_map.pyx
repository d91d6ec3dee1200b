"""The rows of a projection on a rank: by source, then delay.

Either each source that the rank lists has a row for each delay; or, where most of these would be empty, those that have
synapses are members of a set, and only they exist.
"""

from libc.stdint cimport int64_t

import numpy as np

from pareprop.core import members


cdef class RowMap:
    """Rows of a projection.

    Parameters
    ----------
    first_row : int
        The first one.
    n_delays : int
        Number of delays.
    sources : tuple of int
        Half-open range of the sources that may have rows, ids in the population.
    indexed : bool
        Whether only rows with synapses exist: `mark` them, then `number_rows`.
    listed : SourceSet or None
        Set of cells of the sources' role; others have no rows.
    offset : int
        Of the population, among the cells of this role.
    shorter : int
        Rows of each source before the row of delay 0.

    Attributes
    ----------
    n_sources : int
        Sources that may have rows.
    first_row, n_rows : int
        First row, and how many there are.
    """

    def __init__(
        self, int64_t first_row, int64_t n_delays, sources, bint indexed, SourceSet listed=None, int64_t offset=0,
        int64_t shorter=0
    ):
        self.first_source, last = sources
        self.shorter = shorter
        self.offset, self.n_sources = offset, last - self.first_source
        self.is_listed, self.is_indexed = listed is not None, indexed
        if self.is_listed:
            self.listed = listed
            self.low = listed.below(offset + self.first_source)
            self.n_sources = listed.below(offset + <int64_t> last) - self.low
        self.first_row, self.n_delays, self.n_rows = first_row, n_delays, n_delays * self.n_sources
        n_words = self.n_rows // 64 + 1
        self.bits = np.zeros(n_words * indexed, np.uint64)
        self.before = np.zeros(n_words * indexed, np.uint32)

    @property
    def low_number(self):
        """Members of the set before the first source that may have rows."""
        return self.low

    @property
    def index(self):
        """Which rows exist, of those by source and delay: bits and numbers before, (n_words,)."""
        return np.asarray(self.bits), np.asarray(self.before)

    def mark_all(self, const int64_t[::1] delay, const int64_t[::1] source):
        """Say which sources, ids in the population, have synapses of which delay, counted from 0."""
        cdef int64_t k, number
        with nogil:
            for k in range(source.shape[0]):
                number = self.number(source[k])
                if number >= 0:
                    self.mark(delay[k], number)

    def number_rows(self):
        """Number the rows of those that were marked."""
        if self.is_indexed:
            self.n_rows = members.count(self.bits, self.before)

    def rows(self, const int64_t[::1] delay, const int64_t[::1] source):
        """Return the rows of synapses by delay, counted from 0, and source, which must have one; int64 (n,)."""
        out = np.empty(source.shape[0], np.int64)
        cdef int64_t[::1] row = out
        cdef int64_t k
        with nogil:
            for k in range(source.shape[0]):
                row[k] = self.row(delay[k], self.number(source[k]))
        return out

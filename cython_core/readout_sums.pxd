# Exact sums of what arrives at the readouts: integers of 128 bits, the same in whatever order they are added.
#
# A sum counts in units of 2**-64; a weight that is no multiple of that is rounded to one, by itself. Sums of up to
# 2**32 weights fit. A weight that is not finite, or LARGEST or more in size, makes a sum infinite for good.

from cython cimport final
from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef extern from *:
    """
    #include <math.h>
    #include <stdint.h>
    #include <string.h>

    typedef struct { uint64_t low; int64_t high; } ExactSum;    /* high + low / 2**64 */

    static const int64_t INFINITE = INT64_MIN;

    static inline void add_parts(uint64_t low, uint64_t high, ExactSum* sum) {
        sum->low += low;
        sum->high = (int64_t) ((uint64_t) sum->high + high + (sum->low < low));
    }

    static inline void add_value(double value, ExactSum* sum) {
        if (sum->high == INFINITE) return;
        if (!(fabs(value) < 2147483648.0)) {
            sum->high = INFINITE;
            return;
        }
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        int shift = (int) (bits >> 52 & 2047) - 1075 + 64;      /* of the 53 digits, to units; at most 42 */
        __int128 units;
        if (shift >= 0) units = (__int128) (bits & 4503599627370495 | 4503599627370496) << shift;
        else units = (int64_t) rint(fabs(value) * 18446744073709551616.0);
        units = value < 0 ? -units : units;
        add_parts((uint64_t) units, (uint64_t) (units >> 64), sum);
    }

    static inline void add_sum(ExactSum other, ExactSum* sum) {
        if (sum->high == INFINITE) return;
        if (other.high == INFINITE) sum->high = INFINITE;
        else add_parts(other.low, (uint64_t) other.high, sum);
    }

    static inline double rounded(ExactSum sum) {
        if (sum.high == INFINITE) return INFINITY;
        __int128 units = (__int128) (((unsigned __int128) (uint64_t) sum.high << 64) | sum.low);
        return (double) units * 0x1p-64;                        /* to the nearest double, once */
    }
    """
    ctypedef struct ExactSum:
        uint64_t low
        int64_t high
    void add_value(double, ExactSum*) nogil
    void add_sum(ExactSum, ExactSum*) nogil
    double rounded(ExactSum) nogil


@final
cdef class ReadoutSums:
    cdef readonly int64_t n_steps, n_readouts
    cdef object memory                # keeps what `sums` points to
    cdef ExactSum* sums
    cdef int64_t own, first, last, stride, turn
    cdef int64_t[2] begins            # first step of the latest round of each turn

    cdef inline ExactSum* at(self, int64_t part, int64_t step) noexcept nogil:
        cdef int64_t turn = self.turn if step >= self.begins[self.turn] else 1 - self.turn
        return self.sums + part * self.stride + (turn * self.n_steps + step - self.begins[turn]) * self.n_readouts

    cdef inline ExactSum* of_step(self, int64_t step) noexcept nogil:
        """This rank's sums in a step."""
        return self.at(self.own, step)

    cdef inline void total(self, int64_t step, double[::1] arriving) noexcept nogil:
        """Write the sums over all ranks, each rounded once; after the ranks met."""
        cdef int64_t k, part
        cdef ExactSum sum
        for k in range(self.n_readouts):
            sum = self.at(self.first, step)[k]
            for part in range(self.first + 1, self.last):
                add_sum(self.at(part, step)[k], &sum)
            arriving[k] = rounded(sum)

    cdef inline void total_alone(self, int64_t step, double[::1] arriving) noexcept nogil:
        """As `total`, on the only rank that has neurons; also before the ranks met."""
        cdef int64_t k
        for k in range(self.n_readouts):
            arriving[k] = rounded(self.of_step(step)[k])

    cdef void open(self, int64_t first) noexcept nogil
    cdef void join(self, int64_t first, int64_t low, int64_t high) noexcept nogil
    cdef ExactSum* joined(self, int64_t first) noexcept nogil

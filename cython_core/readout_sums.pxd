# Exact sums of what arrives at the readouts: integers of 128 bits, the same in whatever order they are added.
#
# A sum counts in units of 2**-64; a weight that is no multiple of that is rounded to one, by itself. Sums of up to
# 2**32 weights fit. A weight that is not finite, or LARGEST or more in size, makes a sum infinite for good.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from pareprop.core.precision cimport real

cdef extern from *:
    """
    #include <math.h>
    #include <stdint.h>

    typedef struct { uint64_t low; int64_t high; } ExactSum;    /* high + low / 2**64 */

    static const int64_t INFINITE = INT64_MIN;

    static inline void add_parts(uint64_t low, uint64_t high, ExactSum* sum) {
        sum->low += low;
        sum->high = (int64_t) ((uint64_t) sum->high + high + (sum->low < low));
    }

    static inline void add_value(double value, ExactSum* sum) {
        double size = fabs(value);
        if (sum->high == INFINITE) return;
        if (!(size < 2147483648.0)) {
            sum->high = INFINITE;
            return;
        }
        uint64_t whole = (uint64_t) (int64_t) size;
        uint64_t part = (uint64_t) rint((size - (double) whole) * 18446744073709551616.0);
        if (value < 0) {
            whole = ~whole + (part == 0);
            part = -part;
        }
        add_parts(part, whole, sum);
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


cdef inline void add_row_exactly(
    int64_t start,                    # the row's synapses: [start, stop)
    int64_t stop,
    const uint32_t[::1] target,       # IN
    const real[::1] weight,           # IN
    ExactSum* sums,                   # UPDATED, one per readout
) noexcept nogil:
    cdef int64_t k
    for k in range(start, stop):
        add_value(weight[k], &sums[target[k]])


cdef class ReadoutSums:
    cdef readonly int64_t n_steps, n_readouts
    cdef object memory                # keeps what `sums` points to
    cdef ExactSum* sums
    cdef int64_t own, first, last, stride, turn

    cdef ExactSum* at(self, int64_t part, int64_t step) noexcept nogil
    cdef void open(self) noexcept nogil
    cdef ExactSum* of_step(self, int64_t step) noexcept nogil
    cdef void total(self, int64_t step, double[::1] arriving) noexcept nogil
    cdef void join(self, int64_t n_steps) noexcept nogil
    cdef ExactSum* joined(self) noexcept nogil

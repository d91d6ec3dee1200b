# Rows of dense blocks, see prefix_sums.pxi: targets are neighbours, so nothing is indexed and compilers find vectors.
#
# Rows at which spikes arrive in one step wait until there are four, or no more, and descend together.

cdef extern from "spike_variant/dense_rows.h" nogil:
    ctypedef struct Row:
        real* weight
        real* Y
        real* C
        double Z
        double d
        double grown

    void descend_one(
        int64_t n, double eta, real low, real high, const double* R, const double* A, const double* D, real* arriving,
        Row a
    )
    void descend_two(
        int64_t n, double eta, real low, real high, const double* R, const double* A, const double* D, real* arriving,
        Row a, Row b
    )
    void descend_four(
        int64_t n, double eta, real low, real high, const double* R, const double* A, const double* D, real* arriving,
        Row a, Row b, Row c, Row d
    )

cdef enum:
    TOGETHER = 4     # rows


cdef struct Descent:  # a row of which the arrival is noted, but not worked off
    int64_t start
    int64_t row       # of the same sign for all that wait
    int64_t hole      # target that the row lacks
    double Z
    double d          # of a spike that enters now, 0 if none
    Crossing crossing


cdef inline int64_t part_of(bint after, int64_t hole, int64_t width, int64_t* first) noexcept nogil:
    """Of `width` targets those before or after the one that a row lacks: write the first, return how many."""
    first[0] = hole + 1 if after else 0
    return max(width - first[0], 0) if after else min(hole, width)


cdef inline void close_dense(
    int64_t n,
    double Z,
    double Z_before,
    double power,
    const double* R,
    const double* A,
    const double* D,
    real* Y,
    real* C,
) noexcept nogil:
    """As `close_row`."""
    cdef int64_t k
    for k in range(n):
        C[k] -= Y[k] * A[k] + Z * D[k]
        Y[k] = power * (Y[k] + Z_before * R[k])


cdef inline void reopen_dense(
    int64_t n,
    double Z,
    double Z_before,
    double power,
    bint enters,
    double d,
    real eta,
    real Wmin,
    real Wmax,
    const double* R_before,           # of the step before the window
    const double* R,                  # of the step before the spike enters
    const double* A,
    const double* D,
    real* weight,
    real* Y,
    real* C,
    total_of* arriving,
) noexcept nogil:
    """As `reopen_row`."""
    cdef int64_t k
    cdef real w, y, c
    for k in range(n):
        w = weight[k] + eta * C[k]
        w = w if w > Wmin else Wmin
        w = w if w < Wmax else Wmax
        weight[k] = w
        arriving[k] += w
        y = power * Y[k] - Z_before * R_before[k]
        c = y * A[k] + Z * D[k]
        if enters:
            y -= d * R[k]
            c += d * (D[k] - R[k] * A[k])
        Y[k] = y
        C[k] = c

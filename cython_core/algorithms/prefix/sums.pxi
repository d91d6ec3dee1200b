# Algorithm `prefix`, its sums: neurons without adaptation, one tau_m per population; O(1) per arrival, no history.
#
# In a block of B steps that starts at step o, with prefix sums per neuron over the steps u of the block,
#     R_u = sum (alpha/kappa)^(u-o) psi_u,  A_u = sum kappa^(u-o) S_u,  D_u = sum kappa^(u-o) S_u R_u,
# and S = L + (1 - kappa) F, a synapse has zbar_u = Z alpha^(u-o) and ebar_u = kappa^(u-o) (Y + Z R_u), so that its
# gradient up to step u is Y A_u + Z D_u - C. It keeps Y and C; Z belongs to its source. A spike that enters at step p
# adds d = alpha^-(p-o) to Z, -d R to Y and d (D - R A) to C, with R, A, D of step p - 1. For m = 1 it enters when it
# arrives: A and D are then of step p - 2, but step p - 1 adds 0. Else it enters m steps later, when A and D are of step
# p - 1: no history is ever looked up. At the end of a block Y becomes kappa^B (Y + Z R), Z becomes alpha^B Z, and C
# the pending gradient. Only sums of the present step and of the ends of the latest blocks are read. If kappa_reg
# differs from kappa, a second set of sums and Y serves F.
#
# Everything that an arrival reads and writes at a target is in one `Cell`: memory is accessed once. If the cache does
# not hold all cells, data for ends of blocks and of windows are in the same cache line.
# B is so small that the powers cost at most three digits. Sums are double in either precision; Y, C and weights are
# `real`, and C is computed from the rounded Y, so that the rounding of Y cancels.
#
# The formulas and the loops over rows stand in formulas.h.

cdef extern from "algorithms/prefix/formulas.h" nogil:
    ctypedef struct Cell:
        real arriving

    ctypedef struct End:
        double R_before

    ctypedef struct Targets:
        Cell* cell
        const End* end
        const double* R_before

    ctypedef struct Crossing:
        const End* end
        double Z
        double shrink

    ctypedef struct Row:
        real* weight
        real* Y
        real* C
        double Z
        double d
        double grown
        real factor

    ctypedef struct Neighbours:
        const double* R
        const double* A
        const double* D
        real* arriving

    ctypedef struct Power:
        double x
        int64_t k
        double power

    enum:
        FURTHER
        DECAYS

    double kept_power(Power* kept, double x, int64_t k)
    void fill_ends(int64_t n, const double* R, const double* A, const double* D, End* end)
    void fill_cells(
        int64_t n, int64_t wide, const double* R, const double* A, const double* D, const real* arriving, Cell* cell
    )
    void fill_beside(int64_t n, const double* R_before, const End* end, End* to)
    void cross(int64_t start, int64_t stop, const uint32_t* target, Crossing crossing, real* Y, real* C)
    void cross_row(
        int64_t start, int64_t stop, int64_t ahead, int64_t wide, const uint32_t* target, Crossing crossing, real* Y,
        real* C
    )
    void enter_row(
        int64_t wide, int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, double d, Targets at,
        real* Y, real* C
    )
    void descend_row(
        int64_t wide, int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, double Z, double d,
        Crossing crossing, double eta, real low, real high, real factor, Targets at, real* weight, real* Y, real* C
    )
    void close_row(
        int64_t wide, int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, double Z, double Z_before,
        double power, Crossing crossing, Targets at, real* Y, real* C
    )
    void reopen_row(
        int64_t wide, int64_t start, int64_t stop, int64_t ahead, const uint32_t* target, double Z, double Z_before,
        double power, bint enters, double d, real eta, real low, real high, real factor, Targets at, real* weight,
        real* Y, real* C
    )
    void enter_apart(
        int64_t start, int64_t stop, const uint32_t* target, double d, const double* R, const double* A,
        const double* D, real* Y, real* C
    )
    void add_gradient(
        int64_t start, int64_t stop, double sign, const uint32_t* target, double Z, const double* A, const double* D,
        const real* Y, real* C
    )
    void to_trace(
        int64_t start, int64_t stop, const uint32_t* target, double Z, double power, const double* R, real* Y
    )
    void from_trace(
        int64_t start, int64_t stop, const uint32_t* target, double Z, double power, const double* R, real* Y
    )
    void close_dense(
        int64_t n, double Z, double Z_before, double power, const double* R, const double* A, const double* D,
        real* Y, real* C
    )
    void reopen_dense(
        int64_t n, double Z, double Z_before, double power, bint enters, double d, real eta, real low, real high,
        real factor, const double* R_before, const double* R, const double* A, const double* D, real* weight, real* Y,
        real* C, real* arriving
    )
    void descend_one(int64_t n, double eta, real low, real high, Neighbours at, Row first)
    void descend_two(int64_t n, double eta, real low, real high, Neighbours at, Row first, Row second)
    void descend_four(
        int64_t n, double eta, real low, real high, Neighbours at, Row first, Row second, Row third, Row fourth
    )

cdef enum:
    TOGETHER = 4     # dense rows with arrivals in one step are queued up to this number


cdef struct Descent:  # a row with a queued arrival
    int64_t start
    int64_t row       # all queued rows have the same sign
    int64_t hole      # target that the row lacks
    double Z
    double d          # of a spike that enters now, 0 if none
    double factor     # of the spike
    Crossing crossing


cdef inline int64_t part_of(bint after, int64_t hole, int64_t width, int64_t* first) noexcept nogil:
    """Find the part of `width` targets before or after the one that a row lacks: write the first, return how many."""
    first[0] = hole + 1 if after else 0
    return max(width - first[0], 0) if after else min(hole, width)


cdef void take_arriving(real[::1] arriving, const Cell* cell, int64_t wide) noexcept nogil:
    """Copy input from the cells."""
    cdef int64_t j
    for j in range(arriving.shape[0]):
        arriving[j] = cell[wide * j].arriving


cdef void add_psi(
    int64_t first, int64_t last, bint starts, double power, const real[::1] psi, const double[::1] before,
    double[::1] R
) noexcept nogil:
    """R_u = R_(u-1) + (alpha/kappa)^(u-o) psi_u, from 0 at the start of a block."""
    cdef int64_t j
    for j in range(first, last):
        R[j] = (0.0 if starts else before[j]) + power * psi[j]


cdef void add_signal(
    int64_t first, int64_t last, double power, const real[::1] S, const double[::1] R, double[::1] A, double[::1] D
) noexcept nogil:
    cdef int64_t j
    cdef double x
    for j in range(first, last):
        x = power * S[j]
        A[j] += x
        D[j] += x * R[j]


cdef void close_sums(const double[::1] R, double[::1] A, double[::1] D, End* end) noexcept nogil:
    """Store the sums at the end of a block, and set them to 0."""
    cdef int64_t j
    if R.shape[0] > 0:
        fill_ends(R.shape[0], &R[0], &A[0], &D[0], end)
    for j in range(R.shape[0]):
        A[j] = 0.0
        D[j] = 0.0
